//! IKE_AUTH: identities, and what proves them.

use std::sync::Arc;

use strongswan::credentials::SecretKind;
use strongswan::crypto::{Proposal, Protocol, Transform, TransformType};
use strongswan::identity::Identity;

use super::init::{addresses, list, proposals};
use super::proof::{self, PeerRound};
use super::{connection, local, nearest, remote, report};
use crate::config::{AuthClass, AuthRound, Childless, PeerConfig};
use crate::env::Env;
use crate::explain::{Cause, Change, Field, Mismatch, Near, Place, Stage, Topic, Wanted, configured_id};
use crate::sa::{Extensions, IkeSa, Phase, Role};
use crate::snapshot::Algorithms;
use crate::v2::auth::{OwnRoundError, RoundError, VerifiedRound};
use crate::v2::tasks::check;
use crate::wire::{AuthMethod, NotifyType};

/// What a failed authentication is called: we refuse as responder, and do not go on as initiator.
fn cause(sa: &IkeSa) -> Cause {
    match sa.id.role {
        Role::Initiator => Cause::AnswerUnacceptable,
        Role::Responder => Cause::WeRefused(NotifyType::AuthenticationFailed),
    }
}

fn wanted<'a>(sa: &IkeSa, me: Option<&'a Identity>, other: Option<&'a Identity>) -> Wanted<'a> {
    Wanted { local: sa.local, remote: sa.remote, me, other, major: 2 }
}

/// No connection is for these addresses and identities with the algorithms of the IKE_SA.
pub(crate) fn no_connection(sa: &mut IkeSa, env: &Env<'_>, me: Option<&Identity>, other: &Identity) {
    let cause = cause(sa);
    report(sa, env, Stage::IkeAuth, cause, |sa| {
        let near = nearest(sa, env, &wanted(sa, me, Some(other)));
        if near.is_empty() {
            let field = Field::new(Topic::Identity, Place::Connections, "");
            let advice = format!("load a connection for '{other}'");
            return vec![Mismatch::new(field, "no connection", Change::Provide(advice)).theirs(other)];
        }
        near.iter().filter_map(|near| basics(sa, near, me, Some(other))).collect()
    });
}

/// What of a connection does not fit addresses, identities or algorithms.
fn basics(sa: &IkeSa, near: &Near, me: Option<&Identity>, other: Option<&Identity>) -> Option<Mismatch> {
    let config = &near.config;
    addresses(near, sa.local, sa.remote)
        .or_else(|| identity(local(config, 0, Topic::Identity, "id"), near.me, &config.local, me))
        .or_else(|| identity(remote(config, 0, Topic::Identity, "id"), near.other, &config.remote, other))
        .or_else(|| {
            let agreed = as_proposal(sa.algorithms.as_ref()?);
            proposals(connection(config, Topic::Proposal, "proposals"), &config.ike.proposals, &[agreed], false)
        })
}

fn identity(field: Field, fits: bool, rounds: &[AuthRound], asked: Option<&Identity>) -> Option<Mismatch> {
    let (configured, asked) = (configured_id(rounds)?, asked.filter(|_| !fits)?);
    Some(Mismatch::new(field, configured, Change::Set(asked.to_string())).theirs(asked))
}

/// The algorithms of the IKE_SA as something to compare.
fn as_proposal(algorithms: &Algorithms) -> Proposal {
    let mut transforms = Vec::new();
    if let Some((algorithm, key_size)) = algorithms.encryption {
        transforms.push(Transform::encryption(algorithm, key_size));
    }
    if let Some(id) = algorithms.integrity {
        transforms.push(Transform::new(TransformType::Integrity, id));
    }
    if let Some(id) = algorithms.prf {
        transforms.push(Transform::new(TransformType::Prf, id));
    }
    if let Some(id) = algorithms.key_exchange {
        transforms.push(Transform::new(TransformType::KeyExchange, id));
    }
    Proposal::from_transforms(Protocol::Ike, transforms)
}

/// The peer wants us to have another identity than the connection says.
pub(crate) fn other_identity(sa: &mut IkeSa, env: &Env<'_>, wanted: &Identity, index: usize) {
    let cause = cause(sa);
    report(sa, env, Stage::IkeAuth, cause, |sa| {
        let Some(config) = sa.config() else { return Vec::new() };
        let ours = config.local.get(index).and_then(|round| round.id.clone()).unwrap_or_else(Identity::any);
        let field = local(config, index, Topic::Identity, "id");
        vec![
            Mismatch::new(field, ours, Change::Set(wanted.to_string()))
                .theirs(wanted)
                .why("the identity it asks us for"),
        ]
    });
}

/// The peer sends no proof: it wants EAP, which the connection does not.
pub(crate) fn wants_eap(sa: &mut IkeSa, env: &Env<'_>) {
    let cause = cause(sa);
    report(sa, env, Stage::IkeAuth, cause, |sa| {
        let Some(config) = sa.config() else { return Vec::new() };
        let ours = match config.remote.first().map(|round| &round.class) {
            Some(AuthClass::Psk) => "psk",
            Some(AuthClass::Pubkey) => "pubkey",
            _ => "no EAP",
        };
        let field = remote(config, 0, Topic::Authentication, "auth");
        let advice = format!("set {field} to the EAP method of the peer, or auth = {ours} on the peer");
        vec![Mismatch::new(field, ours, Change::Provide(advice)).theirs("EAP")]
    });
}

