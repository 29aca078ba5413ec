//! Traffic selectors (RFC 7296 §3.13.1): which packets a CHILD_SA is for. Parsing and printing of the forms of
//! `swanctl.conf` and vici, and the set operations behind narrowing (RFC 7296 §2.9).

mod names;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

use crate::host::{AddressRange, Family};

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Why a traffic selector was not accepted.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SelectorError {
    /// The text before the bracket is neither `dynamic` nor an address, a subnet or a range.
    #[error("'{0}' is no address, subnet or range")]
    Address(String),
    /// The protocol has no number.
    #[error("unknown protocol '{0}'")]
    Protocol(String),
    /// The port is neither a number, a range, nor a service.
    #[error("invalid port '{0}'")]
    Port(String),
    /// The closing bracket is missing, or something follows it.
    #[error("unbalanced brackets in '{0}'")]
    Brackets(String),
    /// The ends of the address range are of different families or in the wrong order.
    #[error("address range {0} to {1} is empty")]
    EmptyRange(IpAddr, IpAddr),
    /// The ports are in the wrong order, and not the two that stand for OPAQUE.
    #[error("port range {0} to {1} is empty")]
    EmptyPorts(u16, u16),
}

/// The ports of a selector, both ends included. `65535` to `0` is OPAQUE: packets whose ports cannot be seen
/// (fragments). For ICMP the type is in the high octet and the code in the low one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PortRange {
    start: u16,
    end: u16,
}

impl PortRange {
    /// Every port.
    pub const ANY: Self = Self { start: 0, end: u16::MAX };
    /// Packets whose port cannot be seen.
    pub const OPAQUE: Self = Self { start: u16::MAX, end: 0 };

    /// The ports from `start` to `end`.
    ///
    /// # Errors
    /// If they are in the wrong order and not the two that stand for OPAQUE.
    pub fn new(start: u16, end: u16) -> Result<Self, SelectorError> {
        let range = Self { start, end };
        if start <= end || range == Self::OPAQUE { Ok(range) } else { Err(SelectorError::EmptyPorts(start, end)) }
    }

    /// A single port.
    pub fn single(port: u16) -> Self {
        Self { start: port, end: port }
    }

    /// The first port.
    pub fn start(self) -> u16 {
        self.start
    }

    /// The last port.
    pub fn end(self) -> u16 {
        self.end
    }

    /// Whether every port of `other` is one of these. Only all ports include the invisible one.
    pub fn contains(self, other: Self) -> bool {
        self == Self::ANY
            || self == other
            || (other != Self::OPAQUE && self.start <= other.start && other.end <= self.end)
    }

    fn intersection(self, other: Self) -> Option<Self> {
        if self.contains(other) {
            Some(other)
        } else if other.contains(self) {
            Some(self)
        } else if self == Self::OPAQUE || other == Self::OPAQUE {
            None
        } else {
            Self::new(self.start.max(other.start), self.end.min(other.end)).ok().filter(|range| *range != Self::OPAQUE)
        }
    }
}

/// A set of packets: addresses, a protocol (0 is any) and ports of one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TrafficSelector {
    addresses: AddressRange,
    protocol: u8,
    ports: PortRange,
    dynamic: bool,
}

impl TrafficSelector {
    /// A selector from the fields of the wire form.
    ///
    /// # Errors
    /// If a range is empty or mixes families.
    pub fn new(
        protocol: u8,
        start: IpAddr,
        end: IpAddr,
        start_port: u16,
        end_port: u16,
    ) -> Result<Self, SelectorError> {
        let addresses = AddressRange::new(start, end).ok_or(SelectorError::EmptyRange(start, end))?;
        Ok(Self { addresses, protocol, ports: PortRange::new(start_port, end_port)?, dynamic: false })
    }

    /// Everything to or from some addresses.
    pub fn from_range(addresses: AddressRange) -> Self {
        Self { addresses, protocol: 0, ports: PortRange::ANY, dynamic: false }
    }

    /// The placeholder for an address that is known only when the CHILD_SA is made.
    pub fn dynamic(protocol: u8, ports: PortRange) -> Self {
        Self { addresses: AddressRange::all(Family::Ipv4), protocol, ports, dynamic: true }
    }

    /// The same for whatever address is `dynamic`.
    #[must_use]
    pub fn to_dynamic(&self) -> Self {
        Self::dynamic(self.protocol, self.ports)
    }

