//! Agreeing on a post-quantum pre-shared key (RFC 8784 §3) in the first round of IKE_AUTH.
//!
//! The initiator names the PPK with PPK_IDENTITY and makes AUTH with it; if it is optional, NO_PPK_AUTH has the same
//! without. A responder that has the PPK confirms it with an empty PPK_IDENTITY. Where a PPK is required, nothing that
//! the peer leaves out, and no other PPK, leads to an IKE_SA.

use std::borrow::Cow;

use strongswan::credentials::SecretKind;
use strongswan::identity::{IdType, Identity};
use strongswan::log;

use crate::config::PeerConfig;
use crate::env::Env;
use crate::sa::{Conditions, Extensions, IkeSa};
use crate::v2::auth::PendingPpk;
use crate::wire::{Auth, Message, Notify, NotifyType};

/// PPK_ID type of identities that both sides are configured with (RFC 8784 §5.1).
const PPK_ID_FIXED: u8 = 2;

/// A PPK that is required is not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PpkMissing;

/// Prepares the PPK that our first AUTH is made with, if there is one that the peer may know.
pub(super) fn offer(sa: &mut IkeSa, env: &Env<'_>, config: &PeerConfig) -> Result<(), PpkMissing> {
    let Some(id) = &config.ppk_id else {
        if config.ppk_required {
            log!(CFG, 1, "PPK required but no PPK_ID configured");
            return Err(PpkMissing);
        }
        return Ok(());
    };
    if !sa.extensions.contains(Extensions::PPK) {
        if config.ppk_required {
            log!(CFG, 1, "PPK required but peer does not support PPK");
            return Err(PpkMissing);
        }
        log!(CFG, 1, "peer does not support PPK, ignored because PPK is not required");
        return Ok(());
    }
    find(sa, env, id.clone(), config.ppk_required)
}

/// PPK_IDENTITY for the PPK that is offered.
pub(super) fn identity(sa: &mut IkeSa) -> Option<Notify> {
    let ppk = sa.handshake()?.ppk.as_ref()?;
    Some(Notify::with_data(NotifyType::PpkIdentity, &[&[PPK_ID_FIXED], ppk.id.encoding()].concat()))
}

/// As initiator: whether the responder confirms the PPK we offered, or may do without.
pub(super) fn confirmed(sa: &mut IkeSa, response: &Message, config: &PeerConfig) -> Result<(), PpkMissing> {
    let Some(handshake) = sa.handshake() else { return Err(PpkMissing) };
    if response.has_notify(NotifyType::PpkIdentity) {
        return Ok(());
    }
    if let Some(ppk) = handshake.ppk.take() {
        log!(CFG, 1, "peer didn't use PPK for PPK_ID '{}'", ppk.id);
    }
    if config.ppk_required { Err(PpkMissing) } else { Ok(()) }
}

/// As responder: looks for the PPK that the initiator names.
pub(super) fn accept(sa: &mut IkeSa, env: &Env<'_>, request: &Message) -> Result<(), PpkMissing> {
    let Some(config) = sa.config().cloned() else { return Err(PpkMissing) };
    let Some(id) = named(sa, request) else {
        if config.ppk_required {
            log!(CFG, 1, "PPK required but no PPK_IDENTITY received");
            return Err(PpkMissing);
        }
        return Ok(());
    };
    if let Some(expected) = config.ppk_id.as_ref().filter(|expected| !id.matches(expected).is_match()) {
        log!(CFG, 1, "received PPK_ID '{id}', but require '{expected}'");
        return Err(PpkMissing);
    }
    find(sa, env, id, config.ppk_required)
}

/// The identity of the PPK that the initiator names.
pub(super) fn named(sa: &IkeSa, request: &Message) -> Option<Identity> {
    let notify = request.notify(NotifyType::PpkIdentity).filter(|_| sa.extensions.contains(Extensions::PPK))?;
    read_identity(&notify.data, sa.config().and_then(|config| config.ppk_id.as_ref()))
}

