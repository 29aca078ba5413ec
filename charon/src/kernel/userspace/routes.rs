//! Leads what policies cover into the TUN device.
//!
//! Routes go into a table of their own, which a rule has every packet look up except our own: IKE and ESP packets carry
//! a mark. A peer that lies within its own remote selectors (or another peer's) gets a route past the tunnel besides,
//! or a strict reverse path filter would drop what it sends us.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::hash::Hash;
use std::net::IpAddr;

use strongswan::host::{AddressRange, Family};
use strongswan::log;
use strongswan::selectors::{PortRange, TrafficSelector};
use strongswan::sync::Mutex;

use crate::kernel::netlink::{LocalAddress, NetlinkError, Network, Packets, Prefix, Route, RouteKind, Rule};

/// RT_TABLE_MAIN.
const MAIN_TABLE: u32 = 254;

/// Where routes go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Routing {
    /// Routing table, 0 for the main one.
    pub(super) table: u32,
    /// Priority of the rule.
    pub(super) priority: u32,
    /// Mark of our own packets, if they have one and the rule heeds it.
    pub(super) mark: Option<(u32, u32)>,
    /// Interface index of the TUN device.
    pub(super) tun: u32,
    /// Accept selectors that are the peer itself even if our own packets have no mark.
    pub(super) allow_peer_ts: bool,
}

/// Why a route could not be installed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    /// The peer's packets would go into their own tunnel.
    #[error("conflicts with IKE traffic")]
    Conflict,
    /// Rules cannot tell these packets apart, or nobody looks up our table.
    #[error("routing rules cannot express it")]
    Bypass,
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

/// The routes, and who uses them.
pub(super) struct Routes {
    network: Network,
    routing: Routing,
    /// Held during calls to the kernel, so that what is recorded is what is installed.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The rules that lead to our table.
    rules: Vec<Rule>,
    /// Networks behind the tunnel: used by policies.
    networks: HashMap<Prefix, Entry>,
    /// Peers, with a route past the tunnel where a network covers them: used by SAs.
    peers: HashMap<IpAddr, Entry>,
    /// Pairs of selectors that stay out of every tunnel, with the number of their users.
    bypasses: HashMap<(TrafficSelector, TrafficSelector), usize>,
}

#[derive(Default)]
struct Entry {
    users: usize,
    routes: Vec<Route>,
}

impl Routes {
    /// Adds the rules.
    pub(super) fn new(network: Network, routing: Routing) -> Self {
        let mut rules = Vec::new();
        if routing.table != 0 {
            for family in [Family::Ipv4, Family::Ipv6] {
                let rule = Rule {
                    family,
                    table: routing.table,
                    priority: routing.priority,
                    except_mark: routing.mark,
                    only_mark: None,
                    only: None,
                };
                match network.add_rule(&rule) {
                    Ok(()) => rules.push(rule),
                    // Left over, or another daemon's in this namespace: not ours to remove.
                    Err(error) if error.is_exists() => {}
                    Err(error) => log!(KNL, 1, "unable to create {family:?} routing table rule: {error}"),
                }
            }
        }
        Self { network, routing, state: Mutex::new(State { rules, ..State::default() }) }
    }

    /// Leads packets from `local` to `remote` into the tunnel, whose other end is `peer`.
    pub(super) fn add_network(
        &self,
        local: &TrafficSelector,
        remote: &TrafficSelector,
        peer: IpAddr,
    ) -> Result<(), RouteError> {
        if self.routing.mark.is_none() && !self.routing.allow_peer_ts && remote.is_host(Some(peer)) {
            return Err(RouteError::Conflict);
        }
        let destination = remote.to_subnet();
        let mut state = self.state.lock();
        if let Some(network) = state.networks.get_mut(&destination) {
            network.users += 1;
            return Ok(());
        }
        if is_host(destination) {
            // Takes the place of a route past the tunnel. Our own packets to that peer are told apart by their mark.
            if let Some(peer) = state.peers.get_mut(&destination.0) {
                peer.routes.clear();
            }
        } else {
            let covered: Vec<_> = state.peers.keys().copied().filter(|peer| covers(destination, *peer)).collect();
            covered.into_iter().for_each(|peer| self.exclude(&mut state, peer));
        }
        let routes = self.lead(destination, local)?;
        state.networks.insert(destination, Entry { users: 1, routes });
        Ok(())
    }

