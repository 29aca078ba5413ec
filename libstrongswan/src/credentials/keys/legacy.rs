//! The encryption of PEM files that `DEK-Info` headers announce (RFC 1421 §4.6.1.3 with OpenSSL's key derivation).
//!
//! One round of MD5 protects nothing against guessing, but such files exist and people have to be able to load them.
//! Triple DES is not among them: `openssl pkcs8 -topk8` converts these.

use aws_lc_rs::cipher::{AES_128, AES_192, AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use zeroize::Zeroizing;

use super::KeyError;
use crate::crypto::Secret;
use crate::crypto::hash::md5;

/// Decrypts the contents of a PEM block; `info` is the value of its `DEK-Info` header.
pub(super) fn decrypt(info: &str, data: &Secret, passphrase: &[u8]) -> Result<Secret, KeyError> {
    let (cipher, iv) = info.split_once(',').ok_or(KeyError::Malformed)?;
    let (algorithm, key_len) = match cipher.trim() {
        "AES-128-CBC" => (&AES_128, 16),
        "AES-192-CBC" => (&AES_192, 24),
        "AES-256-CBC" => (&AES_256, 32),
        _ => return Err(KeyError::Unsupported),
    };
    let mut initial = [0; 16];
    hex::decode_to_slice(iv.trim(), &mut initial).map_err(|_| KeyError::Malformed)?;
    let salt = initial.first_chunk::<8>().ok_or(KeyError::Malformed)?;
    let key = derive(passphrase, salt, key_len);
    let key = key.get(..key_len).ok_or(KeyError::Malformed)?;
    let key = UnboundCipherKey::new(algorithm, key).and_then(PaddedBlockDecryptingKey::cbc_pkcs7);
    let mut buffer = Zeroizing::new(data.as_bytes().to_vec());
    let decrypted = key
        .and_then(|key| key.decrypt(&mut buffer, DecryptionContext::Iv128(FixedLength::from(initial))))
        .map_err(|_| KeyError::WrongPassphrase)?;
    Ok(Secret::from(&*decrypted))
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
