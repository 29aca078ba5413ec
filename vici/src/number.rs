//! Numbers as vici clients write them: C's `strtol` and `strtoul` with base 0.
//!
//! Leading blanks and a sign are skipped, `0x` means hexadecimal, a leading `0` octal. Other than in C the whole text
//! must be used up: what follows the number makes it invalid.

/// Parses as `strtol(text, &end, 0)` does; `None` if nothing or not everything was consumed. Saturates on overflow.
pub fn signed(text: &str) -> Option<i64> {
    let (negative, magnitude) = parts(text)?;
    let magnitude = magnitude.map_or(i128::MAX, i128::from);
    let value = if negative { -magnitude } else { magnitude };
    i64::try_from(value).ok().or(Some(if negative { i64::MIN } else { i64::MAX }))
}

/// Parses as `strtoul(text, &end, 0)` does: a negative number wraps, an overflow saturates.
pub fn unsigned(text: &str) -> Option<u64> {
    let (negative, magnitude) = parts(text)?;
    Some(match magnitude {
        None => u64::MAX,
        Some(value) if negative => value.wrapping_neg(),
        Some(value) => value,
    })
}

/// Splits off the longest number [`unsigned`] would accept, so that a unit may follow it.
pub fn split_unsigned(text: &str) -> Option<(u64, &str)> {
    let start = text.trim_start_matches(is_blank);
    let digits = start.strip_prefix(['+', '-']).unwrap_or(start);
    let (radix, body) = radix(digits);
    let length = body.bytes().take_while(|b| char::from(*b).is_digit(radix)).count();
    let rest = body.get(length..)?;
    let number = start.strip_suffix(rest)?;
    Some((unsigned(number)?, rest))
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// Radix and digits of an unsigned literal; a bare `0x` is the digit 0 followed by rubbish, as in C.
fn radix(digits: &str) -> (u32, &str) {
    let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    match hex {
        Some(hex) if hex.starts_with(|c: char| c.is_ascii_hexdigit()) => (16, hex),
        _ if digits.starts_with('0') => (8, digits),
        _ => (10, digits),
    }
}

/// Sign and magnitude; a magnitude of `None` does not fit 64 bits.
fn parts(text: &str) -> Option<(bool, Option<u64>)> {
    let text = text.trim_start_matches(is_blank);
    let negative = text.starts_with('-');
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (radix, body) = radix(digits);
    if body.is_empty() || !body.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    Some((negative, u64::from_str_radix(body, radix).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_strtol_reads() {
        for (text, value) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("+7", Some(7)),
            (" \t42", Some(42)),
            ("0x1F", Some(31)),
            ("-0x10", Some(-16)),
            ("017", Some(15)),
            ("", None),
            ("-", None),
            ("08", None),
            ("0x", None),
            ("12 ", None),
            ("1h", None),
            ("+-1", None),
            ("9223372036854775808", Some(i64::MAX)),
            ("-99999999999999999999999", Some(i64::MIN)),
        ] {
            assert_eq!(signed(text), value, "{text:?}");
        }
    }

    #[test]
    fn unsigned_wraps_and_saturates() {
        assert_eq!(unsigned("-1"), Some(u64::MAX));
        assert_eq!(unsigned("18446744073709551615"), Some(u64::MAX));
        assert_eq!(unsigned("18446744073709551616"), Some(u64::MAX));
        assert_eq!(unsigned("0x"), None);
    }

    #[test]
    fn a_unit_is_split_off() {
        assert_eq!(split_unsigned("4h"), Some((4, "h")));
        assert_eq!(split_unsigned(" 0x10 m"), Some((16, " m")));
        assert_eq!(split_unsigned("1h30m"), Some((1, "h30m")));
        assert_eq!(split_unsigned("08"), Some((0, "8")));
        assert_eq!(split_unsigned("h"), None);
        assert_eq!(split_unsigned(""), None);
    }
}
