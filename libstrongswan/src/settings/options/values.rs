//! The types of options and what their values may look like.
//!
//! The first kinds convert as strongswan.conf does. Those named `Vici…` are values of swanctl.conf, which travel over
//! vici as text and which the daemon reads by stricter rules.

use crate::credentials::{Auth, AuthOptions};
use crate::crypto::Protocol;
use crate::crypto::proposal::Proposal;
use crate::identity::Identity;
use crate::selectors::TrafficSelector;
use crate::settings::{parse_bool, parse_f64, parse_int, parse_time};

/// The type of an option.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// `yes` or `no`.
    Bool,
    /// A number without unit.
    Int {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// A 64-bit mask.
    Mask,
    /// A number with a fraction.
    Float,
    /// Seconds, or a number with `s`, `m`, `h` or `d`.
    Time,
    /// Any text.
    Text,
    /// Items separated by commas.
    List,
    /// Items separated by blanks.
    Words,
    /// One of the words given.
    Choice(&'static [&'static str]),
    /// Not a key but a section.
    Section,
    /// Whatever it is, nobody looks at it.
    Anything,
    /// `yes` or `no`, over vici.
    ViciBool,
    /// A number as C reads it: decimal, `0x…` or, with a leading zero, octal.
    ViciUint {
        /// Greatest value.
        max: u64,
    },
    /// A number with an optional unit of time in either case.
    ViciTime,
    /// A number with an optional `k`, `m` or `g` in either case.
    ViciBytes,
    /// Binary digits.
    ViciBits,
    /// One of the words given, in any case.
    ViciChoice(&'static [&'static str]),
    /// One of the words given or a number.
    ViciChoiceOrUint(&'static [&'static str]),
    /// One of the words given or a truth value.
    ViciChoiceOrBool(&'static [&'static str]),
    /// Actions, joined by `|`.
    ViciAction,
    /// A mark with an optional mask, or one of the words given with an optional mask.
    ViciMark(&'static [&'static str]),
    /// An interface id.
    ViciIfId,
    /// An identity.
    ViciIdentity {
        /// Whether a regular expression is one.
        regex: bool,
    },
    /// An authentication method with constraints.
    ViciAuth,
    /// Traffic selectors separated by commas.
    ViciSelectors,
    /// Proposals separated by commas.
    ViciProposals(Protocol),
    /// Numeric addresses separated by commas.
    ViciAddresses,
    /// Names of files separated by commas, relative to the directory given.
    ViciFiles(&'static str),
}

/// Why a value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError {
    /// The value, or the item of the list, that is of no use.
    pub value: String,
    /// What would be accepted.
    pub expected: String,
}

impl Kind {
    /// Whether `value` is of this kind.
    ///
    /// # Errors
    /// With what would have been.
    pub fn check(&self, value: &str) -> Result<(), ValueError> {
        let usable = match self {
            Self::Bool => parse_bool(value).is_some(),
            Self::Int { min, max } => parse_int::<i64>(value).is_some_and(|number| (*min..=*max).contains(&number)),
            Self::Mask => parse_int::<u64>(value).is_some(),
            Self::Float => parse_f64(value).is_some(),
            Self::Time => parse_time(value).is_some(),
            Self::Text | Self::List | Self::Words | Self::Section | Self::Anything | Self::ViciFiles(_) => true,
            Self::Choice(words) => contains(words, value),
            Self::ViciBool => parse_bool(value).is_some(),
            Self::ViciUint { max } => vici_uint(value).is_some_and(|number| number <= *max),
            Self::ViciTime => vici_time(value).is_some(),
            Self::ViciBytes => vici_bytes(value),
            Self::ViciBits => !value.is_empty() && value.bytes().all(|digit| matches!(digit, b'0' | b'1')),
            Self::ViciChoice(words) => contains(words, value),
            Self::ViciChoiceOrUint(words) => words.contains(&value) || vici_uint(value).is_some_and(fits_32_bits),
            Self::ViciChoiceOrBool(words) => contains(words, value) || parse_bool(value).is_some(),
            Self::ViciAction => vici_action(value),
            Self::ViciMark(words) => vici_mark(words, value),
            Self::ViciIfId => IF_ID_WORDS.contains(&value) || vici_uint(value).is_some_and(fits_32_bits),
            Self::ViciIdentity { regex: false } => true,
            Self::ViciIdentity { regex: true } => Identity::parse_with_regex(value).is_ok(),
            Self::ViciAuth => vici_auth(value),
            Self::ViciSelectors | Self::ViciProposals(_) | Self::ViciAddresses => {
                return match items(value).find(|item| !self.accepts_item(item)) {
                    Some(value) => Err(ValueError { value, expected: self.expected() }),
                    None => Ok(()),
                };
            }
        };
        if usable { Ok(()) } else { Err(ValueError { value: value.to_owned(), expected: self.expected() }) }
    }

