//! Route lookups that leave our own routing table out.
//!
//! The kernel's answer to "how is this reached" goes through all tables. Ours leads into tunnels and names addresses
//! behind them as source, which must not become the outer address of the next tunnel.
//!
//! Asking the kernel for all its routes takes long where there are many. Whoever has to look up many ways at once does so
//! within [`look_up_once`].

use std::cell::RefCell;
use std::cmp::Reverse;
use std::net::IpAddr;
use std::rc::Rc;

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteMessage, RouteType};
use strongswan::host::{AddressRange, Family};

use super::route::{ip, nexthop_attributes};
use super::{LocalAddress, NetlinkError, Network, Nexthop};

/// What the kernel said since [`look_up_once`] began.
#[derive(Default)]
struct Kept {
    ipv4: Option<Rc<[RouteMessage]>>,
    ipv6: Option<Rc<[RouteMessage]>>,
    addresses: Option<Rc<[LocalAddress]>>,
}

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

/// Runs `work`, within which the kernel is asked only once for each family's routes and for addresses. What changes
/// meanwhile is not seen; the monitor tells about it.
pub(in crate::kernel) fn look_up_once(work: &mut dyn FnMut()) {
    /// Forgets, even if there is a panic.
    struct Forget;
    impl Drop for Forget {
        fn drop(&mut self) {
            KEPT.take();
        }
    }
    KEPT.replace(Some(Kept::default()));
    let _forget = Forget;
    work();
}

/// The kept value that `place` finds, or a new one, which is kept if anything is.
fn kept<T: ?Sized>(
    place: fn(&mut Kept) -> &mut Option<Rc<T>>,
    ask: impl FnOnce() -> Result<Rc<T>, NetlinkError>,
) -> Result<Rc<T>, NetlinkError> {
    let known = KEPT.with_borrow_mut(|all| all.as_mut().and_then(|all| place(all).clone()));
    match known {
        Some(known) => Ok(known),
        None => {
            let new = ask()?;
            KEPT.with_borrow_mut(|all| {
                if let Some(all) = all {
                    *place(all) = Some(Rc::clone(&new));
                }
            });
            Ok(new)
        }
    }
}

/// A route as far as lookups care.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    prefix_len: u8,
    metric: u32,
    hop: Nexthop,
}

impl Network {
    /// The way to `destination` by the routes outside of `table`. `None` if there is none.
    ///
    /// # Errors
    /// As the kernel reports.
    pub fn route_past(&self, destination: IpAddr, table: u32) -> Result<Option<Nexthop>, NetlinkError> {
        let Some(hop) = self.routes_past(destination, table)?.first().copied() else { return Ok(None) };
        let source = match hop.source {
            Some(source) => Some(source),
            None => choose(&self.known_addresses()?, hop.interface, hop.gateway.unwrap_or(destination)),
        };
        Ok(Some(Nexthop { source, ..hop }))
    }

    /// The ways to `destination` by the routes outside of `table`, best first. Sources are those that routes name.
    ///
    /// # Errors
    /// As the kernel reports.
    pub(super) fn routes_past(&self, destination: IpAddr, table: u32) -> Result<Vec<Nexthop>, NetlinkError> {
        let routes = self.routes(Family::of(destination))?;
        let candidates = routes.iter().filter_map(|route| candidate(route, destination, table));
        let mut candidates: Vec<_> = candidates.collect();
        candidates.sort_by_key(|candidate| (Reverse(candidate.prefix_len), candidate.metric));
        Ok(candidates.into_iter().map(|candidate| candidate.hop).collect())
    }
}

impl Network {
    /// All routes of a family.
    fn routes(&self, family: Family) -> Result<Rc<[RouteMessage]>, NetlinkError> {
        let place: fn(&mut Kept) -> &mut Option<Rc<[RouteMessage]>> = match family {
            Family::Ipv4 => |kept| &mut kept.ipv4,
            Family::Ipv6 => |kept| &mut kept.ipv6,
        };
        kept(place, || {
            let mut request = RouteMessage::default();
            request.header.address_family = super::route::family_of(family);
            let answers = self.request(RouteNetlinkMessage::GetRoute(request), NLM_F_DUMP)?;
            let routes = answers.into_iter().filter_map(|answer| match answer {
                RouteNetlinkMessage::NewRoute(route) => Some(route),
                _ => None,
            });
            Ok(routes.collect())
        })
    }

    /// Every address of this machine that can be used.
    pub(super) fn known_addresses(&self) -> Result<Rc<[LocalAddress]>, NetlinkError> {
        kept(|kept| &mut kept.addresses, || self.addresses().map(Rc::from))
    }
}

/// The route, if it leads to `destination` and is in another table.
fn candidate(route: &RouteMessage, destination: IpAddr, table: u32) -> Option<Candidate> {
    let usable = matches!(route.header.kind, RouteType::Unicast | RouteType::Local)
        && !route.header.flags.contains(RouteFlags::Cloned);
    let prefix_len = route.header.destination_prefix_length;
    let (mut network, mut metric, mut own) = (Family::of(destination).unspecified(), 0, u32::from(route.header.table));
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(address) => network = ip(address)?,
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Table(table) => own = *table,
            _ => {}
        }
    }
    let leads_there = own != table && AddressRange::subnet(network, prefix_len).contains_address(destination);
    let hop = nexthop_attributes(&route.attributes)?;
    (usable && leads_there).then_some(Candidate { prefix_len, metric, hop })
}

/// The address of an interface that goes with the next hop: one of its network, else one that has a network, else any.
pub(super) fn choose(addresses: &[LocalAddress], interface: u32, hop: IpAddr) -> Option<IpAddr> {
    let usable =
        addresses.iter().filter(|local| local.interface == interface && local.address.is_ipv6() == hop.is_ipv6());
    let best = usable.min_by_key(|local| {
        let network = AddressRange::subnet(local.address, local.prefix_len);
        let alone = local.prefix_len == Family::of(local.address).bits();
        (!network.contains_address(hop), !local.global, alone)
    });
    best.map(|local| local.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(address: &str, prefix_len: u8, interface: u32) -> LocalAddress {
        LocalAddress { address: address.parse().unwrap(), prefix_len, interface, global: true }
    }

    #[test]
    fn the_source_is_of_the_next_hops_network() {
        let addresses = [
            local("10.9.9.9", 32, 2),
            local("192.0.2.1", 24, 2),
            local("198.51.100.1", 24, 2),
            local("203.0.113.1", 24, 3),
            local("2001:db8::1", 64, 2),
        ];
        let source = |hop: &str| choose(&addresses, 2, hop.parse().unwrap()).unwrap().to_string();
        assert_eq!(source("198.51.100.254"), "198.51.100.1");
        assert_eq!(source("192.0.2.254"), "192.0.2.1");
        assert_eq!(source("203.0.113.254"), "192.0.2.1", "not the virtual IP, which has no network");
        assert_eq!(source("2001:db8::2"), "2001:db8::1");
        assert_eq!(choose(&addresses, 3, "2001:db8::2".parse().unwrap()), None);
    }
}
