//! IKE identities (RFC 7296 §3.5): parsing, printing, comparing, and matching what a peer sends against what is
//! configured, with wildcards, regular expressions and address ranges.
//!
//! Equality and hashing follow meaning where the protocol does: domain names and mail addresses ignore case, and so
//! do the case-insensitive parts of distinguished names.

mod dn;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::host::{AddressRange, Family};
pub use dn::RdnMatching;
pub use parse::IdentityError;

crate::registry! {
    /// Type of an identification payload's data (RFC 7296 §3.5). `Any` and `Uri` are private and never on the wire.
    pub enum IdType: u8 {
        0 => Any, "ID_ANY";
        1 => Ipv4Addr, "ID_IPV4_ADDR";
        2 => Fqdn, "ID_FQDN";
        3 => Rfc822Addr, "ID_RFC822_ADDR";
        4 => Ipv4AddrSubnet, "ID_IPV4_ADDR_SUBNET";
        5 => Ipv6Addr, "ID_IPV6_ADDR";
        6 => Ipv6AddrSubnet, "ID_IPV6_ADDR_SUBNET";
        7 => Ipv4AddrRange, "ID_IPV4_ADDR_RANGE";
        8 => Ipv6AddrRange, "ID_IPV6_ADDR_RANGE";
        9 => DerAsn1Dn, "ID_DER_ASN1_DN";
        10 => DerAsn1Gn, "ID_DER_ASN1_GN";
        11 => KeyId, "ID_KEY_ID";
        201 => Uri, "ID_DER_ASN1_GN_URI";
    }
}

/// How well an identity fits a pattern: higher is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Match(u8);

impl Match {
    /// No match.
    pub const NONE: Self = Self(0);
    /// The pattern accepts anything.
    pub const ANY: Self = Self(1);
    /// The least that a pattern which says something yields: a regular expression, or every address.
    pub const MANY_WILDCARDS: Self = Self(2);
    /// The pattern leaves one part open.
    pub const ONE_WILDCARD: Self = Self(19);
    /// Equal.
    pub const PERFECT: Self = Self(20);

    fn with_wildcards(count: usize) -> Self {
        let count = u8::try_from(count).unwrap_or(u8::MAX);
        Self(Self::PERFECT.0.saturating_sub(count).max(3))
    }

    /// Whether there is a match at all.
    pub fn is_match(self) -> bool {
        self != Self::NONE
    }

    /// The number that log lines and rankings use, 0 to 20.
    pub fn value(self) -> u8 {
        self.0
    }
}

/// The mode of [`Identity::matches`], as [`set_rdn_matching`] left it.
static RDN_MATCHING: AtomicU8 = AtomicU8::new(0);

/// Sets how [`Identity::matches`] pairs the RDNs of names from now on (`charon.rdn_matching`). It is one setting of
/// the process, read on each comparison.
pub fn set_rdn_matching(mode: RdnMatching) {
    let number = match mode {
        RdnMatching::Strict => 0,
        RdnMatching::Reordered => 1,
        RdnMatching::Relaxed => 2,
    };
    RDN_MATCHING.store(number, Ordering::Relaxed);
}

/// How [`Identity::matches`] pairs the RDNs of names.
pub fn rdn_matching() -> RdnMatching {
    match RDN_MATCHING.load(Ordering::Relaxed) {
        1 => RdnMatching::Reordered,
        2 => RdnMatching::Relaxed,
        _ => RdnMatching::Strict,
    }
}

/// Whether names match only in the order of their RDNs, so that names which match without wildcards are equal.
pub(crate) fn rdns_are_strict() -> bool {
    rdn_matching() == RdnMatching::Strict
}

/// An identity: of a peer, of ourselves, of a certificate, or a pattern for one. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    id_type: IdType,
    data: Data,
}

#[derive(Clone)]
enum Data {
    Value(Arc<[u8]>),
    Regex(Arc<Pattern>),
}

/// A regular expression that is applied to the text form of an identity.
struct Pattern {
    text: Box<str>,
    /// A closure, so that the caches inside the expression do not pass for mutable parts of a hash key.
    is_match: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

impl Identity {
    /// The identity that matches everything.
    pub fn any() -> Self {
        Self::from_encoding(IdType::Any, &[])
    }

    /// An identity as it is on the wire. Nothing is checked: a peer may send what it likes, it will not match.
    pub fn from_encoding(id_type: IdType, encoding: &[u8]) -> Self {
        Self { id_type, data: Data::Value(encoding.into()) }
    }

    /// Parses the text form of the configuration. It never fails: what is nothing else is a name or opaque bytes.
    pub fn parse(text: &str) -> Self {
        parse::parse(text)
    }

    /// Like [`Self::parse`] for options that accept regular expressions (`fqdn:^…$`).
    ///
    /// # Errors
    /// If it is a regular expression that does not compile.
    pub fn parse_with_regex(text: &str) -> Result<Self, IdentityError> {
        parse::parse_with_regex(text)
    }

