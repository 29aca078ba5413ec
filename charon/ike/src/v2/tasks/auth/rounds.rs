//! What both roles do in a round: name an identity, make an AUTH payload, check the peer's against its configuration.

use strongswan::credentials::{ConstraintError, Requirements};
use strongswan::identity::{IdType, Identity};
use strongswan::log;

use crate::config::{AuthClass, AuthRound};
use crate::eap::Completed;
use crate::env::Env;
use crate::sa::{Extensions, IkeSa};
use crate::v2::auth::{
    Covered, Material, OwnRoundError, PeerAbilities, RoundError, Signed, Signer, VerifiedRound, key_of, octets,
    sign_eap, sign_psk, sign_pubkey, verify_psk, verify_pubkey,
};
use crate::v2::explain;
use crate::v2::task::Outgoing;
use crate::wire::{Auth, AuthMethod, Id, NotifyType};

/// Rounds of a peer, at most: it could go on forever otherwise.
const MAX_ROUNDS: usize = 16;

/// Adds a round of the peer to those that were verified, unless there are too many.
pub(super) fn add_verified(verified: &mut Vec<VerifiedRound>, round: VerifiedRound) -> Option<()> {
    if verified.len() >= MAX_ROUNDS {
        log!(IKE, 1, "too many authentication rounds, at most {MAX_ROUNDS} are accepted");
        return None;
    }
    verified.push(round);
    Some(())
}

/// Announces another round of ours, if the peer knows what that is (RFC 4739).
pub(super) fn announce_another(sa: &mut IkeSa, env: &Env<'_>, message: &mut Outgoing) -> Option<()> {
    if !sa.extensions.contains(Extensions::MULTIPLE_AUTH) {
        log!(IKE, 1, "peer does not support multiple authentication, but we require it");
        explain::auth::one_round_only(sa, env);
        return None;
    }
    message.notify(NotifyType::AnotherAuthFollows);
    Some(())
}

/// Our identity in a round: the configured one, else our certificate's subject, else our address.
pub(super) fn own_identity(sa: &IkeSa, round: &AuthRound, role: &str) -> Identity {
    if let Some(id) = round.id.as_ref().filter(|id| is_concrete(id)) {
        return id.clone();
    }
    if let Some(certificate) = round.certs.first() {
        let subject = certificate.subject();
        log!(CFG, 1, "no {role} configured, default to cert subject '{subject}'");
        return subject.clone();
    }
    let address = sa.local.ip();
    log!(CFG, 1, "no {role} configured, default to IP address {address}");
    Identity::from(address)
}

/// Our AUTH payload for a round. The key of a signature is kept: its certificates go along.
pub(super) fn authenticate(
    sa: &mut IkeSa,
    env: &Env<'_>,
    round: &AuthRound,
    me: &Identity,
    other: &Identity,
    id: &Id,
) -> Result<Signed, OwnRoundError> {
    let prf = sa.keys.as_ref().ok_or(OwnRoundError::Internal)?.prf();
    let covered = covered(sa, id).ok_or(OwnRoundError::Internal)?;
    match &round.class {
        AuthClass::Psk => Ok(sign_psk(env, prf, me, other, &covered)?),
        AuthClass::Any | AuthClass::Pubkey => {
            let handshake = sa.handshake().ok_or(OwnRoundError::Internal)?;
            let peer = PeerAbilities { hashes: handshake.peer_hashes.as_deref(), anchors: &handshake.anchors };
            let (signed, signer) = sign_pubkey(env, &peer, round, me, &covered)?;
            handshake.signer = Some(signer);
            Ok(signed)
        }
        class @ (AuthClass::Eap(_) | AuthClass::Xauth(_)) => {
            // EAP has an AUTH payload only at its end
            log!(IKE, 1, "authentication of '{me}' (myself) with {class} not supported");
            Err(OwnRoundError::Class(class.clone()))
        }
    }
}

