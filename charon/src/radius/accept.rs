//! What an Access-Accept grants besides access: groups, addresses and attributes for the client, times.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ike::wire::{CpAttribute, CpAttributeType};
use strongswan::identity::Identity;

use super::attribute::{Attribute, AttributeType, CVPN3000, Cvpn3000Type, MICROSOFT, MicrosoftType};
use super::packet::Packet;
use super::settings::Options;

/// Longest Class that is a group: what is longer is a server's own bookkeeping.
const MAX_GROUP: usize = 43;

/// Tunnel-Type ESP (RFC 2868 §3.1).
const TUNNEL_TYPE_ESP: [u8; 3] = [0, 0, 9];

/// Framed-IP-Address values that are not addresses: the client or we are to choose (RFC 2865 §5.8).
const CHOOSE: [Ipv4Addr; 2] = [Ipv4Addr::BROADCAST, Ipv4Addr::new(255, 255, 255, 254)];

/// What is granted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Granted {
    /// Groups of the client.
    pub(super) groups: Vec<Identity>,
    /// Addresses for the client.
    pub(super) addresses: Vec<IpAddr>,
    /// Attributes for the client.
    pub(super) attributes: Vec<CpAttribute>,
    /// How long its authentication counts.
    pub(super) session_timeout: Option<Duration>,
    /// How often its session is accounted.
    pub(super) interim_interval: Option<Duration>,
    /// What the server wants to hear again when it is.
    pub(super) classes: Vec<Vec<u8>>,
}

impl Granted {
    /// Reads it from an Access-Accept.
    pub(super) fn read(packet: &Packet, options: &Options) -> Self {
        let seconds = |kind| packet.number(kind).filter(|s| *s > 0).map(|s| Duration::from_secs(s.into()));
        let v4 = packet.all(AttributeType::FramedIpAddress).filter_map(|a| ipv4(a.value()));
        let v6 = packet.all(AttributeType::FramedIpv6Address).filter_map(|a| ipv6(a.value()));
        let assignable = |address: &IpAddr| !address.is_unspecified() && !address.is_multicast();
        let v4 = v4.filter(|address| !CHOOSE.contains(address)).map(IpAddr::from);
        Self {
            groups: groups(packet, options),
            addresses: v4.chain(v6.map(IpAddr::from)).filter(assignable).collect(),
            attributes: attributes(packet),
            session_timeout: seconds(AttributeType::SessionTimeout),
            interim_interval: seconds(AttributeType::AcctInterimInterval),
            classes: packet.all(AttributeType::Class).map(|class| class.value().to_vec()).collect(),
        }
    }
}

fn ipv4(value: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from)
}

fn ipv6(value: &[u8]) -> Option<Ipv6Addr> {
    <[u8; 16]>::try_from(value).ok().map(Ipv6Addr::from)
}

fn groups(packet: &Packet, options: &Options) -> Vec<Identity> {
    let classes =
        packet.all(AttributeType::Class).filter(|class| options.class_group && class.value().len() <= MAX_GROUP);
    // the first octet of a Tunnel-Type is a tag
    let is_esp = |tunnel: &Attribute| tunnel.value().get(1..) == Some(&TUNNEL_TYPE_ESP);
    let esp = options.filter_id && packet.all(AttributeType::TunnelType).any(is_esp);
    let filters = packet.all(AttributeType::FilterId).filter(|_| esp);
    classes.chain(filters).filter_map(|attribute| group(attribute.value())).collect()
}

/// The name of a group. One that would match others than itself is none.
fn group(value: &[u8]) -> Option<Identity> {
    let text = std::str::from_utf8(value).ok()?;
    let group = Identity::parse(text);
    (!text.is_empty() && !group.is_any() && !group.contains_wildcards()).then_some(group)
}

fn attributes(packet: &Packet) -> Vec<CpAttribute> {
    let mut list = Vec::new();
    let mut add = |kind, value: &[u8]| list.push(CpAttribute::new(kind, value));
    for attribute in packet.attributes() {
        match (attribute.kind, attribute.value().len()) {
            (AttributeType::FramedIpNetmask, 4) => add(CpAttributeType::InternalIp4Netmask, attribute.value()),
            (AttributeType::DnsServerIpv6Address, 16) => add(CpAttributeType::InternalIp6Dns, attribute.value()),
            (AttributeType::VendorSpecific, _) => {
                let microsoft = attribute.of_vendor(MICROSOFT).map(|(kind, value)| (of_microsoft(kind.into()), value));
                let cvpn3000 = attribute.of_vendor(CVPN3000).map(|(kind, value)| (of_cvpn3000(kind.into()), value));
                for (kind, value) in microsoft.chain(cvpn3000) {
                    if let Some(kind) = kind.filter(|_| value.len() == 4) {
                        add(kind, value);
                    }
                }
            }
            _ => {}
        }
    }
    list
}

