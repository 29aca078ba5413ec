//! Pseudo-random functions and prf+ (RFC 7296 §2.13).
//!
//! HMAC takes keys of any length. The AES based ones bring other keys to 16 bytes themselves (RFC 4434 §2, RFC 4615 §3).

use super::mac::{Mac, MacAlgorithm, Tag};
use super::transform::PrfAlgorithm;
use super::{CryptoError, Secret};

/// Blocks that prf+ can deliver: its counter is one octet (RFC 7296 §2.13).
const MAX_BLOCKS: usize = 255;

/// Whether a PRF works here.
pub fn is_supported(algorithm: PrfAlgorithm) -> bool {
    mac(algorithm).is_some()
}

const fn mac(algorithm: PrfAlgorithm) -> Option<MacAlgorithm> {
    match algorithm {
        PrfAlgorithm::HmacMd5 => Some(MacAlgorithm::HmacMd5),
        PrfAlgorithm::HmacSha1 => Some(MacAlgorithm::HmacSha1),
        PrfAlgorithm::HmacSha2_256 => Some(MacAlgorithm::HmacSha256),
        PrfAlgorithm::HmacSha2_384 => Some(MacAlgorithm::HmacSha384),
        PrfAlgorithm::HmacSha2_512 => Some(MacAlgorithm::HmacSha512),
        PrfAlgorithm::Aes128Xcbc => Some(MacAlgorithm::AesXcbc),
        PrfAlgorithm::Aes128Cmac => Some(MacAlgorithm::AesCmac),
        PrfAlgorithm::HmacTiger
        | PrfAlgorithm::Undefined
        | PrfAlgorithm::FipsSha1_160
        | PrfAlgorithm::FipsDes
        | PrfAlgorithm::KeyedSha1
        | PrfAlgorithm::Camellia128Xcbc
        | PrfAlgorithm::Unknown(_) => None,
    }
}

impl PrfAlgorithm {
    /// Preferred key length in bytes: that of SK_d, SK_pi and SK_pr (RFC 7296 §2.14). `None` if not supported.
    pub const fn key_len(self) -> Option<usize> {
        self.output_len()
    }

    /// Output length in bytes. `None` if not supported.
    pub const fn output_len(self) -> Option<usize> {
        match mac(self) {
            Some(mac) => Some(mac.output_len()),
            None => None,
        }
    }

    /// For PRFs whose key length is fixed, how many bytes of *each* nonce key SKEYSEED (RFC 7296 §2.14).
    ///
    /// RFC 4434 and RFC 4615 give AES-XCBC and AES-CMAC keys of any length, but IKEv2 treats both as if they took
    /// 128 bits, for compatibility with their predecessors.
    pub const fn nonce_key_share(self) -> Option<usize> {
        match self {
            Self::Aes128Xcbc | Self::Aes128Cmac => Some(8),
            _ => None,
        }
    }
}

/// A keyed PRF.
pub struct Prf {
    algorithm: PrfAlgorithm,
    output_len: usize,
    mac: Mac,
}

impl Prf {
    /// Expands `key`, which may have any length.
    ///
    /// # Errors
    /// [`CryptoError::UnsupportedPrf`].
    pub fn new(algorithm: PrfAlgorithm, key: &[u8]) -> Result<Self, CryptoError> {
        let mac_algorithm = mac(algorithm).ok_or(CryptoError::UnsupportedPrf(algorithm))?;
        let output_len = mac_algorithm.output_len();
        let mac = match mac_algorithm {
            MacAlgorithm::AesXcbc if key.len() < output_len => {
                // RFC 4434 §2: shorter keys are padded with zeros.
                let mut padded = zeroize::Zeroizing::new([0; 16]);
                for (to, from) in padded.iter_mut().zip(key) {
                    *to = *from;
                }
                Mac::new(mac_algorithm, &*padded)?
            }
            // RFC 4434 §2 for longer keys, RFC 4615 §3 for any other: the PRF itself under the zero key shortens it.
            MacAlgorithm::AesXcbc | MacAlgorithm::AesCmac if key.len() != output_len => {
                let shortened = Mac::new(mac_algorithm, &[0; 16])?.compute(&[key])?;
                Mac::new(mac_algorithm, shortened.as_bytes())?
            }
            _ => Mac::new(mac_algorithm, key)?,
        };
        Ok(Self { algorithm, output_len, mac })
    }

