//! Key exchange methods (transform types 4 and 6 to 12): ephemeral secrets, used once.
//!
//! | methods | reference | public value on the wire |
//! |---|---|---|
//! | CURVE_25519 | RFC 8031 | 32 octets |
//! | ECP_* | RFC 5903, RFC 6954 | x and y, the shared secret is x alone |
//! | MODP_* | RFC 2409, RFC 3526, RFC 5114 | as long as the prime |
//! | ML_KEM_* | FIPS 203 | initiator: encapsulation key, responder: ciphertext |
//!
//! Public values are checked as RFC 6989 §2 demands. Secrets are used once, so its advice on reuse does not apply.

mod ecdh;
mod mlkem;
mod modp;

use super::ffi::ec;
use super::transform::KeyExchangeMethod;
use super::{CryptoError, Secret};

/// Whether a key exchange method works here.
pub fn is_supported(method: KeyExchangeMethod) -> bool {
    family(method).is_some()
}

/// Who carries out a method.
enum Family {
    Ecdh(ecdh::Curve),
    Ec(ec::Curve),
    Modp(modp::Group),
    MlKem(mlkem::ParameterSet),
}

fn family(method: KeyExchangeMethod) -> Option<Family> {
    use KeyExchangeMethod as K;
    Some(match method {
        K::Curve25519 => Family::Ecdh(ecdh::Curve::X25519),
        K::Ecp256 => Family::Ecdh(ecdh::Curve::P256),
        K::Ecp384 => Family::Ecdh(ecdh::Curve::P384),
        K::Ecp521 => Family::Ecdh(ecdh::Curve::P521),
        K::Ecp224 => Family::Ec(ec::Curve::P224),
        K::Ecp224Bp => Family::Ec(ec::Curve::Brainpool224),
        K::Ecp256Bp => Family::Ec(ec::Curve::Brainpool256),
        K::Ecp384Bp => Family::Ec(ec::Curve::Brainpool384),
        K::Ecp512Bp => Family::Ec(ec::Curve::Brainpool512),
        K::Modp768 => Family::Modp(modp::Group::Modp768),
        K::Modp1024 => Family::Modp(modp::Group::Modp1024),
        K::Modp1536 => Family::Modp(modp::Group::Modp1536),
        K::Modp2048 => Family::Modp(modp::Group::Modp2048),
        K::Modp3072 => Family::Modp(modp::Group::Modp3072),
        K::Modp4096 => Family::Modp(modp::Group::Modp4096),
        K::Modp6144 => Family::Modp(modp::Group::Modp6144),
        K::Modp8192 => Family::Modp(modp::Group::Modp8192),
        K::Modp1024_160 => Family::Modp(modp::Group::Modp1024_160),
        K::Modp2048_224 => Family::Modp(modp::Group::Modp2048_224),
        K::Modp2048_256 => Family::Modp(modp::Group::Modp2048_256),
        K::MlKem512 => Family::MlKem(mlkem::ParameterSet::MlKem512),
        K::MlKem768 => Family::MlKem(mlkem::ParameterSet::MlKem768),
        K::MlKem1024 => Family::MlKem(mlkem::ParameterSet::MlKem1024),
        K::None | K::Ecp192 | K::Curve448 | K::Gost256 | K::Gost512 | K::ModpNull | K::ModpCustom | K::Unknown(_) => {
            return None;
        }
    })
}

/// Our half of a key exchange: the initiator's, or the responder's of a method where both do the same.
pub struct KeyExchange {
    method: KeyExchangeMethod,
    public: Vec<u8>,
    private: Private,
}

enum Private {
    Ecdh(ecdh::PrivateKey),
    Ec(ec::PrivateKey),
    Modp(modp::PrivateKey),
    MlKem(mlkem::PrivateKey),
}

impl Private {
    fn generate(family: &Family) -> Result<Self, CryptoError> {
        Ok(match family {
            Family::Ecdh(curve) => Self::Ecdh(ecdh::PrivateKey::generate(*curve)?),
            Family::Ec(curve) => Self::Ec(ec::PrivateKey::generate(*curve)?),
            Family::Modp(group) => Self::Modp(modp::PrivateKey::generate(*group)?),
            Family::MlKem(set) => Self::MlKem(mlkem::PrivateKey::generate(*set)?),
        })
    }

    fn public_value(&self) -> Result<Vec<u8>, CryptoError> {
        match self {
            Self::Ecdh(key) => key.public_value(),
            Self::Ec(key) => key.public_value(),
            Self::Modp(key) => key.public_value(),
            Self::MlKem(key) => key.public_value(),
        }
    }

    fn agree(&self, peer: &[u8]) -> Option<Secret> {
        match self {
            Self::Ecdh(key) => key.agree(peer),
            Self::Ec(key) => key.agree(peer),
            Self::Modp(key) => key.agree(peer),
            Self::MlKem(key) => key.agree(peer),
        }
    }
}

impl KeyExchange {
    /// Draws a secret and computes the public value.
    ///
    /// # Errors
    /// [`CryptoError::UnsupportedKeyExchange`].
    pub fn generate(method: KeyExchangeMethod) -> Result<Self, CryptoError> {
        let family = family(method).ok_or(CryptoError::UnsupportedKeyExchange(method))?;
        let private = Private::generate(&family)?;
        Ok(Self { method, public: private.public_value()?, private })
    }

    /// With a given secret, for published vectors.
    #[cfg(test)]
    pub(super) fn from_secret(method: KeyExchangeMethod, secret: &[u8]) -> Self {
        let private = match family(method).expect("supported") {
            Family::Ecdh(curve) => Private::Ecdh(ecdh::PrivateKey::from_bytes(curve, secret)),
            Family::Ec(curve) => Private::Ec(ec::PrivateKey::from_bytes(curve, secret)),
            Family::Modp(group) => Private::Modp(modp::PrivateKey::from_bytes(group, secret)),
            Family::MlKem(set) => Private::MlKem(mlkem::PrivateKey::from_bytes(set, secret)),
        };
        // An imported ML-KEM key comes without its public half.
        let public = private.public_value().unwrap_or_default();
        Self { method, public, private }
    }

    /// Which method it is.
    pub fn method(&self) -> KeyExchangeMethod {
        self.method
    }

    /// What goes into our KE payload.
    pub fn public_value(&self) -> &[u8] {
        &self.public
    }

    /// The shared secret with the peer whose public value this is.
    ///
    /// # Errors
    /// [`CryptoError::InvalidPublicValue`].
    pub fn agree(self, peer: &[u8]) -> Result<Secret, CryptoError> {
        self.private.agree(peer).ok_or(CryptoError::InvalidPublicValue(self.method))
    }
}

impl std::fmt::Debug for KeyExchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyExchange({})", self.method)
    }
}

/// The responder's half: our public value, and the secret shared with the peer.
///
/// # Errors
/// [`CryptoError::UnsupportedKeyExchange`] or [`CryptoError::InvalidPublicValue`].
pub fn respond(method: KeyExchangeMethod, peer: &[u8]) -> Result<(Vec<u8>, Secret), CryptoError> {
    let family = family(method).ok_or(CryptoError::UnsupportedKeyExchange(method))?;
    if let Family::MlKem(set) = family {
        return mlkem::encapsulate(set, peer).ok_or(CryptoError::InvalidPublicValue(method));
    }
    let private = Private::generate(&family)?;
    // In this order, so that an invalid value does not cost us the computation of our own.
    let secret = private.agree(peer).ok_or(CryptoError::InvalidPublicValue(method))?;
    Ok((private.public_value()?, secret))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wycheproof;
