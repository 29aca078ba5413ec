//! A CHILD_SA that we ask for.

use std::sync::Arc;

use strongswan::crypto::{KeyExchange, KeyExchangeMethod, Proposal, Protocol, Secret, TransformType};
use strongswan::log;
use strongswan::selectors::{TrafficSelector, narrow, resolve};

use super::super::follow_up::{Broken, FollowUpInitiator};
use super::super::proposals::{Choice, choose};
use super::{
    Inherited, Secrets, agree_mode, announce, behind_nat, few_policies, fits_mode, install, ipcomp, own_selectors,
};
use crate::config::{ChildConfig, Mode};
use crate::env::Env;
use crate::ids::UniqueId;
use crate::input::PreviousChild;
use crate::output::Alert;
use crate::sa::{ChildSa, ChildSaState, IkeSa, Tags};
use crate::snapshot::Algorithms;
use crate::v2::explain;
use crate::v2::task::{Outgoing, Progress};
use crate::wire::{ExchangeType, Ke, Message, Nonce, Notify, NotifyType, Payload, Sa, Ts};

/// Why our CHILD_SA did not come to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::v2::tasks) enum OfferError {
    /// The peer refused with this notify.
    Refused(NotifyType),
    /// The peer wants another key exchange method, which is tried.
    Retry,
    /// We cannot use what the peer accepted, which therefore has to be deleted.
    Unusable,
    /// We could not even ask.
    Local,
}

/// How far a negotiation got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::v2::tasks) enum Agreed {
    /// The CHILD_SA is there.
    Installed(UniqueId),
    /// Additional key exchanges are left.
    FollowUp,
}

/// Our side of a negotiation that we started.
#[derive(Debug)]
pub(in crate::v2::tasks) struct Offer {
    pub(in crate::v2::tasks) config: Arc<ChildConfig>,
    pub(in crate::v2::tasks) inherited: Option<Inherited>,
    /// Selectors of the packet that triggered it: source, destination.
    pub(in crate::v2::tasks) packet: Option<(TrafficSelector, TrafficSelector)>,
    /// What it takes over from a CHILD_SA of another IKE_SA.
    pub(in crate::v2::tasks) previous: Option<Box<PreviousChild>>,
    /// The CHILD_SA under negotiation.
    pub(in crate::v2::tasks) child: Option<Box<ChildSa>>,
    proposals: Vec<Proposal>,
    requested: Option<KeyExchangeMethod>,
    ke: Option<KeyExchange>,
    /// The secret of the first key exchange, while others follow.
    shared: Option<Secret>,
    follow_up: Option<FollowUpInitiator>,
    pub(in crate::v2::tasks) own_nonce: Option<Nonce>,
    pub(in crate::v2::tasks) peer_nonce: Option<Nonce>,
}

impl Offer {
    pub(in crate::v2::tasks) fn new(config: Arc<ChildConfig>) -> Self {
        Self {
            config,
            inherited: None,
            packet: None,
            previous: None,
            child: None,
            proposals: Vec::new(),
            requested: None,
            ke: None,
            shared: None,
            follow_up: None,
            own_nonce: None,
            peer_nonce: None,
        }
    }

    /// The exchange it continues with.
    pub(in crate::v2::tasks) fn exchange(&self) -> ExchangeType {
        if self.follow_up.is_some() { ExchangeType::IkeFollowupKe } else { ExchangeType::CreateChildSa }
    }

    /// Adds the next additional key exchange.
    pub(in crate::v2::tasks) fn follow_up(&mut self, message: &mut Outgoing) -> Result<(), OfferError> {
        let follow_up = self.follow_up.as_mut().ok_or(OfferError::Local)?;
        follow_up.build(message).map_err(|Broken| OfferError::Local)
    }

    /// Adds our proposals, selectors and, in an exchange of its own, nonce and KE payload.
    pub(in crate::v2::tasks) fn build(
        &mut self,
        sa: &mut IkeSa,
        env: &mut Env<'_>,
        message: &mut Outgoing,
        in_auth: bool,
    ) -> Result<(), OfferError> {
        let mut child = self.child.take().unwrap_or_else(|| self.create(sa, env));
        let result = self.propose(sa, env, message, in_auth, &mut child);
        // also after a failure: it may hold an SPI
        self.child = Some(child);
        result
    }

