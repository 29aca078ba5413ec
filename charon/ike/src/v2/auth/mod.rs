//! Proving identities (RFC 7296 §2.15): what AUTH covers, and the methods that sign or MAC it.

mod eap;
mod ppk;
mod psk;
mod pubkey;

pub(super) use eap::{Material, sign as sign_eap, verify as verify_eap};
pub(crate) use ppk::PendingPpk;
pub(crate) use psk::PskError;
pub(super) use psk::{sign as sign_psk, verify as verify_psk};
pub(super) use pubkey::{PeerAbilities, sign as sign_pubkey, verify as verify_pubkey};
pub(crate) use pubkey::{SignError, VerifyError};

use strongswan::credentials::{AuthClass, Proven, SignatureScheme, TrustedKey};
use strongswan::crypto::{CryptoError, Prf, Secret};
use strongswan::identity::Identity;

use super::tasks::check;
use crate::config::PeerConfig;
use crate::sa::{AuthKeys, Handshake, IkeKeys};
use crate::wire::{Auth, AuthMethod, Id};

/// Why a round of the peer was not accepted as proof of its identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RoundError {
    /// By its pre-shared key.
    #[error(transparent)]
    Psk(#[from] PskError),
    /// By its signature.
    #[error(transparent)]
    Pubkey(#[from] VerifyError),
    /// The method is not known.
    #[error("{0} authentication payload unsupported")]
    Method(AuthMethod),
    /// Something is missing that the exchange should have left behind.
    #[error("not ready for authentication")]
    Internal,
}

/// Why we could not prove our own identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OwnRoundError {
    /// By a pre-shared key.
    #[error(transparent)]
    Psk(#[from] PskError),
    /// By a signature.
    #[error(transparent)]
    Pubkey(#[from] SignError),
    /// This way to authenticate is not there.
    #[error("{0} authentication not supported")]
    Class(AuthClass),
    /// Something is missing that the exchange should have left behind.
    #[error("not ready for authentication")]
    Internal,
}

/// Proof that both sides of an IKE_SA are authenticated. It can only be made here, from every round's result, and an
/// IKE_SA cannot be established without it.
#[derive(Debug)]
pub(crate) struct AuthVerified(());

impl AuthVerified {
    /// Both sides are done: each round that the connection demands of the peer is covered by a verified one that meets it,
    /// and all of ours were `sent`.
    pub(super) fn new(config: &PeerConfig, verified: &[VerifiedRound], sent: usize) -> Option<Self> {
        let rounds = config.remote.iter().enumerate();
        let met = rounds.map(|(at, round)| verified.get(at).is_some_and(|done| check(done, round).is_ok()));
        let done = !verified.is_empty() && sent >= config.local.len();
        (done && met.into_iter().all(|met| met)).then_some(Self(()))
    }

    /// For tests of what takes one.
    #[cfg(test)]
    pub(crate) fn assumed() -> Self {
        Self(())
    }
}

impl AuthVerified {
    /// The same peers on an IKE_SA that rekeys theirs: only they know the keys it is derived from.
    pub(super) fn inherit(&self) -> Self {
        Self(())
    }
}

/// A round in which the peer proved its identity; only verification makes one.
#[derive(Debug)]
pub(super) struct VerifiedRound {
    identity: Identity,
    class: AuthClass,
    /// The key and the scheme of its signature; within EAP there is none.
    key: Option<(TrustedKey, Option<SignatureScheme>)>,
    /// The name that was authenticated within EAP.
    eap_identity: Option<Identity>,
    /// Groups that an AAA server put the peer in.
    groups: Vec<Identity>,
}

impl VerifiedRound {
    fn new(identity: Identity, class: AuthClass, key: Option<(TrustedKey, Option<SignatureScheme>)>) -> Self {
        Self { identity, class, key, eap_identity: None, groups: Vec::new() }
    }

    /// Who the peer proved to be.
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether it was done with a pre-shared key.
    pub(super) fn is_by_secret(&self) -> bool {
        self.class == AuthClass::Psk
    }

    /// The name that was authenticated within EAP, if it was done with EAP.
    pub(super) fn eap_identity(&self) -> Option<&Identity> {
        self.eap_identity.as_ref()
    }

    /// What there is to compare with a configuration.
    pub(super) fn proven(&self) -> Proven<'_> {
        Proven {
            id: &self.identity,
            class: &self.class,
            key: self.key.as_ref().map(|(key, _)| key),
            scheme: self.key.as_ref().and_then(|(_, scheme)| *scheme),
            groups: &self.groups,
            eap_id: self.eap_identity.as_ref(),
        }
    }
}

/// Whose AUTH payload it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signer {
    Us,
    Peer,
}

/// What our AUTH payload covers.
pub(super) struct Covered {
    /// The octets of AUTH.
    pub(super) octets: Vec<u8>,
    /// Those of NO_PPK_AUTH, for a peer that may do without our post-quantum pre-shared key.
    pub(super) without_ppk: Option<Vec<u8>>,
}

/// Our proof of identity.
pub(super) struct Signed {
    /// The AUTH payload.
    pub(super) auth: Auth,
    /// The contents of NO_PPK_AUTH: the same for a peer that does without our post-quantum pre-shared key.
    pub(super) without_ppk: Option<Vec<u8>>,
}

/// SK_p of a side.
pub(super) fn key_of(keys: &AuthKeys, initiator: bool, signer: Signer) -> &Secret {
    if initiator == (signer == Signer::Us) { &keys.initiator } else { &keys.responder }
}

/// The octets a side's AUTH covers: its IKE_SA_INIT message, the other side's nonce, its identity under SK_p, and the
/// IKE_INTERMEDIATE messages of both.
pub(super) fn octets(
    handshake: &Handshake,
    keys: &IkeKeys,
    auth_keys: &AuthKeys,
    initiator: bool,
    signer: Signer,
    id: &Id,
) -> Result<Vec<u8>, CryptoError> {
    let (message, nonce) = match signer {
        Signer::Us => (&handshake.init_sent, handshake.peer_nonce.as_ref()),
        Signer::Peer => (&handshake.init_received, handshake.own_nonce.as_ref()),
    };
    let sk_p = key_of(auth_keys, initiator, signer);
    let nonce = nonce.ok_or(CryptoError::Library)?;
    let maced_id = Prf::new(keys.prf(), sk_p.as_bytes())?.compute(&[&id.auth_octets()]);
    // RFC 9242 §3.3.1; while a key exchange is outstanding there is nothing that could be signed
    let int_auth = handshake.intermediate.int_auth().ok_or(CryptoError::Library)?;
    Ok([message, nonce.as_bytes(), maced_id.as_bytes(), &int_auth].concat())
}
