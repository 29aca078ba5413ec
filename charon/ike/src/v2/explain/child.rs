//! CHILD_SAs: algorithms, traffic selectors, mode, and the addresses they are for.

use std::net::IpAddr;
use std::sync::Arc;

use strongswan::crypto::{KeyExchangeMethod, Proposal, Protocol};
use strongswan::selectors::{TrafficSelector, resolve};

use super::init::{list, method, offered, proposals, widen};
use super::{connection, report};
use crate::config::{ChildConfig, Mode, PeerConfig};
use crate::env::Env;
use crate::explain::{Cause, Change, Field, Mismatch, Place, Stage, Topic, missing, selectors_text};
use crate::sa::IkeSa;
use crate::wire::{NotifyType, Sa};

fn field(config: &PeerConfig, child: &ChildConfig, topic: Topic, key: &'static str) -> Field {
    Field::new(topic, Place::Child(Arc::clone(&config.name), Arc::clone(&child.name)), key)
}

fn proposals_key(protocol: Protocol) -> &'static str {
    if protocol == Protocol::Ah { "ah_proposals" } else { "esp_proposals" }
}

fn own_protocol(child: &ChildConfig) -> Protocol {
    child.proposals.first().map_or(Protocol::Esp, Proposal::protocol)
}

/// The proposals of a child have nothing in common with those in an SA payload of the peer.
fn algorithms(config: &PeerConfig, child: &ChildConfig, payload: &Sa, in_auth: bool) -> Option<Mismatch> {
    let offered = offered(payload);
    let protocol = own_protocol(child);
    let topic = Topic::Proposal;
    if let Some(other) = offered.first().filter(|other| other.protocol() != protocol) {
        let field = field(config, child, topic, proposals_key(other.protocol()));
        let add = other.keywords().map_or_else(|| widen(&[], other.protocol()), Change::Add);
        let ours = format!("{protocol} proposals only");
        return Some(Mismatch::new(field, ours, add).theirs(list(&offered)));
    }
    proposals(field(config, child, topic, proposals_key(protocol)), &child.proposals, &offered, in_auth)
}

/// The peer offers no algorithms that the child it asks for has.
pub(crate) fn no_proposal(sa: &mut IkeSa, env: &Env<'_>, child: &ChildConfig, payload: &Sa, in_auth: bool) {
    report(sa, env, Stage::Child, Cause::WeRefused(NotifyType::NoProposalChosen), |sa| {
        sa.config().and_then(|config| algorithms(config, child, payload, in_auth)).into_iter().collect()
    });
}

/// No child has anything in common with the selectors that the peer asks for, given from our side.
pub(crate) fn no_selectors(sa: &mut IkeSa, env: &Env<'_>, local: &[TrafficSelector], remote: &[TrafficSelector]) {
    report(sa, env, Stage::Child, Cause::WeRefused(NotifyType::TsUnacceptable), |sa| {
        let Some(config) = sa.config().map(|config| env.config.latest(config)) else { return Vec::new() };
        let hosts = sa.dynamic_hosts();
        let near = |child: &&Arc<ChildConfig>| !child.mode.is_shunt();
        let mut found: Vec<_> = config
            .children
            .iter()
            .filter(near)
            .filter_map(|child| {
                let here = resolve(&child.local_ts, &hosts.local);
                let there = resolve(&child.remote_ts, &hosts.remote);
                // those that differ on one side only are nearer
                let both = missing(&here, local).is_some() && missing(&there, remote).is_some();
                let mismatch = side(&config, child, "local_ts", &here, local)
                    .or_else(|| side(&config, child, "remote_ts", &there, remote))?;
                Some((both, mismatch))
            })
            .collect();
        found.sort_by_key(|(both, _)| *both);
        if found.is_empty() && !config.children.iter().any(|child| !child.mode.is_shunt()) {
            let field = connection(&config, Topic::TrafficSelector, "children");
            let (here, there) = (selectors_text(local), selectors_text(remote));
            let advice = format!("add a child with local_ts = {here} and remote_ts = {there} to {field}");
            return vec![
                Mismatch::new(field, "none", Change::Provide(advice)).theirs(format_args!("{here} === {there}")),
            ];
        }
        found.into_iter().map(|(_, mismatch)| mismatch).collect()
    });
}