    fn propose(
        &mut self,
        sa: &mut IkeSa,
        env: &mut Env<'_>,
        message: &mut Outgoing,
        in_auth: bool,
        child: &mut ChildSa,
    ) -> Result<(), OfferError> {
        let label = child.to_string();
        match (self.inherited.is_some(), child.reqid) {
            (true, Some(reqid)) => log!(IKE, 0, "establishing CHILD_SA {label} reqid {reqid}"),
            _ => log!(IKE, 0, "establishing CHILD_SA {label}"),
        }
        self.proposals = super::offered(&self.config, in_auth);
        let (local, remote) = self.selectors(sa, env, child, true);
        if local.is_empty() || remote.is_empty() {
            log!(IKE, 1, "no traffic selectors to propose, the peer has no virtual IP");
            explain::child::nothing_to_propose(sa, env);
            return Err(OfferError::Local);
        }
        let protocol = self.proposals.first().map_or(Protocol::Esp, Proposal::protocol);
        let spi = match child.spi_in {
            Some(spi) => spi,
            None => child.allocate_spi(env, protocol).map_err(|error| {
                log!(IKE, 1, "unable to allocate SPI from kernel: {error}");
                OfferError::Local
            })?,
        };
        if !in_auth {
            self.add_key_exchange(env, message)?;
        }
        announce(env, message, child.mode);
        if self.config.ipcomp {
            ipcomp::announce(env, message, child);
        }
        message.push(Sa::offer(self.proposals.iter().cloned(), spi.into()));
        message.push(Payload::TsI(Ts::new(local)));
        message.push(Payload::TsR(Ts::new(remote)));
        Ok(())
    }

    /// The marks and interfaces the CHILD_SA is going to have.
    pub(in crate::v2::tasks) fn tags(&mut self, sa: &mut IkeSa, env: &Env<'_>) -> Tags {
        let child = self.child.take().unwrap_or_else(|| self.create(sa, env));
        self.child.insert(child).tags
    }

    fn create(&self, sa: &mut IkeSa, env: &Env<'_>) -> Box<ChildSa> {
        let mut tags = match &self.inherited {
            Some(inherited) => inherited.tags,
            None => Tags::allocate(env.ids, sa.interfaces(env), &self.config),
        };
        if let Some(previous) = &self.previous {
            (tags.mark_in, tags.mark_out) = (previous.mark_in, previous.mark_out);
        }
        let mut child = ChildSa::new(env.ids.child_sa_id(), Arc::clone(&self.config), sa.endpoints(), tags);
        child.initiator = true;
        if let Some(inherited) = &self.inherited {
            child.reqid = inherited.reqid;
        }
        Box::new(child)
    }

    fn add_key_exchange(&mut self, env: &mut Env<'_>, message: &mut Outgoing) -> Result<(), OfferError> {
        // the method in use is the most likely to be accepted again
        let previous = self.inherited.as_ref().and_then(|inherited| inherited.key_exchange);
        let previous = previous.filter(|_| env.settings.prefer_previous_dh_group);
        let configured = self.proposals.iter().find_map(Proposal::key_exchange);
        if let Some(method) = self.requested.or(previous).or(configured) {
            Proposal::promote_key_exchange_in(&mut self.proposals, method);
            if self.ke.as_ref().map(KeyExchange::method) != Some(method) {
                self.ke = KeyExchange::generate(method).ok();
            }
            let Some(ke) = &self.ke else {
                log!(IKE, 1, "configured key exchange method {method} not supported");
                return Err(OfferError::Local);
            };
            message.push(Ke { method, data: ke.public_value().to_vec() });
        }
        let nonce = Nonce::generate(env.rng);
        message.push(nonce.clone());
        self.own_nonce = Some(nonce);
        Ok(())
    }

