//! One direction of an encrypted channel: SK payloads (RFC 7296 §3.14, RFC 5282) and ESP packets (RFC 4303).
//!
//! Either an AEAD, or a cipher and a MAC over what it encrypted. The keys are expanded once; sealing and opening work in
//! place. Padding, and the choice of IVs, is left to the caller: a counter for AEADs and AES-CTR, unpredictable for CBC.

mod aead;
mod classic;
mod integrity;

use std::fmt;

use super::CryptoError;
use super::transform::{EncryptionAlgorithm, IntegrityAlgorithm};
use aead::Aead;
use classic::{Classic, Integrity};

pub use integrity::is_supported as is_integrity_supported;

/// How much key material a channel takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyLengths {
    /// Bytes for the cipher, the salt that AEADs and AES-CTR add to the nonce included.
    pub encryption: usize,
    /// Bytes for the integrity algorithm; 0 for AEADs.
    pub integrity: usize,
}

/// How a cipher is built, and the lengths that follow from it.
struct Shape {
    construction: Construction,
    /// Key without salt.
    key: usize,
    salt: usize,
    iv: usize,
    block: usize,
}

enum Construction {
    /// With the length of its ICV.
    Aead(aead::Mode, usize),
    Classic(classic::Mode),
}

/// How a cipher is built; `None` if it is not supported with this key size.
fn shape(algorithm: EncryptionAlgorithm, key_size: Option<u16>) -> Option<Shape> {
    use EncryptionAlgorithm as E;
    let aes = || match key_size {
        Some(128) => Some(16),
        Some(192) => Some(24),
        Some(256) => Some(32),
        _ => None,
    };
    let fixed = |key, sizes: &[Option<u16>]| sizes.contains(&key_size).then_some(key);
    let classic =
        |mode, key, salt, iv, block| Some(Shape { construction: Construction::Classic(mode), key, salt, iv, block });
    let aead =
        |mode, key, salt, icv| Some(Shape { construction: Construction::Aead(mode, icv), key, salt, iv: 8, block: 1 });
    match algorithm {
        E::Null => classic(classic::Mode::Null, fixed(0, &[None])?, 0, 0, 1),
        E::TripleDes => classic(classic::Mode::TripleDes, fixed(24, &[None])?, 0, 8, 8),
        E::AesCbc => classic(classic::Mode::AesCbc, aes()?, 0, 16, 16),
        E::AesCtr => classic(classic::Mode::AesCtr, aes()?, 4, 8, 1),
        E::AesCcm8 => aead(aead::Mode::Ccm, aes()?, 3, 8),
        E::AesCcm12 => aead(aead::Mode::Ccm, aes()?, 3, 12),
        E::AesCcm16 => aead(aead::Mode::Ccm, aes()?, 3, 16),
        E::AesGcm8 => aead(aead::Mode::Gcm, aes()?, 4, 8),
        E::AesGcm12 => aead(aead::Mode::Gcm, aes()?, 4, 12),
        E::AesGcm16 => aead(aead::Mode::Gcm, aes()?, 4, 16),
        E::NullAesGmac => aead(aead::Mode::Gmac, aes()?, 4, 16),
        E::ChaCha20Poly1305 => aead(aead::Mode::ChaCha20Poly1305, fixed(32, &[None, Some(256)])?, 4, 16),
        E::DesIv64
        | E::Des
        | E::Rc5
        | E::Idea
        | E::Cast
        | E::Blowfish
        | E::TripleIdea
        | E::DesIv32
        | E::CamelliaCbc
        | E::CamelliaCtr
        | E::CamelliaCcm8
        | E::CamelliaCcm12
        | E::CamelliaCcm16
        | E::Undefined
        | E::DesEcb
        | E::Serpent
        | E::Twofish
        | E::Rc2
        | E::AesEcb
        | E::AesCfb
        | E::Unknown(_) => None,
    }
}

/// Whether a cipher with this key size works here.
pub fn is_encryption_supported(algorithm: EncryptionAlgorithm, key_size: Option<u16>) -> bool {
    shape(algorithm, key_size).is_some()
}

/// Keys and algorithms of one direction.
pub struct Cipher {
    iv_len: usize,
    icv_len: usize,
    block_len: usize,
    kind: Kind,
}

enum Kind {
    Aead(Aead),
    Classic(Classic, Option<Integrity>),
}

impl Cipher {
    /// The key material that a combination takes; `None` if it is not supported.
    pub fn key_lengths(
        encryption: (EncryptionAlgorithm, Option<u16>),
        integrity: Option<IntegrityAlgorithm>,
    ) -> Option<KeyLengths> {
        let shape = shape(encryption.0, encryption.1)?;
        let integrity = match (&shape.construction, integrity) {
            (Construction::Classic(_), Some(algorithm)) => integrity::lengths(algorithm)?.key,
            (Construction::Classic(_), None) | (Construction::Aead(..), _) => 0,
        };
        Some(KeyLengths { encryption: shape.key + shape.salt, integrity })
    }

