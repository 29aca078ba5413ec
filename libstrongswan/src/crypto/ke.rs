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

use super::transform::KeyExchangeMethod;
use super::{CryptoError, Secret};

/// Whether a key exchange method works here.
pub fn is_supported(method: KeyExchangeMethod) -> bool {
    family(method).is_some()
}

enum Family {
    Ecdh(ecdh::Curve),
}

fn family(method: KeyExchangeMethod) -> Option<Family> {
    use KeyExchangeMethod as K;
    match method {
        K::Curve25519 => Some(Family::Ecdh(ecdh::Curve::X25519)),
        K::Ecp256 => Some(Family::Ecdh(ecdh::Curve::P256)),
        K::Ecp384 => Some(Family::Ecdh(ecdh::Curve::P384)),
        K::Ecp521 => Some(Family::Ecdh(ecdh::Curve::P521)),
        _ => None,
    }
}

/// Our half of a key exchange: the initiator's, or the responder's of a method where both do the same.
pub struct KeyExchange {
    method: KeyExchangeMethod,
    public: Vec<u8>,
    private: Private,
}

enum Private {
    Ecdh(ecdh::PrivateKey),
}

impl KeyExchange {
    /// Draws a secret and computes the public value.
    ///
    /// # Errors
    /// [`CryptoError::UnsupportedKeyExchange`].
    pub fn generate(method: KeyExchangeMethod) -> Result<Self, CryptoError> {
        let (private, public) = match family(method).ok_or(CryptoError::UnsupportedKeyExchange(method))? {
            Family::Ecdh(curve) => {
                let private = ecdh::PrivateKey::generate(curve)?;
                let public = private.public_value()?;
                (Private::Ecdh(private), public)
            }
        };
        Ok(Self { method, public, private })
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
        let secret = match self.private {
            Private::Ecdh(private) => private.agree(peer),
        };
        secret.ok_or(CryptoError::InvalidPublicValue(self.method))
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
    let mut ours = KeyExchange::generate(method)?;
    let public = std::mem::take(&mut ours.public);
    Ok((public, ours.agree(peer)?))
}

#[cfg(test)]
mod tests;
