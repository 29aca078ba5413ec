//! Private keys: PKCS#1, SEC 1 and PKCS#8, plain or encrypted (PBES2, PBES1), in PEM or DER; signing.

use std::fmt;

use der::asn1::OctetStringRef;
use der::{Decode, Sequence};
use spki::AlgorithmIdentifierRef;

use super::{KeyError, KeyType, PublicKey, SignatureError, ecdsa, legacy, mode, pbe};
use crate::credentials::evp::EvpKey;
use crate::credentials::pem::{self, Block};
use crate::credentials::scheme::SignatureScheme;
use crate::crypto::Secret;

const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
const PLAIN: &[&str] = &["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];

/// RFC 5208 §6.
#[derive(Sequence)]
struct EncryptedPrivateKeyInfo<'a> {
    algorithm: AlgorithmIdentifierRef<'a>,
    data: OctetStringRef<'a>,
}

/// A private key with its public half. It cannot be cloned; share it behind an `Arc`.
pub struct PrivateKey {
    evp: EvpKey,
    public: PublicKey,
}

impl PrivateKey {
    /// Reads an unencrypted key in any known encoding.
    ///
    /// # Errors
    /// If it is none, not supported, or encrypted.
    pub fn from_der_or_pem(data: &[u8]) -> Result<Self, KeyError> {
        Self::read(data, None)
    }

    /// Reads a key that may be encrypted.
    ///
    /// # Errors
    /// As above, and if the passphrase does not fit.
    pub fn from_encrypted(data: &[u8], passphrase: &[u8]) -> Result<Self, KeyError> {
        Self::read(data, Some(passphrase))
    }

    fn read(data: &[u8], passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        if !pem::is_pem(data) {
            return Self::from_der(data).or_else(|error| match EncryptedPrivateKeyInfo::from_der(data) {
                Ok(encrypted) => Self::decrypt(&encrypted, passphrase),
                Err(_) => Err(error),
            });
        }
        let is_key = |block: &Block| block.label == ENCRYPTED || PLAIN.contains(&block.label.as_str());
        let block = pem::blocks(data).into_iter().find(is_key).ok_or(KeyError::Malformed)?;
        if block.label == ENCRYPTED {
            let encrypted =
                EncryptedPrivateKeyInfo::from_der(block.data.as_bytes()).map_err(|_| KeyError::Malformed)?;
            Self::decrypt(&encrypted, passphrase)
        } else if let Some(info) = block.header("DEK-Info") {
            let decrypted = legacy::decrypt(info, &block.data, passphrase.ok_or(KeyError::Encrypted)?)?;
            Self::from_der(decrypted.as_bytes()).map_err(|_| KeyError::WrongPassphrase)
        } else {
            Self::from_der(block.data.as_bytes())
        }
    }

    fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let evp = EvpKey::private_from_der(der).ok_or(KeyError::Malformed)?;
        super::public::check(&evp)?;
        let public = PublicKey::from_spki_der(&evp.spki().ok_or(KeyError::Unsupported)?)?;
        Ok(Self { evp, public })
    }

    fn decrypt(encrypted: &EncryptedPrivateKeyInfo<'_>, passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        let passphrase = passphrase.ok_or(KeyError::Encrypted)?;
        let decrypted = pbe::decrypt(&encrypted.algorithm, passphrase, encrypted.data.as_bytes())?;
        // A wrong passphrase may still yield valid padding.
        Self::from_der(decrypted.as_bytes()).map_err(|_| KeyError::WrongPassphrase)
    }

    /// The algorithm.
    pub fn key_type(&self) -> KeyType {
        self.public.key_type()
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The unencrypted PKCS#8 form: what swanctl sends to the daemon.
    ///
    /// # Errors
    /// If memory is short.
    pub fn to_pkcs8_der(&self) -> Result<Secret, KeyError> {
        self.evp.pkcs8().ok_or(KeyError::Unsupported)
    }

    /// Signs `data`.
    ///
    /// # Errors
    /// If the scheme does not fit the key.
    pub fn sign(&self, scheme: SignatureScheme, data: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let bits = self.public.bits();
        let mode = mode(scheme, self.key_type(), bits)?;
        // The only way to fail from here on is an RSA key too short for the digest, or a digest nobody implements.
        let signature = self.evp.sign(mode, data).ok_or(SignatureError::Unsupported(scheme))?;
        match scheme {
            SignatureScheme::Ecdsa256 | SignatureScheme::Ecdsa384 | SignatureScheme::Ecdsa521 => {
                ecdsa::to_fixed(&signature, bits).ok_or(SignatureError::Failed)
            }
            _ => Ok(signature),
        }
    }
}

impl PartialEq for PrivateKey {
    /// Two private keys are equal if their public halves are.
    fn eq(&self, other: &Self) -> bool {
        self.public == other.public
    }
}

impl Eq for PrivateKey {}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({:?})", self.public)
    }
}