/// The AUTH payload to verify: of a PPK that we do not have, that without it.
pub(super) fn effective_auth<'a>(sa: &mut IkeSa, request: &Message, auth: &'a Auth) -> Option<Cow<'a, Auth>> {
    let negotiated = sa.extensions.contains(Extensions::PPK);
    if !negotiated || !request.has_notify(NotifyType::PpkIdentity) || sa.handshake()?.ppk.is_some() {
        return Some(Cow::Borrowed(auth));
    }
    let Some(notify) = request.notify(NotifyType::NoPpkAuth) else {
        log!(IKE, 1, "no PPK available, but peer requires it");
        return None;
    };
    log!(IKE, 1, "no PPK available, using NO_PPK_AUTH notify");
    Some(Cow::Owned(Auth { method: auth.method, data: notify.data.to_vec() }))
}

/// The first AUTH was verified with the PPK, if there is one: from now on it is part of all keys.
pub(super) fn apply(sa: &mut IkeSa) -> Option<()> {
    let Some(ppk) = sa.handshake()?.ppk.take() else { return Some(()) };
    let PendingPpk { id, secret, keys, .. } = *ppk;
    if let Err(error) = sa.keys.as_mut()?.mix_ppk(&secret.data) {
        log!(IKE, 1, "applying PPK failed: {error}");
        return None;
    }
    log!(CFG, 1, "using PPK for PPK_ID '{id}'");
    let handshake = sa.handshake()?;
    handshake.keys = Some(keys);
    handshake.ppk_id = Some(id);
    sa.conditions |= Conditions::PPK;
    Some(())
}

/// Whether a connection allows the PPK in use, or that there is none.
pub(super) fn permitted(sa: &mut IkeSa, config: &PeerConfig) -> bool {
    match sa.handshake().and_then(|handshake| handshake.ppk_id.as_ref()) {
        None => !config.ppk_required,
        Some(id) => config.ppk_id.as_ref().is_none_or(|expected| id.matches(expected).is_match()),
    }
}

/// Looks up a PPK and makes the keys for AUTH with it.
fn find(sa: &mut IkeSa, env: &Env<'_>, id: Identity, required: bool) -> Result<(), PpkMissing> {
    let secret = env.credentials.shared_secrets(SecretKind::Ppk, Some(&id), None).next();
    let Some(secret) = secret else {
        if required {
            log!(CFG, 1, "PPK required but no PPK found for '{id}'");
            return Err(PpkMissing);
        }
        log!(CFG, 1, "no PPK for '{id}' found, ignored because PPK is not required");
        return Ok(());
    };
    let prf = sa.keys.as_ref().map(|keys| keys.prf()).ok_or(PpkMissing)?;
    let handshake = sa.handshake().ok_or(PpkMissing)?;
    let mixed = handshake.keys.as_ref().ok_or(PpkMissing)?.with_ppk(prf, &secret.data);
    let keys = mixed.map_err(|error| {
        log!(IKE, 1, "applying PPK failed: {error}");
        PpkMissing
    })?;
    handshake.ppk = Some(Box::new(PendingPpk { id, secret, keys, optional: !required }));
    Ok(())
}

/// Whether these are all bytes of a DER SEQUENCE, as names of certificates are.
fn is_name(data: &[u8]) -> bool {
    match data {
        [0x30, 0x82, high, low, rest @ ..] => usize::from(u16::from_be_bytes([*high, *low])) == rest.len(),
        [0x30, 0x81, len, rest @ ..] | [0x30, len @ 0..=0x7f, rest @ ..] => usize::from(*len) == rest.len(),
        _ => false,
    }
}

/// The PPK_ID in a notify. What both sides have configured is the same whatever type either takes it for.
fn read_identity(data: &[u8], configured: Option<&Identity>) -> Option<Identity> {
    let Some((&PPK_ID_FIXED, id)) = data.split_first().filter(|(_, id)| !id.is_empty()) else {
        log!(CFG, 1, "received unsupported PPK_ID type");
        return None;
    };
    if let Some(configured) = configured.filter(|configured| configured.encoding() == id) {
        return Some(configured.clone());
    }
    if is_name(id) {
        return Some(Identity::from_encoding(IdType::DerAsn1Dn, id));
    }
    match std::str::from_utf8(id) {
        Ok(text) => Some(Identity::parse(text)),
        Err(_) => Some(Identity::from_encoding(IdType::KeyId, id)),
    }
}
