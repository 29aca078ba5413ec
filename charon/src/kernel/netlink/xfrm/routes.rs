//! Routes that give packets for tunnels a source address which their policy covers.
//!
//! The kernel chooses the source before it looks at policies. A machine that is both gateway and host would use the
//! address of its outer interface and miss the tunnel, so the networks behind tunnels have routes, in a table that is
//! looked up first. Traffic that may pass unprotected is led past that table.

use std::collections::HashMap;
use std::net::IpAddr;

use ike::config::Mode;
use ike::kernel::PolicyAction;
use strongswan::host::Family;
use strongswan::log;
use strongswan::selectors::{PortRange, TrafficSelector};
use strongswan::sync::Mutex;

use super::journal::Ours;
use super::policy::{Hook, Key, Policy, User};
use super::settings::NetlinkSettings;
use crate::kernel::netlink::{LocalAddress, NetlinkError, Network, Prefix, Route, RouteKind, Rule};

/// The main routing table.
const RT_TABLE_MAIN: u32 = 254;

/// The routes, and the policies they are for.
pub(super) struct Routes {
    network: Network,
    table: u32,
    rules: Mutex<Vec<Rule>>,
    xfrm_interfaces: bool,
    /// The first route of a destination is installed, the others wait. Held during calls to the kernel, so that what is
    /// recorded is what is installed.
    wanted: Mutex<HashMap<Prefix, Vec<(Key, Route)>>>,
}

impl Routes {
    /// Adds the rules that lead to our table. After a crash rules and routes that were `left` behind are ours, too.
    pub(super) fn new(network: Network, settings: &NetlinkSettings, left: &Ours) -> Self {
        let mut rules = Vec::new();
        if settings.routing_table != 0 {
            for family in [Family::Ipv4, Family::Ipv6] {
                let (table, priority) = (settings.routing_table, settings.routing_table_prio);
                let mark = settings.fwmark.map(|mark| (mark.value, mark.mask));
                let invert = settings.fwmark.is_some_and(|mark| mark.invert);
                let rule = Rule {
                    family,
                    table,
                    priority,
                    except_mark: mark.filter(|_| invert),
                    only_mark: mark.filter(|_| !invert),
                    only: None,
                };
                match network.add_rule(&rule) {
                    Ok(()) => rules.push(rule),
                    Err(error) if error.is_exists() && left.crashed => rules.push(rule),
                    // Another daemon's in this namespace: not ours to remove.
                    Err(error) if error.is_exists() => {}
                    Err(error) => log!(KNL, 1, "unable to create {family:?} routing table rule: {error}"),
                }
            }
        }
        let table = if settings.routing_table == 0 { RT_TABLE_MAIN } else { settings.routing_table };
        // In the main table nobody can tell whose a route is.
        if table != RT_TABLE_MAIN {
            for destination in
                left.policies.keys().filter_map(|key| key.destination().filter(|_| key.hook == Hook::Out))
            {
                // Most have none.
                let _none = network.delete_route_to(destination, table);
            }
        }
        let rules = Mutex::new(rules);
        Self { network, table, rules, xfrm_interfaces: settings.install_routes_xfrmi, wanted: Mutex::default() }
    }

    /// A policy is in force: makes the route it needs, if it needs one.
    pub(super) fn set(&self, policy: &Policy, user: &User) {
        if !self.concerns(policy, user) {
            return self.unset(policy);
        }
        match self.route(policy, user) {
            Ok(Some(route)) => self.want(&policy.key, route),
            Ok(None) => self.unset(policy),
            Err(error) => log!(KNL, 1, "unable to install source route for {policy}: {error}"),
        }
    }

    /// A policy is gone.
    pub(super) fn unset(&self, policy: &Policy) {
        if policy.hook != Hook::Out {
            return;
        }
        let mut wanted = self.wanted.lock();
        let destination = policy.dst.to_subnet();
        let Some(routes) = wanted.get_mut(&destination) else { return };
        let Some(place) = routes.iter().position(|(key, _)| *key == policy.key) else { return };
        let (_, old) = routes.remove(place);
        match routes.first() {
            Some(_) if place > 0 => {}
            Some((_, next)) if *next == old => {}
            Some((_, next)) => self.install(next),
            None => {
                wanted.remove(&destination);
                self.delete(&old);
            }
        }
    }

    /// Takes all routes and rules back.
    pub(super) fn clear(&self) {
        for routes in std::mem::take(&mut *self.wanted.lock()).values() {
            routes.first().iter().for_each(|(_, route)| self.delete(route));
        }
        for rule in std::mem::take(&mut *self.rules.lock()) {
            if let Err(error) = self.network.delete_rule(&rule) {
                log!(KNL, 1, "unable to delete routing table rule: {error}");
            }
        }
    }

