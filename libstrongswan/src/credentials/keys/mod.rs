//! Public and private keys: reading every usual encoding, signing and verifying.

mod cipher;
mod ecdsa;
mod legacy;
pub(super) mod pbe;
mod private;
mod public;
mod raw;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wycheproof;

use std::fmt;

use thiserror::Error;

pub use private::PrivateKey;
pub use public::PublicKey;

use super::evp::Mode;
use super::scheme::SignatureScheme;

/// What kind of key it is. DSA and Ed448 have names only: nothing here can use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyType {
    /// RSA.
    Rsa,
    /// ECDSA on P-256, P-384 or P-521.
    Ecdsa,
    /// DSA.
    Dsa,
    /// Ed25519.
    Ed25519,
    /// Ed448.
    Ed448,
}

impl KeyType {
    /// The type of that name on vici and in `auth` strings, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Rsa, Self::Ecdsa, Self::Dsa, Self::Ed25519, Self::Ed448]
            .into_iter()
            .find(|key_type| key_type.to_string().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa => "RSA",
            Self::Ecdsa => "ECDSA",
            Self::Dsa => "DSA",
            Self::Ed25519 => "ED25519",
            Self::Ed448 => "ED448",
        })
    }
}

/// Why a key could not be read.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// No known encoding of a key.
    #[error("not a key in a known encoding")]
    Malformed,
    /// A key of an algorithm, curve or size that is not supported.
    #[error("unsupported key algorithm, curve or size")]
    Unsupported,
    /// The private key is encrypted.
    #[error("the private key is encrypted")]
    Encrypted,
    /// The private key is encrypted, and not with this passphrase.
    #[error("the private key could not be decrypted")]
    WrongPassphrase,
}

/// Why a signature was not made or not accepted.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum SignatureError {
    /// The key cannot do that.
    #[error("{0} signatures are not supported with this key")]
    Unsupported(SignatureScheme),
    /// The signature is not that of this key over this data.
    #[error("signature does not verify")]
    Invalid,
    /// The library failed for no reason that can be told.
    #[error("signing failed")]
    Failed,
}

/// What the primitive has to do for a scheme, if a key of this type and size can do it.
fn mode(scheme: SignatureScheme, key_type: KeyType, bits: u32) -> Result<Mode, SignatureError> {
    let fits = match scheme {
        // RFC 4754: each of these is bound to one curve.
        SignatureScheme::Ecdsa256 => key_type == KeyType::Ecdsa && bits == 256,
        SignatureScheme::Ecdsa384 => key_type == KeyType::Ecdsa && bits == 384,
        SignatureScheme::Ecdsa521 => key_type == KeyType::Ecdsa && bits == 521,
        SignatureScheme::Ed448 => false,
        SignatureScheme::RsaPkcs1(_)
        | SignatureScheme::RsaPss(..)
        | SignatureScheme::EcdsaDer(_)
        | SignatureScheme::Ed25519 => scheme.key_type() == key_type,
    };
    if !fits {
        return Err(SignatureError::Unsupported(scheme));
    }
    Ok(match scheme {
        SignatureScheme::RsaPss(hash, salt) => Mode::Pss(hash, salt),
        SignatureScheme::Ed25519 | SignatureScheme::Ed448 => Mode::Pure,
        _ => Mode::Digest(scheme.hash()),
    })
}
