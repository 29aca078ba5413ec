//! The value syntaxes of `load-conn`: text to typed values.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ike::config::{Action, IfIdConfig, MarkConfig, MarkValue, SetMark};
use ike::ids::{IfId, Mark};
use strongswan::host::HostSpec;
use strongswan::identity::{Identity, IdentityError};
use strongswan::selectors::{SelectorError, TrafficSelector};
use vici::number;

/// Why a value is refused; the log has it, the answer only names the option.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Invalid {
    #[error("not text")]
    NotText,
    #[error("'{0}' is not yes or no")]
    Bool(String),
    #[error("'{0}' is not a number")]
    Number(String),
    #[error("'{0}' is not a time: a number and optionally one of s, m, h, d")]
    Time(String),
    #[error("'{0}' is not a volume: a number and optionally one of k, m, g")]
    Bytes(String),
    #[error("'{0}' is not binary")]
    Binary(String),
    #[error("'{given}' is none of: {words}")]
    Word { given: String, words: String },
    #[error("'{0}' is not an action: none, trap, start or trap|start")]
    Action(String),
    #[error("'{0}' is not a mark: value[/mask], %unique or %unique-dir")]
    Mark(String),
    #[error("'{0}' is not an address")]
    Address(String),
    #[error("must not be empty")]
    Empty,
    #[error("SELinux is not supported")]
    Selinux,
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Selector(#[from] SelectorError),
    #[error(transparent)]
    Proposal(#[from] strongswan::crypto::ProposalError),
}

pub(super) fn text(value: &[u8]) -> Result<&str, Invalid> {
    vici::message::text(value).ok_or(Invalid::NotText)
}

pub(super) fn bool(text: &str) -> Result<bool, Invalid> {
    let is = |words: [&str; 4]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is(["yes", "true", "enabled", "1"]) {
        Ok(true)
    } else if is(["no", "false", "disabled", "0"]) {
        Ok(false)
    } else {
        Err(Invalid::Bool(text.to_owned()))
    }
}

/// Whether a section's name starts with this, in any case.
pub(super) fn starts_with(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// One word of a table, in any case.
pub(super) fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Invalid> {
    let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value).ok_or_else(|| Invalid::Word {
        given: text.to_owned(),
        words: words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", "),
    })
}

/// A 64-bit number as C's `strtoul` reads it; empty is 0.
pub(super) fn uint64(text: &str) -> Result<u64, Invalid> {
    if text.is_empty() {
        return Ok(0);
    }
    number::unsigned(text).ok_or_else(|| Invalid::Number(text.to_owned()))
}

/// A number of at most 32 bits; strongSwan cuts larger ones. As in C, `-1` is all ones.
pub(super) fn uint32(text: &str) -> Result<u32, Invalid> {
    let number = uint64(text)?;
    // A number that is too large even for 64 bits looks like -1 by now.
    let negative = text.trim_start().starts_with('-') && number.checked_add(1 << 31).is_none();
    let number = if negative { number & u64::from(u32::MAX) } else { number };
    u32::try_from(number).map_err(|_| Invalid::Number(text.to_owned()))
}

/// A port.
pub(super) fn port(text: &str) -> Result<u16, Invalid> {
    u16::try_from(uint64(text)?).map_err(|_| Invalid::Number(text.to_owned()))
}

/// Seconds with an optional unit.
pub(super) fn time(text: &str) -> Result<Duration, Invalid> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86400)];
    scaled(text, &units).map(Duration::from_secs).ok_or_else(|| Invalid::Time(text.to_owned()))
}

/// Seconds with an optional unit, as a number.
pub(super) fn seconds(text: &str) -> Result<u64, Invalid> {
    time(text).map(|time| time.as_secs())
}

/// Bytes with an optional unit.
pub(super) fn bytes(text: &str) -> Result<u64, Invalid> {
    let units = [("k", 1 << 10), ("m", 1 << 20), ("g", 1 << 30)];
    scaled(text, &units).ok_or_else(|| Invalid::Bytes(text.to_owned()))
}

/// A number, optional blanks, optionally one unit; saturates.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    if text.is_empty() {
        return Some(0);
    }
    let (number, rest) = number::split_unsigned(text)?;
    let unit = rest.trim_start();
    if unit.is_empty() {
        return rest.is_empty().then_some(number);
    }
    let (_, factor) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    Some(number.saturating_mul(*factor))
}

/// Six bits in binary digits.
pub(super) fn dscp(text: &str) -> Result<u8, Invalid> {
    let invalid = || Invalid::Binary(text.to_owned());
    let digits = text.strip_prefix("0b").unwrap_or(text);
    if digits.is_empty() {
        return Ok(0);
    }
    u8::from_str_radix(digits, 2).ok().filter(|number| *number <= 0x3f).ok_or_else(invalid)
}

pub(super) fn action(text: &str) -> Result<Action, Invalid> {
    text.parse().map_err(|_| Invalid::Action(text.to_owned()))
}

pub(super) fn identity(text: &str) -> Result<Identity, Invalid> {
    Ok(Identity::parse(text))
}

pub(super) fn identity_or_regex(text: &str) -> Result<Identity, Invalid> {
    Ok(Identity::parse_with_regex(text)?)
}

pub(super) fn selector(text: &str) -> Result<TrafficSelector, Invalid> {
    // strongSwan's parser does not skip leading blanks
    if text.starts_with(' ') {
        return Err(Invalid::Selector(SelectorError::Address(text.to_owned())));
    }
    Ok(TrafficSelector::parse(text)?)
}

/// Addresses, names, subnets and ranges, separated by commas.
pub(super) fn hosts(text: &str) -> impl Iterator<Item = HostSpec> {
    split(text).map(HostSpec::parse)
}