    fn concerns(&self, policy: &Policy, user: &User) -> bool {
        let everything = |ts: &TrafficSelector| ts.protocol() == 0 && ts.ports() == PortRange::ANY;
        let carried = match user.action {
            PolicyAction::Pass => true,
            PolicyAction::Drop => false,
            PolicyAction::Ipsec => user
                .template
                .as_ref()
                .is_some_and(|template| !matches!(template.mode, Mode::Transport | Mode::TransportProxy)),
        };
        policy.hook == Hook::Out
            && carried
            && everything(&policy.src)
            && everything(&policy.dst)
            && (self.xfrm_interfaces || policy.is_plain())
    }

    fn route(&self, policy: &Policy, user: &User) -> Result<Option<Route>, NetlinkError> {
        let destination = policy.dst.to_subnet();
        let Some(template) = &user.template else {
            let kind = if self.table == RT_TABLE_MAIN {
                match self.network.nexthop(destination.0, None, 0)? {
                    Some(hop) => RouteKind::Unicast { interface: hop.interface, gateway: hop.gateway, source: None },
                    None => return Ok(None),
                }
            } else {
                RouteKind::Throw
            };
            return Ok(Some(Route { destination, table: self.table, kind }));
        };
        let Some(source) = source_in(&self.network.addresses()?, &policy.src) else { return Ok(None) };
        // The main table has the routes that others made, too.
        let ours = if self.table == RT_TABLE_MAIN { 0 } else { self.table };
        let hop = self.network.route_past(template.dst, ours)?;
        Ok(hop.map(|hop| {
            // On the way to what lies behind the peer comes its router, or the peer itself if it is on the link.
            let gateway = Some(hop.gateway.unwrap_or(template.dst));
            let gateway = gateway.filter(|gateway| gateway.is_ipv6() == destination.0.is_ipv6());
            let kind = RouteKind::Unicast { interface: hop.interface, gateway, source };
            Route { destination, table: self.table, kind }
        }))
    }

    fn want(&self, key: &Key, route: Route) {
        let mut wanted = self.wanted.lock();
        let routes = wanted.entry(route.destination).or_default();
        match routes.iter().position(|(other, _)| other == key) {
            Some(place) => {
                let Some((_, old)) = routes.get_mut(place) else { return };
                *old = route;
                // even if it is the same: the system may have dropped it together with an address or an interface
                if place == 0 {
                    self.install(&route);
                }
            }
            None => {
                routes.push((key.clone(), route));
                if routes.len() == 1 {
                    self.install(&route);
                }
            }
        }
    }

    fn install(&self, route: &Route) {
        for part in self.split(route) {
            if let Err(error) = self.network.replace_route(&part) {
                let source = match route.kind {
                    RouteKind::Unicast { source, .. } => source,
                    RouteKind::Throw => None,
                };
                let source = source.unwrap_or_else(|| Family::of(route.destination.0).unspecified());
                log!(KNL, 1, "unable to install source route for {source}: {error}");
            }
        }
    }

    fn delete(&self, route: &Route) {
        for part in self.split(route) {
            match self.network.delete_route(&part) {
                Err(error) if !error.is_not_found() => log!(KNL, 1, "unable to delete route: {error}"),
                _ => {}
            }
        }
    }

    /// In the main table a default route must not replace the one there: two halves take precedence over it.
    fn split(&self, route: &Route) -> Vec<Route> {
        if self.table != RT_TABLE_MAIN || route.destination.1 != 0 {
            return vec![*route];
        }
        let halves: [Prefix; 2] = match Family::of(route.destination.0) {
            Family::Ipv4 => [([0, 0, 0, 0].into(), 1), ([128, 0, 0, 0].into(), 1)],
            Family::Ipv6 => [([0u16; 8].into(), 1), ([0x8000, 0, 0, 0, 0, 0, 0, 0].into(), 1)],
        };
        halves.map(|destination| Route { destination, ..*route }).to_vec()
    }
}

/// The address of ours that a selector covers: none if it does not matter which one, `None` if there is none.
#[expect(clippy::option_option, reason = "no address fits, any address fits, this one fits")]
fn source_in(addresses: &[LocalAddress], local: &TrafficSelector) -> Option<Option<IpAddr>> {
    let loopback: IpAddr = match local.family() {
        Family::Ipv4 => [127, 0, 0, 1].into(),
        Family::Ipv6 => [0, 0, 0, 0, 0, 0, 0, 1u16].into(),
    };
    if local.addresses().contains_address(loopback) {
        return Some(None);
    }
    let inside = addresses.iter().filter(|ours| local.addresses().contains_address(ours.address));
    inside.min_by_key(|ours| !ours.global).map(|ours| Some(ours.address))
}
