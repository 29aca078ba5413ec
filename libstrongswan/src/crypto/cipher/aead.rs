//! Ciphers that make their own ICV. The nonce is the salt from the key material and the IV from the message
//! (RFC 4106 §3, RFC 4309 §4, RFC 7634 §2).

use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::crypto::CryptoError;
use crate::crypto::transform::EncryptionAlgorithm;

/// Length of GCM's and ChaCha20-Poly1305's nonce.
const NONCE: usize = 12;

/// A keyed AEAD with its salt.
pub(super) struct Aead {
    salt: Zeroizing<[u8; 4]>,
    key: LessSafeKey,
}

impl Aead {
    /// `key` and `salt` have the lengths of the algorithm.
    pub(super) fn new(
        algorithm: EncryptionAlgorithm,
        key: &[u8],
        salt: &[u8],
        _icv_len: usize,
    ) -> Result<Self, CryptoError> {
        let unsupported = CryptoError::UnsupportedEncryption(algorithm, u16::try_from(key.len() * 8).ok());
        let aead = match (algorithm, key.len()) {
            (EncryptionAlgorithm::AesGcm16, 16) => &AES_128_GCM,
            (EncryptionAlgorithm::AesGcm16, 24) => &AES_192_GCM,
            (EncryptionAlgorithm::AesGcm16, 32) => &AES_256_GCM,
            (EncryptionAlgorithm::ChaCha20Poly1305, 32) => &CHACHA20_POLY1305,
            _ => return Err(unsupported),
        };
        let salt = salt.try_into().map_err(|_| unsupported)?;
        Ok(Self { salt: Zeroizing::new(salt), key: LessSafeKey::new(UnboundKey::new(aead, key)?) })
    }

    fn nonce(&self, iv: &[u8]) -> Nonce {
        let mut nonce = [0; NONCE];
        for (to, from) in nonce.iter_mut().zip(self.salt.iter().chain(iv)) {
            *to = *from;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    pub(super) fn seal(&self, aad: &[u8], iv: &[u8], text: &mut [u8], icv: &mut [u8]) -> Result<(), CryptoError> {
        let tag = self.key.seal_in_place_separate_tag(self.nonce(iv), Aad::from(aad), text)?;
        copy(icv, tag.as_ref());
        Ok(())
    }

    pub(super) fn open(&self, aad: &[u8], iv: &[u8], text: &mut [u8], icv: &[u8]) -> Result<(), CryptoError> {
        let opened = self.key.open_in_place_separate_tag(self.nonce(iv), Aad::from(aad), icv, text);
        opened.map(|_| ()).map_err(|_| CryptoError::Integrity)
    }
}

fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}
