//! The text form of identities in `swanctl.conf` and vici messages. Rules apply in a fixed order; a plain identity
//! always parses as something.

use std::sync::Arc;

use der::asn1::{Any, ObjectIdentifier};
use der::{Encode, Tag, TagNumber};
use regex_lite::RegexBuilder;
use thiserror::Error;

use super::{Data, IdType, Identity, Pattern, dn};
use crate::host::AddressRange;

/// What a compiled regular expression may take in memory: far more than any identity needs.
const REGEX_SIZE_LIMIT: usize = 1 << 20;

/// Why an identity was not accepted.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum IdentityError {
    /// The regular expression does not compile.
    #[error("invalid regular expression '{pattern}': {reason}")]
    InvalidRegex {
        /// The expression.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Prefixes that fix the type of what follows.
const PREFIXES: &[(&str, IdType)] = &[
    ("ipv4", IdType::Ipv4Addr),
    ("ipv6", IdType::Ipv6Addr),
    ("ipv4net", IdType::Ipv4AddrSubnet),
    ("ipv6net", IdType::Ipv6AddrSubnet),
    ("ipv4range", IdType::Ipv4AddrRange),
    ("ipv6range", IdType::Ipv6AddrRange),
    ("rfc822", IdType::Rfc822Addr),
    ("email", IdType::Rfc822Addr),
    ("userfqdn", IdType::Rfc822Addr),
    ("fqdn", IdType::Fqdn),
    ("dns", IdType::Fqdn),
    ("asn1dn", IdType::DerAsn1Dn),
    ("asn1gn", IdType::DerAsn1Gn),
    ("xmppaddr", IdType::DerAsn1Gn),
    ("keyid", IdType::KeyId),
    ("uri", IdType::Uri),
];

pub(super) fn parse_with_regex(text: &str) -> Result<Identity, IdentityError> {
    if let Some((prefix, pattern)) = text.split_once(':')
        && pattern.starts_with('^')
        && pattern.ends_with('$')
        && let Some(id_type @ (IdType::Rfc822Addr | IdType::Fqdn | IdType::DerAsn1Dn)) = type_of_prefix(prefix)
    {
        let regex =
            RegexBuilder::new(pattern).case_insensitive(true).size_limit(REGEX_SIZE_LIMIT).build().map_err(
                |error| IdentityError::InvalidRegex { pattern: pattern.to_owned(), reason: error.to_string() },
            )?;
        return Ok(Identity {
            id_type,
            data: Data::Regex(Arc::new(Pattern {
                text: pattern.into(),
                is_match: Box::new(move |text| regex.is_match(text)),
            })),
        });
    }
    Ok(parse(text))
}

pub(super) fn parse(text: &str) -> Identity {
    if let Some((prefix, rest)) = text.split_once(':') {
        if let Some(id_type) = type_of_prefix(prefix) {
            let data = binary(rest);
            return if prefix.eq_ignore_ascii_case("xmppaddr") {
                Identity::from_encoding(id_type, &xmpp_address(&data))
            } else {
                Identity::from_encoding(id_type, &data)
            };
        }
        if let Some(number) = prefix.strip_prefix('{').and_then(|prefix| prefix.strip_suffix('}')).and_then(id_number) {
            return Identity::from_encoding(number.into(), &binary(rest));
        }
    }
    if text.contains('=') {
        return match dn::parse(text) {
            Some(name) => Identity::from_encoding(IdType::DerAsn1Dn, &name),
            None => Identity::from_encoding(IdType::KeyId, text.as_bytes()),
        };
    }
    let Some((before_at, after_at)) = text.split_once('@') else { return parse_host(text) };
    if !before_at.is_empty() {
        Identity::from_encoding(IdType::Rfc822Addr, text.as_bytes())
    } else if let Some(hex) = after_at.strip_prefix('#') {
        Identity::from_encoding(IdType::KeyId, &from_hex(hex))
    } else if let Some(address) = after_at.strip_prefix('@') {
        Identity::from_encoding(IdType::Rfc822Addr, address.as_bytes())
    } else {
        Identity::from_encoding(IdType::Fqdn, after_at.as_bytes())
    }
}

/// Text without `=` and `@`: an address of some kind or a name.
fn parse_host(text: &str) -> Identity {
    if matches!(text, "" | "%any" | "%any6" | "0.0.0.0" | "*" | "::" | "0::0") {
        return Identity::any();
    }
    match AddressRange::parse(text) {
        Some(range) => range_as_written(text, range),
        None if text.contains(':') => Identity::from_encoding(IdType::KeyId, text.as_bytes()),
        None => Identity::from_encoding(IdType::Fqdn, text.as_bytes()),
    }
}

/// What is written as a subnet or a range stays one, whatever it covers.
fn range_as_written(text: &str, range: AddressRange) -> Identity {
    let (v4, both) = match (range.start(), range.end()) {
        (std::net::IpAddr::V4(start), std::net::IpAddr::V4(end)) => (true, [start.octets(), end.octets()].concat()),
        (start, end) => (false, [start, end].iter().flat_map(octets).collect()),
    };
    if text.contains('-') {
        Identity::from_encoding(if v4 { IdType::Ipv4AddrRange } else { IdType::Ipv6AddrRange }, &both)
    } else if text.contains('/') && range.is_host() {
        let mask = vec![0xff; both.len() / 2];
        let network = both.get(..mask.len()).unwrap_or_default();
        let id_type = if v4 { IdType::Ipv4AddrSubnet } else { IdType::Ipv6AddrSubnet };
        Identity::from_encoding(id_type, &[network, &mask].concat())
    } else {
        range.into()
    }
}

fn octets(address: &std::net::IpAddr) -> Vec<u8> {
    match address {
        std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
        std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn type_of_prefix(prefix: &str) -> Option<IdType> {
    PREFIXES.iter().find(|(name, _)| name.eq_ignore_ascii_case(prefix)).map(|(_, id_type)| *id_type)
}

/// A number as C writes them: decimal, `0x` or leading zero for octal.
fn id_number(text: &str) -> Option<u8> {
    if let Some(hex) = text.strip_prefix("0x") {
        u8::from_str_radix(hex, 16).ok()
    } else if text.len() > 1 && text.starts_with('0') {
        u8::from_str_radix(text, 8).ok()
    } else {
        text.parse().ok()
    }
}

fn binary(text: &str) -> Vec<u8> {
    text.strip_prefix('#').map_or_else(|| text.as_bytes().to_vec(), from_hex)
}

/// Hex digits with optional colons; an odd one leads, and what is no digit counts as 0, since identities never fail.
fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| *c != ':')
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0))
        .collect();
    let (odd, pairs) = digits.split_at(digits.len() % 2);
    odd.iter()
        .copied()
        .chain(pairs.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)))
        .collect()
}

/// id-on-xmppAddr (RFC 6120 §13.7.1.4) as a general name of the kind otherName.
fn xmpp_address(address: &[u8]) -> Vec<u8> {
    const XMPP_ADDR: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.8.5");
    let encode = || -> der::Result<Vec<u8>> {
        let text = Any::new(Tag::Utf8String, address)?.to_der()?;
        let value = Any::new(Tag::ContextSpecific { constructed: true, number: TagNumber::N0 }, text)?.to_der()?;
        let content = [XMPP_ADDR.to_der()?, value].concat();
        Any::new(Tag::ContextSpecific { constructed: true, number: TagNumber::N0 }, content)?.to_der()
    };
    encode().unwrap_or_default()
}
