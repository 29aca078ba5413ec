//! Signatures: RFC 7427 with any hash both sides know, else the fixed methods of RFC 7296 §2.15 and RFC 4754.

use std::sync::Arc;

use strongswan::credentials::{
    AuthClass, Certificate, HashAlgorithm, KeyType, SignatureError, SignatureScheme, SigningKey, TrustError,
};
use strongswan::identity::Identity;
use strongswan::log;

use super::{Covered, Signed, VerifiedRound};
use crate::config::AuthRound;
use crate::env::Env;
use crate::wire::{Auth, AuthMethod};

/// What the peer told us about the signatures it can verify.
#[derive(Debug)]
pub(in crate::v2) struct PeerAbilities<'a> {
    /// Its hash algorithms, if it supports RFC 7427.
    pub(in crate::v2) hashes: Option<&'a [HashAlgorithm]>,
    /// The CAs it asked for.
    pub(in crate::v2) anchors: &'a [Arc<Certificate>],
}

/// Why we could not sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignError {
    /// There is no private key for our identity.
    #[error("no private key found")]
    NoKey,
    /// No scheme suits both the key and the peer.
    #[error("no common signature scheme")]
    NoScheme,
}

/// Why a signature of the peer was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VerifyError {
    /// What is in the AUTH payload is not understood.
    #[error("authentication payload unsupported or invalid")]
    Unusable,
    /// No key is known to be the peer's, or the certificate of the one it used is not trusted.
    #[error("no trusted {key_type} public key found")]
    NoTrustedKey {
        /// The kind of key that the signature needs.
        key_type: KeyType,
        /// What is wrong with the certificate, if there is one.
        failure: Option<TrustError>,
    },
    /// It was made with none of the peer's keys.
    #[error("signature validation failed")]
    BadSignature {
        /// The kind of key that the signature needs.
        key_type: KeyType,
    },
}

/// Our AUTH payload, and the key it was made with.
pub(in crate::v2) fn sign(
    env: &Env<'_>,
    peer: &PeerAbilities<'_>,
    round: &AuthRound,
    me: &Identity,
    covered: &Covered,
) -> Result<(Signed, SigningKey), SignError> {
    let anchors: Vec<_> = peer.anchors.iter().chain(&round.cacerts).cloned().collect();
    let Some(signer) = env.credentials.signing_key(me, &round.certs, &round.pubkeys, &anchors) else {
        log!(IKE, 1, "no private key found for '{me}'");
        return Err(SignError::NoKey);
    };
    let signed = match peer.hashes {
        Some(hashes) => sign_rfc7427(env, hashes, round, me, covered, &signer)?,
        None => sign_classic(me, covered, &signer)?,
    };
    Ok((signed, signer))
}

fn sign_rfc7427(
    env: &Env<'_>,
    hashes: &[HashAlgorithm],
    round: &AuthRound,
    me: &Identity,
    covered: &Covered,
    signer: &SigningKey,
) -> Result<Signed, SignError> {
    let configured = &round.constraints.ike_schemes;
    let key = signer.key.public_key();
    let candidates = SignatureScheme::candidates(key, hashes, configured, env.settings.rsa_pss);
    if candidates.is_empty() {
        let key_type = key.key_type();
        log!(IKE, 1, "no common hash algorithm found to create signature with {key_type} key");
    }
    for scheme in candidates {
        let Some(identifier) = scheme.algorithm_identifier() else { continue };
        let Ok(len) = u8::try_from(identifier.len()) else { continue };
        let frame = |signature: Vec<u8>| [&[len], identifier.as_slice(), &signature].concat();
        let Ok((data, without_ppk)) = sign_both(scheme, covered, signer) else {
            log!(IKE, 1, "authentication of '{me}' (myself) with {scheme} failed");
            continue;
        };
        log!(IKE, 1, "authentication of '{me}' (myself) with {scheme} successful");
        let auth = Auth { method: AuthMethod::DigitalSignature, data: frame(data) };
        return Ok(Signed { auth, without_ppk: without_ppk.map(frame) });
    }
    Err(SignError::NoScheme)
}

/// Signs what AUTH covers, and what NO_PPK_AUTH does.
fn sign_both(
    scheme: SignatureScheme,
    covered: &Covered,
    signer: &SigningKey,
) -> Result<(Vec<u8>, Option<Vec<u8>>), SignatureError> {
    let sign = |octets: &[u8]| signer.key.sign(scheme, octets);
    Ok((sign(&covered.octets)?, covered.without_ppk.as_deref().map(sign).transpose()?))
}

