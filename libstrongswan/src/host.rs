//! Address ranges, and the items that `local_addrs` and `remote_addrs` are made of, with the quality of a match
//! between an item and an address of a packet (the measure by which connections are ranked).
//!
//! A host itself is the standard library's [`IpAddr`] or `SocketAddr`. Names are only carried here: resolving them
//! blocks and is left to the caller.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IP version 4.
    Ipv4,
    /// IP version 6.
    Ipv6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// Length of an address in bits.
    pub fn bits(self) -> u8 {
        match self {
            Self::Ipv4 => 32,
            Self::Ipv6 => 128,
        }
    }

    /// `0.0.0.0` or `::`.
    pub fn unspecified(self) -> IpAddr {
        match self {
            Self::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    fn host_mask(self, prefix: u8) -> u128 {
        let host_bits = u32::from(self.bits().saturating_sub(prefix));
        u128::MAX.checked_shr(128_u32.saturating_sub(host_bits)).unwrap_or(0)
    }

    fn address(self, number: u128) -> IpAddr {
        match self {
            Self::Ipv4 => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
            Self::Ipv6 => Ipv6Addr::from_bits(number).into(),
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Consecutive addresses of one family; a subnet is the special case whose ends fit a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressRange {
    start: IpAddr,
    end: IpAddr,
}

impl AddressRange {
    /// All addresses from `start` to `end`, or `None` if the families differ or the order is wrong.
    pub fn new(start: IpAddr, end: IpAddr) -> Option<Self> {
        (Family::of(start) == Family::of(end) && start <= end).then_some(Self { start, end })
    }

    /// The single address.
    pub fn host(address: IpAddr) -> Self {
        Self { start: address, end: address }
    }

    /// The subnet around `address`; a prefix longer than the address counts as a full one.
    pub fn subnet(address: IpAddr, prefix: u8) -> Self {
        let family = Family::of(address);
        let mask = family.host_mask(prefix);
        let number = number(address);
        Self { start: family.address(number & !mask), end: family.address(number | mask) }
    }

    /// Every address of the family.
    pub fn all(family: Family) -> Self {
        Self::subnet(family.unspecified(), 0)
    }

    /// Parses `address`, `address/bits` (masked) or `low-high`.
    ///
    /// Prefixes follow strongSwan: text that is no number counts as 0, more bits than the address has is an error.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse() {
            Some(Self::host(address))
        } else if let Some((address, bits)) = text.split_once('/') {
            let address = address.parse().ok()?;
            let bits = leading_number(bits);
            (bits <= u32::from(Family::of(address).bits())).then_some(())?;
            Some(Self::subnet(address, u8::try_from(bits).ok()?))
        } else {
            let (low, high) = text.split_once('-')?;
            Self::new(low.trim_end().parse().ok()?, high.trim_start().parse().ok()?)
        }
    }

    /// The first address.
    pub fn start(&self) -> IpAddr {
        self.start
    }

    /// The last address.
    pub fn end(&self) -> IpAddr {
        self.end
    }

    /// The family of both ends.
    pub fn family(&self) -> Family {
        Family::of(self.start)
    }

    /// Whether it is exactly one address.
    pub fn is_host(&self) -> bool {
        self.start == self.end
    }

    /// Whether every address of `other` is one of these. Addresses of the other family never are.
    pub fn contains(&self, other: &Self) -> bool {
        self.family() == other.family() && self.start <= other.start && other.end <= self.end
    }

    /// Whether `address` lies in the range.
    pub fn contains_address(&self, address: IpAddr) -> bool {
        self.contains(&Self::host(address))
    }

    /// The addresses in both ranges.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// Network address and prefix length, if the range is a subnet.
    pub fn to_subnet(&self) -> Option<(IpAddr, u8)> {
        let (network, prefix) = self.enclosing_subnet();
        (Self::subnet(network, prefix) == *self).then_some((network, prefix))
    }

    /// The smallest subnet that holds the range.
    pub fn enclosing_subnet(&self) -> (IpAddr, u8) {
        let family = self.family();
        let differing = 128 - (number(self.start) ^ number(self.end)).leading_zeros();
        let prefix = family.bits().saturating_sub(u8::try_from(differing).unwrap_or(u8::MAX));
        (Self::subnet(self.start, prefix).start, prefix)
    }
}

/// Like C's `strtol` for an unsigned decimal, saturating: anything but a number is 0.
fn leading_number(text: &str) -> u32 {
    text.chars()
        .map_while(|c| c.to_digit(10))
        .fold(0_u32, |number, digit| number.saturating_mul(10).saturating_add(digit))
}

/// One item of `local_addrs` or `remote_addrs`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostSpec {
    /// `%any`, or `%any4`/`%any6` for one family.
    Any(Option<Family>),
    /// A literal address.
    Address(IpAddr),
    /// A subnet or a range.
    Range(AddressRange),
    /// A DNS name, or a `%` word, which never resolves.
    Name(Box<str>),
}

/// How well a [`HostSpec`] fits an address: 0 is not at all, 1 any, prefix length + 1 for subnets, 129 exactly.
pub type HostMatch = u8;

/// The quality of an exact match of an address.
const EXACT: HostMatch = 129;

impl HostSpec {
    /// Parses one item. It never fails: what is no address is a name.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        match text {
            "%any" => return Self::Any(None),
            "%any4" | "0.0.0.0" => return Self::Any(Some(Family::Ipv4)),
            "%any6" | "::" | "0::0" => return Self::Any(Some(Family::Ipv6)),
            _ => (),
        }
        match AddressRange::parse(text) {
            Some(range) if range.is_host() => Self::Address(range.start()),
            Some(range) => Self::Range(range),
            None => Self::Name(text.into()),
        }
    }

    /// The quality of the match; `resolve` is called with a name and yields its addresses.
    pub fn quality(&self, address: IpAddr, resolve: impl FnOnce(&str) -> Vec<IpAddr>) -> HostMatch {
        match self {
            Self::Any(family) => u8::from(family.is_none_or(|family| family == Family::of(address))),
            Self::Address(host) if *host == address => EXACT,
            Self::Address(_) => 0,
            Self::Range(range) if !range.contains_address(address) => 0,
            Self::Range(range) => range.to_subnet().map_or(1, |(_, prefix)| prefix.saturating_add(1)),
            Self::Name(name) if !name.starts_with('%') && resolve(name).contains(&address) => EXACT,
            Self::Name(_) => 0,
        }
    }

    /// The literal address, if it is one: the address an initiator can use without resolving anything.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Any(_) | Self::Range(_) | Self::Name(_) => None,
        }
    }

    /// The name to resolve, if it is one that can resolve.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) if !name.starts_with('%') => Some(name),
            Self::Name(_) | Self::Any(_) | Self::Range(_) | Self::Address(_) => None,
        }
    }

    /// Whether it accepts every address (of a family).
    pub fn is_any(&self) -> bool {
        matches!(self, Self::Any(_))
    }
}

