//! Configuration attributes as they are configured: by keyword and by number, with addresses, subnets or text.

use std::net::IpAddr;

use ike::wire::{CpAttribute, CpAttributeType};
use strongswan::host::{AddressRange, Family};

/// Keyword and attribute type for values of either family.
const KEYWORDS: &[(&str, CpAttributeType, CpAttributeType)] = {
    use CpAttributeType as T;
    &[
        ("address", T::InternalIp4Address, T::InternalIp6Address),
        ("netmask", T::InternalIp4Netmask, T::InternalIp6Netmask),
        ("dns", T::InternalIp4Dns, T::InternalIp6Dns),
        ("nbns", T::InternalIp4Nbns, T::InternalIp6Nbns),
        ("dhcp", T::InternalIp4Dhcp, T::InternalIp6Dhcp),
        ("subnet", T::InternalIp4Subnet, T::InternalIp6Subnet),
        ("server", T::InternalIp4Server, T::InternalIp6Server),
        ("p_cscf", T::PCscfIp4Address, T::PCscfIp6Address),
        ("split_include", T::UnitySplitInclude, T::UnitySplitInclude),
        ("split_exclude", T::UnityLocalLan, T::UnityLocalLan),
    ]
};

/// Longest value of one attribute: its length field has 16 bits, and a message has to hold it.
const MAX_VALUE: usize = 4096;

/// The highest type; the bit above is reserved (RFC 7296 §3.15.1).
const MAX_TYPE: u16 = 0x7fff;

/// An attribute to hand out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    kind: CpAttributeType,
    value: Box<[u8]>,
}

/// Why an attribute was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// Neither a keyword nor a number.
    #[error("invalid attribute")]
    Kind,
    /// Not a value for this attribute.
    #[error("invalid attribute value")]
    Value,
}

impl Attribute {
    /// Reads one value of the attribute `key`, a keyword with underscores or a number.
    ///
    /// # Errors
    /// See [`AttributeError`].
    pub fn parse(key: &str, value: &[u8]) -> Result<Self, AttributeError> {
        let parsed = std::str::from_utf8(value).ok().and_then(|text| Network::parse(text.trim()));
        let attribute = match (KEYWORDS.iter().find(|(keyword, ..)| *keyword == key), parsed) {
            (Some((_, v4, v6)), Some(network)) => {
                let kind = if network.address.is_ipv4() { *v4 } else { *v6 };
                Self { kind, value: network.encode_for(kind).into() }
            }
            (Some(_), None) => return Err(AttributeError::Value),
            (None, parsed) => {
                let kind = numbered(key).ok_or(AttributeError::Kind)?;
                let value = parsed.map_or_else(|| value.to_vec(), |network| network.encode_for(kind));
                Self { kind, value: value.into() }
            }
        };
        let valid = attribute.value.len() <= MAX_VALUE && attribute.kind.length_valid(attribute.value.len());
        valid.then_some(attribute).ok_or(AttributeError::Value)
    }

    /// As it goes into a message.
    pub fn to_wire(&self) -> CpAttribute {
        CpAttribute::new(self.kind, &self.value)
    }

    /// Whether it belongs to the Cisco Unity extensions of IKEv1.
    pub(super) fn is_unity(&self) -> bool {
        (CpAttributeType::UnityBanner.number()..=CpAttributeType::UnityDdnsHostname.number())
            .contains(&self.kind.number())
    }
}

/// The type of a numeric key: its leading digits, as C's `atoi` has it.
fn numbered(key: &str) -> Option<CpAttributeType> {
    let digits = key.trim_start();
    let digits = digits.split(|c: char| !c.is_ascii_digit()).next()?;
    let number: u16 = digits.parse().ok()?;
    (1..=MAX_TYPE).contains(&number).then(|| number.into())
}

/// An address, perhaps with a prefix length.
struct Network {
    address: IpAddr,
    prefix: Option<u8>,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let Some((address, prefix)) = text.split_once('/') else {
            return Some(Self { address: text.parse().ok()?, prefix: None });
        };
        let (address, prefix): (IpAddr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
        (prefix <= Family::of(address).bits()).then_some(Self { address, prefix: Some(prefix) })
    }

