//! Negotiation of one CHILD_SA (RFC 7296 §1.3.1, §2.9): the part that creating and rekeying have in common. [`Offer`] is
//! our side when we ask, [`Answer`] when the peer does.

mod answer;
mod ipcomp;
mod offer;

pub(super) use answer::Answer;
pub(super) use offer::{Agreed, Offer, OfferError};

use std::net::IpAddr;

use strongswan::crypto::{KeyExchangeMethod, Proposal, Secret};
use strongswan::log;
use strongswan::selectors::{TrafficSelector, resolve};

use super::proposals;
use crate::config::{ChildConfig, Mode};
use crate::env::Env;
use crate::ids::Reqid;
use crate::kernel::Features;
use crate::output::Alert;
use crate::sa::{ChildSa, ChildSaState, DynamicHosts, IkeSa, InstallError, Phase, Tags};
use crate::v2::task::Outgoing;
use crate::wire::{Message, Nonce, NotifyType};

/// What a replacement takes over from the CHILD_SA it replaces.
#[derive(Debug, Clone)]
pub(super) struct Inherited {
    pub(super) local_ts: Vec<TrafficSelector>,
    pub(super) remote_ts: Vec<TrafficSelector>,
    pub(super) reqid: Option<Reqid>,
    pub(super) tags: Tags,
    pub(super) key_exchange: Option<KeyExchangeMethod>,
}

impl From<&ChildSa> for Inherited {
    fn from(old: &ChildSa) -> Self {
        Self {
            local_ts: old.local_ts.clone(),
            remote_ts: old.remote_ts.clone(),
            reqid: old.reqid,
            tags: old.tags,
            key_exchange: old.algorithms.key_exchange,
        }
    }
}

/// Configured proposals as far as an exchange can carry them out: IKE_AUTH has no key exchange for a CHILD_SA.
fn feasible(config: &ChildConfig, in_auth: bool) -> Vec<Proposal> {
    if in_auth { Proposal::strip_key_exchanges(&config.proposals) } else { proposals::feasible(&config.proposals) }
}

/// What we offer of them.
fn offered(config: &ChildConfig, in_auth: bool) -> Vec<Proposal> {
    if in_auth { feasible(config, in_auth) } else { proposals::offered(&config.proposals) }
}

/// Secrets of a CHILD_SA's own key exchanges.
#[derive(Debug, Clone, Copy)]
struct Secrets<'a> {
    shared: Option<&'a Secret>,
    additional: &'a [Secret],
}

/// Configured selectors with addresses in place of `dynamic`; transport mode has no others than the endpoints.
fn own_selectors(
    sa: &IkeSa,
    (local_ts, remote_ts): (&[TrafficSelector], &[TrafficSelector]),
    mode: Mode,
    hosts: &DynamicHosts,
) -> (Vec<TrafficSelector>, Vec<TrafficSelector>) {
    if mode != Mode::Transport {
        return (resolve(local_ts, &hosts.local), resolve(remote_ts, &hosts.remote));
    }
    let side = |configured: &[TrafficSelector], host| {
        let to_host: Vec<_> = configured.iter().map(|ts| ts.with_address(host)).collect();
        resolve(&to_host, &[host])
    };
    (side(local_ts, sa.local.ip()), side(remote_ts, sa.remote.ip()))
}

/// Selectors of transport mode that crossed a NAT: they name addresses as the peer sees them, and mean the endpoints
/// (RFC 7296 §2.23.1). Only those of the first host named do.
fn behind_nat(received: &[TrafficSelector], endpoint: IpAddr) -> Vec<TrafficSelector> {
    let first = received.iter().find(|ts| ts.is_host(None)).map(TrafficSelector::start);
    let of_first = |ts: &&TrafficSelector| ts.is_host(first) && first.is_some();
    received.iter().filter(of_first).map(|ts| ts.with_address(endpoint)).collect()
}

/// The mode both sides named, else tunnel mode. One that we did not ask for is no answer: the peer would not tunnel.
fn agree_mode(child: &mut ChildSa, message: &Message) -> Result<(), ()> {
    let answered = [(NotifyType::UseTransportMode, Mode::Transport), (NotifyType::UseBeetMode, Mode::Beet)];
    let answered = answered.into_iter().find(|(notify, _)| message.has_notify(*notify)).map(|(_, mode)| mode);
    child.mode = match (child.config.mode, answered) {
        (_, None) => Mode::Tunnel,
        (mode @ (Mode::Transport | Mode::TransportProxy), Some(Mode::Transport)) => mode,
        (Mode::Beet, Some(Mode::Beet)) => Mode::Beet,
        (_, Some(mode)) => {
            log!(IKE, 1, "{mode} mode requested by responder is unacceptable");
            return Err(());
        }
    };
    Ok(())
}

/// Adds what goes along with an offer or the answer to one: the mode, unless it is tunnel mode, and what we cannot do.
fn announce(env: &Env<'_>, message: &mut Outgoing, mode: Mode) {
    match mode {
        Mode::Transport | Mode::TransportProxy => message.notify(NotifyType::UseTransportMode),
        Mode::Beet => message.notify(NotifyType::UseBeetMode),
        Mode::Tunnel | Mode::Iptfs | Mode::Pass | Mode::Drop => {}
    }
    if !env.kernel.features().contains(Features::ESP_V3_TFC) {
        message.notify(NotifyType::EspTfcPaddingNotSupported);
    }
}