impl fmt::Display for HostSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(None) => f.write_str("%any"),
            Self::Any(Some(Family::Ipv4)) => f.write_str("0.0.0.0"),
            Self::Any(Some(Family::Ipv6)) => f.write_str("::"),
            Self::Address(address) => write!(f, "{address}"),
            Self::Range(range) => match range.to_subnet() {
                Some((network, prefix)) => write!(f, "{network}/{prefix}"),
                None => write!(f, "{}-{}", range.start(), range.end()),
            },
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn quality(spec: &str, address: &str) -> HostMatch {
        HostSpec::parse(spec).quality(ip(address), |name| match name {
            "gw.example" => vec![ip("192.0.2.1"), ip("2001:db8::1")],
            _ => vec![],
        })
    }

    #[test]
    fn ranges_know_their_subnet() {
        let range = AddressRange::parse("10.1.2.3/16").unwrap();
        assert_eq!((range.start(), range.end()), (ip("10.1.0.0"), ip("10.1.255.255")));
        assert_eq!(range.to_subnet(), Some((ip("10.1.0.0"), 16)));
        let range = AddressRange::parse("10.0.0.1 - 10.0.0.6").unwrap();
        assert_eq!(range.to_subnet(), None);
        assert_eq!(range.enclosing_subnet(), (ip("10.0.0.0"), 29));
        assert_eq!(AddressRange::all(Family::Ipv6).to_subnet(), Some((ip("::"), 0)));
        assert_eq!(AddressRange::parse("fec0::1").unwrap().to_subnet(), Some((ip("fec0::1"), 128)));
        assert_eq!(AddressRange::parse("fec0::/16").unwrap().end(), ip("fec0:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
    }

    #[test]
    fn odd_prefixes() {
        assert_eq!(AddressRange::parse("10.0.0.1/33"), None);
        assert_eq!(AddressRange::parse("::1/129"), None);
        assert_eq!(AddressRange::parse("10.0.0.1/99999999999"), None);
        assert_eq!(AddressRange::parse("10.0.0.1/x"), Some(AddressRange::all(Family::Ipv4)));
        assert_eq!(AddressRange::parse("10.0.0.9-10.0.0.1"), None);
        assert_eq!(AddressRange::parse("10.0.0.9-::1"), None);
    }

    #[test]
    fn containment_and_intersection() {
        let (a, b) = (AddressRange::parse("10.0.0.0/8").unwrap(), AddressRange::parse("10.1.0.0/16").unwrap());
        assert!(a.contains(&b) && !b.contains(&a) && a.contains(&a));
        assert_eq!(a.intersection(&b), Some(b));
        assert_eq!(b.intersection(&AddressRange::parse("10.2.0.0/16").unwrap()), None);
        assert_eq!(a.intersection(&AddressRange::all(Family::Ipv6)), None);
        assert!(!AddressRange::all(Family::Ipv6).contains(&a));
    }

    #[test]
    fn qualities() {
        assert_eq!(quality("192.0.2.1", "192.0.2.1"), 129);
        assert_eq!(quality("192.0.2.1", "192.0.2.2"), 0);
        assert_eq!(quality("192.0.2.0/24", "192.0.2.1"), 25);
        assert_eq!(quality("2001:db8::/32", "2001:db8::1"), 33);
        assert_eq!(quality("192.0.2.1-192.0.2.6", "192.0.2.6"), 1);
        assert_eq!(quality("192.0.2.0-192.0.2.7", "192.0.2.6"), 30);
        assert_eq!(quality("%any", "192.0.2.1"), 1);
        assert_eq!(quality("%any6", "192.0.2.1"), 0);
        assert_eq!(quality("%any4", "192.0.2.1"), 1);
        assert_eq!(quality("gw.example", "2001:db8::1"), 129);
        assert_eq!(quality("other.example", "192.0.2.1"), 0);
        assert_eq!(quality("%defaultroute", "192.0.2.1"), 0);
    }

    #[test]
    fn prints_what_it_parsed() {
        for text in ["%any", "0.0.0.0", "::", "10.0.0.1", "10.0.0.0/8", "10.0.0.1-10.0.0.3", "gw.example"] {
            assert_eq!(HostSpec::parse(text).to_string(), text);
        }
        assert_eq!(HostSpec::parse("10.1.2.3/8").to_string(), "10.0.0.0/8");
    }
}