/// Verifies the peer's AUTH payload.
pub(super) fn verify(
    sa: &mut IkeSa,
    env: &Env<'_>,
    me: &Identity,
    id: &Id,
    auth: &Auth,
) -> Result<VerifiedRound, RoundError> {
    let prf = sa.keys.as_ref().ok_or(RoundError::Internal)?.prf();
    let octets = signed_octets(sa, Signer::Peer, id, true).ok_or(RoundError::Internal)?;
    let other = id.identity();
    match auth.method {
        AuthMethod::SharedKey => Ok(verify_psk(env, prf, me, &other, &octets, auth)?),
        AuthMethod::RsaSignature
        | AuthMethod::Ecdsa256
        | AuthMethod::Ecdsa384
        | AuthMethod::Ecdsa521
        | AuthMethod::DigitalSignature => {
            let presented = &sa.handshake().ok_or(RoundError::Internal)?.presented;
            Ok(verify_pubkey(env, presented, &other, &octets, auth)?)
        }
        method => {
            log!(IKE, 1, "{method} authentication payload unsupported");
            Err(RoundError::Method(method))
        }
    }
}

/// Our AUTH payload at the end of EAP.
pub(super) fn authenticate_by_eap(sa: &mut IkeSa, completed: &Completed, id: &Id) -> Option<Signed> {
    let prf = sa.keys.as_ref()?.prf();
    let with = material(sa, Signer::Us, id, true)?;
    let optional = sa.handshake()?.ppk.as_ref().is_some_and(|ppk| ppk.optional);
    let without = if optional { Some(material(sa, Signer::Us, id, false)?) } else { None };
    sign_eap(prf, completed, &id.identity(), &with, without.as_ref()).ok()
}

/// What our AUTH covers, and NO_PPK_AUTH if the peer may do without the post-quantum pre-shared key we offer.
fn covered(sa: &mut IkeSa, id: &Id) -> Option<Covered> {
    let octets = signed_octets(sa, Signer::Us, id, true)?;
    let optional = sa.handshake()?.ppk.as_ref().is_some_and(|ppk| ppk.optional);
    let without_ppk = if optional { Some(signed_octets(sa, Signer::Us, id, false)?) } else { None };
    Some(Covered { octets, without_ppk })
}

/// What a side's AUTH covers; `ppk` is whether a post-quantum pre-shared key that is not agreed on yet counts.
fn signed_octets(sa: &mut IkeSa, signer: Signer, id: &Id, ppk: bool) -> Option<Vec<u8>> {
    material(sa, signer, id, ppk).map(|material| material.octets)
}

/// As above, with the key that AUTH is made with after EAP methods that yield none.
pub(super) fn material(sa: &mut IkeSa, signer: Signer, id: &Id, ppk: bool) -> Option<Material> {
    let initiator = sa.id.role == crate::Role::Initiator;
    // borrow both parts of the IKE_SA at once
    let keys = sa.keys.take()?;
    let result = sa.handshake().and_then(|handshake| {
        let mixed = handshake.ppk.as_ref().filter(|_| ppk).map(|ppk| &ppk.keys);
        let auth_keys = mixed.or(handshake.keys.as_ref())?;
        let octets = octets(handshake, &keys, auth_keys, initiator, signer, id);
        let key = key_of(auth_keys, initiator, signer).clone();
        Some(octets.map(|octets| Material { octets, key }))
    });
    sa.keys = Some(keys);
    match result? {
        Ok(material) => Some(material),
        Err(error) => {
            log!(IKE, 1, "generating AUTH octets failed: {error}");
            None
        }
    }
}

/// Whether what the peer proved is what a round of its configuration demands.
pub(super) fn complies(done: &VerifiedRound, round: &AuthRound) -> bool {
    match check(done, round) {
        Ok(()) => true,
        Err(error) => {
            log!(CFG, 1, "{error}");
            false
        }
    }
}

/// Compares what the peer proved with what a round of its configuration demands.
pub(in crate::v2) fn check(done: &VerifiedRound, round: &AuthRound) -> Result<(), ConstraintError> {
    let requirements = Requirements {
        id: round.id.as_ref().filter(|id| !id.is_any()),
        class: &round.class,
        ca_id: round.ca_id.as_ref(),
        cacerts: &round.cacerts,
        certs: &round.certs,
        pubkeys: &round.pubkeys,
        groups: &round.groups,
        policies: &round.cert_policies,
        revocation: round.revocation,
        eap_id: round.eap_id.as_ref(),
        constraints: &round.constraints,
    };
    requirements.check(&done.proven())
}

/// Whether an identity names someone: neither any nor a pattern.
pub(super) fn is_concrete(id: &Identity) -> bool {
    id.id_type() != IdType::Any && !id.contains_wildcards()
}