    /// Whether an item of a list is of this kind.
    fn accepts_item(&self, item: &str) -> bool {
        match self {
            Self::ViciSelectors => TrafficSelector::parse(item).is_ok(),
            Self::ViciProposals(protocol) => {
                item.eq_ignore_ascii_case("default") || Proposal::parse(*protocol, item).is_ok()
            }
            Self::ViciAddresses => is_address(item),
            _ => true,
        }
    }

    fn expected(&self) -> String {
        match self {
            Self::Bool | Self::ViciBool => "yes or no".to_owned(),
            Self::Int { min, max } => format!("a number from {min} to {max} without unit"),
            Self::Mask => "a 64-bit number, decimal or 0x...".to_owned(),
            Self::Float => "a number such as 1.8".to_owned(),
            Self::Time => "seconds, or a number with s, m, h or d such as 4h".to_owned(),
            Self::ViciTime => "seconds, or one number with one of s, m, h, d such as 90m".to_owned(),
            Self::Choice(words) | Self::ViciChoice(words) => format!("one of {}", words.join(", ")),
            Self::ViciUint { max } => format!("a number from 0 to {max}"),
            Self::ViciBytes => "a number of bytes, with k, m or g for its multiples".to_owned(),
            Self::ViciBits => "binary digits such as 000000".to_owned(),
            Self::ViciChoiceOrUint(words) => format!("a number or {}", words.join(", ")),
            Self::ViciChoiceOrBool(words) => format!("yes, no or {}", words.join(", ")),
            Self::ViciAction => "none, trap, start or trap|start".to_owned(),
            Self::ViciMark(words) => format!("value[/mask] or {}", words.join(", ")),
            Self::ViciIfId => format!("a number or {}", IF_ID_WORDS.join(", ")),
            Self::ViciIdentity { .. } => "an identity with a valid regular expression".to_owned(),
            Self::ViciAuth => {
                "pubkey, rsa, ecdsa or ike: with constraints, psk, eap[-type] or xauth[-backend]".to_owned()
            }
            Self::ViciSelectors => "selectors such as dynamic, 10.1.0.0/16 or 10.1.0.1[tcp/https]".to_owned(),
            Self::ViciProposals(_) => "proposals such as aes256-sha256-ecp256 or default".to_owned(),
            Self::ViciAddresses => "numeric addresses".to_owned(),
            Self::Text | Self::List | Self::Words | Self::Section | Self::Anything | Self::ViciFiles(_) => {
                "text".to_owned()
            }
        }
    }
}

const IF_ID_WORDS: &[&str] = &["%unique", "%unique-dir"];

fn contains(words: &[&str], value: &str) -> bool {
    words.iter().any(|word| word.eq_ignore_ascii_case(value))
}

fn fits_32_bits(number: u64) -> bool {
    u32::try_from(number).is_ok()
}

/// The items of a list as `swanctl` cuts them: at commas, trimmed, quoted ones whole, empty ones dropped.
pub fn items(value: &str) -> impl Iterator<Item = String> {
    let mut rest = value;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            let first = rest.chars().next()?;
            if matches!(first, '"' | '\'') {
                let inner = rest.get(1..).unwrap_or_default();
                let (item, after) = inner.split_once(first).unwrap_or((inner, ""));
                rest = after;
                return Some(item.to_owned());
            }
            let (item, after) = rest.split_once(',').unwrap_or((rest, ""));
            rest = after;
            let item = item.trim_matches([' ', '\t', '\n', '\r']);
            if !item.is_empty() {
                return Some(item.to_owned());
            }
        }
    })
}

