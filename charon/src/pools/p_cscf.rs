//! P-CSCF servers (RFC 7651): SIP proxies of mobile networks that a gateway tells its clients, strongSwan's `p-cscf`. They
//! are asked for on connections that want them (`p-cscf.enable.<connection>`) and named in the log, for whoever reads it.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use ike::attributes::{AttributeHandlers, Held};
use ike::wire::{CpAttribute, CpAttributeType};
use strongswan::log;
use strongswan::settings::Settings;

/// Names of the connections that ask for P-CSCF servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PcscfConnections(HashSet<String>);

impl PcscfConnections {
    /// Reads them from strongswan.conf.
    pub fn from_settings(settings: &Settings) -> Self {
        let view = settings.view("charon.plugins.p-cscf");
        if !view.get_bool("load", true) {
            return Self::default();
        }
        let enable = view.view("enable");
        let names = enable.keys().into_iter().map(|entry| entry.name.to_owned());
        Self(names.filter(|name| enable.get_bool(name, false)).collect())
    }
}

/// Handles P-CSCF attributes; the rest goes to `others`.
pub struct Pcscf {
    connections: Arc<ArcSwap<PcscfConnections>>,
    others: Arc<dyn AttributeHandlers>,
}

impl Pcscf {
    /// A handler in front of others.
    pub fn before(connections: Arc<ArcSwap<PcscfConnections>>, others: Arc<dyn AttributeHandlers>) -> Self {
        Self { connections, others }
    }
}

impl AttributeHandlers for Pcscf {
    fn requests(&self, connection: &str, addresses: &[IpAddr]) -> Vec<CpAttribute> {
        let mut attributes = self.others.requests(connection, addresses);
        if self.connections.load().0.contains(connection) {
            let v4 = addresses.iter().any(IpAddr::is_ipv4).then_some(CpAttributeType::PCscfIp4Address);
            let v6 = addresses.iter().any(IpAddr::is_ipv6).then_some(CpAttributeType::PCscfIp6Address);
            attributes.extend(v4.into_iter().chain(v6).map(|kind| CpAttribute::new(kind, &[])));
        }
        attributes
    }

    fn handle(&self, attribute: &CpAttribute) -> Option<Box<dyn Held>> {
        let server: IpAddr = match attribute.kind {
            CpAttributeType::PCscfIp4Address => Ipv4Addr::from(*attribute.value.first_chunk::<4>()?).into(),
            CpAttributeType::PCscfIp6Address => Ipv6Addr::from(*attribute.value.first_chunk::<16>()?).into(),
            _ => return self.others.handle(attribute),
        };
        log!(CFG, 1, "received P-CSCF server IP {server}");
        Some(Box::new(Noted))
    }
}

/// Nothing has to be given back.
#[derive(Debug)]
struct Noted;

impl Held for Noted {}

#[cfg(test)]
mod tests {
    use ike::attributes::NoAttributes;

    use super::*;

    #[test]
    fn servers_are_asked_for_where_they_are_wanted() {
        let read = |text: &str| PcscfConnections::from_settings(&Settings::parse_str(text).unwrap());
        let text = "charon { plugins { p-cscf { enable { ims = yes\n other = no\n } } } }";
        let off = "charon { plugins { p-cscf { load = no\n enable { ims = yes\n } } } }";
        assert_eq!(read(off), PcscfConnections::default());
        let handler = Pcscf::before(Arc::new(ArcSwap::from_pointee(read(text))), Arc::new(NoAttributes));
        let any: [IpAddr; 2] = ["0.0.0.0".parse().unwrap(), "::".parse().unwrap()];
        let kinds = |connection, addresses: &[IpAddr]| -> Vec<_> {
            handler.requests(connection, addresses).into_iter().map(|attribute| attribute.kind.number()).collect()
        };
        assert_eq!(kinds("ims", &any), [20, 21]);
        assert_eq!(kinds("ims", &any[..1]), [20]);
        assert!(kinds("other", &any).is_empty() && kinds("gw", &any).is_empty());
        let handled = |kind, value: &[u8]| handler.handle(&CpAttribute::new(kind, value)).is_some();
        assert!(handled(CpAttributeType::PCscfIp4Address, &[10, 0, 0, 1]));
        assert!(handled(CpAttributeType::PCscfIp6Address, &[0xfd; 16]));
        assert!(!handled(CpAttributeType::PCscfIp4Address, &[]));
        assert!(!handled(CpAttributeType::InternalIp4Nbns, &[10, 0, 0, 1]));
    }
}