    /// The type.
    pub fn id_type(&self) -> IdType {
        self.id_type
    }

    /// The bytes on the wire; of a regular expression, its text.
    pub fn encoding(&self) -> &[u8] {
        match &self.data {
            Data::Value(value) => value,
            Data::Regex(pattern) => pattern.text.as_bytes(),
        }
    }

    /// Whether it is the identity that matches everything.
    pub fn is_any(&self) -> bool {
        self.id_type == IdType::Any
    }

    /// Whether it is a pattern rather than the identity of somebody.
    pub fn contains_wildcards(&self) -> bool {
        let Data::Value(value) = &self.data else { return true };
        match self.id_type {
            IdType::Any => true,
            IdType::Fqdn | IdType::Rfc822Addr => value.contains(&b'*'),
            IdType::DerAsn1Dn => dn::contains_wildcards(value),
            _ => false,
        }
    }

    /// How well this received identity fits a configured one.
    pub fn matches(&self, pattern: &Self) -> Match {
        self.matches_with(pattern, rdn_matching())
    }

    /// Like [`Self::matches`] with an explicit mode for distinguished names.
    pub fn matches_with(&self, pattern: &Self, mode: RdnMatching) -> Match {
        if pattern.is_any() {
            return Match::ANY;
        }
        let pattern_value = match &pattern.data {
            Data::Value(value) => value,
            Data::Regex(regex) => {
                let fits = self.id_type == pattern.id_type
                    && matches!(self.data, Data::Value(_))
                    && (regex.is_match)(&self.to_string());
                return if fits || self == pattern { Match::MANY_WILDCARDS } else { Match::NONE };
            }
        };
        let Data::Value(value) = &self.data else { return Match::NONE };
        if let (Some(range), Some(wanted)) = (self.addresses(), pattern.addresses()) {
            return match_ranges(&range, &wanted);
        }
        if self.id_type != pattern.id_type {
            return Match::NONE;
        }
        match self.id_type {
            IdType::Fqdn | IdType::Rfc822Addr => match_text(value, pattern_value),
            IdType::DerAsn1Dn => dn::matches(value, pattern_value, mode),
            _ if value == pattern_value => Match::PERFECT,
            _ => Match::NONE,
        }
    }

    /// The address, if it is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.addresses().filter(AddressRange::is_host).map(|range| range.start())
    }

    /// The addresses of an address, subnet or range.
    fn addresses(&self) -> Option<AddressRange> {
        let Data::Value(value) = &self.data else { return None };
        match self.id_type {
            IdType::Ipv4Addr => <[u8; 4]>::try_from(&**value).ok().map(|v4| AddressRange::host(v4.into())),
            IdType::Ipv6Addr => <[u8; 16]>::try_from(&**value).ok().map(|v6| AddressRange::host(v6.into())),
            IdType::Ipv4AddrSubnet | IdType::Ipv6AddrSubnet => {
                let (network, mask) = address_pair(self.id_type, value)?;
                Some(AddressRange::subnet(network, prefix_of(mask)?))
            }
            IdType::Ipv4AddrRange | IdType::Ipv6AddrRange => {
                let (start, end) = address_pair(self.id_type, value)?;
                AddressRange::new(start, end)
            }
            _ => None,
        }
    }
}

fn address_pair(id_type: IdType, value: &[u8]) -> Option<(IpAddr, IpAddr)> {
    if matches!(id_type, IdType::Ipv4AddrSubnet | IdType::Ipv4AddrRange) {
        let (first, second) = value.split_at_checked(4)?;
        Some((<[u8; 4]>::try_from(first).ok()?.into(), <[u8; 4]>::try_from(second).ok()?.into()))
    } else {
        let (first, second) = value.split_at_checked(16)?;
        Some((<[u8; 16]>::try_from(first).ok()?.into(), <[u8; 16]>::try_from(second).ok()?.into()))
    }
}

/// The prefix length of a mask whose ones come first.
fn prefix_of(mask: IpAddr) -> Option<u8> {
    let (ones, all) = match mask {
        IpAddr::V4(mask) => (mask.to_bits().leading_ones(), mask.to_bits().count_ones()),
        IpAddr::V6(mask) => (mask.to_bits().leading_ones(), mask.to_bits().count_ones()),
    };
    if ones == all { u8::try_from(ones).ok() } else { None }
}

fn match_ranges(received: &AddressRange, pattern: &AddressRange) -> Match {
    if received == pattern {
        Match::PERFECT
    } else if !pattern.contains(received) {
        Match::NONE
    } else if *pattern == AddressRange::all(pattern.family()) {
        Match::MANY_WILDCARDS
    } else {
        Match::ONE_WILDCARD
    }
}

