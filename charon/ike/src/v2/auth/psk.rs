//! Pre-shared keys (RFC 7296 §2.15): AUTH = prf(prf(secret, "Key Pad for IKEv2"), octets).

use strongswan::credentials::{AuthClass, SecretKind};
use strongswan::crypto::{CryptoError, Prf, PrfAlgorithm, Secret};
use strongswan::identity::Identity;
use strongswan::log;

use super::{Covered, Signed, VerifiedRound};
use crate::env::Env;
use crate::wire::{Auth, AuthMethod};

/// The padding string, without terminating zero.
const KEY_PAD: &[u8] = b"Key Pad for IKEv2";

/// Why a pre-shared key did not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PskError {
    /// No secret is loaded for these identities.
    #[error("no shared key found")]
    NotFound,
    /// The MAC fits none of the secrets.
    #[error("MAC mismatched")]
    Mismatch,
    /// The PRF failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

pub(super) fn mac(prf: PrfAlgorithm, secret: &Secret, octets: &[u8]) -> Result<Secret, CryptoError> {
    let key = Prf::new(prf, secret.as_bytes())?.compute(&[KEY_PAD]);
    Ok(Prf::new(prf, key.as_bytes())?.compute(&[octets]))
}

/// Our AUTH payload, made with the secret that fits the identities best.
pub(in crate::v2) fn sign(
    env: &Env<'_>,
    prf: PrfAlgorithm,
    me: &Identity,
    other: &Identity,
    covered: &Covered,
) -> Result<Signed, PskError> {
    log!(IKE, 1, "authentication of '{me}' (myself) with pre-shared key");
    let secret = env.credentials.shared_secrets(SecretKind::Ike, Some(me), Some(other)).next();
    let Some(secret) = secret else {
        log!(IKE, 1, "no shared key found for '{me}' - '{other}'");
        return Err(PskError::NotFound);
    };
    let mac = |octets: &[u8]| mac(prf, &secret.data, octets).map(|mac| mac.as_bytes().to_vec());
    let data = mac(&covered.octets)?;
    let without_ppk = covered.without_ppk.as_deref().map(mac).transpose()?;
    Ok(Signed { auth: Auth { method: AuthMethod::SharedKey, data }, without_ppk })
}

/// Checks the peer's AUTH payload against every secret that fits.
pub(in crate::v2) fn verify(
    env: &Env<'_>,
    prf: PrfAlgorithm,
    me: &Identity,
    other: &Identity,
    octets: &[u8],
    auth: &Auth,
) -> Result<VerifiedRound, PskError> {
    let received = Secret::from(auth.data.as_slice());
    let mut tried: usize = 0;
    for secret in env.credentials.shared_secrets(SecretKind::Ike, Some(me), Some(other)) {
        if mac(prf, &secret.data, octets)? == received {
            log!(IKE, 1, "authentication of '{other}' with pre-shared key successful");
            return Ok(VerifiedRound::new(other.clone(), AuthClass::Psk, None));
        }
        tried = tried.saturating_add(1);
    }
    if tried == 0 {
        log!(IKE, 1, "no shared key found for '{me}' - '{other}'");
        return Err(PskError::NotFound);
    }
    let plural = if tried == 1 { "" } else { "s" };
    log!(IKE, 1, "tried {tried} shared key{plural} for '{me}' - '{other}', but MAC mismatched");
    Err(PskError::Mismatch)
}