    /// Expands the keys. `encryption_key` ends with the salt, if the algorithm has one. For AEADs `integrity` is ignored,
    /// for others it may be `None`, except with NULL encryption (RFC 4301 §4.2).
    ///
    /// # Errors
    /// An algorithm that is not supported, or keys of other lengths than [`Cipher::key_lengths`] says.
    pub fn new(
        encryption: (EncryptionAlgorithm, Option<u16>),
        integrity: Option<IntegrityAlgorithm>,
        encryption_key: &[u8],
        integrity_key: &[u8],
    ) -> Result<Self, CryptoError> {
        let (algorithm, key_size) = encryption;
        let shape = shape(algorithm, key_size).ok_or(CryptoError::UnsupportedEncryption(algorithm, key_size))?;
        let (key, salt) = match encryption_key.split_at_checked(shape.key) {
            Some((key, salt)) if salt.len() == shape.salt => (key, salt),
            _ => {
                let expected = shape.key + shape.salt;
                return Err(CryptoError::KeyLength { expected, actual: encryption_key.len() });
            }
        };
        let (kind, icv_len) = match shape.construction {
            Construction::Aead(mode, icv_len) => (Kind::Aead(Aead::new(mode, key, salt, icv_len)?), icv_len),
            Construction::Classic(classic::Mode::Null) if integrity.is_none() => {
                return Err(CryptoError::UnsupportedIntegrity(IntegrityAlgorithm::None));
            }
            Construction::Classic(mode) => {
                let integrity = integrity.map(|algorithm| Integrity::new(algorithm, integrity_key)).transpose()?;
                let icv_len = integrity.as_ref().map_or(0, Integrity::icv_len);
                (Kind::Classic(Classic::new(mode, key, salt)?, integrity), icv_len)
            }
        };
        Ok(Self { iv_len: shape.iv, icv_len, block_len: shape.block, kind })
    }

    /// Whether encryption and integrity are one algorithm.
    pub fn is_aead(&self) -> bool {
        matches!(self.kind, Kind::Aead(_))
    }

    /// Bytes of IV sent with each message.
    pub fn iv_len(&self) -> usize {
        self.iv_len
    }

    /// Bytes of ICV at the end of each message.
    pub fn icv_len(&self) -> usize {
        self.icv_len
    }

    /// What the length of the text must be a multiple of.
    pub fn block_len(&self) -> usize {
        self.block_len
    }

    fn check(&self, iv: &[u8], text: &[u8], icv: &[u8]) -> Result<(), CryptoError> {
        let fits = |what, fits, actual| if fits { Ok(()) } else { Err(CryptoError::Length { what, actual }) };
        fits("IV", iv.len() == self.iv_len, iv.len())?;
        fits("ICV", icv.len() == self.icv_len, icv.len())?;
        fits("text", text.len().is_multiple_of(self.block_len), text.len())
    }

    /// Encrypts `text` in place and writes the ICV.
    ///
    /// An AEAD authenticates `aad` and `text`; `mac_tail` is not looked at. A MAC covers `aad`, `iv`, the encrypted text and
    /// `mac_tail`, in that order. An IV must not be used twice under the same key.
    ///
    /// # Errors
    /// [`CryptoError::Length`] if a length does not fit the algorithm.
    pub fn seal(
        &self,
        aad: &[u8],
        iv: &[u8],
        text: &mut [u8],
        mac_tail: &[u8],
        icv: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.check(iv, text, icv)?;
        match &self.kind {
            Kind::Aead(aead) => aead.seal(aad, iv, text, icv),
            Kind::Classic(cipher, integrity) => {
                cipher.encrypt(iv, text)?;
                match integrity {
                    Some(integrity) => integrity.sign(&[aad, iv, text, mac_tail], icv),
                    None => Ok(()),
                }
            }
        }
    }

    /// Checks the ICV and decrypts `text` in place; if that fails, the contents of `text` are unspecified.
    ///
    /// # Errors
    /// [`CryptoError::Integrity`] if the ICV is wrong, [`CryptoError::Length`] if a length does not fit the algorithm.
    pub fn open(&self, aad: &[u8], iv: &[u8], text: &mut [u8], mac_tail: &[u8], icv: &[u8]) -> Result<(), CryptoError> {
        self.check(iv, text, icv)?;
        match &self.kind {
            Kind::Aead(aead) => aead.open(aad, iv, text, icv),
            Kind::Classic(cipher, integrity) => {
                if let Some(integrity) = integrity {
                    integrity.verify(&[aad, iv, text, mac_tail], icv)?;
                }
                cipher.decrypt(iv, text)
            }
        }
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cipher").field("aead", &self.is_aead()).field("icv_len", &self.icv_len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
