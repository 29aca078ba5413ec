//! Nonce (RFC 7296 §3.9): 16 to 256 bytes.

use strongswan::crypto::Rng;

use crate::wire::error::Malformed;
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

/// A nonce of valid length. Ordered lexicographically, as the rule for rekey collisions wants it (RFC 7296 §2.8).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nonce(Vec<u8>);

impl Nonce {
    /// Length of the nonces we send: at least half the key size of any PRF (RFC 7296 §2.10).
    pub const LEN: usize = 32;

    /// A fresh nonce.
    pub fn generate(rng: &mut dyn Rng) -> Self {
        let mut bytes = vec![0; Self::LEN];
        rng.fill(&mut bytes);
        Self(bytes)
    }

    /// The nonce with these bytes, if there are 16 to 256.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (16..=256).contains(&bytes.len()).then(|| Self(bytes.to_vec()))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn parse(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::new(r.rest()).ok_or(Malformed::InvalidLength)
    }

    pub(super) fn emit(&self, w: &mut Writer) {
        w.bytes(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_payload, parse_error};
    use super::*;
    use crate::wire::{Payload, PayloadType};

    #[test]
    fn bytes() {
        for len in [16, 32, 256] {
            let bytes = vec![5; len];
            check_payload(Payload::Nonce(Nonce::new(&bytes).unwrap()), &bytes);
        }
        for len in [0, 15, 257] {
            assert_eq!(parse_error(PayloadType::Nonce, &vec![5; len]), Malformed::InvalidLength);
        }
    }

    #[test]
    fn order_is_lexicographic() {
        let long_low = Nonce::new(&[1; 32]).unwrap();
        let short_high = Nonce::new(&[2; 16]).unwrap();
        assert!(long_low < short_high);
        assert!(Nonce::new(&[1; 16]).unwrap() < long_low);
    }
}