    /// IPv4: the address, and the netmask if it is a subnet. IPv6: the address, and the prefix length if it is a subnet. A
    /// single address is a subnet where the type wants one.
    fn encode_for(&self, kind: CpAttributeType) -> Vec<u8> {
        let wants_subnet = matches!(
            kind,
            CpAttributeType::InternalIp4Subnet
                | CpAttributeType::InternalIp6Subnet
                | CpAttributeType::InternalIp6Address
                | CpAttributeType::UnitySplitInclude
                | CpAttributeType::UnityLocalLan
        );
        let prefix = self.prefix.or_else(|| wants_subnet.then(|| Family::of(self.address).bits()));
        match (self.address, prefix) {
            (IpAddr::V4(v4), None) => v4.octets().to_vec(),
            (IpAddr::V6(v6), None) => v6.octets().to_vec(),
            (IpAddr::V4(v4), Some(prefix)) => {
                let hosts = AddressRange::subnet(IpAddr::from([0, 0, 0, 0]), prefix).end();
                let netmask = match hosts {
                    IpAddr::V4(hosts) => !hosts.to_bits(),
                    IpAddr::V6(_) => u32::MAX,
                };
                [v4.octets(), netmask.to_be_bytes()].concat()
            }
            (IpAddr::V6(v6), Some(prefix)) => [&v6.octets()[..], &[prefix]].concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(key: &str, value: &str) -> (u16, Vec<u8>) {
        let attribute = Attribute::parse(key, value.as_bytes()).unwrap().to_wire();
        (attribute.kind.number(), attribute.value.to_vec())
    }

    #[test]
    fn keywords_choose_the_type_by_family() {
        assert_eq!(encoded("dns", "10.0.0.1"), (3, vec![10, 0, 0, 1]));
        assert_eq!(encoded("dns", "fd00::1").0, 10);
        assert_eq!(encoded("nbns", "10.0.0.1").0, 4);
        assert_eq!(encoded("dhcp", "10.0.0.1").0, 6);
        assert_eq!(encoded("netmask", "255.255.0.0"), (2, vec![255, 255, 0, 0]));
        assert_eq!(encoded("p_cscf", "fd00::1").0, 21);
        assert_eq!(encoded("server", "10.0.0.1").0, 23456);
        assert_eq!(encoded("address", "10.0.0.1").0, 1);
    }

    #[test]
    fn subnets_have_a_mask_or_a_prefix() {
        assert_eq!(encoded("subnet", "10.1.0.0/16"), (13, vec![10, 1, 0, 0, 255, 255, 0, 0]));
        assert_eq!(encoded("subnet", "10.1.0.1"), (13, vec![10, 1, 0, 1, 255, 255, 255, 255]));
        assert_eq!(encoded("subnet", "0.0.0.0/0"), (13, vec![0; 8]));
        let (kind, value) = encoded("subnet", "fd00:1::/32");
        assert_eq!((kind, value.len(), value.last()), (15, 17, Some(&32)));
        assert_eq!(encoded("split_include", "10.0.0.0/8"), (28676, vec![10, 0, 0, 0, 255, 0, 0, 0]));
        assert_eq!(encoded("split_exclude", "192.168.0.0/24").0, 28678);
    }

    #[test]
    fn numbers_take_anything() {
        // RFC 8598: a split DNS domain and its trust anchor are plain octets here
        assert_eq!(encoded("25", "example.org"), (25, b"example.org".to_vec()));
        assert_eq!(encoded("28672", "welcome"), (28672, b"welcome".to_vec()));
        assert_eq!(encoded("3", "10.0.0.1"), (3, vec![10, 0, 0, 1]));
        assert_eq!(encoded("13", "10.0.0.0/8").1.len(), 8);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let error = |key: &str, value: &str| Attribute::parse(key, value.as_bytes()).unwrap_err();
        for key in ["dsn", "0", "-3", "0x10", "", "40000", "99999"] {
            assert_eq!(error(key, "10.0.0.1"), AttributeError::Kind, "{key}");
        }
        for (key, value) in
            [("dns", "ns.example.org"), ("dns", "10.0.0.0/8"), ("subnet", "10.0.0.0/33"), ("3", "no address")]
        {
            assert_eq!(error(key, value), AttributeError::Value, "{key} {value}");
        }
        assert_eq!(Attribute::parse("28672", &[0; MAX_VALUE + 1]), Err(AttributeError::Value));
    }
}