    /// The selectors we propose, or those we accept of what the peer made of them.
    fn selectors(
        &self,
        sa: &IkeSa,
        env: &Env<'_>,
        child: &ChildSa,
        propose: bool,
    ) -> (Vec<TrafficSelector>, Vec<TrafficSelector>) {
        let hosts = sa.dynamic_hosts();
        let configured: (&[TrafficSelector], &[TrafficSelector]) = match &self.previous {
            Some(previous) => (&previous.local_ts, &previous.remote_ts),
            None => (&self.config.local_ts, &self.config.remote_ts),
        };
        let (mut local, mut remote) = match &self.inherited {
            Some(inherited) => (inherited.local_ts.clone(), inherited.remote_ts.clone()),
            None if propose && child.mode != Mode::Transport => {
                (sa.propose_local(configured.0, &hosts), resolve(configured.1, &hosts.remote))
            }
            None => own_selectors(sa, configured, child.mode, &hosts),
        };
        let fits = local.len().max(remote.len()) < Ts::MAX_SELECTORS;
        let wanted = fits && !env.settings.ignore_acquire_ts;
        if let Some((source, destination)) = self.packet.as_ref().filter(|_| wanted) {
            local.insert(0, *source);
            remote.insert(0, *destination);
        }
        (local, remote)
    }

    /// Reads the peer's answer, and installs the CHILD_SA if no further key exchange is left.
    pub(in crate::v2::tasks) fn process(
        &mut self,
        sa: &mut IkeSa,
        env: &mut Env<'_>,
        message: &Message,
        in_auth: bool,
    ) -> Result<Agreed, OfferError> {
        if let Some(notify) = message.notifies().find(|notify| notify.kind.is_error()) {
            return Err(self.refused(sa, env, notify));
        }
        let Some(mut child) = self.child.take() else { return Err(OfferError::Local) };
        match self.advance(sa, env, message, in_auth, &mut child) {
            Ok(Progress::Done) => {
                let id = child.unique_id;
                sa.adopt_child(*child);
                sa.set_child_state(id, ChildSaState::Installed);
                // our addresses may have changed while it was negotiated
                sa.update_children(env);
                Ok(Agreed::Installed(id))
            }
            Ok(Progress::More | Progress::Restart) => {
                self.child = Some(child);
                Ok(Agreed::FollowUp)
            }
            Err(error) => {
                self.child = Some(child);
                Err(error)
            }
        }
    }

    fn advance(
        &mut self,
        sa: &mut IkeSa,
        env: &mut Env<'_>,
        message: &Message,
        in_auth: bool,
        child: &mut ChildSa,
    ) -> Result<Progress, OfferError> {
        match &mut self.follow_up {
            Some(follow_up) => {
                if follow_up.process(message).map_err(|Broken| OfferError::Unusable)? == Progress::More {
                    return Ok(Progress::More);
                }
            }
            None => {
                if !in_auth {
                    self.peer_nonce = message.nonce().cloned();
                }
                self.accept(sa, env, message, in_auth, child)?;
                if self.follow_up.is_some() {
                    return Ok(Progress::More);
                }
            }
        }
        let nonces = self.own_nonce.as_ref().zip(self.peer_nonce.as_ref()).ok_or(OfferError::Unusable)?;
        let additional = self.follow_up.as_ref().map(FollowUpInitiator::secrets).unwrap_or_default();
        let secrets = Secrets { shared: self.shared.as_ref(), additional };
        let defer = self.inherited.is_some();
        install(sa, env, child, secrets, nonces, defer).map_err(|_| OfferError::Unusable)?;
        Ok(Progress::Done)
    }

    fn refused(&mut self, sa: &mut IkeSa, env: &Env<'_>, notify: &Notify) -> OfferError {
        if notify.kind != NotifyType::InvalidKePayload || self.follow_up.is_some() {
            if notify.kind != NotifyType::TemporaryFailure {
                explain::child::refused(sa, env, &self.config, notify.kind);
            }
            return OfferError::Refused(notify.kind);
        }
        let Some(wanted) = notify.requested_ke() else { return OfferError::Refused(notify.kind) };
        let used = self.ke.as_ref().map_or(KeyExchangeMethod::None, KeyExchange::method);
        if let Some(earlier) = self.requested {
            log!(IKE, 1, "already retried with key exchange method {earlier}, ignore requested {wanted}");
            return OfferError::Refused(notify.kind);
        }
        log!(IKE, 1, "peer didn't accept key exchange method {used}, it requested {wanted}");
        if !self.proposals.iter().any(|proposal| proposal.contains(TransformType::KeyExchange, wanted)) {
            explain::child::other_method(sa, env, &self.config, wanted);
            return OfferError::Refused(notify.kind);
        }
        self.requested = Some(wanted);
        OfferError::Retry
    }