/// The proof of the peer's round was not accepted.
pub(crate) fn not_proven(
    sa: &mut IkeSa,
    env: &Env<'_>,
    index: usize,
    (me, other): (&Identity, &Identity),
    method: AuthMethod,
    error: &RoundError,
) {
    let cause = cause(sa);
    report(sa, env, Stage::IkeAuth, cause, |sa| {
        let Some(config) = sa.config() else { return Vec::new() };
        let round = PeerRound { config, index, me, other };
        // as initiator we learn the peer's identity only now
        let expected = config.remote.get(index).and_then(|round| round.id.as_ref()).filter(|id| !id.is_any());
        if let Some(expected) = expected.filter(|expected| !other.matches(expected).is_match()) {
            let field = remote(config, index, Topic::Identity, "id");
            return vec![Mismatch::new(field, expected, Change::Set(other.to_string())).theirs(other)];
        }
        let presented = match &sa.phase {
            Phase::Handshake(handshake) => handshake.presented.as_slice(),
            Phase::Authenticated(_) => &[],
        };
        vec![proof::class(&round, method).unwrap_or_else(|| proof::refused(sa, env, &round, error, presented))]
    });
}

/// The peer proved its identity, but no connection is content with that.
pub(in crate::v2) fn not_compliant(sa: &mut IkeSa, env: &Env<'_>, me: Option<&Identity>, verified: &[VerifiedRound]) {
    let cause = cause(sa);
    report(sa, env, Stage::IkeAuth, cause, |sa| {
        let Some(first) = verified.first() else { return Vec::new() };
        let other = first.identity();
        match sa.id.role {
            Role::Initiator => sa.config().and_then(|config| demand(config, me, verified)).into_iter().collect(),
            Role::Responder => {
                let near = nearest(sa, env, &wanted(sa, me, Some(other)));
                let mismatch =
                    |near: &Near| basics(sa, near, me, Some(other)).or_else(|| demand(&near.config, me, verified));
                near.iter().filter_map(mismatch).collect()
            }
        }
    });
}

/// What a connection demands that the rounds of the peer do not fulfil.
fn demand(config: &Arc<PeerConfig>, me: Option<&Identity>, verified: &[VerifiedRound]) -> Option<Mismatch> {
    let any = Identity::any();
    let failed = verified.iter().zip(&config.remote).enumerate().find_map(|(index, (done, round))| {
        let error = check(done, round).err()?;
        let round = PeerRound { config, index, me: me.unwrap_or(&any), other: done.identity() };
        Some(proof::constraint(&round, done, &error))
    });
    failed.or_else(|| {
        let (done, demanded) = (verified.len(), config.remote.len());
        let field = remote(config, done, Topic::Authentication, "");
        (done < demanded).then(|| {
            let ours = format!("{demanded} rounds of authentication");
            Mismatch::new(field, ours, Change::Remove).theirs(format_args!("{done}"))
        })
    })
}

/// The conversation of EAP failed in a round of `who`, ours or the peer's.
pub(crate) fn eap_failed(sa: &mut IkeSa, env: &Env<'_>, who: Option<&Identity>, refused_by_peer: bool) {
    let cause = if refused_by_peer { Cause::PeerRefused(NotifyType::AuthenticationFailed) } else { cause(sa) };
    report(sa, env, Stage::IkeAuth, cause, |sa| {
        let Some((config, who)) = sa.config().zip(who.or(sa.remote_id.as_ref())) else { return Vec::new() };
        let secret = [SecretKind::Eap, SecretKind::Ntlm]
            .into_iter()
            .find_map(|kind| env.credentials.shared_secrets(kind, Some(who), None).next());
        let section = secret.as_ref().and_then(|secret| secret.id.clone());
        let place = Place::Secret(section.unwrap_or_else(|| format!("eap-{}", config.name)));
        vec![match secret {
            Some(_) => {
                let field = Field::new(Topic::Secret, place, "secret");
                let advice = format!("make {field} the same on both sides, and the EAP methods");
                Mismatch::new(field, format_args!("a password of '{who}'"), Change::Provide(advice))
                    .theirs("another one, or another EAP method")
            }
            None => {
                let field = Field::new(Topic::Secret, place, "");
                let advice = format!("add {field} {{ id = {who}  secret = … }}");
                Mismatch::new(field, format_args!("no password of '{who}'"), Change::Provide(advice)).theirs("EAP")
            }
        }]
    });
}

/// We could not prove our own identity.
pub(crate) fn own(
    sa: &mut IkeSa,
    env: &Env<'_>,
    index: usize,
    (me, other): (&Identity, &Identity),
    error: &OwnRoundError,
) {
    let cause = match sa.id.role {
        Role::Initiator => Cause::Local,
        Role::Responder => cause(sa),
    };
    report(sa, env, Stage::IkeAuth, cause, |sa| {
        sa.config().and_then(|config| proof::own(sa, config, index, error, me, other)).into_iter().collect()
    });
}

