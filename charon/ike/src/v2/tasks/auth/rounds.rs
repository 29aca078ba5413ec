//! What both roles do in a round: name an identity, make an AUTH payload, check the peer's against its configuration.

use strongswan::identity::{IdType, Identity};
use strongswan::log;

use crate::config::{AuthClass, AuthRound};
use crate::env::Env;
use crate::sa::IkeSa;
use crate::v2::auth::{Method, Signer, VerifiedRound, octets, sign_psk, verify_psk};
use crate::wire::{Auth, AuthMethod, Id};

/// Our identity in a round: the configured one, else our address.
pub(super) fn own_identity(sa: &IkeSa, round: &AuthRound, role: &str) -> Identity {
    match &round.id {
        Some(id) if !id.is_any() && !id.contains_wildcards() => id.clone(),
        _ => {
            let address = sa.local.ip();
            log!(CFG, 1, "no {role} configured, default to IP address {address}");
            Identity::from(address)
        }
    }
}

/// Our AUTH payload for a round.
pub(super) fn authenticate(
    sa: &mut IkeSa,
    env: &Env<'_>,
    round: &AuthRound,
    me: &Identity,
    other: &Identity,
    id: &Id,
) -> Option<Auth> {
    let initiator = sa.id.role == crate::Role::Initiator;
    let prf = sa.keys.as_ref()?.prf();
    let octets = signed_octets(sa, initiator, Signer::Us, id)?;
    match &round.class {
        AuthClass::Psk => sign_psk(env, prf, me, other, &octets).ok(),
        AuthClass::Any | AuthClass::Pubkey => {
            log!(IKE, 1, "no private key found for '{me}'");
            None
        }
        AuthClass::Eap(_) | AuthClass::Xauth(_) => {
            log!(
                IKE,
                1,
                "configured authentication class is not supported as {}",
                if initiator { "client" } else { "server" }
            );
            None
        }
    }
}

/// Verifies the peer's AUTH payload.
pub(super) fn verify(sa: &mut IkeSa, env: &Env<'_>, me: &Identity, id: &Id, auth: &Auth) -> Option<VerifiedRound> {
    let initiator = sa.id.role == crate::Role::Initiator;
    let prf = sa.keys.as_ref()?.prf();
    let octets = signed_octets(sa, initiator, Signer::Peer, id)?;
    let other = id.identity();
    match auth.method {
        AuthMethod::SharedKey => verify_psk(env, prf, me, &other, &octets, auth).ok(),
        method => {
            log!(IKE, 1, "{method} authentication payload unsupported");
            None
        }
    }
}

fn signed_octets(sa: &mut IkeSa, initiator: bool, signer: Signer, id: &Id) -> Option<Vec<u8>> {
    // borrow both parts of the IKE_SA at once
    let keys = sa.keys.take()?;
    let result = sa.handshake().map(|handshake| octets(handshake, &keys, initiator, signer, id));
    sa.keys = Some(keys);
    match result? {
        Ok(octets) => Some(octets),
        Err(error) => {
            log!(IKE, 1, "generating AUTH octets failed: {error}");
            None
        }
    }
}

/// Whether what the peer proved is what a round of its configuration demands.
pub(super) fn complies(done: &VerifiedRound, round: &AuthRound) -> bool {
    if let Some(required) = round.id.as_ref().filter(|id| !id.is_any()) {
        let identity = done.identity();
        if !identity.matches(required).is_match() {
            log!(
                CFG,
                1,
                "constraint check failed: identity '{required}' ({}) required, not matched by '{identity}' ({})",
                required.id_type(),
                identity.id_type()
            );
            return false;
        }
    }
    let used = match done.method() {
        Method::Psk => "pre-shared key",
    };
    let required = match &round.class {
        AuthClass::Any => return true,
        AuthClass::Psk => "pre-shared key",
        AuthClass::Pubkey => "public key",
        AuthClass::Eap(_) => "EAP",
        AuthClass::Xauth(_) => "XAuth",
    };
    if used != required {
        log!(CFG, 1, "constraint requires {required} authentication, but {used} was used");
    }
    used == required
}

/// Whether an identity names someone: neither any nor a pattern.
pub(super) fn is_concrete(id: &Identity) -> bool {
    id.id_type() != IdType::Any && !id.contains_wildcards()
}