    /// Parses `addr[protocol/port]`, where `addr` may be `dynamic`.
    ///
    /// # Errors
    /// If some part is not what it should be.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let text = text.trim();
        let (address, protocol_and_port) = match text.split_once('[') {
            Some((address, rest)) => {
                let inner = rest.strip_suffix(']').ok_or_else(|| SelectorError::Brackets(text.to_owned()))?;
                (address.trim_end(), inner)
            }
            None => (text, ""),
        };
        let (protocol, port) = protocol_and_port.split_once('/').unwrap_or((protocol_and_port, ""));
        let protocol = parse_protocol(protocol)?;
        let ports = parse_ports(port, protocol)?;
        if address == "dynamic" {
            return Ok(Self::dynamic(protocol, ports));
        }
        let addresses = parse_addresses(address).ok_or_else(|| SelectorError::Address(address.to_owned()))?;
        Ok(Self { addresses, protocol, ports, dynamic: false })
    }

    /// The addresses; meaningless while [`Self::is_dynamic`].
    pub fn addresses(&self) -> AddressRange {
        self.addresses
    }

    /// The first address.
    pub fn start(&self) -> IpAddr {
        self.addresses.start()
    }

    /// The last address.
    pub fn end(&self) -> IpAddr {
        self.addresses.end()
    }

    /// The address family.
    pub fn family(&self) -> Family {
        self.addresses.family()
    }

    /// The IP protocol, 0 for any.
    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    /// The ports.
    pub fn ports(&self) -> PortRange {
        self.ports
    }

    /// The first port.
    pub fn start_port(&self) -> u16 {
        self.ports.start
    }

    /// The last port.
    pub fn end_port(&self) -> u16 {
        self.ports.end
    }

    /// Whether the address is still to be filled in.
    pub fn is_dynamic(&self) -> bool {
        self.dynamic
    }

    /// Whether it is for exactly one address, or for `host` if given.
    pub fn is_host(&self, host: Option<IpAddr>) -> bool {
        !self.dynamic && self.addresses.is_host() && host.is_none_or(|host| host == self.start())
    }

    /// Network and prefix length of the smallest subnet that holds the addresses.
    pub fn to_subnet(&self) -> (IpAddr, u8) {
        self.addresses.enclosing_subnet()
    }

    /// The selector for a single address: what becomes of `dynamic`, and of any selector in transport mode.
    #[must_use]
    pub fn with_address(&self, address: IpAddr) -> Self {
        self.with_addresses(AddressRange::host(address))
    }

    /// The selector for these addresses.
    #[must_use]
    pub fn with_addresses(&self, addresses: AddressRange) -> Self {
        Self { addresses, dynamic: false, ..*self }
    }

    /// Whether every packet of `other` is one of these.
    pub fn contains(&self, other: &Self) -> bool {
        self.dynamic == other.dynamic
            && (self.protocol == 0 || self.protocol == other.protocol)
            && self.ports.contains(other.ports)
            && self.addresses.contains(&other.addresses)
    }

    /// Whether a packet with these properties at this end is one of them.
    pub fn matches(&self, address: IpAddr, protocol: u8, ports: PortRange) -> bool {
        (self.protocol == 0 || self.protocol == protocol)
            && self.ports.contains(ports)
            && self.addresses.contains_address(address)
    }

    /// The packets that are in both selectors.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        if self.dynamic || other.dynamic {
            return (self == other).then_some(*self);
        }
        let protocol = match (self.protocol, other.protocol) {
            (0, protocol) | (protocol, 0) => protocol,
            (a, b) if a == b => a,
            _ => return None,
        };
        Some(Self {
            addresses: self.addresses.intersection(&other.addresses)?,
            protocol,
            ports: self.ports.intersection(other.ports)?,
            dynamic: false,
        })
    }
}

/// Replaces `dynamic` selectors by one for each of `hosts` and drops duplicates.
pub fn resolve(configured: &[TrafficSelector], hosts: &[IpAddr]) -> Vec<TrafficSelector> {
    let hosts: Vec<_> = hosts.iter().copied().map(AddressRange::host).collect();
    resolve_ranges(configured, &hosts)
}

/// Replaces `dynamic` selectors by one for each of `ranges` and drops duplicates.
pub fn resolve_ranges(configured: &[TrafficSelector], ranges: &[AddressRange]) -> Vec<TrafficSelector> {
    let mut resolved = Vec::with_capacity(configured.len());
    let mut add = |selector| {
        if !resolved.contains(&selector) {
            resolved.push(selector);
        }
    };
    for selector in configured {
        if selector.dynamic {
            ranges.iter().for_each(|range| add(selector.with_addresses(*range)));
        } else {
            add(*selector);
        }
    }
    resolved
}

/// Selectors that one side of a CHILD_SA may have: a TS payload counts them in one byte (RFC 7296 §3.13).
pub const MAX_SELECTORS: usize = 255;

/// Narrows what a peer asks for to what is configured: the intersections of every pair in the order of the
/// configuration, without those that another one covers (RFC 7296 §2.9).
///
/// Nothing is left of what would become more than [`MAX_SELECTORS`]: it could not be answered, and somebody who asks for
/// a patchwork is not worth comparing thousands of patches with each other.
pub fn narrow(configured: &[TrafficSelector], received: &[TrafficSelector]) -> Vec<TrafficSelector> {
    let received = without_covered(received.iter().copied());
    let pairs = without_covered(configured.iter().copied())
        .into_iter()
        .flat_map(|configured| received.iter().filter_map(move |received| configured.intersection(received)));
    let mut narrowed: Vec<TrafficSelector> = Vec::with_capacity(configured.len().min(MAX_SELECTORS));
    for common in pairs {
        add_uncovered(&mut narrowed, common);
        if narrowed.len() > MAX_SELECTORS {
            return Vec::new();
        }
    }
    narrowed
}