    /// Which one it is.
    pub fn algorithm(&self) -> PrfAlgorithm {
        self.algorithm
    }

    /// prf(K, S) where S is the concatenation of `seed`.
    pub fn compute(&self, seed: &[&[u8]]) -> Secret {
        Secret::from(self.tag(&[], seed, &[]).as_bytes())
    }

    /// prf+(K, S), the first `len` bytes (RFC 7296 §2.13).
    ///
    /// # Errors
    /// [`CryptoError::PrfPlusLength`] if `len` exceeds 255 times the output length.
    pub fn expand(&self, seed: &[&[u8]], len: usize) -> Result<Secret, CryptoError> {
        if len.div_ceil(self.output_len) > MAX_BLOCKS {
            return Err(CryptoError::PrfPlusLength(len));
        }
        // Allocated at full size, so that growing leaves no copies behind.
        let mut out = Vec::with_capacity(len);
        let mut previous: Option<Tag> = None;
        for counter in 1..=u8::MAX {
            let missing = len - out.len();
            if missing == 0 {
                break;
            }
            let tag = self.tag(previous.as_ref().map(Tag::as_bytes).unwrap_or_default(), seed, &[counter]);
            out.extend_from_slice(tag.as_bytes().get(..missing).unwrap_or(tag.as_bytes()));
            previous = Some(tag);
        }
        Ok(Secret::new(out))
    }

    /// # Panics
    /// If the library refuses what it accepted when the key was set up, which it has no reason to.
    #[expect(clippy::expect_used, reason = "the operations depend on no input once the key is set")]
    fn tag(&self, before: &[u8], seed: &[&[u8]], after: &[u8]) -> Tag {
        let mut context = self.mac.start().expect("the key was accepted");
        let mut update = |part: &[u8]| context.update(part).expect("a keyed MAC takes any data");
        update(before);
        seed.iter().for_each(|part| update(part));
        update(after);
        context.finish().expect("a keyed MAC delivers its tag")
    }
}

impl std::fmt::Debug for Prf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prf({})", self.algorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_output() {
        assert_eq!(PrfAlgorithm::HmacSha2_256.key_len(), Some(32));
        assert_eq!(PrfAlgorithm::HmacSha2_512.output_len(), Some(64));
        assert_eq!(PrfAlgorithm::Aes128Cmac.output_len(), Some(16));
        assert_eq!(PrfAlgorithm::HmacTiger.output_len(), None);
        let error = Prf::new(PrfAlgorithm::Camellia128Xcbc, &[0; 16]).unwrap_err();
        assert_eq!(error, CryptoError::UnsupportedPrf(PrfAlgorithm::Camellia128Xcbc));
    }

    #[test]
    fn seeds_are_concatenated() {
        for algorithm in PrfAlgorithm::ALL.iter().copied().filter(|algorithm| is_supported(*algorithm)) {
            let prf = Prf::new(algorithm, b"some key").unwrap();
            let whole: Vec<u8> = (0..100).collect();
            for cut in 0..=whole.len() {
                let (a, b) = whole.split_at(cut);
                assert_eq!(prf.compute(&[a, b]), prf.compute(&[&whole]), "{algorithm} at {cut}");
            }
        }
    }

    /// RFC 7296 §2.13, written out.
    #[test]
    fn expands_by_chaining() {
        let prf = Prf::new(PrfAlgorithm::HmacSha2_256, b"key").unwrap();
        let t1 = prf.compute(&[b"seed", &[1]]);
        let t2 = prf.compute(&[t1.as_bytes(), b"seed", &[2]]);
        let t3 = prf.compute(&[t2.as_bytes(), b"seed", &[3]]);
        let all = [t1.as_bytes(), t2.as_bytes(), t3.as_bytes()].concat();
        for len in [0, 1, 31, 32, 33, 64, 96] {
            assert_eq!(prf.expand(&[b"se", b"ed"], len).unwrap().as_bytes(), &all[..len]);
        }
    }

    #[test]
    fn expansion_is_bounded_by_the_counter() {
        let prf = Prf::new(PrfAlgorithm::Aes128Cmac, b"key").unwrap();
        assert_eq!(prf.expand(&[b"seed"], 255 * 16).unwrap().len(), 255 * 16);
        assert_eq!(prf.expand(&[b"seed"], 255 * 16 + 1), Err(CryptoError::PrfPlusLength(255 * 16 + 1)));
    }
}
