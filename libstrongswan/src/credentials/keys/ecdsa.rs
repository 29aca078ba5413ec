//! The two forms of an ECDSA signature: a DER sequence of two integers (X.509, RFC 7427), and both in the length of
//! the curve one after the other (RFC 4754 §3).

use der::asn1::UintRef;
use der::{Decode, Encode, Reader, SliceReader};

/// Bytes of each number for a curve of `bits`.
fn number_len(bits: u32) -> usize {
    usize::try_from(bits.div_ceil(8)).unwrap_or(0)
}

/// Two numbers of fixed length to DER; `None` if the length is wrong.
pub(super) fn to_der(fixed: &[u8], bits: u32) -> Option<Vec<u8>> {
    let length = number_len(bits);
    if fixed.len() != 2 * length {
        return None;
    }
    let (r, s) = fixed.split_at_checked(length)?;
    let numbers = [UintRef::new(r).ok()?.to_der().ok()?, UintRef::new(s).ok()?.to_der().ok()?].concat();
    der::asn1::AnyRef::new(der::Tag::Sequence, &numbers).ok()?.to_der().ok()
}

/// DER to two numbers of fixed length; `None` if it is malformed or a number too long.
pub(super) fn to_fixed(encoded: &[u8], bits: u32) -> Option<Vec<u8>> {
    let length = number_len(bits);
    let sequence =
        der::asn1::AnyRef::from_der(encoded).ok().filter(|any| der::Tagged::tag(any) == der::Tag::Sequence)?;
    let mut reader = SliceReader::new(sequence.value()).ok()?;
    let mut fixed = Vec::with_capacity(2 * length);
    for _ in 0..2 {
        let number = UintRef::decode(&mut reader).ok()?;
        let padding = length.checked_sub(number.as_bytes().len())?;
        fixed.resize(fixed.len() + padding, 0);
        fixed.extend(number.as_bytes());
    }
    reader.finish(Some(fixed)).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_both_ways() {
        let mut fixed = vec![0; 64];
        fixed[31] = 5;
        fixed[32] = 0x80;
        let encoded = to_der(&fixed, 256).unwrap();
        assert_eq!(encoded[..9], [0x30, 38, 2, 1, 5, 2, 33, 0, 0x80]);
        assert_eq!(to_fixed(&encoded, 256), Some(fixed.clone()));
        assert_eq!(to_fixed(&encoded, 248), None);
        assert_eq!(to_der(&fixed, 384), None);
        assert_eq!(to_der(&[1; 132], 521).and_then(|der| to_fixed(&der, 521)), Some(vec![1; 132]));
        assert_eq!(to_fixed(&encoded[..encoded.len() - 1], 256), None);
    }
}