/// Those selectors that no other one covers, of equal ones the first.
fn without_covered(selectors: impl Iterator<Item = TrafficSelector>) -> Vec<TrafficSelector> {
    let mut kept = Vec::new();
    selectors.for_each(|selector| add_uncovered(&mut kept, selector));
    kept
}

fn add_uncovered(kept: &mut Vec<TrafficSelector>, selector: TrafficSelector) {
    if !kept.iter().any(|other| other.contains(&selector)) {
        kept.retain(|other| !selector.contains(other));
        kept.push(selector);
    }
}

/// Addresses of a selector: unlike elsewhere, a prefix that is too long counts as full.
fn parse_addresses(text: &str) -> Option<AddressRange> {
    AddressRange::parse(text).or_else(|| {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        bits.bytes().all(|byte| byte.is_ascii_digit()).then(|| AddressRange::host(address))
    })
}

fn parse_protocol(text: &str) -> Result<u8, SelectorError> {
    if text.is_empty() || text == "any" {
        return Ok(0);
    }
    names::protocol_number(text)
        .or_else(|| parse_number(text).and_then(|number| u8::try_from(number).ok()))
        .ok_or_else(|| SelectorError::Protocol(text.to_owned()))
}

fn parse_ports(text: &str, protocol: u8) -> Result<PortRange, SelectorError> {
    if text.is_empty() || text == "any" {
        return Ok(PortRange::ANY);
    }
    if text == "opaque" || text == "OPAQUE" {
        return Ok(PortRange::OPAQUE);
    }
    if let Some(port) = names::service_port(text, protocol) {
        return Ok(PortRange::single(port));
    }
    let port = |text: &str| parse_port(text.trim(), protocol);
    let ends = match text.split_once('-') {
        Some((start, end)) => port(start).zip(port(end)),
        None => port(text).map(|port| (port, port)),
    };
    let (start, end) = ends.ok_or_else(|| SelectorError::Port(text.to_owned()))?;
    PortRange::new(start, end)
}

/// A port, or for ICMP a type, optionally with a code: `8`, `3(1)`, or both in one number above 255.
fn parse_port(text: &str, protocol: u8) -> Option<u16> {
    if !is_icmp(protocol) {
        return parse_number(text);
    }
    let (icmp_type, code) = match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        Some((icmp_type, code)) => (parse_number(icmp_type)?, u8::try_from(parse_number(code)?).ok()?),
        None => (parse_number(text)?, 0),
    };
    match u8::try_from(icmp_type) {
        Ok(icmp_type) => Some(u16::from_be_bytes([icmp_type, code])),
        Err(_) => Some(icmp_type),
    }
}

/// A number as C writes them: decimal, `0x` for hexadecimal, a leading zero for octal.
fn parse_number(text: &str) -> Option<u16> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        u16::from_str_radix(hex, 16).ok()
    } else if text.len() > 1 && text.starts_with('0') {
        u16::from_str_radix(text, 8).ok()
    } else {
        text.parse().ok()
    }
}

fn is_icmp(protocol: u8) -> bool {
    matches!(protocol, ICMP | ICMPV6)
}

impl FromStr for TrafficSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl PartialOrd for TrafficSelector {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// IPv4 first, then by address; of those that start alike the larger first.
impl Ord for TrafficSelector {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |ts: &Self| (ts.protocol, ts.ports.start, ts.ports.end, ts.dynamic);
        (self.start().cmp(&other.start()))
            .then_with(|| other.end().cmp(&self.end()))
            .then_with(|| key(self).cmp(&key(other)))
    }
}

impl fmt::Display for TrafficSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addresses.to_subnet() {
            _ if self.dynamic => f.write_str("dynamic")?,
            Some((network, prefix)) => write!(f, "{network}/{prefix}")?,
            None => write!(f, "{}..{}", self.start(), self.end())?,
        }
        if self.protocol == 0 && self.ports == PortRange::ANY {
            return Ok(());
        }
        match names::protocol_name(self.protocol) {
            Some(name) => write!(f, "[{name}")?,
            None => write!(f, "[{}", self.protocol)?,
        }
        if self.ports != PortRange::ANY {
            f.write_str("/")?;
            self.print_ports(f)?;
        }
        f.write_str("]")
    }
}

impl TrafficSelector {
    fn print_ports(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PortRange { start, end } = self.ports;
        if self.ports == PortRange::OPAQUE {
            return f.write_str("OPAQUE");
        }
        let icmp = is_icmp(self.protocol);
        if !icmp
            && start == end
            && let Some(name) = names::service_name(start, self.protocol)
        {
            return f.write_str(name);
        }
        let print = |f: &mut fmt::Formatter<'_>, port: u16| match port.to_be_bytes() {
            [icmp_type, 0] if icmp => write!(f, "{icmp_type}"),
            [icmp_type, code] if icmp => write!(f, "{icmp_type}({code})"),
            _ => write!(f, "{port}"),
        };
        print(f, start)?;
        if start != end {
            f.write_str("-")?;
            print(f, end)?;
        }
        Ok(())
    }
}
