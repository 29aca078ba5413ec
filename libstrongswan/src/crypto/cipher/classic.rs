//! Ciphers that need a MAC next to them, and that MAC.

use std::sync::OnceLock;

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::integrity;
use crate::crypto::ffi::evp_cipher::TripleDesCbc;
use crate::crypto::mac::Mac;
use crate::crypto::transform::IntegrityAlgorithm;
use crate::crypto::{CryptoError, Secret};

/// Which cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Null,
    TripleDes,
    AesCbc,
    AesCtr,
}

/// A keyed cipher without integrity protection.
pub(super) enum Classic {
    Null,
    AesCbc(AesCbc),
    /// Leaf lock, held for one message.
    TripleDes(Mutex<TripleDesCbc>),
    /// With the salt that begins each counter block (RFC 3686 §4).
    AesCtr(Box<EncryptingKey>, Zeroizing<[u8; 4]>),
}

impl Classic {
    /// `key` and `salt` have the lengths of the algorithm.
    pub(super) fn new(mode: Mode, key: &[u8], salt: &[u8]) -> Result<Self, CryptoError> {
        match mode {
            Mode::Null => Ok(Self::Null),
            Mode::AesCbc => Ok(Self::AesCbc(AesCbc::new(key))),
            Mode::TripleDes => {
                let wrong = |_| CryptoError::KeyLength { expected: 24, actual: key.len() };
                Ok(Self::TripleDes(Mutex::new(TripleDesCbc::new(key.try_into().map_err(wrong)?)?)))
            }
            Mode::AesCtr => {
                let wrong = |_| CryptoError::KeyLength { expected: 4, actual: salt.len() };
                let salt = Zeroizing::new(salt.try_into().map_err(wrong)?);
                Ok(Self::AesCtr(Box::new(EncryptingKey::ctr(aes(key)?)?), salt))
            }
        }
    }

    pub(super) fn encrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CryptoError> {
        match self {
            Self::Null => Ok(()),
            Self::AesCbc(cipher) => cipher.encrypt(iv, text),
            Self::TripleDes(cipher) => cipher.lock().encrypt(des_iv(iv)?, text),
            Self::AesCtr(key, salt) => ctr(key, salt, iv, text),
        }
    }

    pub(super) fn decrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CryptoError> {
        match self {
            Self::Null => Ok(()),
            Self::AesCbc(cipher) => cipher.decrypt(iv, text),
            Self::TripleDes(cipher) => cipher.lock().decrypt(des_iv(iv)?, text),
            Self::AesCtr(key, salt) => ctr(key, salt, iv, text),
        }
    }
}

fn des_iv(iv: &[u8]) -> Result<&[u8; 8], CryptoError> {
    iv.try_into().map_err(|_| CryptoError::Length { what: "IV", actual: iv.len() })
}

fn aes(key: &[u8]) -> Result<UnboundCipherKey, CryptoError> {
    let algorithm = match key.len() {
        16 => &AES_128,
        24 => &AES_192,
        _ => &AES_256,
    };
    Ok(UnboundCipherKey::new(algorithm, key)?)
}

/// RFC 3686 §4: the counter block is the salt, the IV, and a block counter that starts at 1.
fn ctr(key: &EncryptingKey, salt: &[u8; 4], iv: &[u8], text: &mut [u8]) -> Result<(), CryptoError> {
    let mut block = [0; 16];
    let counter = 1u32.to_be_bytes();
    for (to, from) in block.iter_mut().zip(salt.iter().chain(iv).chain(&counter)) {
        *to = *from;
    }
    key.less_safe_encrypt(text, EncryptionContext::Iv128(FixedLength::from(block)))?;
    Ok(())
}

/// AES-CBC (RFC 3602). A channel is used in one direction only: the key schedule of the other is never made.
pub(super) struct AesCbc {
    key: Secret,
    encrypting: OnceLock<Box<EncryptingKey>>,
    decrypting: OnceLock<Box<DecryptingKey>>,
}

impl AesCbc {
    fn new(key: &[u8]) -> Self {
        Self { key: Secret::from(key), encrypting: OnceLock::new(), decrypting: OnceLock::new() }
    }

    fn encrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CryptoError> {
        let key = match self.encrypting.get() {
            Some(key) => key,
            None => {
                let key = Box::new(EncryptingKey::cbc(aes(self.key.as_bytes())?)?);
                self.encrypting.get_or_init(|| key)
            }
        };
        let iv = FixedLength::<16>::try_from(iv)?;
        key.less_safe_encrypt(text, EncryptionContext::Iv128(iv))?;
        Ok(())
    }

    fn decrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CryptoError> {
        let key = match self.decrypting.get() {
            Some(key) => key,
            None => {
                let key = Box::new(DecryptingKey::cbc(aes(self.key.as_bytes())?)?);
                self.decrypting.get_or_init(|| key)
            }
        };
        let iv = FixedLength::<16>::try_from(iv)?;
        key.decrypt(text, DecryptionContext::Iv128(iv))?;
        Ok(())
    }
}

/// A keyed and truncated MAC.
pub(super) struct Integrity {
    mac: Mac,
    icv_len: usize,
}

impl Integrity {
    pub(super) fn new(algorithm: IntegrityAlgorithm, key: &[u8]) -> Result<Self, CryptoError> {
        let lengths = integrity::lengths(algorithm).ok_or(CryptoError::UnsupportedIntegrity(algorithm))?;
        if key.len() != lengths.key {
            return Err(CryptoError::KeyLength { expected: lengths.key, actual: key.len() });
        }
        Ok(Self { mac: Mac::new(lengths.mac, key)?, icv_len: lengths.icv })
    }

    pub(super) fn icv_len(&self) -> usize {
        self.icv_len
    }

    pub(super) fn sign(&self, parts: &[&[u8]], icv: &mut [u8]) -> Result<(), CryptoError> {
        let tag = self.mac.compute(parts)?;
        for (to, from) in icv.iter_mut().zip(tag.as_bytes()) {
            *to = *from;
        }
        Ok(())
    }

    pub(super) fn verify(&self, parts: &[&[u8]], icv: &[u8]) -> Result<(), CryptoError> {
        let tag = self.mac.compute(parts)?;
        let expected = tag.as_bytes().get(..self.icv_len).unwrap_or_default();
        if bool::from(expected.ct_eq(icv)) { Ok(()) } else { Err(CryptoError::Integrity) }
    }
}
