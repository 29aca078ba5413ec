//! Integrity algorithms: which MAC, how long its key, where it is truncated.

use crate::crypto::mac::MacAlgorithm;
use crate::crypto::transform::IntegrityAlgorithm;

/// A MAC as an integrity algorithm uses it.
pub(super) struct Lengths {
    pub(super) mac: MacAlgorithm,
    pub(super) key: usize,
    pub(super) icv: usize,
}

/// Whether an integrity algorithm works here.
pub fn is_supported(algorithm: IntegrityAlgorithm) -> bool {
    lengths(algorithm).is_some()
}

/// `None` if the algorithm is not supported.
pub(super) const fn lengths(algorithm: IntegrityAlgorithm) -> Option<Lengths> {
    use IntegrityAlgorithm as I;
    let (mac, icv) = match algorithm {
        I::HmacMd5_96 => (MacAlgorithm::HmacMd5, 12),
        I::HmacMd5_128 => (MacAlgorithm::HmacMd5, 16),
        I::HmacSha1_96 => (MacAlgorithm::HmacSha1, 12),
        I::HmacSha1_128 => (MacAlgorithm::HmacSha1, 16),
        I::HmacSha1_160 => (MacAlgorithm::HmacSha1, 20),
        I::HmacSha2_256_96 => (MacAlgorithm::HmacSha256, 12),
        I::HmacSha2_256_128 => (MacAlgorithm::HmacSha256, 16),
        I::HmacSha2_256_256 => (MacAlgorithm::HmacSha256, 32),
        I::HmacSha2_384_192 => (MacAlgorithm::HmacSha384, 24),
        I::HmacSha2_384_384 => (MacAlgorithm::HmacSha384, 48),
        I::HmacSha2_512_256 => (MacAlgorithm::HmacSha512, 32),
        I::HmacSha2_512_512 => (MacAlgorithm::HmacSha512, 64),
        I::AesXcbc96 => (MacAlgorithm::AesXcbc, 12),
        I::AesCmac96 => (MacAlgorithm::AesCmac, 12),
        I::None
        | I::DesMac
        | I::KpdkMd5
        | I::Aes128Gmac
        | I::Aes192Gmac
        | I::Aes256Gmac
        | I::Undefined
        | I::CamelliaXcbc96
        | I::Unknown(_) => return None,
    };
    // RFC 2404 §2, RFC 4868 §2.1.1, RFC 3566 §4.2, RFC 4494: the key is as long as the untruncated output.
    Some(Lengths { mac, key: mac.output_len(), icv })
}