/// Whether the selectors are such as the mode can carry: transport mode is between the endpoints only, and BEET between
/// hosts, as their addresses are not in the packets.
fn fits_mode(child: &ChildSa, sa: &IkeSa) -> bool {
    let hosts = |local, remote| {
        child.local_ts.iter().all(|ts| ts.is_host(local)) && child.remote_ts.iter().all(|ts| ts.is_host(remote))
    };
    match child.mode {
        Mode::Transport => hosts(Some(sa.local.ip()), Some(sa.remote.ip())),
        Mode::Beet => hosts(None, None),
        Mode::Tunnel | Mode::TransportProxy | Mode::Iptfs | Mode::Pass | Mode::Drop => true,
    }
}

/// Replaced CHILD_SAs that may linger beyond twice the number of living ones before no more are replaced for the moment.
const LINGERING: usize = 8;

/// Refuses the peer a CHILD_SA more than it may have (`charon.childsa_limit`). One that replaces another does not count,
/// but those that it replaced and did not delete add up, too.
fn within_limit(sa: &IkeSa, env: &Env<'_>, replaces: bool) -> Result<(), NotifyType> {
    let limit = env.settings.childsa_limit;
    if limit == 0 {
        return Ok(());
    }
    let most = limit.saturating_mul(2).saturating_add(LINGERING);
    let living = |state| !matches!(state, ChildSaState::Rekeyed | ChildSaState::Deleting | ChildSaState::Deleted);
    let count = sa.children.iter().filter(|child| living(child.state())).count();
    let refused = if !replaces && count >= limit {
        NotifyType::NoAdditionalSas
    } else if sa.children.len() >= most {
        NotifyType::TemporaryFailure
    } else {
        return Ok(());
    };
    log!(IKE, 1, "limit of {limit} CHILD_SAs reached, sending {refused}");
    Err(refused)
}

/// Whether the policies of a CHILD_SA, which are pairs of its selectors, are as many as a peer may have of those that the
/// configuration has (`charon.childsa_policy_limit`).
fn few_policies(child: &ChildSa, env: &Env<'_>, configured: usize) -> bool {
    let limit = env.settings.childsa_policy_limit;
    let policies = child.local_ts.len().saturating_mul(child.remote_ts.len());
    let few = limit == 0 || policies <= limit.max(configured);
    if !few {
        log!(IKE, 1, "{policies} pairs of traffic selectors exceed the limit of {limit}");
    }
    few
}

/// Derives keys and installs the CHILD_SA. On failure the caller still owns it and has to uninstall it.
fn install(
    sa: &mut IkeSa,
    env: &mut Env<'_>,
    child: &mut ChildSa,
    secrets: Secrets<'_>,
    (own, peer): (&Nonce, &Nonce),
    defer_outbound: bool,
) -> Result<(), NotifyType> {
    let (ni, nr) = if child.initiator { (own, peer) } else { (peer, own) };
    // an IKE_SA whose peers are not authenticated has no proof of it, and without one there are no keys
    let (Some(keys), Phase::Authenticated(proof)) = (&sa.keys, &sa.phase) else {
        log!(IKE, 1, "no CHILD_SA on an unauthenticated IKE_SA");
        return Err(NotifyType::NoProposalChosen);
    };
    let keys = match keys.derive_child(
        proof,
        &child.algorithms,
        secrets.shared,
        secrets.additional,
        ni.as_bytes(),
        nr.as_bytes(),
    ) {
        Ok(keys) => keys,
        Err(error) => {
            log!(CHD, 1, "CHILD_SA key derivation failed: {error}");
            return Err(NotifyType::NoProposalChosen);
        }
    };
    // addresses may have changed while the peer took its time
    child.endpoints = sa.endpoints();
    child.begin_installing();
    match child.install(env, keys, defer_outbound) {
        Ok(()) => Ok(()),
        Err(InstallError::Sa(error)) => {
            log!(IKE, 1, "unable to install IPsec SA (SAD) in kernel: {error}");
            sa.alert(Alert::InstallChildSaFailed);
            Err(NotifyType::NoProposalChosen)
        }
        Err(InstallError::Policy(error)) => {
            log!(IKE, 1, "unable to install IPsec policies (SPD) in kernel: {error}");
            sa.alert(Alert::InstallChildPolicyFailed);
            Err(NotifyType::TsUnacceptable)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_behind_a_nat_become_the_endpoint() {
        let ts = |text| TrafficSelector::parse(text).unwrap();
        let received = [ts("10.0.0.1[tcp]"), ts("10.0.0.1[udp/53]"), ts("10.0.0.2"), ts("10.1.0.0/16")];
        let endpoint = "192.0.2.1".parse().unwrap();
        assert_eq!(behind_nat(&received, endpoint), [ts("192.0.2.1[tcp]"), ts("192.0.2.1[udp/53]")]);
        assert_eq!(behind_nat(&[ts("10.1.0.0/16")], endpoint), []);
    }
}
