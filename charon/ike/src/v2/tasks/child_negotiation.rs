//! Negotiation of one CHILD_SA (RFC 7296 §1.3.1, §2.9): the part that creating and rekeying have in common.

use std::sync::Arc;

use strongswan::crypto::{KeyExchange, KeyExchangeMethod, Proposal, Protocol, Secret, TransformType, ke};
use strongswan::log;
use strongswan::selectors::{TrafficSelector, narrow, resolve};

use super::child_select::{self, Wanted};
use super::proposals::{Choice, choose};
use crate::config::{ChildConfig, Mode};
use crate::env::Env;
use crate::ids::{Reqid, UniqueId};
use crate::kernel::Features;
use crate::output::Alert;
use crate::sa::{ChildSa, ChildSaState, DynamicHosts, IkeSa, InstallError, Selectors, Tags};
use crate::snapshot::Algorithms;
use crate::v2::task::Outgoing;
use crate::wire::{Ke, Message, Nonce, Notify, NotifyType, Payload, Sa, SpiField, Ts};

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

/// Why our CHILD_SA did not come to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OfferError {
    /// The peer refused with this notify.
    Refused(NotifyType),
    /// The peer wants another key exchange method, which is tried.
    Retry,
    /// We cannot use what the peer accepted, which therefore has to be deleted.
    Unusable,
    /// We could not even ask.
    Local,
}

/// Our side of a negotiation that we started.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) config: Arc<ChildConfig>,
    pub(super) inherited: Option<Inherited>,
    /// Selectors of the packet that triggered it: source, destination.
    pub(super) packet: Option<(TrafficSelector, TrafficSelector)>,
    /// The CHILD_SA under negotiation.
    pub(super) child: Option<Box<ChildSa>>,
    proposals: Vec<Proposal>,
    requested: Option<KeyExchangeMethod>,
    ke: Option<KeyExchange>,
    pub(super) own_nonce: Option<Nonce>,
    pub(super) peer_nonce: Option<Nonce>,
}

impl Offer {
    pub(super) fn new(config: Arc<ChildConfig>) -> Self {
        Self {
            config,
            inherited: None,
            packet: None,
            child: None,
            proposals: Vec::new(),
            requested: None,
            ke: None,
            own_nonce: None,
            peer_nonce: None,
        }
    }