fn sign_classic(me: &Identity, covered: &Covered, signer: &SigningKey) -> Result<Signed, SignError> {
    let key = signer.key.public_key();
    let Some(scheme) = SignatureScheme::without_signature_authentication(key) else {
        match key.key_type() {
            KeyType::Ecdsa => log!(IKE, 1, "{} bit ECDSA private key size not supported", key.bits()),
            other => log!(IKE, 1, "private key of type {other} not supported"),
        }
        return Err(SignError::NoScheme);
    };
    let method = match scheme {
        SignatureScheme::Ecdsa256 => AuthMethod::Ecdsa256,
        SignatureScheme::Ecdsa384 => AuthMethod::Ecdsa384,
        SignatureScheme::Ecdsa521 => AuthMethod::Ecdsa521,
        _ => AuthMethod::RsaSignature,
    };
    match sign_both(scheme, covered, signer) {
        Ok((data, without_ppk)) => {
            log!(IKE, 1, "authentication of '{me}' (myself) with {method} successful");
            Ok(Signed { auth: Auth { method, data }, without_ppk })
        }
        Err(error) => {
            log!(IKE, 1, "authentication of '{me}' (myself) with {method} failed: {error}");
            Err(SignError::NoScheme)
        }
    }
}

/// Checks the peer's AUTH payload with every key that is trusted to be its own.
pub(in crate::v2) fn verify(
    env: &Env<'_>,
    presented: &[Arc<Certificate>],
    other: &Identity,
    octets: &[u8],
    auth: &Auth,
) -> Result<VerifiedRound, VerifyError> {
    let (scheme, signature) = read(auth).ok_or(VerifyError::Unusable)?;
    let key_type = scheme.key_type();
    let mut keys = env.credentials.trusted_keys(other, Some(key_type), presented, env.wall);
    let mut tried = false;
    for key in keys.by_ref() {
        if key.key().verify(scheme, octets, signature).is_ok() {
            match auth.method {
                AuthMethod::DigitalSignature => log!(IKE, 1, "authentication of '{other}' with {scheme} successful"),
                method => log!(IKE, 1, "authentication of '{other}' with {method} successful"),
            }
            return Ok(VerifiedRound::new(other.clone(), AuthClass::Pubkey, Some((key, Some(scheme)))));
        }
        tried = true;
        log!(IKE, 1, "signature validation failed, looking for another key");
    }
    log!(IKE, 1, "no trusted {key_type} public key found for '{other}'");
    if tried {
        return Err(VerifyError::BadSignature { key_type });
    }
    Err(VerifyError::NoTrustedKey { key_type, failure: keys.failure().cloned() })
}

/// The scheme and the signature in a payload.
fn read(auth: &Auth) -> Option<(SignatureScheme, &[u8])> {
    let scheme = match auth.method {
        AuthMethod::RsaSignature => SignatureScheme::RsaPkcs1(HashAlgorithm::Sha1),
        AuthMethod::Ecdsa256 => SignatureScheme::Ecdsa256,
        AuthMethod::Ecdsa384 => SignatureScheme::Ecdsa384,
        AuthMethod::Ecdsa521 => SignatureScheme::Ecdsa521,
        AuthMethod::DigitalSignature => return read_rfc7427(auth),
        _ => return None,
    };
    Some((scheme, &auth.data))
}

fn read_rfc7427(auth: &Auth) -> Option<(SignatureScheme, &[u8])> {
    let parts = auth.data.split_first().and_then(|(len, rest)| rest.split_at_checked(usize::from(*len)));
    let Some((identifier, signature)) = parts else {
        log!(IKE, 1, "{} authentication payload invalid", auth.method);
        return None;
    };
    match SignatureScheme::from_algorithm_identifier(identifier) {
        Ok(scheme) => Some((scheme, signature)),
        Err(error) => {
            log!(IKE, 1, "{} authentication payload unsupported: {error}", auth.method);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digital_signature_payloads_name_their_scheme() {
        let identifier = SignatureScheme::Ed25519.algorithm_identifier().unwrap();
        let len = u8::try_from(identifier.len()).unwrap();
        let data = [&[len], identifier.as_slice(), b"signature"].concat();
        let auth = Auth { method: AuthMethod::DigitalSignature, data };
        assert_eq!(read(&auth), Some((SignatureScheme::Ed25519, &b"signature"[..])));
        for data in [vec![], vec![200, 1], vec![2, 1, 1, 5]] {
            assert_eq!(read(&Auth { method: AuthMethod::DigitalSignature, data }), None);
        }
        assert_eq!(read(&Auth { method: AuthMethod::Null, data: vec![] }), None);
    }
}