/// `strtoul` with base 0: an empty text is zero, a leading zero makes it octal.
fn vici_uint(value: &str) -> Option<u64> {
    let text = value.trim_start_matches([' ', '\t']);
    let text = text.strip_prefix('+').unwrap_or(text);
    if text.is_empty() {
        return value.is_empty().then_some(0);
    }
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

/// A number, optional blanks and at most one of `units`, in either case.
fn vici_number_with_unit(value: &str, units: &[(char, u64)]) -> Option<(u64, u64)> {
    let text = value.trim_end_matches([' ', '\t']);
    let (digits, factor) = match text.chars().last() {
        Some(last) => match units.iter().find(|(unit, _)| unit.eq_ignore_ascii_case(&last)) {
            // `d` may also be the last digit of a hexadecimal number.
            Some((_, factor)) if vici_uint(text).is_none() => (text.get(..text.len() - 1)?, *factor),
            _ => (value, 1),
        },
        None => (value, 1),
    };
    let digits = if factor == 1 { digits } else { digits.trim_end_matches([' ', '\t']) };
    if digits.is_empty() && factor != 1 {
        return None;
    }
    Some((vici_uint(digits)?, factor))
}

fn vici_time(value: &str) -> Option<u64> {
    const UNITS: &[(char, u64)] = &[('s', 1), ('m', 60), ('h', 3600), ('d', 86400)];
    let (number, factor) = vici_number_with_unit(value, UNITS)?;
    number.checked_mul(factor)
}

fn vici_bytes(value: &str) -> bool {
    const UNITS: &[(char, u64)] = &[('k', 1 << 10), ('m', 1 << 20), ('g', 1 << 30)];
    vici_number_with_unit(value, UNITS).is_some()
}

fn vici_action(value: &str) -> bool {
    const ALIASES: &[&str] = &["clear", "route", "restart", ""];
    const NAMES: &[&str] = &["none", "trap", "start"];
    contains(ALIASES, value) || value.split('|').all(|name| contains(NAMES, name.trim_matches([' ', '\t'])))
}

fn vici_mark(words: &[&str], value: &str) -> bool {
    let (mark, mask) = value.split_once('/').unwrap_or((value, "0xffffffff"));
    let number = |text: &str| vici_uint(text).is_some_and(fits_32_bits);
    number(mask) && (contains(words, mark) || number(mark))
}

/// The daemon ignores constraints that it does not know, which would leave less than was asked for.
fn vici_auth(value: &str) -> bool {
    Auth::parse(value, AuthOptions::default()).is_ok_and(|auth| auth.ignored.is_empty())
}

fn is_address(text: &str) -> bool {
    contains(&["%any", "%any4", "%any6"], text) || text.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(kind: Kind, good: &[&str], bad: &[&str]) {
        for value in good {
            assert_eq!(kind.check(value), Ok(()), "{kind:?} {value:?}");
        }
        for value in bad {
            assert!(kind.check(value).is_err(), "{kind:?} {value:?}");
        }
    }

    #[test]
    fn values_of_strongswan_conf() {
        accepts(Kind::Bool, &["yes", "0"], &["on", ""]);
        accepts(Kind::Int { min: 0, max: 10 }, &["0", "0xa"], &["11", "-1", "1s"]);
        accepts(Kind::Time, &["20s", "4h"], &["4 weeks x", "-1"]);
        accepts(Kind::Float, &["1.8"], &["fast"]);
        accepts(Kind::Mask, &["0xffffffffffffffff"], &["0x1ffffffffffffffff"]);
        accepts(Kind::Choice(&["strict", "relaxed"]), &["strict"], &["lax"]);
    }

    #[test]
    fn values_of_swanctl_conf() {
        accepts(Kind::ViciUint { max: 255 }, &["", "10", "0x1f", "017", "0"], &["256", "08", "1 ", "x"]);
        accepts(Kind::ViciTime, &["", "90", "90s", "4H", "1 d", "0x1d", "30 m"], &["1h30m", "h", "4w", "1.5h", "-1"]);
        accepts(Kind::ViciBytes, &["1000", "10k", "1G", "5 m"], &["1kb", "1T", "g"]);
        accepts(Kind::ViciBits, &["000000", "101"], &["2", "", "0x1"]);
        accepts(
            Kind::ViciAction,
            &["", "trap", "ROUTE", "trap|start", "trap | start", "restart"],
            &["on", "route|start", "trap,start"],
        );
        accepts(
            Kind::ViciMark(&["%unique"]),
            &["42", "42/0xff", "%unique", "%unique/0xf", "0x10"],
            &["%same", "x", "1/x", "1/2/3"],
        );
        accepts(Kind::ViciIfId, &["1", "%unique", "%unique-dir"], &["%any", "0x1ffffffff"]);
        accepts(
            Kind::ViciAuth,
            &["psk", "PSK", "pubkey-sha256", "rsa-2048", "ike:ed25519-identity", "eap-tls", "EAP", "xauth-pam"],
            &["ed25519", "any", "psks", "Pubkey", "", "pubkey-sha265", "pubkey-2048", "eap-tsl", "EAP-TLS"],
        );
        accepts(Kind::ViciSelectors, &["dynamic", "10.0.0.0/8, dynamic[tcp/80]"], &["example.org", "10.0.0.0/8[x/y"]);
        accepts(
            Kind::ViciProposals(Protocol::Ike),
            &["aes256-sha256-ecp256", "default, aes128gcm16-prfsha256-x25519", "Default"],
            &["aes256", "aes257-sha256-ecp256"],
        );
        accepts(Kind::ViciProposals(Protocol::Esp), &["aes256gcm16", "aes128-sha1"], &["sha256"]);
        accepts(Kind::ViciAddresses, &["10.0.0.1, ::", "%any"], &["host.example"]);
        accepts(Kind::ViciIdentity { regex: true }, &["moon", "fqdn:^.*$"], &["fqdn:^(a$"]);
    }

    #[test]
    fn list_items() {
        for (value, expected) in [
            ("", &[][..]),
            ("a", &["a"]),
            ("a, b ,, c", &["a", "b", "c"]),
            ("'C=CH, O=x', foo", &["C=CH, O=x", "foo"]),
            ("\"a,b\" , c", &["a,b", "c"]),
            ("'open, end", &["open, end"]),
            (" , ", &[]),
        ] {
            assert_eq!(items(value).collect::<Vec<_>>(), expected, "{value:?}");
        }
    }
}