/// Items separated by commas, without blanks around them and without empty ones.
pub(super) fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// A virtual IP to request; the unspecified address asks for any of its family.
pub(super) fn virtual_ip(text: &str) -> Result<IpAddr, Invalid> {
    match text {
        "%any" | "%any4" => Ok(Ipv4Addr::UNSPECIFIED.into()),
        "%any6" => Ok(Ipv6Addr::UNSPECIFIED.into()),
        address => address.parse().map_err(|_| Invalid::Address(text.to_owned())),
    }
}

/// `value[/mask]`, cut in two.
fn mask(text: &str) -> Result<(&str, u32), Invalid> {
    match text.split_once('/') {
        None => Ok((text, u32::MAX)),
        Some((value, mask)) => Ok((value, uint32(mask)?)),
    }
}

pub(super) fn mark(text: &str) -> Result<MarkConfig, Invalid> {
    let invalid = |_| Invalid::Mark(text.to_owned());
    let (value, mask) = mask(text).map_err(invalid)?;
    Ok(match value {
        "%unique" => MarkConfig { value: MarkValue::Unique, mask },
        "%unique-dir" => MarkConfig { value: MarkValue::UniqueDir, mask },
        number => MarkConfig::fixed(uint32(number).map_err(invalid)?, mask),
    })
}

pub(super) fn set_mark(text: &str) -> Result<SetMark, Invalid> {
    let invalid = |_| Invalid::Mark(text.to_owned());
    let (value, mask) = mask(text).map_err(invalid)?;
    if value == "%same" {
        return Ok(SetMark::Same { mask });
    }
    let value = uint32(value).map_err(invalid)? & mask;
    Ok(if value == 0 && mask == 0 { SetMark::None } else { SetMark::Fixed(Mark { value, mask }) })
}

pub(super) fn if_id(text: &str) -> Result<IfIdConfig, Invalid> {
    Ok(match text {
        "%unique" => IfIdConfig::Unique,
        "%unique-dir" => IfIdConfig::UniqueDir,
        number => IfIdConfig::Fixed(IfId(uint32(number)?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_unit() {
        for (text, seconds) in
            [("", 0), ("90", 90), ("90s", 90), ("2 m", 120), ("1H", 3600), ("1d", 86400), ("0x10m", 960), ("010", 8)]
        {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["1h30m", "h", "1.5h", "1w", "5 ", "m5", "1hh"] {
            assert_eq!(time(text), Err(Invalid::Time(text.to_owned())));
        }
    }

    #[test]
    fn volumes_saturate() {
        assert_eq!(bytes("1k"), Ok(1024));
        assert_eq!(bytes("3 G"), Ok(3 << 30));
        assert_eq!(bytes("99999999999999999999g"), Ok(u64::MAX));
        assert!(bytes("1kb").is_err() && bytes("1T").is_err());
    }

    #[test]
    fn numbers_may_be_negative_as_in_c_but_are_not_cut() {
        assert_eq!(uint32("-1"), Ok(u32::MAX));
        assert_eq!(uint32("-0x80000000"), Ok(1 << 31));
        assert_eq!(uint32(""), Ok(0));
        assert_eq!(uint32("0xffffffff"), Ok(u32::MAX));
        assert_eq!(port("65535"), Ok(u16::MAX));
        for text in ["12x", "4294967296", "-4294967296", "99999999999999999999"] {
            assert_eq!(uint32(text), Err(Invalid::Number(text.to_owned())));
        }
        assert!(port("65536").is_err() && port("-1").is_err());
    }

    #[test]
    fn marks_and_masks() {
        assert_eq!(mark("0x2a"), Ok(MarkConfig::fixed(42, u32::MAX)));
        assert_eq!(mark("0xff/0x0f"), Ok(MarkConfig::fixed(15, 15)));
        assert_eq!(mark("%unique"), Ok(MarkConfig { value: MarkValue::Unique, mask: u32::MAX }));
        assert_eq!(mark("%unique-dir/0xff"), Ok(MarkConfig { value: MarkValue::UniqueDir, mask: 255 }));
        assert!(mark("%same").is_err() && mark("x/1").is_err() && mark("1/y").is_err());
        assert_eq!(set_mark("%same/0xf"), Ok(SetMark::Same { mask: 15 }));
        assert_eq!(set_mark("0/0"), Ok(SetMark::None));
        assert_eq!(set_mark("5"), Ok(SetMark::Fixed(Mark { value: 5, mask: u32::MAX })));
        assert!(set_mark("%unique").is_err());
        assert_eq!(if_id("7"), Ok(IfIdConfig::Fixed(IfId(7))));
        assert_eq!(if_id("%unique-dir"), Ok(IfIdConfig::UniqueDir));
    }

    #[test]
    fn the_rest() {
        assert_eq!(bool("Enabled"), Ok(true));
        assert_eq!(bool("0"), Ok(false));
        assert!(bool("on").is_err() && bool("").is_err());
        assert_eq!(dscp("101110"), Ok(0x2e));
        assert_eq!(dscp("0b00101110"), Ok(0x2e));
        assert!(dscp("12").is_err() && dscp("11101110").is_err());
        assert_eq!(virtual_ip("%any6"), Ok(Ipv6Addr::UNSPECIFIED.into()));
        assert!(virtual_ip("gw.example.org").is_err());
        assert!(selector(" 10.0.0.0/8").is_err() && selector("%dynamic").is_err());
        assert_eq!(hosts("10.0.0.1, ,%any").count(), 2);
        assert_eq!(text("ä".as_bytes()), Ok("ä"));
        assert_eq!(text(b"\xe4"), Err(Invalid::NotText));
        assert_eq!(text(b"a\nb"), Err(Invalid::NotText));
    }
}