fn side(
    config: &PeerConfig,
    child: &ChildConfig,
    key: &'static str,
    ours: &[TrafficSelector],
    asked: &[TrafficSelector],
) -> Option<Mismatch> {
    let add = missing(ours, asked)?;
    let field = field(config, child, Topic::TrafficSelector, key);
    Some(Mismatch::new(field, selectors_text(ours), Change::Add(add)).theirs(selectors_text(asked)))
}

/// A child came into question, but nothing of its selectors is left in the mode that it has.
pub(crate) fn nothing_left(
    sa: &mut IkeSa,
    env: &Env<'_>,
    child: &ChildConfig,
    local: &[TrafficSelector],
    remote: &[TrafficSelector],
) {
    report(sa, env, Stage::Child, Cause::WeRefused(NotifyType::TsUnacceptable), |sa| {
        let Some(config) = sa.config() else { return Vec::new() };
        if matches!(child.mode, Mode::Transport | Mode::TransportProxy | Mode::Beet) {
            let field = field(config, child, Topic::TrafficSelector, "mode");
            let asked = format!("{} === {}", selectors_text(local), selectors_text(remote));
            return vec![Mismatch::new(field, child.mode.keyword(), Change::Set("tunnel".to_owned())).theirs(asked)];
        }
        let hosts = sa.dynamic_hosts();
        if hosts.remote.is_empty() {
            return vec![no_virtual_ip(config, "no virtual IP")];
        }
        Vec::new()
    });
}

/// The peer refused the CHILD_SA we asked for.
pub(crate) fn refused(sa: &mut IkeSa, env: &Env<'_>, child: &ChildConfig, kind: NotifyType) {
    report(sa, env, Stage::Child, Cause::PeerRefused(kind), |sa| {
        let Some(config) = sa.config() else { return Vec::new() };
        let hosts = sa.dynamic_hosts();
        match kind {
            NotifyType::NoProposalChosen => {
                let protocol = own_protocol(child);
                let field = field(config, child, Topic::Proposal, proposals_key(protocol));
                let change = widen(&child.proposals, protocol);
                vec![Mismatch::new(field, list(&child.proposals), change).why("the peer has none of these")]
            }
            NotifyType::TsUnacceptable => {
                let side = |key, other, selectors: &[TrafficSelector]| {
                    let field = field(config, child, Topic::TrafficSelector, key);
                    let advice = format!("compare with {other} of the peer's children");
                    Mismatch::new(field, selectors_text(selectors), Change::Peer(advice))
                        .why("the peer may have no child for it")
                };
                vec![
                    side("local_ts", "remote_ts", &sa.propose_local(&child.local_ts, &hosts)),
                    side("remote_ts", "local_ts", &resolve(&child.remote_ts, &hosts.remote)),
                ]
            }
            NotifyType::InternalAddressFailure => {
                let field = connection(config, Topic::VirtualIp, "vips");
                let advice = "check that the peer has a pool of that family with free addresses".to_owned();
                vec![Mismatch::new(field, addresses(&config.vips), Change::Peer(advice)).theirs("no address for us")]
            }
            NotifyType::FailedCpRequired => {
                let field = connection(config, Topic::VirtualIp, "vips");
                vec![Mismatch::new(field, "none", Change::Set("0.0.0.0".to_owned())).theirs("virtual IPs to assign")]
            }
            kind => {
                let advice = format!("see the log of the peer for why it answers {kind}");
                let ours = format!("proposals {}", list(&child.proposals));
                vec![Mismatch::new(field(config, child, Topic::Policy, ""), ours, Change::Peer(advice))]
            }
        }
    });
}

fn addresses(vips: &[IpAddr]) -> String {
    let any = |ip: &IpAddr| ip.to_string();
    if vips.is_empty() { "none".to_owned() } else { vips.iter().map(any).collect::<Vec<_>>().join(", ") }
}

/// The peer insists on a key exchange method that the child does not have.
pub(crate) fn other_method(sa: &mut IkeSa, env: &Env<'_>, child: &ChildConfig, wanted: KeyExchangeMethod) {
    report(sa, env, Stage::Child, Cause::PeerRefused(NotifyType::InvalidKePayload), |sa| {
        let Some(config) = sa.config() else { return Vec::new() };
        let field = field(config, child, Topic::Proposal, proposals_key(own_protocol(child)));
        vec![method(field, &child.proposals, wanted)]
    });
}

/// The algorithms that the peer answered with are none of ours.
pub(crate) fn answered_proposal(sa: &mut IkeSa, env: &Env<'_>, child: &ChildConfig, payload: &Sa, in_auth: bool) {
    report(sa, env, Stage::Child, Cause::AnswerUnacceptable, |sa| {
        sa.config().and_then(|config| algorithms(config, child, payload, in_auth)).into_iter().collect()
    });
}

