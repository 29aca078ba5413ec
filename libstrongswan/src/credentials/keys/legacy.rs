//! The encryption of PEM files that `DEK-Info` headers announce (RFC 1421 §4.6.1.3 with OpenSSL's key derivation).
//!
//! One round of MD5 protects nothing against guessing, but such files exist and people have to be able to load them.

use zeroize::Zeroizing;

use super::KeyError;
use super::cipher::Cipher;
use crate::crypto::Secret;
use crate::crypto::hash::md5;

/// Decrypts the contents of a PEM block; `info` is the value of its `DEK-Info` header.
pub(super) fn decrypt(info: &str, data: &Secret, passphrase: &[u8]) -> Result<Secret, KeyError> {
    let (cipher, iv) = info.split_once(',').ok_or(KeyError::Malformed)?;
    let cipher = match cipher.trim() {
        "AES-128-CBC" => Cipher::Aes128,
        "AES-192-CBC" => Cipher::Aes192,
        "AES-256-CBC" => Cipher::Aes256,
        "DES-EDE3-CBC" => Cipher::TripleDes,
        "DES-CBC" => Cipher::Des,
        _ => return Err(KeyError::Unsupported),
    };
    let iv = hex::decode(iv.trim()).map_err(|_| KeyError::Malformed)?;
    let salt = iv.first_chunk::<8>().filter(|_| iv.len() == cipher.block_len()).ok_or(KeyError::Malformed)?;
    let key = derive(passphrase, salt, cipher.key_len());
    let key = key.get(..cipher.key_len()).ok_or(KeyError::Malformed)?;
    cipher.decrypt(key, &iv, data.as_bytes()).ok_or(KeyError::WrongPassphrase)
}

/// MD5 of what came before, the passphrase and the salt, until there is enough.
fn derive(passphrase: &[u8], salt: &[u8; 8], key_len: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(32));
    let mut last = Zeroizing::new(Vec::new());
    while key.len() < key_len {
        *last = md5(&[&last, passphrase, salt]).to_vec();
        key.extend_from_slice(&last);
    }
    key
}
