//! Ciphers that make their own ICV. The nonce is the salt from the key material and the IV from the message
//! (RFC 4106 §3, RFC 4309 §4, RFC 7634 §2).

use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::crypto::CryptoError;
use crate::crypto::ffi::evp_aead::EvpAead;
use crate::crypto::ffi::evp_cipher::{Ccm, Gmac};

/// Which AEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Gcm,
    Ccm,
    Gmac,
    ChaCha20Poly1305,
}

/// A keyed AEAD with its salt.
pub(super) struct Aead {
    /// CCM uses three of the four bytes.
    salt: Zeroizing<[u8; 4]>,
    key: Key,
}

enum Key {
    /// AES-GCM and ChaCha20-Poly1305.
    Evp(EvpAead),
    /// Leaf lock, held for one message; a channel is hardly ever used by two threads at once.
    Ccm(Mutex<Ccm>),
    /// As above.
    Gmac(Mutex<Gmac>),
}

impl Aead {
    /// `key` and `salt` have the lengths of the algorithm.
    pub(super) fn new(mode: Mode, key: &[u8], salt: &[u8], icv_len: usize) -> Result<Self, CryptoError> {
        let key = match mode {
            Mode::Gcm => Key::Evp(EvpAead::gcm(key, icv_len)?),
            Mode::ChaCha20Poly1305 => Key::Evp(EvpAead::chacha20_poly1305(key)?),
            Mode::Ccm => Key::Ccm(Mutex::new(Ccm::new(key, icv_len)?)),
            Mode::Gmac => Key::Gmac(Mutex::new(Gmac::new(key)?)),
        };
        let mut padded = Zeroizing::new([0; 4]);
        copy(&mut *padded, salt);
        Ok(Self { salt: padded, key })
    }

    fn nonce(&self, iv: &[u8]) -> [u8; 12] {
        let mut nonce = [0; 12];
        let (salt, rest) = nonce.split_at_mut(4);
        copy(salt, &*self.salt);
        copy(rest, iv);
        nonce
    }

    fn ccm_nonce(&self, iv: &[u8]) -> [u8; 11] {
        let mut nonce = [0; 11];
        let (salt, rest) = nonce.split_at_mut(3);
        copy(salt, &*self.salt);
        copy(rest, iv);
        nonce
    }

    pub(super) fn seal(&self, aad: &[u8], iv: &[u8], text: &mut [u8], icv: &mut [u8]) -> Result<(), CryptoError> {
        match &self.key {
            Key::Evp(key) => key.seal(&self.nonce(iv), aad, text, icv),
            Key::Ccm(key) => key.lock().seal(&self.ccm_nonce(iv), aad, text, icv),
            Key::Gmac(key) => {
                // RFC 4543 §3.3: the IV and the text, which stays as it is, are part of the additional data.
                let tag = key.lock().sign(&self.nonce(iv), &[aad, iv, text])?;
                copy(icv, &tag);
                Ok(())
            }
        }
    }

    pub(super) fn open(&self, aad: &[u8], iv: &[u8], text: &mut [u8], icv: &[u8]) -> Result<(), CryptoError> {
        match &self.key {
            Key::Evp(key) => key.open(&self.nonce(iv), aad, text, icv),
            Key::Ccm(key) => key.lock().open(&self.ccm_nonce(iv), aad, text, icv),
            Key::Gmac(key) => key.lock().verify(&self.nonce(iv), &[aad, iv, text], icv),
        }
    }
}

fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}
