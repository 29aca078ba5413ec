//! The network outside of tunnels: our addresses that peers can reach, and the ways to them.

use std::net::IpAddr;
use std::sync::Arc;

use nix::net::if_::if_indextoname;
use strongswan::log;
use strongswan::settings::Settings;

use super::lookup::choose;
use super::{LocalAddress, NetlinkError, Network, Nexthop, VirtualIps};

/// `interfaces_use`, or else `interfaces_ignore`: which interfaces concern us, by their exact names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum InterfaceFilter {
    /// All of them.
    #[default]
    All,
    /// These.
    Use(Vec<String>),
    /// All but these.
    Ignore(Vec<String>),
}

impl InterfaceFilter {
    /// Reads it from strongswan.conf.
    pub fn from_settings(settings: &Settings) -> Self {
        let names = |key: &str| {
            let names = settings.get_str(key)?.split([',', ' ', '\t']).map(str::trim);
            Some(names.filter(|name| !name.is_empty()).map(str::to_owned).collect())
        };
        match (names("charon.interfaces_use"), names("charon.interfaces_ignore")) {
            (Some(names), _) => Self::Use(names),
            (None, Some(names)) => Self::Ignore(names),
            (None, None) => Self::All,
        }
    }

    /// Whether it lets the interface of this name through.
    pub(crate) fn lets(&self, name: &str) -> bool {
        let among = |names: &[String]| names.iter().any(|known| known == name);
        match self {
            Self::All => true,
            Self::Use(names) => among(names),
            Self::Ignore(names) => !among(names),
        }
    }
}

/// Index of the loopback interface, in every network namespace.
const LOOPBACK_IFINDEX: u32 = 1;

/// The network without tunnels, virtual IPs and interfaces that do not concern us.
pub(in crate::kernel) struct Outside {
    network: Network,
    /// Routes of this table lead into tunnels.
    table: u32,
    filter: InterfaceFilter,
    /// Index of the TUN device, if there is one.
    tun: Option<u32>,
    virtual_ips: Arc<VirtualIps>,
}

impl Outside {
    /// Opens a socket of its own.
    pub(in crate::kernel) fn open(
        table: u32,
        filter: InterfaceFilter,
        tun: Option<u32>,
        virtual_ips: Arc<VirtualIps>,
    ) -> Result<Self, NetlinkError> {
        Ok(Self { network: Network::open()?, table, filter, tun, virtual_ips })
    }

    /// The routing table whose routes lead into tunnels.
    pub(super) fn table(&self) -> u32 {
        self.table
    }

    /// A socket for requests.
    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    /// Whether an interface concerns us: tunnels do not.
    pub(in crate::kernel) fn has_interface(&self, index: u32) -> bool {
        if Some(index) == self.tun {
            return false;
        }
        if self.filter == InterfaceFilter::All {
            return true;
        }
        // one that has no name has just gone
        if_indextoname(index).is_ok_and(|name| name.to_str().is_ok_and(|name| self.filter.lets(name)))
    }

    /// Whether an address is one that a gateway gave us.
    pub(in crate::kernel) fn is_virtual(&self, address: IpAddr) -> bool {
        self.virtual_ips.contains(address)
    }

    fn usable_addresses(&self) -> Result<Vec<LocalAddress>, NetlinkError> {
        let mut addresses = self.network.known_addresses()?.to_vec();
        addresses.retain(|local| self.has_interface(local.interface) && !self.is_virtual(local.address));
        Ok(addresses)
    }

    /// See [`Kernel::source_address`](ike::kernel::Kernel::source_address).
    pub(in crate::kernel) fn source_address(&self, remote: IpAddr, preferred: Option<IpAddr>) -> Option<IpAddr> {
        let found = self.network.routes_past(remote, self.table).and_then(|routes| {
            let addresses = self.usable_addresses()?;
            let routes = routes.into_iter().filter(|hop| self.has_interface(hop.interface));
            Ok(source(routes, &addresses, remote, preferred, |address| self.is_virtual(address)))
        });
        found.unwrap_or_else(|error| {
            log!(KNL, 1, "unable to look up the route to {remote}: {error}");
            None
        })
    }

    /// See [`Kernel::local_addresses`](ike::kernel::Kernel::local_addresses).
    pub(in crate::kernel) fn local_addresses(&self) -> Vec<IpAddr> {
        match self.usable_addresses() {
            Ok(addresses) => {
                let reachable = |local: &LocalAddress| local.global && local.interface != LOOPBACK_IFINDEX;
                addresses.into_iter().filter(reachable).map(|local| local.address).collect()
            }
            Err(error) => {
                log!(KNL, 1, "unable to list local addresses: {error}");
                Vec::new()
            }
        }
    }
}

/// The first source that routes, best first, yield, but `preferred` if any of them does.
fn source(
    routes: impl Iterator<Item = Nexthop>,
    addresses: &[LocalAddress],
    remote: IpAddr,
    preferred: Option<IpAddr>,
    is_virtual: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let mut first = None;
    for hop in routes {
        let has = |address: IpAddr| {
            addresses.iter().any(|local| local.interface == hop.interface && local.address == address)
        };
        let found = match (hop.source, preferred) {
            (Some(source), _) if is_virtual(source) => continue,
            (Some(source), _) => Some(source),
            (None, Some(preferred)) if has(preferred) => Some(preferred),
            (None, _) => choose(addresses, hop.interface, hop.gateway.unwrap_or(remote)),
        };
        if found.is_some() && found == preferred {
            return found;
        }
        first = first.or(found);
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn hop(interface: u32, source: Option<&str>) -> Nexthop {
        Nexthop { interface, gateway: None, source: source.map(ip) }
    }

    #[test]
    fn the_preferred_source_wins_if_any_route_yields_it() {
        let local = |address, interface| LocalAddress { address: ip(address), prefix_len: 24, interface, global: true };
        let addresses = [local("192.0.2.1", 2), local("192.0.2.9", 2), local("198.51.100.1", 3)];
        let routes = [hop(2, None), hop(3, None)];
        let find = |preferred: Option<&str>| {
            let preferred = preferred.map(ip);
            source(routes.into_iter(), &addresses, ip("192.0.2.77"), preferred, |_| false).unwrap().to_string()
        };
        assert_eq!(find(None), "192.0.2.1");
        assert_eq!(find(Some("192.0.2.9")), "192.0.2.9", "another address of the same interface");
        assert_eq!(find(Some("198.51.100.1")), "198.51.100.1", "a worse route");
        assert_eq!(find(Some("203.0.113.1")), "192.0.2.1", "an address that is gone");
        let named = [hop(2, Some("10.3.0.1")), hop(3, Some("198.51.100.1"))];
        let past_virtual = source(named.into_iter(), &addresses, ip("192.0.2.77"), None, |a| a == ip("10.3.0.1"));
        assert_eq!(past_virtual, Some(ip("198.51.100.1")));
        assert_eq!(source([].into_iter(), &addresses, ip("192.0.2.77"), None, |_| false), None);
    }

    #[test]
    fn interfaces_are_chosen_by_name() {
        let read = |text: &str| {
            InterfaceFilter::from_settings(&Settings::parse_str(&format!("charon {{ {text}\n }}")).unwrap())
        };
        assert_eq!(read(""), InterfaceFilter::All);
        let ignore = read("interfaces_ignore = eth1, wlan0");
        assert!(ignore.lets("eth0") && !ignore.lets("eth1") && !ignore.lets("wlan0"));
        let only = read("interfaces_use = eth1\n interfaces_ignore = eth1");
        assert!(only.lets("eth1") && !only.lets("eth0"));
    }
}