fn match_text(received: &[u8], pattern: &[u8]) -> Match {
    let Some(suffix) = pattern.strip_prefix(b"*") else {
        return if received.eq_ignore_ascii_case(pattern) { Match::PERFECT } else { Match::NONE };
    };
    let fits = received
        .len()
        .checked_sub(suffix.len())
        .and_then(|start| received.get(start..))
        .is_some_and(|tail| tail.eq_ignore_ascii_case(suffix));
    match fits {
        false => Match::NONE,
        true if suffix.is_empty() => Match::ANY,
        true => Match::ONE_WILDCARD,
    }
}

impl From<IpAddr> for Identity {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::from_encoding(IdType::Ipv4Addr, &v4.octets()),
            IpAddr::V6(v6) => Self::from_encoding(IdType::Ipv6Addr, &v6.octets()),
        }
    }
}

impl From<AddressRange> for Identity {
    fn from(range: AddressRange) -> Self {
        if range.is_host() {
            return range.start().into();
        }
        let v4 = range.family() == Family::Ipv4;
        let (id_type, second) = match range.to_subnet() {
            Some((_, prefix)) => {
                let all = AddressRange::all(range.family());
                // The mask is the first address of the last subnet of this length.
                let mask = AddressRange::subnet(all.end(), prefix).start();
                (if v4 { IdType::Ipv4AddrSubnet } else { IdType::Ipv6AddrSubnet }, mask)
            }
            None => (if v4 { IdType::Ipv4AddrRange } else { IdType::Ipv6AddrRange }, range.end()),
        };
        let mut encoding = Vec::with_capacity(32);
        for address in [range.start(), second] {
            match address {
                IpAddr::V4(v4) => encoding.extend(v4.octets()),
                IpAddr::V6(v6) => encoding.extend(v6.octets()),
            }
        }
        Self::from_encoding(id_type, &encoding)
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        if self.id_type != other.id_type {
            return false;
        }
        match (&self.data, &other.data) {
            (Data::Value(a), Data::Value(b)) => match self.id_type {
                IdType::Any => true,
                IdType::Fqdn | IdType::Rfc822Addr => a.eq_ignore_ascii_case(b),
                IdType::DerAsn1Dn => dn::equal(a, b),
                _ => a == b,
            },
            (Data::Regex(a), Data::Regex(b)) => a.text == b.text,
            _ => false,
        }
    }
}

impl Eq for Identity {}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id_type.hash(state);
        let Data::Value(value) = &self.data else { return self.encoding().hash(state) };
        match self.id_type {
            IdType::Any => (),
            IdType::Fqdn | IdType::Rfc822Addr => {
                value.iter().for_each(|byte| state.write_u8(byte.to_ascii_lowercase()));
            }
            IdType::DerAsn1Dn => dn::hash(value, state),
            _ => value.hash(state),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Data::Value(value) = &self.data else { return write!(f, "{}", Printable(self.encoding())) };
        match self.id_type {
            IdType::Any => f.write_str("%any"),
            IdType::Fqdn | IdType::Rfc822Addr | IdType::Uri => write!(f, "{}", Printable(value)),
            IdType::DerAsn1Dn => dn::print(value, f),
            IdType::DerAsn1Gn => f.write_str("(ASN.1 general name)"),
            // Twenty bytes are a SHA-1 fingerprint even if they happen to be printable.
            IdType::KeyId if value.len() != 20 && value.iter().all(is_printable) => write!(f, "{}", Printable(value)),
            IdType::KeyId => print_hex(value, f),
            IdType::Unknown(number) => write!(f, "(unknown ID type: {number})"),
            IdType::Ipv4Addr
            | IdType::Ipv6Addr
            | IdType::Ipv4AddrSubnet
            | IdType::Ipv6AddrSubnet
            | IdType::Ipv4AddrRange
            | IdType::Ipv6AddrRange => self.print_addresses(f),
        }
    }
}

impl Identity {
    fn print_addresses(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(range) = self.addresses() else { return write!(f, "(invalid {})", self.id_type) };
        match (self.id_type, range.to_subnet()) {
            (IdType::Ipv4Addr | IdType::Ipv6Addr, _) => write!(f, "{}", range.start()),
            (IdType::Ipv4AddrSubnet | IdType::Ipv6AddrSubnet, Some((network, prefix))) => {
                write!(f, "{network}/{prefix}")
            }
            _ => write!(f, "{}-{}", range.start(), range.end()),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({self})", self.id_type)
    }
}

fn is_printable(byte: &u8) -> bool {
    (0x20..0x7f).contains(byte)
}

/// Text of unknown origin: what is not printable ASCII becomes `?`.
struct Printable<'a>(&'a [u8]);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chunk_by(|a, b| is_printable(a) == is_printable(b)).try_for_each(|run| match std::str::from_utf8(run) {
            Ok(text) if run.first().is_some_and(is_printable) => f.write_str(text),
            _ => run.iter().try_for_each(|_| f.write_str("?")),
        })
    }
}

fn print_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().enumerate().try_for_each(|(index, byte)| {
        if index > 0 {
            f.write_str(":")?;
        }
        write!(f, "{byte:02x}")
    })
}
