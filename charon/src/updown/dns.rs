//! `updown.dns_handler`: DNS servers that a gateway assigns are for the scripts, which get them in `PLUTO_DNS4_n` and
//! `PLUTO_DNS6_n`, and for nobody else.

use std::net::IpAddr;
use std::sync::Arc;

use ike::attributes::{AttributeHandlers, Held};
use ike::wire::{CpAttribute, CpAttributeType};

/// Takes DNS servers before `others` see them.
pub struct ScriptDns {
    others: Arc<dyn AttributeHandlers>,
}

impl ScriptDns {
    /// What is no DNS server goes to `others`.
    pub fn before(others: Arc<dyn AttributeHandlers>) -> Self {
        Self { others }
    }
}

const KINDS: [CpAttributeType; 2] = [CpAttributeType::InternalIp4Dns, CpAttributeType::InternalIp6Dns];

impl AttributeHandlers for ScriptDns {
    fn requests(&self, connection: &str, addresses: &[IpAddr]) -> Vec<CpAttribute> {
        let families = [IpAddr::is_ipv4, IpAddr::is_ipv6];
        let wanted = KINDS.into_iter().zip(families).filter(|(_, is_family)| addresses.iter().any(is_family));
        let ours = wanted.map(|(kind, _)| CpAttribute::new(kind, &[]));
        let others = self.others.requests(connection, addresses);
        ours.chain(others.into_iter().filter(|attribute| !KINDS.contains(&attribute.kind))).collect()
    }

    fn handle(&self, attribute: &CpAttribute) -> Option<Box<dyn Held>> {
        let server = match attribute.kind {
            CpAttributeType::InternalIp4Dns => attribute.value.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
            CpAttributeType::InternalIp6Dns => attribute.value.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
            _ => return self.others.handle(attribute),
        };
        Some(Box::new(ForScripts(server?)))
    }
}

#[derive(Debug)]
struct ForScripts(IpAddr);

impl Held for ForScripts {
    fn dns_server(&self) -> Option<IpAddr> {
        Some(self.0)
    }
}

#[cfg(test)]
mod tests {
    use ike::attributes::NoAttributes;

    use super::*;

    #[test]
    fn servers_are_held_for_scripts_and_short_ones_refused() {
        let dns = ScriptDns::before(Arc::new(NoAttributes));
        assert_eq!(dns.requests("gw", &["0.0.0.0".parse().unwrap()]), [CpAttribute::new(KINDS[0], &[])]);
        let held = dns.handle(&CpAttribute::new(KINDS[0], &[10, 0, 0, 53])).unwrap();
        assert_eq!(held.dns_server(), Some("10.0.0.53".parse().unwrap()));
        assert!(dns.handle(&CpAttribute::new(KINDS[1], &[10, 0, 0, 53])).is_none());
        assert!(dns.handle(&CpAttribute::new(CpAttributeType::InternalIp4Nbns, &[10, 0, 0, 53])).is_none());
    }
}
