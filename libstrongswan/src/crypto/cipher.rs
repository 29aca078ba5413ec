//! Encryption and integrity of SK payloads and ESP packets.

use super::transform::{EncryptionAlgorithm, IntegrityAlgorithm};

/// Whether a cipher with this key size works here.
pub fn is_encryption_supported(algorithm: EncryptionAlgorithm, key_size: Option<u16>) -> bool {
    use EncryptionAlgorithm as E;
    match algorithm {
        E::AesCbc
        | E::AesCtr
        | E::AesCcm8
        | E::AesCcm12
        | E::AesCcm16
        | E::AesGcm8
        | E::AesGcm12
        | E::AesGcm16
        | E::NullAesGmac => matches!(key_size, Some(128 | 192 | 256)),
        E::ChaCha20Poly1305 => matches!(key_size, None | Some(256)),
        E::TripleDes | E::Null => key_size.is_none(),
        _ => false,
    }
}

/// Whether an integrity algorithm works here.
pub fn is_integrity_supported(algorithm: IntegrityAlgorithm) -> bool {
    algorithm.implied_prf().is_some() && algorithm != IntegrityAlgorithm::CamelliaXcbc96
}
