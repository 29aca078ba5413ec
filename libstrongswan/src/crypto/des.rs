//! DES as MS-CHAP uses it (RFC 2759 §8.6): one block under a key of 56 bits.

use super::CryptoError;
use super::ffi::des;

/// Encrypts a block under seven bytes of key, to which parity bits are added.
///
/// # Errors
/// If the library fails.
pub fn des_encrypt(clear: &[u8; 8], key: &[u8; 7]) -> Result<[u8; 8], CryptoError> {
    let mut bits = [0; 8];
    let (_, low) = bits.split_at_mut(1);
    low.copy_from_slice(key);
    let bits = u64::from_be_bytes(bits);
    let mut expanded = [0; 8];
    for (index, byte) in (0u32..).zip(&mut expanded) {
        let seven = (bits >> (49u32.saturating_sub(index.saturating_mul(7)))) & 0x7f;
        *byte = u8::try_from(seven << 1).unwrap_or_default();
    }
    des::encrypt(&expanded, clear)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2759 §9.2: the parts of ChallengeResponse.
    #[test]
    fn published_example() {
        let hash = hex::decode("44ebba8d5312b8d611474411f56989ae").unwrap();
        let challenge = *hex::decode("d02e4386bce91226").unwrap().first_chunk().unwrap();
        let part = |from: usize, to: usize| {
            let mut key = [0; 7];
            key[..to - from].copy_from_slice(&hash[from..to]);
            hex::encode(des_encrypt(&challenge, &key).unwrap())
        };
        assert_eq!(part(0, 7), "82309ecd8d708b5e");
        assert_eq!(part(7, 14), "a08faa3981cd8354");
        assert_eq!(part(14, 16), "4233114a3d85d6df");
    }

    #[test]
    fn weak_keys_work() {
        // an NT hash that ends in two zeros yields one
        assert_eq!(hex::encode(des_encrypt(&[0; 8], &[0; 7]).unwrap()), "8ca64de9c1b123a7");
    }
}