    /// Adds our proposals, selectors and, in an exchange of its own, nonce and KE payload.
    pub(super) fn build(
        &mut self,
        sa: &mut IkeSa,
        env: &mut Env<'_>,
        message: &mut Outgoing,
        in_auth: bool,
    ) -> Result<(), OfferError> {
        let mut child = match self.child.take() {
            Some(child) => child,
            None => self.create(sa, env)?,
        };
        let label = child.to_string();
        match (self.inherited.is_some(), child.reqid) {
            (true, Some(reqid)) => log!(IKE, 0, "establishing CHILD_SA {label} reqid {reqid}"),
            _ => log!(IKE, 0, "establishing CHILD_SA {label}"),
        }
        self.proposals =
            if in_auth { Proposal::strip_key_exchanges(&self.config.proposals) } else { self.config.proposals.clone() };
        let (local, remote) = self.selectors(sa, &child, true);
        if local.is_empty() || remote.is_empty() {
            log!(IKE, 1, "no traffic selectors to propose, the peer has no virtual IP");
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
        match child.mode {
            Mode::Transport | Mode::TransportProxy => message.notify(NotifyType::UseTransportMode),
            Mode::Beet => message.notify(NotifyType::UseBeetMode),
            Mode::Tunnel | Mode::Iptfs | Mode::Pass | Mode::Drop => {}
        }
        if !env.kernel.features().contains(Features::ESP_V3_TFC) {
            message.notify(NotifyType::EspTfcPaddingNotSupported);
        }
        message.push(Sa::offer(self.proposals.iter().cloned(), spi.into()));
        message.push(Payload::TsI(Ts::new(local)));
        message.push(Payload::TsR(Ts::new(remote)));
        self.child = Some(child);
        Ok(())
    }

    fn create(&self, sa: &IkeSa, env: &Env<'_>) -> Result<Box<ChildSa>, OfferError> {
        let peer = sa.config().ok_or(OfferError::Local)?;
        let tags = match &self.inherited {
            Some(inherited) => inherited.tags,
            None => Tags::allocate(env.ids, peer, &self.config),
        };
        let mut child = ChildSa::new(env.ids.child_sa_id(), Arc::clone(&self.config), sa.endpoints(), tags);
        child.initiator = true;
        if let Some(inherited) = &self.inherited {
            child.reqid = inherited.reqid;
        }
        Ok(Box::new(child))
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
    fn selectors(&self, sa: &IkeSa, child: &ChildSa, propose: bool) -> (Vec<TrafficSelector>, Vec<TrafficSelector>) {
        let hosts = sa.dynamic_hosts();
        let (mut local, mut remote) = match &self.inherited {
            Some(inherited) => (inherited.local_ts.clone(), inherited.remote_ts.clone()),
            None if propose && child.mode != Mode::Transport => {
                (sa.propose_local(&self.config.local_ts, &hosts), resolve(&self.config.remote_ts, &hosts.remote))
            }
            None => own_selectors(sa, &self.config, child.mode, &hosts),
        };
        if let Some((source, destination)) = &self.packet {
            local.insert(0, *source);
            remote.insert(0, *destination);
        }
        (local, remote)
    }

    /// Reads the peer's answer, and installs the CHILD_SA.
    pub(super) fn process(
        &mut self,
        sa: &mut IkeSa,
        env: &mut Env<'_>,
        message: &Message,
        in_auth: bool,
    ) -> Result<UniqueId, OfferError> {
        if let Some(notify) = message.notifies().find(|notify| notify.kind.is_error()) {
            return Err(self.refused(notify));
        }
        let Some(mut child) = self.child.take() else { return Err(OfferError::Local) };
        if !in_auth {
            self.peer_nonce = message.nonce().cloned();
        }
        match self.accept(sa, env, message, in_auth, &mut child) {
            Ok(()) => {
                let id = child.unique_id;
                sa.adopt_child(*child);
                sa.set_child_state(id, ChildSaState::Installed);
                Ok(id)
            }
            Err(error) => {
                self.child = Some(child);
                Err(error)
            }
        }
    }

    fn refused(&mut self, notify: &Notify) -> OfferError {
        if notify.kind != NotifyType::InvalidKePayload {
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
            sa.alert(Alert::ProposalMismatchChild);
            return Err(OfferError::Unusable);
        };
        child.spi_out = offered.spi.child();
        let shared = self.shared_secret(message, &proposal)?;
        child.algorithms = Algorithms::from(&proposal);
        child.protocol = proposal.protocol();
        agree_mode(child, message);
        child.tfc = !message.has_notify(NotifyType::EspTfcPaddingNotSupported);
        let (local, remote) = self.selectors(sa, child, false);
        child.local_ts = narrow(&local, &ts_i.selectors);
        child.remote_ts = narrow(&remote, &ts_r.selectors);
        if child.local_ts.is_empty() || child.remote_ts.is_empty() || child.spi_out.is_none() {
            log!(IKE, 1, "no acceptable traffic selectors found");
            sa.alert(Alert::TsMismatch);
            return Err(OfferError::Unusable);
        }
        check_mode(child, sa).map_err(|()| OfferError::Unusable)?;
        let nonces = self.own_nonce.as_ref().zip(self.peer_nonce.as_ref()).ok_or(OfferError::Unusable)?;
        let defer = self.inherited.is_some();
        install(sa, env, child, shared.as_ref(), nonces, defer).map_err(|_| OfferError::Unusable)
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
    pub(super) fn abandon(&mut self, env: &mut Env<'_>) {
        if let Some(mut child) = self.child.take() {
            child.uninstall(env);
        }
    }
}

/// Configured selectors with addresses in place of `dynamic`; transport mode has no others than the endpoints.
fn own_selectors(
    sa: &IkeSa,
    config: &ChildConfig,
    mode: Mode,
    hosts: &DynamicHosts,
) -> (Vec<TrafficSelector>, Vec<TrafficSelector>) {
    if mode != Mode::Transport {
        return (resolve(&config.local_ts, &hosts.local), resolve(&config.remote_ts, &hosts.remote));
    }
    let side = |configured: &[TrafficSelector], host| {
        let to_host: Vec<_> = configured.iter().map(|ts| ts.with_address(host)).collect();
        resolve(&to_host, &[host])
    };
    (side(&config.local_ts, sa.local.ip()), side(&config.remote_ts, sa.remote.ip()))
}

/// The mode both sides named, else tunnel mode.
fn agree_mode(child: &mut ChildSa, message: &Message) {
    let transport = message.has_notify(NotifyType::UseTransportMode);
    let beet = message.has_notify(NotifyType::UseBeetMode);
    child.mode = match child.config.mode {
        mode @ (Mode::Transport | Mode::TransportProxy) if transport => mode,
        Mode::Beet if beet => Mode::Beet,
        _ => Mode::Tunnel,
    };
}

/// Transport mode is between the endpoints only.
fn check_mode(child: &ChildSa, sa: &IkeSa) -> Result<(), ()> {
    let hosts = child.local_ts.iter().all(|ts| ts.is_host(Some(sa.local.ip())))
        && child.remote_ts.iter().all(|ts| ts.is_host(Some(sa.remote.ip())));
    if child.mode == Mode::Transport && !hosts {
        log!(IKE, 1, "TRANSPORT mode requested by responder is unacceptable");
        return Err(());
    }
    Ok(())
}

/// Derives keys and installs the CHILD_SA. On failure the caller still owns it and has to uninstall it.
fn install(
    sa: &mut IkeSa,
    env: &mut Env<'_>,
    child: &mut ChildSa,
    shared: Option<&Secret>,
    (own, peer): (&Nonce, &Nonce),
    defer_outbound: bool,
) -> Result<(), NotifyType> {
    let (ni, nr) = if child.initiator { (own, peer) } else { (peer, own) };
    let Some(keys) = &sa.keys else { return Err(NotifyType::NoProposalChosen) };
    let keys = match keys.derive_child(&child.algorithms, shared, ni.as_bytes(), nr.as_bytes()) {
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

/// The peer's offer, and what we make of it.
#[derive(Debug, Default)]
pub(super) struct Answer {
    sa: Option<Sa>,
    ts_i: Option<Ts>,
    ts_r: Option<Ts>,
    ke: Option<Ke>,
    transport: bool,
    beet: bool,
    no_tfc: bool,
    pub(super) peer_nonce: Option<Nonce>,
    pub(super) own_nonce: Option<Nonce>,
}

impl Answer {
    /// Keeps what the peer offers.
    pub(super) fn read(&mut self, message: &Message) {
        self.sa = message.sa().cloned();
        self.ts_i = message.ts_i().cloned();
        self.ts_r = message.ts_r().cloned();
        self.ke = message.ke().cloned();
        self.transport = message.has_notify(NotifyType::UseTransportMode);
        self.beet = message.has_notify(NotifyType::UseBeetMode);
        self.no_tfc = message.has_notify(NotifyType::EspTfcPaddingNotSupported);
        if let Some(nonce) = message.nonce() {
            self.peer_nonce = Some(nonce.clone());
        }
    }

    /// Whether the peer offers a CHILD_SA at all.
    pub(super) fn is_offer(&self) -> bool {
        self.sa.is_some() && self.ts_i.is_some() && self.ts_r.is_some()
    }

    /// Chooses configuration, proposal and selectors, installs the CHILD_SA and adds the response's payloads.
    ///
    /// `replaced` gives configuration and properties of the CHILD_SA that is rekeyed.
    ///
    /// # Errors
    /// The notify that refuses the offer; nothing is left installed then.
    pub(super) fn build(
        &mut self,
        sa: &mut IkeSa,
        env: &mut Env<'_>,
        message: &mut Outgoing,
        in_auth: bool,
        replaced: Option<(Arc<ChildConfig>, Inherited)>,
    ) -> Result<UniqueId, Notify> {
        let (Some(payload), Some(ts_i), Some(ts_r)) = (self.sa.take(), self.ts_i.take(), self.ts_r.take()) else {
            return Err(Notify::new(NotifyType::InvalidSyntax));
        };
        let rekeying = replaced.is_some();
        let config = match &replaced {
            Some((config, _)) => Arc::clone(config),
            None => Self::select_config(sa, env, &ts_i.selectors, &ts_r.selectors)?,
        };
        let configured =
            if in_auth { Proposal::strip_key_exchanges(&config.proposals) } else { config.proposals.clone() };
        let Some(Choice { proposal, offered }) = choose(sa, env, &configured, &payload, in_auth) else {
            log!(IKE, 1, "no acceptable proposal found");
            sa.alert(Alert::ProposalMismatchChild);
            return Err(Notify::new(NotifyType::NoProposalChosen));
        };
        let (public, shared) = self.exchange_keys(&proposal)?;
        let Some(spi_out) = offered.spi.child() else {
            log!(IKE, 1, "proposal without usable SPI");
            return Err(Notify::new(NotifyType::NoProposalChosen));
        };

        let mut child = Self::create(sa, env, &config, replaced.as_ref().map(|(_, inherited)| inherited))?;
        child.spi_out = Some(spi_out);
        child.protocol = proposal.protocol();
        child.algorithms = Algorithms::from(&proposal);
        child.tfc = !self.no_tfc;
        let result = self.finish(sa, env, &mut child, &ts_i, &ts_r, shared.as_ref(), rekeying);
        let nonce = match result {
            Ok(nonce) => nonce,
            Err(kind) => {
                child.uninstall(env);
                return Err(Notify::new(kind));
            }
        };
        let Some(spi_in) = child.spi_in else { return Err(Notify::new(NotifyType::NoProposalChosen)) };
        message.push(Sa::choice(offered.number, proposal, SpiField::from(spi_in)));
        if !in_auth {
            message.push(nonce);
        }
        if let Some(ke) = public {
            message.push(ke);
        }
        message.push(Payload::TsI(Ts::new(child.remote_ts.clone())));
        message.push(Payload::TsR(Ts::new(child.local_ts.clone())));
        match child.mode {
            Mode::Transport | Mode::TransportProxy => message.notify(NotifyType::UseTransportMode),
            Mode::Beet => message.notify(NotifyType::UseBeetMode),
            Mode::Tunnel | Mode::Iptfs | Mode::Pass | Mode::Drop => {}
        }
        if !env.kernel.features().contains(Features::ESP_V3_TFC) {
            message.notify(NotifyType::EspTfcPaddingNotSupported);
        }
        let id = child.unique_id;
        sa.adopt_child(child);
        sa.set_child_state(id, ChildSaState::Installed);
        Ok(id)
    }

    fn select_config(
        sa: &mut IkeSa,
        env: &Env<'_>,
        ts_i: &[TrafficSelector],
        ts_r: &[TrafficSelector],
    ) -> Result<Arc<ChildConfig>, Notify> {
        if let Some(config) = sa.config().map(|config| env.config.latest(config)) {
            let hosts = sa.dynamic_hosts();
            let wanted = Wanted { local: ts_r, remote: ts_i, hosts: &hosts };
            if let Some(child) = child_select::select(&config, &wanted) {
                return Ok(child);
            }
        }
        log!(IKE, 1, "traffic selectors {} unacceptable", Selectors(ts_r, ts_i));
        sa.alert(Alert::TsMismatch);
        Err(Notify::new(NotifyType::TsUnacceptable))
    }

    /// Our half of the CHILD_SA's own key exchange, if it has one.
    fn exchange_keys(&mut self, proposal: &Proposal) -> Result<(Option<Ke>, Option<Secret>), Notify> {
        let Some(method) = proposal.key_exchange() else {
            if self.ke.is_some() {
                log!(IKE, 1, "ignoring KE payload, agreed on a non-PFS proposal");
            }
            return Ok((None, None));
        };
        let Some(theirs) = self.ke.take().filter(|ke| ke.method == method) else {
            log!(IKE, 1, "key exchange method unacceptable, requesting {method}");
            return Err(Notify::invalid_ke(method));
        };
        match ke::respond(method, &theirs.data) {
            Ok((public, shared)) => Ok((Some(Ke { method, data: public }), Some(shared))),
            Err(error) => {
                log!(IKE, 1, "applying received public value of {method} failed: {error}");
                Err(Notify::new(NotifyType::NoProposalChosen))
            }
        }
    }

    fn create(
        sa: &IkeSa,
        env: &Env<'_>,
        config: &Arc<ChildConfig>,
        inherited: Option<&Inherited>,
    ) -> Result<ChildSa, Notify> {
        let peer = sa.config().ok_or_else(|| Notify::new(NotifyType::TsUnacceptable))?;
        let tags = match inherited {
            Some(inherited) => inherited.tags,
            None => Tags::allocate(env.ids, peer, config),
        };
        let mut child = ChildSa::new(env.ids.child_sa_id(), Arc::clone(config), sa.endpoints(), tags);
        if let Some(inherited) = inherited {
            child.reqid = inherited.reqid;
        }
        Ok(child)
    }

    #[expect(clippy::too_many_arguments, reason = "each is a different thing that was negotiated")]
    fn finish(
        &mut self,
        sa: &mut IkeSa,
        env: &mut Env<'_>,
        child: &mut ChildSa,
        ts_i: &Ts,
        ts_r: &Ts,
        shared: Option<&Secret>,
        rekeying: bool,
    ) -> Result<Nonce, NotifyType> {
        child.mode = match child.config.mode {
            mode @ (Mode::Transport | Mode::TransportProxy) if self.transport => mode,
            Mode::Beet if self.beet => Mode::Beet,
            _ => Mode::Tunnel,
        };
        let (local, remote) = own_selectors(sa, &child.config, child.mode, &sa.dynamic_hosts());
        child.local_ts = narrow(&local, &ts_r.selectors);
        child.remote_ts = narrow(&remote, &ts_i.selectors);
        if child.mode == Mode::Transport && check_mode(child, sa).is_err() {
            child.mode = Mode::Tunnel;
        }
        if child.local_ts.is_empty() || child.remote_ts.is_empty() {
            log!(IKE, 1, "no acceptable traffic selectors found");
            sa.alert(Alert::TsMismatch);
            return Err(NotifyType::TsUnacceptable);
        }
        if child.local_ts != local || child.remote_ts != remote {
            sa.alert(Alert::TsNarrowed);
        }
        if let Err(error) = child.allocate_spi(env, child.protocol) {
            log!(IKE, 1, "unable to allocate SPI from kernel: {error}");
            return Err(NotifyType::NoProposalChosen);
        }
        let own = self.own_nonce.get_or_insert_with(|| Nonce::generate(env.rng)).clone();
        let Some(peer) = &self.peer_nonce else { return Err(NotifyType::InvalidSyntax) };
        // until the peer deletes the old SA it may not have installed the new one yet
        install(sa, env, child, shared, (&own, peer), rekeying)?;
        Ok(own)
    }
}