    fn accept(
        &mut self,
        sa: &mut IkeSa,
        env: &mut Env<'_>,
        message: &Message,
        in_auth: bool,
        child: &mut ChildSa,
    ) -> Result<(), OfferError> {
        let (Some(payload), Some(ts_i), Some(ts_r)) = (message.sa(), message.ts_i(), message.ts_r()) else {
            log!(IKE, 1, "SA or TS payload missing, no CHILD_SA built");
            return Err(OfferError::Unusable);
        };
        let Some(Choice { proposal, offered }) = choose(sa, env, &self.proposals, payload, in_auth) else {
            log!(IKE, 1, "no acceptable proposal found");
            explain::child::answered_proposal(sa, env, &self.config, payload, in_auth);
            sa.alert(Alert::ProposalMismatchChild);
            return Err(OfferError::Unusable);
        };
        child.spi_out = offered.spi.child();
        self.shared = self.shared_secret(message, &proposal)?;
        self.follow_up = FollowUpInitiator::start(&proposal, message).map_err(|Broken| OfferError::Unusable)?;
        child.algorithms = Algorithms::from(&proposal);
        child.protocol = proposal.protocol();
        if agree_mode(child, message).is_err() {
            let answered = if message.has_notify(NotifyType::UseBeetMode) { Mode::Beet } else { Mode::Transport };
            explain::child::answered_mode(sa, env, &self.config, answered);
            return Err(OfferError::Unusable);
        }
        child.tfc = !message.has_notify(NotifyType::EspTfcPaddingNotSupported);
        ipcomp::accept(env, message, child)?;
        let (local, remote) = self.selectors(sa, env, child, false);
        if child.mode == Mode::Transport && sa.conditions.nat_any() {
            child.local_ts = narrow(&local, &behind_nat(&ts_i.selectors, sa.local.ip()));
            child.remote_ts = narrow(&remote, &behind_nat(&ts_r.selectors, sa.remote.ip()));
        } else {
            child.local_ts = narrow(&local, &ts_i.selectors);
            child.remote_ts = narrow(&remote, &ts_r.selectors);
        }
        let few = few_policies(child, env, local.len().saturating_mul(remote.len()));
        if child.local_ts.is_empty() || child.remote_ts.is_empty() || child.spi_out.is_none() || !few {
            log!(IKE, 1, "no acceptable traffic selectors found");
            explain::child::answered_selectors(
                sa,
                env,
                &self.config,
                (&local, &ts_i.selectors),
                (&remote, &ts_r.selectors),
            );
            sa.alert(Alert::TsMismatch);
            return Err(OfferError::Unusable);
        }
        if !fits_mode(child, sa) {
            log!(IKE, 1, "{} mode requested by responder is unacceptable", child.mode);
            explain::child::answered_mode(sa, env, &self.config, Mode::Tunnel);
            return Err(OfferError::Unusable);
        }
        Ok(())
    }

    fn shared_secret(&mut self, message: &Message, proposal: &Proposal) -> Result<Option<Secret>, OfferError> {
        let Some(method) = proposal.key_exchange() else { return Ok(None) };
        let own = self.ke.take_if(|own| own.method() == method);
        let theirs = message.ke().filter(|ke| ke.method == method);
        let (Some(own), Some(theirs)) = (own, theirs) else {
            log!(IKE, 1, "KE payload missing in message");
            return Err(OfferError::Unusable);
        };
        own.agree(&theirs.data).map(Some).map_err(|error| {
            log!(IKE, 1, "key exchange failed: {error}");
            OfferError::Unusable
        })
    }

    /// Gives back what was reserved for a CHILD_SA that did not come to be.
    pub(in crate::v2::tasks) fn abandon(&mut self, env: &mut Env<'_>) {
        if let Some(mut child) = self.child.take() {
            child.uninstall(env);
        }
    }
}
