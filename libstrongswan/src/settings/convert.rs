//! Conversions of setting texts to values, as strongswan.conf has them. What a text cannot be converted to is `None`,
//! and the caller's default applies.
//!
//! The daemon converts what `swanctl.conf` sends over vici with other rules; those live with the vici commands.

use std::time::Duration;

/// `1 yes true enabled` or `0 no false disabled`, in any case.
pub fn parse_bool(text: &str) -> Option<bool> {
    const TRUE: [&str; 4] = ["1", "yes", "true", "enabled"];
    const FALSE: [&str; 4] = ["0", "no", "false", "disabled"];
    if TRUE.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return Some(true);
    }
    FALSE.iter().any(|word| word.eq_ignore_ascii_case(text)).then_some(false)
}

/// A decimal number with an optional sign, or hexadecimal digits after a lower-case `0x`. A leading zero does not mean
/// octal. Numbers that do not fit `T` are refused; strongSwan cuts them off to 32 bits.
pub fn parse_int<T: TryFrom<i128>>(text: &str) -> Option<T> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => digits_only(digits, 16)?,
        None => {
            let text = text.trim_start_matches(is_space);
            match text.strip_prefix('-') {
                Some(digits) => -digits_only(digits, 10)?,
                None => digits_only(text.strip_prefix('+').unwrap_or(text), 10)?,
            }
        }
    };
    T::try_from(number).ok()
}

fn digits_only(digits: &str, radix: u32) -> Option<i128> {
    // `from_str_radix` would accept another sign here.
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    i128::from_str_radix(digits, radix).ok()
}

/// A floating point number as C's `strtod` reads it, hexadecimal ones included.
pub fn parse_f64(text: &str) -> Option<f64> {
    let text = text.trim_start_matches(is_space);
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if magnitude.starts_with(['+', '-']) {
        return None;
    }
    let value = match magnitude.strip_prefix("0x").or_else(|| magnitude.strip_prefix("0X")) {
        Some(hex) => parse_hex_float(hex)?,
        None => magnitude.parse::<f64>().ok()?,
    };
    Some(if negative { -value } else { value })
}

fn parse_hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = match text.split_once(['p', 'P']) {
        Some((mantissa, exponent)) => {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
                return None;
            }
            (mantissa, exponent.parse::<i32>().ok()?)
        }
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0.0_f64;
    for digit in whole.chars() {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let mut weight = 1.0_f64 / 16.0;
    for digit in fraction.chars() {
        value += f64::from(digit.to_digit(16)?) * weight;
        weight /= 16.0;
    }
    Some(value * 2.0_f64.powi(exponent))
}

/// Decimal digits, blanks, and one of `s m h d`; seconds without it. Only the first letter of what follows the digits
/// counts, so `3 minutes` are 180 seconds.
pub fn parse_time(text: &str) -> Option<Duration> {
    let text = text.trim_start_matches(is_space);
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    let number = digits.parse::<u64>().ok()?;
    let factor = match rest.trim_start_matches(is_space).chars().next() {
        None | Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86400,
        Some(_) => return None,
    };
    // Times are 32 bit values in strongSwan; a longer one is a mistake, not a long time.
    let seconds = u32::try_from(number.checked_mul(factor)?).ok()?;
    Some(Duration::from_secs(u64::from(seconds)))
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bools() {
        for text in ["1", "yes", "true", "enabled", "YES", "True", "eNabled"] {
            assert_eq!(parse_bool(text), Some(true), "{text}");
        }
        for text in ["0", "no", "false", "disabled", "No"] {
            assert_eq!(parse_bool(text), Some(false), "{text}");
        }
        for text in ["", "on", "off", "2", " yes", "y"] {
            assert_eq!(parse_bool(text), None, "{text}");
        }
    }

    #[test]
    fn ints() {
        for (text, expected) in [
            ("0", Some(0)),
            ("12", Some(12)),
            ("-12", Some(-12)),
            ("+12", Some(12)),
            ("  12", Some(12)),
            ("010", Some(10)),
            ("0x1f", Some(31)),
            ("0x1F", Some(31)),
            ("0X1f", None),
            ("-0x1f", None),
            ("12 ", None),
            ("12x", None),
            ("4h", None),
            ("", None),
            ("--1", None),
            ("0x-1", None),
            ("0x", None),
            // strongSwan makes 1215752191 of this one.
            ("99999999999", None),
        ] {
            assert_eq!(parse_int::<i32>(text), expected, "{text}");
        }
        assert_eq!(parse_int::<u32>("0xcfffffff"), Some(0xcfff_ffff));
        assert_eq!(parse_int::<u64>("18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_int::<u64>("-1"), None);
        assert_eq!(parse_int::<u16>("65536"), None);
    }

    #[test]
    fn floats() {
        for (text, expected) in [
            ("1.8", Some(1.8)),
            ("4", Some(4.0)),
            ("-0.5", Some(-0.5)),
            (" +2e3", Some(2000.0)),
            ("0x1.8p1", Some(3.0)),
            ("0x10", Some(16.0)),
            ("0x.8", Some(0.5)),
            ("0x", None),
            ("0x1p", None),
            ("1.8s", None),
            ("", None),
            ("+-1", None),
        ] {
            assert_eq!(parse_f64(text), expected, "{text}");
        }
    }

    #[test]
    fn times() {
        for (text, expected) in [
            ("20", Some(20)),
            ("20s", Some(20)),
            ("2m", Some(120)),
            ("2 m", Some(120)),
            ("4h", Some(14400)),
            ("1d", Some(86400)),
            ("3 minutes", Some(180)),
            ("10mX", Some(600)),
            ("10M", None),
            ("10x", None),
            ("0x10", None),
            ("1.5h", None),
            ("-5", None),
            ("", None),
            ("s", None),
            ("99999999999999999999d", None),
            ("49711d", None),
        ] {
            assert_eq!(parse_time(text), expected.map(Duration::from_secs), "{text}");
        }
    }
}
