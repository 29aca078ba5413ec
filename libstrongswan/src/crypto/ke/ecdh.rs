//! The curves that aws-lc-rs offers itself.
//!
//! For the NIST curves, it takes and makes points with the leading octet 0x04 that IKE leaves out (RFC 5903 §7). It refuses
//! points that are not on the curve, and X25519 values of small order (RFC 7748 §6.1).

use aws_lc_rs::agreement::{self, Algorithm, ECDH_P256, ECDH_P384, ECDH_P521, UnparsedPublicKey, X25519};

use crate::crypto::{CryptoError, Secret};

/// SEC 1 §2.3.3: uncompressed point.
const UNCOMPRESSED: u8 = 4;

/// Longest point: x and y of P-521.
const MAX_POINT: usize = 1 + 2 * 66;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    X25519,
    P256,
    P384,
    P521,
}

impl Curve {
    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::X25519 => &X25519,
            Self::P256 => &ECDH_P256,
            Self::P384 => &ECDH_P384,
            Self::P521 => &ECDH_P521,
        }
    }

    fn public_len(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::P256 => 64,
            Self::P384 => 96,
            Self::P521 => 132,
        }
    }
}

pub(super) struct PrivateKey {
    curve: Curve,
    key: agreement::PrivateKey,
}

impl PrivateKey {
    pub(super) fn generate(curve: Curve) -> Result<Self, CryptoError> {
        Ok(Self { curve, key: agreement::PrivateKey::generate(curve.algorithm())? })
    }

    #[cfg(test)]
    pub(super) fn from_bytes(curve: Curve, bytes: &[u8]) -> Self {
        Self { curve, key: agreement::PrivateKey::from_private_key(curve.algorithm(), bytes).expect("valid key") }
    }

    pub(super) fn public_value(&self) -> Result<Vec<u8>, CryptoError> {
        let public = self.key.compute_public_key()?;
        let bytes = public.as_ref();
        let prefix = bytes.len().saturating_sub(self.curve.public_len());
        Ok(bytes.get(prefix..).unwrap_or_default().to_vec())
    }

    /// `None` if the peer's value is invalid.
    pub(super) fn agree(&self, peer: &[u8]) -> Option<Secret> {
        if peer.len() != self.curve.public_len() {
            return None;
        }
        let mut point = [UNCOMPRESSED; MAX_POINT];
        let (_, coordinates) = point.split_first_mut()?;
        coordinates.get_mut(..peer.len())?.copy_from_slice(peer);
        let encoded = match self.curve {
            Curve::X25519 => peer,
            Curve::P256 | Curve::P384 | Curve::P521 => point.get(..=peer.len())?,
        };
        let peer = UnparsedPublicKey::new(self.curve.algorithm(), encoded);
        agreement::agree(&self.key, peer, (), |secret| Ok(Secret::from(secret))).ok()
    }
}