    /// Takes back one [`add_network`](Self::add_network).
    pub(super) fn remove_network(&self, remote: &TrafficSelector) {
        let destination = remote.to_subnet();
        let mut state = self.state.lock();
        self.release(&mut state.networks, destination);
        if is_host(destination) {
            self.exclude_if_covered(&mut state, destination.0);
        }
    }

    /// Keeps packets from `local` to `remote` out of every tunnel: a rule has them look up the main table before ours.
    pub(super) fn add_bypass(&self, local: &TrafficSelector, remote: &TrafficSelector) -> Result<(), RouteError> {
        let rule = self.bypass(local, remote).ok_or(RouteError::Bypass)?;
        let mut state = self.state.lock();
        let users = state.bypasses.entry((*local, *remote)).or_default();
        *users += 1;
        if *users == 1
            && let Err(error) = self.network.add_rule(&rule)
            && !error.is_exists()
        {
            state.bypasses.remove(&(*local, *remote));
            return Err(error.into());
        }
        Ok(())
    }

    /// Takes back one [`add_bypass`](Self::add_bypass); false if there was none.
    pub(super) fn remove_bypass(&self, local: &TrafficSelector, remote: &TrafficSelector) -> bool {
        let mut state = self.state.lock();
        match state.bypasses.get_mut(&(*local, *remote)) {
            Some(users) if *users > 1 => *users -= 1,
            Some(_) => {
                state.bypasses.remove(&(*local, *remote));
                self.delete_rules(self.bypass(local, remote).as_ref());
            }
            None => return false,
        }
        true
    }

    /// The rule for a bypass, if rules can express it.
    fn bypass(&self, local: &TrafficSelector, remote: &TrafficSelector) -> Option<Rule> {
        const ICMP: [u8; 2] = [1, 58];
        let protocol = local.protocol().max(remote.protocol());
        let ports = |selector: &TrafficSelector| match selector.ports() {
            PortRange::ANY => Some(None),
            // Rules know neither types of ICMP nor fragments.
            PortRange::OPAQUE => None,
            _ if ICMP.contains(&protocol) => None,
            range => Some(Some((range.start(), range.end()))),
        };
        let only = Packets {
            source: local.addresses().to_subnet()?,
            destination: remote.addresses().to_subnet()?,
            protocol,
            source_ports: ports(local)?,
            destination_ports: ports(remote)?,
        };
        let priority = self.routing.priority.checked_sub(1)?;
        let ours = self.routing.table != 0;
        ours.then_some(Rule {
            family: local.family(),
            table: MAIN_TABLE,
            priority,
            except_mark: None,
            only_mark: None,
            only: Some(only),
        })
    }

    /// Removes all routes and rules.
    pub(super) fn clear(&self) {
        let state = std::mem::take(&mut *self.state.lock());
        for entry in state.networks.values().chain(state.peers.values()) {
            entry.routes.iter().for_each(|route| self.delete(route));
        }
        for (local, remote) in state.bypasses.keys() {
            self.delete_rules(self.bypass(local, remote).as_ref());
        }
        self.delete_rules(&state.rules);
    }

