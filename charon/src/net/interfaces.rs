//! `interfaces_use` and `interfaces_ignore` for what is received: datagrams to addresses of interfaces that do not concern
//! us are dropped.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use strongswan::clock::MonoTime;
use strongswan::log;

use crate::kernel::netlink::InterfaceFilter;

/// How long the addresses of interfaces are taken for what they were. One that is new is looked for at once, but not more
/// often than [`RETRY`].
const FRESH: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(1);

/// Which local addresses datagrams may come to.
pub(super) struct Interfaces {
    filter: InterfaceFilter,
    /// Whether the interface of an address concerns us.
    known: HashMap<IpAddr, bool>,
    learned: Option<MonoTime>,
}

impl Interfaces {
    pub(super) fn new(filter: InterfaceFilter) -> Self {
        Self { filter, known: HashMap::new(), learned: None }
    }

    /// Whether a datagram to this address is for us.
    pub(super) fn concern_us(&mut self, local: IpAddr, now: impl FnOnce() -> MonoTime) -> bool {
        if self.filter == InterfaceFilter::All {
            return true;
        }
        let now = now();
        let age = self.learned.map(|learned| now.saturating_since(learned));
        let patience = if self.known.contains_key(&local) { FRESH } else { RETRY };
        if age.is_none_or(|age| age >= patience) {
            self.learned = Some(now);
            match self.learn() {
                Ok(known) => self.known = known,
                Err(error) => log!(NET, 1, "unable to list the addresses of interfaces: {error}"),
            }
        }
        self.known.get(&local).copied().unwrap_or(false)
    }

    fn learn(&self) -> io::Result<HashMap<IpAddr, bool>> {
        let mut known = HashMap::new();
        for interface in getifaddrs()? {
            let Some(address) = interface.address else { continue };
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
            let Some(address) = v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip()))) else {
                continue;
            };
            // an address that two interfaces have concerns us if one of them does
            *known.entry(address).or_insert(false) |= self.filter.lets(&interface.interface_name);
        }
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_interfaces() {
        let at = |seconds| MonoTime::from_duration(Duration::from_secs(seconds));
        let concern = |filter: InterfaceFilter, address: &str| {
            Interfaces::new(filter).concern_us(address.parse().unwrap(), || at(1))
        };
        let lo = vec!["lo".to_owned()];
        assert!(concern(InterfaceFilter::All, "198.51.100.7"));
        assert!(concern(InterfaceFilter::Use(lo.clone()), "127.0.0.1"));
        assert!(!concern(InterfaceFilter::Use(vec!["eth9".to_owned()]), "127.0.0.1"));
        assert!(!concern(InterfaceFilter::Ignore(lo), "127.0.0.1"));
        // An address that nobody has is not looked for with every datagram.
        let mut interfaces = Interfaces::new(InterfaceFilter::Ignore(vec![]));
        let nobody: IpAddr = "198.51.100.7".parse().unwrap();
        assert!(!interfaces.concern_us(nobody, || at(5)));
        assert_eq!(interfaces.learned, Some(at(5)));
        let half = at(5) + Duration::from_millis(500);
        assert!(!interfaces.concern_us(nobody, || half));
        assert_eq!(interfaces.learned, Some(at(5)));
        assert!(!interfaces.concern_us(nobody, || at(6)));
        assert_eq!(interfaces.learned, Some(at(6)));
    }
}