fn of_microsoft(kind: MicrosoftType) -> Option<CpAttributeType> {
    match kind {
        MicrosoftType::PrimaryDns | MicrosoftType::SecondaryDns => Some(CpAttributeType::InternalIp4Dns),
        MicrosoftType::PrimaryNbns | MicrosoftType::SecondaryNbns => Some(CpAttributeType::InternalIp4Nbns),
        MicrosoftType::MppeSendKey | MicrosoftType::MppeRecvKey | MicrosoftType::Unknown(_) => None,
    }
}

fn of_cvpn3000(kind: Cvpn3000Type) -> Option<CpAttributeType> {
    match kind {
        Cvpn3000Type::PrimaryDns | Cvpn3000Type::SecondaryDns => Some(CpAttributeType::InternalIp4Dns),
        Cvpn3000Type::PrimaryWins | Cvpn3000Type::SecondaryWins => Some(CpAttributeType::InternalIp4Nbns),
        Cvpn3000Type::Unknown(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::attribute::Code;
    use super::*;

    fn accept(attributes: &[(AttributeType, &[u8])]) -> Packet {
        let mut packet = Packet::new(Code::AccessAccept);
        for (kind, value) in attributes {
            packet.push(*kind, value);
        }
        packet
    }

    fn names(packet: &Packet, class_group: bool, filter_id: bool) -> Vec<String> {
        let options = Options { class_group, filter_id, ..Options::default() };
        Granted::read(packet, &options).groups.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn classes_and_filters_are_groups_if_wanted() {
        use AttributeType::{Class, FilterId, TunnelType};
        let long = [b'x'; 44];
        let packet = accept(&[
            (Class, b"staff"),
            (Class, &long),
            (Class, b"*"),
            (Class, b""),
            (Class, &[0xff]),
            (FilterId, b"sales"),
        ]);
        assert_eq!(names(&packet, true, true), ["staff"]);
        assert!(names(&packet, false, false).is_empty());
        let tunnel = |value| accept(&[(FilterId, b"sales"), (TunnelType, value), (Class, &long[1..])]);
        assert_eq!(names(&tunnel(&[0, 0, 0, 9]), false, true), ["sales"]);
        assert_eq!(names(&tunnel(&[3, 0, 0, 9]), false, true), ["sales"]);
        assert!(names(&tunnel(&[0, 0, 0, 3]), false, true).is_empty());
        assert!(names(&tunnel(&[9]), false, true).is_empty());
        assert_eq!(names(&tunnel(&[9]), true, true).len(), 1, "43 octets are a group");
    }

    #[test]
    fn addresses_are_those_that_can_be_assigned() {
        use AttributeType::{FramedIpAddress, FramedIpv6Address};
        let v6 = "fd00::7".parse::<Ipv6Addr>().unwrap().octets();
        let packet = accept(&[
            (FramedIpAddress, &[10, 3, 0, 1]),
            (FramedIpAddress, &[255, 255, 255, 254]),
            (FramedIpAddress, &[255, 255, 255, 255]),
            (FramedIpAddress, &[0, 0, 0, 0]),
            (FramedIpAddress, &[10, 3, 0]),
            (FramedIpv6Address, &v6),
            (FramedIpv6Address, &v6[1..]),
        ]);
        let granted = Granted::read(&packet, &Options::default());
        assert_eq!(granted.addresses, ["10.3.0.1".parse::<IpAddr>().unwrap(), "fd00::7".parse().unwrap()]);
    }

    #[test]
    fn servers_and_times() {
        use AttributeType::{
            AcctInterimInterval, Class, DnsServerIpv6Address, FramedIpNetmask, SessionTimeout, VendorSpecific,
        };
        let packet = accept(&[
            (VendorSpecific, &[0, 0, 1, 55, 28, 6, 10, 0, 0, 1, 30, 6, 10, 0, 0, 2]),
            (VendorSpecific, &[0, 0, 12, 4, 6, 6, 10, 0, 0, 3]),
            (VendorSpecific, &[0, 0, 12, 4, 7, 5, 10, 0, 0]),
            (FramedIpNetmask, &[255, 255, 0, 0]),
            (DnsServerIpv6Address, &[1; 16]),
            (SessionTimeout, &[0, 0, 0, 60]),
            (AcctInterimInterval, &[0, 0, 0, 0]),
            (Class, b"c"),
        ]);
        let granted = Granted::read(&packet, &Options::default());
        let kinds: Vec<_> = granted.attributes.iter().map(|attribute| attribute.kind.number()).collect();
        assert_eq!(kinds, [3, 4, 3, 2, 10]);
        assert_eq!((granted.session_timeout, granted.interim_interval), (Some(Duration::from_secs(60)), None));
        assert_eq!(granted.classes, [b"c"]);
    }
}