/// The selectors that the peer answered with are none of ours.
pub(crate) fn answered_selectors(
    sa: &mut IkeSa,
    env: &Env<'_>,
    child: &ChildConfig,
    (here, local): (&[TrafficSelector], &[TrafficSelector]),
    (there, remote): (&[TrafficSelector], &[TrafficSelector]),
) {
    report(sa, env, Stage::Child, Cause::AnswerUnacceptable, |sa| {
        let Some(config) = sa.config() else { return Vec::new() };
        let mismatch =
            side(config, child, "local_ts", here, local).or_else(|| side(config, child, "remote_ts", there, remote));
        mismatch.into_iter().collect()
    });
}

/// The peer answered with a mode that we did not ask for, or that its selectors do not allow.
pub(crate) fn answered_mode(sa: &mut IkeSa, env: &Env<'_>, child: &ChildConfig, answered: Mode) {
    report(sa, env, Stage::Child, Cause::AnswerUnacceptable, |sa| {
        let Some(config) = sa.config() else { return Vec::new() };
        let field = field(config, child, Topic::TrafficSelector, "mode");
        vec![
            Mismatch::new(field, child.mode.keyword(), Change::Set(answered.keyword().to_owned()))
                .theirs(answered.keyword()),
        ]
    });
}

/// A peer should have a virtual IP and does not.
fn no_virtual_ip(config: &PeerConfig, theirs: &str) -> Mismatch {
    let field = connection(config, Topic::VirtualIp, "pools");
    Mismatch::new(field, config.pools.join(", "), Change::Remove).theirs(theirs)
}

/// A virtual IP was not assigned, or not asked for.
pub(crate) fn virtual_ip(sa: &mut IkeSa, env: &Env<'_>, requested: &[IpAddr], kind: NotifyType) {
    report(sa, env, Stage::Child, Cause::WeRefused(kind), |sa| {
        let Some(config) = sa.config() else { return Vec::new() };
        if requested.is_empty() {
            return vec![no_virtual_ip(config, "no request for a virtual IP")];
        }
        let field = connection(config, Topic::VirtualIp, "pools");
        let families = match (requested.iter().any(IpAddr::is_ipv4), requested.iter().any(IpAddr::is_ipv6)) {
            (true, true) => "IPv4 and IPv6",
            (true, false) => "IPv4",
            (false, _) => "IPv6",
        };
        let advice = if config.pools.is_empty() {
            format!("name a pool with {families} addresses in {field}")
        } else {
            format!("add a pool with free {families} addresses to {field}, or enlarge the one there")
        };
        let ours = if config.pools.is_empty() { "none".to_owned() } else { config.pools.join(", ") };
        vec![Mismatch::new(field, ours, Change::Provide(advice)).theirs(format_args!("a request for {families}"))]
    });
}

/// We have no address for the selectors that we are to propose.
pub(crate) fn nothing_to_propose(sa: &mut IkeSa, env: &Env<'_>) {
    report(sa, env, Stage::Child, Cause::Local, |sa| {
        sa.config().map(|config| no_virtual_ip(config, "no virtual IP")).into_iter().collect()
    });
}

/// One side wants a CHILD_SA in IKE_AUTH, and the other wants none.
pub(crate) fn childless(sa: &mut IkeSa, env: &Env<'_>, offered: bool) {
    report(sa, env, Stage::Child, Cause::WeRefused(NotifyType::InvalidSyntax), |sa| {
        let Some(config) = sa.config() else { return Vec::new() };
        let field = connection(config, Topic::Policy, "childless");
        let (ours, theirs) = if offered { ("force", "a CHILD_SA") } else { ("never", "no CHILD_SA") };
        vec![Mismatch::new(field, ours, Change::Set("allow".to_owned())).theirs(format_args!("{theirs} in IKE_AUTH"))]
    });
}

/// There is an equal CHILD_SA already.
pub(crate) fn duplicate(sa: &mut IkeSa, env: &Env<'_>, child: &ChildConfig) {
    report(sa, env, Stage::Child, Cause::Local, |sa| {
        let Some(config) = sa.config() else { return Vec::new() };
        let field = field(config, child, Topic::Policy, "");
        let advice = "nothing has to be done, or terminate the CHILD_SA that is there".to_owned();
        vec![Mismatch::new(field, "an equal CHILD_SA already", Change::Peer(advice))]
    });
}
