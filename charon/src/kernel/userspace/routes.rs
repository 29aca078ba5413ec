//! Leads what policies cover into the TUN device.
//!
//! Routes go into a table of their own, which a rule has every packet look up except our own: IKE and ESP packets carry
//! a mark. A peer that lies within its own remote selectors (or another peer's) gets a route past the tunnel besides,
//! or a strict reverse path filter would drop what it sends us.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use strongswan::host::{AddressRange, Family};
use strongswan::log;
use strongswan::selectors::TrafficSelector;
use strongswan::sync::Mutex;

use crate::kernel::netlink::{LocalAddress, NetlinkError, Network, Prefix, Route, RouteKind, Rule};

/// Where routes go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Routing {
    /// Routing table, 0 for the main one.
    pub(super) table: u32,
    /// Priority of the rule.
    pub(super) priority: u32,
    /// Mark of our own packets, if they could be marked.
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
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

/// The routes, and who uses them.
pub(super) struct Routes {
    network: Network,
    routing: Routing,
    rules: Vec<Rule>,
    /// Held during calls to the kernel, so that what is recorded is what is installed.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Networks behind the tunnel, with the number of their users.
    networks: HashMap<Prefix, Users>,
    /// Peers, with the number of their users and their route past the tunnel, if they have one.
    peers: HashMap<IpAddr, Users>,
}

#[derive(Default)]
struct Users {
    count: usize,
    routes: Vec<Route>,
}

impl Routes {
    /// Adds the rules.
    pub(super) fn new(network: Network, routing: Routing) -> Self {
        let mut rules = Vec::new();
        if routing.table != 0 {
            for family in [Family::Ipv4, Family::Ipv6] {
                let rule = Rule { family, table: routing.table, priority: routing.priority, except_mark: routing.mark };
                match network.add_rule(&rule) {
                    Ok(()) => rules.push(rule),
                    // Left over, or another daemon's in this namespace: not ours to remove.
                    Err(error) if error.is_exists() => {}
                    Err(error) => log!(KNL, 1, "unable to create {family:?} routing table rule: {error}"),
                }
            }
        }
        Self { network, routing, rules, state: Mutex::new(State::default()) }
    }

    /// Leads packets from `local` to `remote` into the tunnel to `peer`.
    pub(super) fn add(
        &self,
        local: &TrafficSelector,
        remote: &TrafficSelector,
        peer: IpAddr,
    ) -> Result<(), RouteError> {
        let destination = remote.to_subnet();
        let unmarked = self.routing.mark.is_none() && !self.routing.allow_peer_ts;
        if unmarked && remote.is_host(Some(peer)) {
            return Err(RouteError::Conflict);
        }
        let mut state = self.state.lock();
        state.peers.entry(peer).or_default().count += 1;
        self.exclude_covered(&mut state, destination, peer);
        let result = self.use_network(&mut state, destination, local);
        if result.is_err() {
            self.release_peer(&mut state, peer);
        }
        result.map_err(Into::into)
    }

    /// Takes back one [`add`](Self::add).
    pub(super) fn remove(&self, remote: &TrafficSelector, peer: IpAddr) {
        let mut state = self.state.lock();
        let destination = remote.to_subnet();
        if let Some(users) = state.networks.get_mut(&destination) {
            users.count = users.count.saturating_sub(1);
            if users.count == 0
                && let Some(users) = state.networks.remove(&destination)
            {
                users.routes.iter().for_each(|route| self.delete(route));
            }
        }
        self.release_peer(&mut state, peer);
    }

    /// Counts one more user of a network, and installs its route for the first.
    fn use_network(&self, state: &mut State, destination: Prefix, local: &TrafficSelector) -> Result<(), NetlinkError> {
        if let Some(users) = state.networks.get_mut(&destination) {
            users.count += 1;
            return Ok(());
        }
        let source = source_in(&self.network.addresses()?, local);
        let kind = RouteKind::Unicast { interface: self.routing.tun, gateway: None, source };
        let mut routes = Vec::new();
        for destination in self.split(destination) {
            let route = Route { destination, table: self.table(), kind };
            if let Err(error) = self.network.replace_route(&route) {
                routes.iter().for_each(|route| self.delete(route));
                return Err(error);
            }
            routes.push(route);
        }
        state.networks.insert(destination, Users { count: 1, routes });
        Ok(())
    }

    fn release_peer(&self, state: &mut State, peer: IpAddr) {
        if let Entry::Occupied(mut entry) = state.peers.entry(peer) {
            entry.get_mut().count -= 1;
            if entry.get().count == 0 {
                entry.remove().routes.iter().for_each(|route| self.delete(route));
            }
        }
    }

    /// Gives a route past the tunnel to the peers that the network about to be routed covers, and to `added` if any
    /// network does.
    fn exclude_covered(&self, state: &mut State, destination: Prefix, added: IpAddr) {
        // A tunnel to the peer alone is for everything but our own packets, which their mark tells apart.
        let is_network = |prefix: &Prefix| prefix.1 < Family::of(prefix.0).bits();
        let covered = state.networks.keys().any(|prefix| is_network(prefix) && covers(*prefix, added));
        for (peer, users) in &mut state.peers {
            let needs = (is_network(&destination) && covers(destination, *peer)) || (covered && *peer == added);
            if needs && users.routes.is_empty() {
                users.routes.extend(self.exclude(*peer));
            }
        }
    }

    /// Installs a route to a peer past the tunnel.
    fn exclude(&self, peer: IpAddr) -> Option<Route> {
        let mark = self.routing.mark.map_or(0, |(value, _)| value);
        let hop = match self.network.nexthop(peer, None, mark) {
            Ok(Some(hop)) if hop.interface != self.routing.tun => hop,
            Ok(_) => return None,
            Err(error) => {
                log!(KNL, 1, "unable to look up the route to {peer}: {error}");
                return None;
            }
        };
        let kind = RouteKind::Unicast { interface: hop.interface, gateway: hop.gateway, source: hop.source };
        let route = Route { destination: (peer, Family::of(peer).bits()), table: self.table(), kind };
        match self.network.replace_route(&route) {
            Ok(()) => Some(route),
            Err(error) => {
                log!(KNL, 1, "unable to install exclude route for {peer}: {error}");
                None
            }
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
        const RT_TABLE_MAIN: u32 = 254;
        if self.routing.table == 0 { RT_TABLE_MAIN } else { self.routing.table }
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
        let state = std::mem::take(&mut *self.state.lock());
        for users in state.networks.values().chain(state.peers.values()) {
            users.routes.iter().for_each(|route| self.delete(route));
        }
        for rule in &self.rules {
            if let Err(error) = self.network.delete_rule(rule) {
                log!(KNL, 1, "unable to delete routing table rule: {error}");
            }
        }
    }
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