/// The peer cannot do as many rounds as we are to do.
pub(crate) fn one_round_only(sa: &mut IkeSa, env: &Env<'_>) {
    let cause = cause(sa);
    report(sa, env, Stage::IkeAuth, cause, |sa| {
        let Some(config) = sa.config() else { return Vec::new() };
        let field = local(config, 1, Topic::Authentication, "");
        let ours = format!("{} rounds of authentication", config.local.len());
        vec![Mismatch::new(field, ours, Change::Remove).theirs("support for one")]
    });
}

/// The peer refused our IKE_AUTH request.
pub(crate) fn refused(sa: &mut IkeSa, env: &Env<'_>, kind: NotifyType, sent: usize) {
    report(sa, env, Stage::IkeAuth, Cause::PeerRefused(kind), |sa| {
        let Some(config) = sa.config() else { return Vec::new() };
        match kind {
            NotifyType::AuthenticationFailed => {
                let me = sa.local_id.clone().unwrap_or_else(Identity::any);
                let other = configured_id(&config.remote).filter(|id| !id.is_any() && !id.contains_wildcards());
                proof::ours_refused(config, sent.saturating_sub(1), &me, other)
            }
            // the only reason there is with peers that are not broken
            NotifyType::InvalidSyntax => {
                let childless = matches!(config.ike.childless, Childless::Prefer | Childless::Force)
                    && sa.extensions.contains(Extensions::CHILDLESS);
                let field = connection(config, Topic::Policy, "childless");
                let (ours, wanted) = if childless { ("no CHILD_SA", "never") } else { ("a CHILD_SA", "prefer") };
                let why = "the peer may insist on the opposite";
                vec![Mismatch::new(field, format_args!("{ours} in IKE_AUTH"), Change::Set(wanted.to_owned())).why(why)]
            }
            kind => {
                let advice = format!("see the log of the peer for why it answers {kind}");
                let ours = format!("proposals {}", list(&config.ike.proposals));
                vec![Mismatch::new(connection(config, Topic::Policy, ""), ours, Change::Peer(advice))]
            }
        }
    });
}

/// The peer does not accept our proof, which it got after its own.
pub(crate) fn closed(sa: &mut IkeSa, env: &Env<'_>) {
    report(sa, env, Stage::IkeAuth, Cause::PeerClosed(NotifyType::AuthenticationFailed), |sa| {
        let (Some(config), Some(me)) = (sa.config(), &sa.local_id) else { return Vec::new() };
        proof::ours_refused(config, config.local.len().saturating_sub(1), me, None)
    });
}

/// There is another IKE_SA with the peer, and it stays.
pub(crate) fn not_unique(sa: &mut IkeSa, env: &Env<'_>, older: std::net::IpAddr) {
    let cause = cause(sa);
    report(sa, env, Stage::IkeAuth, cause, |sa| {
        let Some(config) = sa.config() else { return Vec::new() };
        let field = connection(config, Topic::Policy, "unique");
        let theirs = format!("an IKE_SA from {older} already");
        vec![Mismatch::new(field, "keep", Change::Set("replace".to_owned())).theirs(theirs)]
    });
}

/// A PPK that one side requires is not to be had. `named` is the identity of the PPK that the peer offers.
pub(crate) fn no_ppk(sa: &mut IkeSa, env: &Env<'_>, named: Option<&Identity>) {
    let cause = match sa.id.role {
        Role::Initiator if named.is_none() && sa.remote_id.is_none() => Cause::Local,
        _ => cause(sa),
    };
    report(sa, env, Stage::IkeAuth, cause, |sa| {
        let Some(config) = sa.config() else { return Vec::new() };
        let required = || connection(config, Topic::Policy, "ppk_required");
        let drop_it = || Change::Set("no".to_owned());
        let loaded = |id: &Identity| env.credentials.shared_secrets(SecretKind::Ppk, Some(id), None).next().is_some();
        let missing = |id: &Identity| {
            let field = Field::new(Topic::Secret, Place::Secret(format!("ppk-{}", config.name)), "");
            let advice = format!("add {field} {{ id = {id}  secret = … }}");
            Mismatch::new(field, format_args!("no PPK for '{id}'"), Change::Provide(advice))
        };
        vec![match (&config.ppk_id, named) {
            (Some(wanted), Some(named)) if !named.matches(wanted).is_match() => {
                let field = connection(config, Topic::Identity, "ppk_id");
                Mismatch::new(field, wanted, Change::Set(named.to_string())).theirs(named)
            }
            (_, Some(named)) => missing(named).theirs("one that it requires"),
            (None, None) if sa.id.role == Role::Initiator => {
                let field = connection(config, Topic::Identity, "ppk_id");
                let advice = format!("set {field} to the identity of the PPK");
                Mismatch::new(field, "none", Change::Provide(advice)).why("ppk_required = yes")
            }
            (Some(id), None) if !loaded(id) => missing(id),
            (_, None) => Mismatch::new(required(), "yes", drop_it()).theirs("no PPK for us"),
        }]
    });
}
