//! IKE_SA_INIT: addresses, version and algorithms of the IKE_SA.

use std::net::SocketAddr;

use strongswan::crypto::{KeyExchangeMethod, Proposal, Protocol, Transform, TransformType};
use strongswan::host::HostSpec;

use super::{connection, nearest, report, report_of};
use crate::config::{Fragmentation, PeerConfig};
use crate::env::Env;
use crate::explain::{self, Cause, Change, Field, Mismatch, Near, Place, Stage, Topic, Wanted, describe};
use crate::sa::{IkeSa, Role};
use crate::wire::{NotifyType, Sa};

/// Proposals shown of a list.
const SHOWN: usize = 8;

/// A list of proposals as it is configured.
pub(super) fn list(proposals: &[Proposal]) -> String {
    let mut words: Vec<_> = proposals.iter().take(SHOWN).map(describe).collect();
    if let Some(more) = proposals.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        words.push(format!("{more} more"));
    }
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn hosts(specs: &[HostSpec]) -> String {
    if specs.is_empty() {
        return "%any".to_owned();
    }
    specs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What of a connection does not fit the version and the addresses of a message.
pub(super) fn addresses(near: &Near, local: SocketAddr, remote: SocketAddr) -> Option<Mismatch> {
    let ike = &near.config.ike;
    if !near.version {
        let field = connection(&near.config, Topic::Version, "version");
        return Some(Mismatch::new(field, ike.version.number(), Change::Set("0".to_owned())).theirs("IKEv2"));
    }
    let (key, specs, used) = match (near.local, near.remote) {
        (false, _) => ("local_addrs", &ike.local_addrs, local.ip()),
        (true, false) => ("remote_addrs", &ike.remote_addrs, remote.ip()),
        (true, true) => return None,
    };
    let field = connection(&near.config, Topic::Address, key);
    let whose = if near.local { "its address" } else { "the address it calls" };
    let mismatch = Mismatch::new(field, hosts(specs), Change::Add(used.to_string()));
    Some(mismatch.theirs(used).why(whose))
}

/// No connection is for the addresses of an IKE_SA_INIT request.
pub(crate) fn no_connection(sa: &mut IkeSa, env: &Env<'_>, here: SocketAddr, there: SocketAddr) {
    let what = (Stage::IkeSaInit, Cause::WeRefused(NotifyType::NoProposalChosen));
    report_of(sa, env, Some(there.ip()), what, |sa| {
        let wanted = Wanted { local: here, remote: there, me: None, other: None, major: 2 };
        let near = nearest(sa, env, &wanted);
        if near.is_empty() {
            let field = Field::new(Topic::Address, Place::Connections, "");
            return vec![
                Mismatch::new(field, "no connection", Change::Provide(NO_CONNECTION.to_owned())).theirs(there.ip()),
            ];
        }
        near.iter().filter_map(|near| addresses(near, here, there)).collect()
    });
}

const NO_CONNECTION: &str = "load a connection for this peer";

/// None of the connections for these addresses has a proposal in common with the request.
pub(crate) fn no_proposal(sa: &mut IkeSa, env: &Env<'_>, here: SocketAddr, there: SocketAddr, payload: &Sa) {
    report(sa, env, Stage::IkeSaInit, Cause::WeRefused(NotifyType::NoProposalChosen), |sa| {
        let wanted = Wanted { local: here, remote: there, me: None, other: None, major: 2 };
        let offered = offered(payload);
        let near = nearest(sa, env, &wanted);
        let mismatch = |near: &Near| {
            addresses(near, here, there).or_else(|| {
                let field = connection(&near.config, Topic::Proposal, "proposals");
                proposals(field, &near.config.ike.proposals, &offered, false)
            })
        };
        near.iter().filter_map(mismatch).collect()
    });
}

pub(super) fn offered(payload: &Sa) -> Vec<Proposal> {
    payload.proposals.iter().map(|offer| offer.proposal.clone()).collect()
}

/// How proposals differ.
pub(super) fn proposals(
    field: Field,
    configured: &[Proposal],
    offered: &[Proposal],
    ignore_key_exchange: bool,
) -> Option<Mismatch> {
    let difference = explain::nearest(configured, offered, ignore_key_exchange)?;
    let change = match &difference.suggestion {
        Some(suggestion) => Change::Add(suggestion.clone()),
        None => Change::Peer("offer other algorithms on the peer: these are not supported here".to_owned()),
    };
    Some(Mismatch::new(field, &difference.ours, change).theirs(&difference.theirs).why(difference.why()))
}

/// The peer refused our IKE_SA_INIT request.
pub(crate) fn refused(sa: &mut IkeSa, env: &Env<'_>, kind: NotifyType) {
    report(sa, env, Stage::IkeSaInit, Cause::PeerRefused(kind), |sa| {
        let Some(config) = sa.config() else { return Vec::new() };
        let local = sa.local.ip();
        vec![match kind {
            NotifyType::NoProposalChosen => {
                let field = connection(config, Topic::Proposal, "proposals");
                let why = format!("the peer has none of these, or no connection for {local}");
                Mismatch::new(field, list(&config.ike.proposals), widen(&config.ike.proposals, Protocol::Ike)).why(why)
            }
            NotifyType::InvalidMajorVersion => {
                let field = connection(config, Topic::Version, "version");
                let advice = "enable IKEv2 on the peer".to_owned();
                Mismatch::new(field, "IKEv2", Change::Peer(advice)).theirs("another version")
            }
            kind => {
                let advice = format!("see the log of the peer for why it answers {kind}");
                Mismatch::new(connection(config, Topic::Policy, ""), "an IKE_SA_INIT request", Change::Peer(advice))
            }
        }]
    });
}

/// What the peer chose is none of ours.
pub(crate) fn answered(sa: &mut IkeSa, env: &Env<'_>, payload: &Sa) {
    report(sa, env, Stage::IkeSaInit, Cause::AnswerUnacceptable, |sa| {
        let Some(config) = sa.config() else { return Vec::new() };
        let field = connection(config, Topic::Proposal, "proposals");
        proposals(field, &config.ike.proposals, &offered(payload), false).into_iter().collect()
    });
}

/// Proposals to try where the peer does not tell which it has: the default ones, unless they are there.
pub(super) fn widen(configured: &[Proposal], protocol: Protocol) -> Change {
    if Proposal::defaults(protocol).iter().all(|proposal| configured.contains(proposal)) {
        return Change::Peer("see the log of the peer for the proposals it has".to_owned());
    }
    Change::Add("default".to_owned())
}

/// The peer insists on a key exchange method that we do not offer.
pub(crate) fn other_method(sa: &mut IkeSa, env: &Env<'_>, wanted: KeyExchangeMethod) {
    report(sa, env, Stage::IkeSaInit, Cause::PeerRefused(NotifyType::InvalidKePayload), |sa| {
        let Some(config) = sa.config() else { return Vec::new() };
        let field = connection(config, Topic::Proposal, "proposals");
        vec![method(field, &config.ike.proposals, wanted)]
    });
}

/// A key exchange method that no configured proposal has.
pub(super) fn method(field: Field, configured: &[Proposal], wanted: KeyExchangeMethod) -> Mismatch {
    let wanted_transform = Transform::new(TransformType::KeyExchange, wanted);
    let with_wanted = configured.first().and_then(|proposal| {
        let kept = proposal.transforms().iter().filter(|transform| transform.kind != TransformType::KeyExchange);
        let transforms = kept.copied().chain([wanted_transform]).collect();
        Proposal::from_transforms(proposal.protocol(), transforms).keywords()
    });
    let change = match with_wanted.filter(|_| wanted_transform.is_supported()) {
        Some(text) => Change::Add(text),
        None => Change::Peer(format!("allow another key exchange than {wanted} on the peer")),
    };
    Mismatch::new(field, list(configured), change).theirs(wanted).why("the key exchange that the peer requires")
}

/// We want no CHILD_SA in IKE_AUTH, and the peer cannot do without.
pub(crate) fn not_childless(sa: &mut IkeSa, env: &Env<'_>) {
    report(sa, env, Stage::IkeSaInit, Cause::AnswerUnacceptable, |sa| {
        let Some(config) = sa.config() else { return Vec::new() };
        let field = connection(config, Topic::Policy, "childless");
        vec![Mismatch::new(field, "force", Change::Set("prefer".to_owned())).theirs("no support for it")]
    });
}

/// The peer has no name that resolves, or none at all.
pub(crate) fn unresolved(sa: &mut IkeSa, env: &Env<'_>) {
    report(sa, env, Stage::IkeSaInit, Cause::Local, |sa| {
        let Some(config) = sa.config() else { return Vec::new() };
        let field = connection(config, Topic::Address, "remote_addrs");
        let advice = format!("put an address of the peer, or a name that resolves, into {field}");
        vec![Mismatch::new(field, hosts(&config.ike.remote_addrs), Change::Provide(advice)).why("no address to call")]
    });
}

/// The peer did not answer, however often it was asked.
pub(crate) fn silence(sa: &mut IkeSa, env: &Env<'_>) {
    let answered = sa.keys.is_some();
    let stage = if answered { Stage::IkeAuth } else { Stage::IkeSaInit };
    report(sa, env, stage, Cause::NoAnswer, |sa| {
        let Some(config) = sa.config().filter(|_| sa.id.role == Role::Initiator) else { return Vec::new() };
        vec![if answered { silent_in_auth(config) } else { silent_from_the_start(config, sa.remote) }]
    });
}

fn silent_from_the_start(config: &PeerConfig, remote: SocketAddr) -> Mismatch {
    let field = connection(config, Topic::Address, "remote_addrs");
    let advice = format!(
        "check that {remote} is the peer, that it runs, and that UDP ports {} and 4500 are open both ways",
        remote.port()
    );
    Mismatch::new(field, hosts(&config.ike.remote_addrs), Change::Peer(advice)).why(format!("no answer from {remote}"))
}

/// It answered small messages: large ones, or those to the other port, are lost.
fn silent_in_auth(config: &PeerConfig) -> Mismatch {
    let field = connection(config, Topic::Policy, "fragmentation");
    let why = "IKE_SA_INIT was answered, IKE_AUTH was not";
    match config.ike.fragmentation {
        Fragmentation::No | Fragmentation::Accept => {
            let ours = if config.ike.fragmentation == Fragmentation::No { "no" } else { "accept" };
            Mismatch::new(field, ours, Change::Set("yes".to_owned())).why(why)
        }
        Fragmentation::Yes | Fragmentation::Force => {
            let advice = "check that UDP port 4500 is open both ways, and the log of the peer".to_owned();
            Mismatch::new(field, "yes", Change::Peer(advice)).why(why)
        }
    }
}