    fn delete_rules<'a>(&self, rules: impl IntoIterator<Item = &'a Rule>) {
        for rule in rules {
            match self.network.delete_rule(rule) {
                Err(error) if !error.is_not_found() => log!(KNL, 1, "unable to delete routing table rule: {error}"),
                _ => {}
            }
        }
    }

    /// Keeps the way to a peer open.
    pub(super) fn add_peer(&self, peer: IpAddr) {
        let mut state = self.state.lock();
        state.peers.entry(peer).or_default().users += 1;
        self.exclude_if_covered(&mut state, peer);
    }

    /// Takes back one [`add_peer`](Self::add_peer).
    pub(super) fn remove_peer(&self, peer: IpAddr) {
        self.release(&mut self.state.lock().peers, peer);
    }

    fn release<K: Eq + Hash>(&self, entries: &mut HashMap<K, Entry>, key: K) {
        if let Slot::Occupied(mut slot) = entries.entry(key) {
            slot.get_mut().users -= 1;
            if slot.get().users == 0 {
                slot.remove().routes.iter().for_each(|route| self.delete(route));
            }
        }
    }

    /// Installs the routes for a network.
    fn lead(&self, destination: Prefix, local: &TrafficSelector) -> Result<Vec<Route>, NetlinkError> {
        let source = source_in(&self.network.addresses()?, local);
        let kind = RouteKind::Unicast { interface: self.routing.tun, gateway: None, source };
        let mut routes = Vec::new();
        for destination in self.split(destination) {
            let route = Route { destination, table: self.table(), kind };
            match self.install(&route) {
                Ok(true) => routes.push(route),
                Ok(false) => {}
                Err(error) => {
                    routes.iter().for_each(|route| self.delete(route));
                    return Err(error);
                }
            }
        }
        Ok(routes)
    }

    fn exclude_if_covered(&self, state: &mut State, peer: IpAddr) {
        if state.networks.keys().any(|network| !is_host(*network) && covers(*network, peer)) {
            self.exclude(state, peer);
        }
    }

    /// Installs a route to a peer past the tunnel, unless it has one or is the other end of a tunnel for itself alone.
    fn exclude(&self, state: &mut State, peer: IpAddr) {
        let destination = (peer, Family::of(peer).bits());
        let Some(entry) = state.peers.get_mut(&peer) else { return };
        if !entry.routes.is_empty() || state.networks.contains_key(&destination) {
            return;
        }
        let mark = self.routing.mark.map_or(0, |(value, _)| value);
        let result = self.network.nexthop(peer, None, mark).and_then(|hop| {
            let Some(hop) = hop.filter(|hop| hop.interface != self.routing.tun) else { return Ok(None) };
            let kind = RouteKind::Unicast { interface: hop.interface, gateway: hop.gateway, source: hop.source };
            let route = Route { destination, table: self.table(), kind };
            Ok(self.install(&route)?.then_some(route))
        });
        match result {
            Ok(route) => entry.routes.extend(route),
            Err(error) => log!(KNL, 1, "unable to install exclude route for {peer}: {error}"),
        }
    }

    /// Installs a route; false if there is one that is not ours to replace.
    fn install(&self, route: &Route) -> Result<bool, NetlinkError> {
        if self.routing.table != 0 {
            return self.network.replace_route(route).map(|()| true);
        }
        match self.network.add_route(route) {
            Err(error) if error.is_exists() => {
                let (network, prefix_len) = route.destination;
                log!(KNL, 1, "route for {network}/{prefix_len} exists in the main table, left as it is");
                Ok(false)
            }
            result => result.map(|()| true),
        }
    }

    /// In the main table a default route must not replace the one there: two halves take precedence over it.
    fn split(&self, destination: Prefix) -> Vec<Prefix> {
        if self.routing.table != 0 || destination.1 != 0 {
            return vec![destination];
        }
        match Family::of(destination.0) {
            Family::Ipv4 => vec![([0, 0, 0, 0].into(), 1), ([128, 0, 0, 0].into(), 1)],
            Family::Ipv6 => vec![([0u16; 8].into(), 1), ([0x8000, 0, 0, 0, 0, 0, 0, 0].into(), 1)],
        }
    }

    fn table(&self) -> u32 {
        if self.routing.table == 0 { MAIN_TABLE } else { self.routing.table }
    }

    fn delete(&self, route: &Route) {
        match self.network.delete_route(route) {
            Err(error) if !error.is_not_found() => log!(KNL, 1, "unable to delete route: {error}"),
            _ => {}
        }
    }
}

impl Drop for Routes {
    fn drop(&mut self) {
        self.clear();
    }
}

fn is_host((network, prefix_len): Prefix) -> bool {
    prefix_len == Family::of(network).bits()
}

fn covers((network, prefix_len): Prefix, address: IpAddr) -> bool {
    AddressRange::subnet(network, prefix_len).contains_address(address)
}

/// The address among ours that packets of our own must have to match a selector.
fn source_in(addresses: &[LocalAddress], local: &TrafficSelector) -> Option<IpAddr> {
    let inside = addresses.iter().filter(|a| local.addresses().contains_address(a.address) && !a.address.is_loopback());
    let best = inside.min_by_key(|a| !a.global)?;
    // A selector for everything says nothing about what we should call ourselves.
    (local.to_subnet().1 != 0).then_some(best.address)
}
