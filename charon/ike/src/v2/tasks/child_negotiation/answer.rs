//! A CHILD_SA that the peer asks for.

use std::sync::Arc;

use strongswan::crypto::{Proposal, Secret, ke};
use strongswan::log;
use strongswan::selectors::{TrafficSelector, narrow};

use super::super::child_select::{self, Wanted};
use super::super::follow_up::FollowUpResponder;
use super::super::proposals::{Choice, choose};
use super::offer::Agreed;
use super::{
    Inherited, Secrets, announce, behind_nat, feasible, few_policies, fits_mode, install, ipcomp, own_selectors,
    within_limit,
};
use crate::config::{ChildConfig, Mode};
use crate::env::Env;
use crate::ids::UniqueId;
use crate::output::Alert;
use crate::sa::{ChildSa, ChildSaState, IkeSa, Selectors, Tags};
use crate::snapshot::Algorithms;
use crate::v2::explain;
use crate::v2::task::{Outgoing, Progress};
use crate::wire::{Ke, Message, Nonce, Notify, NotifyType, Payload, Sa, SpiField, Ts};

/// The peer's offer, and what we make of it.
#[derive(Debug, Default)]
pub(in crate::v2::tasks) struct Answer {
    sa: Option<Sa>,
    ts_i: Option<Ts>,
    ts_r: Option<Ts>,
    ke: Option<Ke>,
    transport: bool,
    beet: bool,
    no_tfc: bool,
    /// CPI for what the peer receives.
    ipcomp: Option<u16>,
    pub(in crate::v2::tasks) peer_nonce: Option<Nonce>,
    pub(in crate::v2::tasks) own_nonce: Option<Nonce>,
    pending: Option<Box<Half>>,
}

/// A CHILD_SA that is agreed on, but whose additional key exchanges are left.
#[derive(Debug)]
struct Half {
    child: ChildSa,
    shared: Option<Secret>,
    follow_up: FollowUpResponder,
    defer_outbound: bool,
}

/// Selectors the peer asks for, from our side.
struct Asked {
    local: Vec<TrafficSelector>,
    remote: Vec<TrafficSelector>,
}

impl Answer {
    /// Keeps what the peer offers.
    pub(in crate::v2::tasks) fn read(&mut self, message: &Message) {
        self.sa = message.sa().cloned();
        self.ts_i = message.ts_i().cloned();
        self.ts_r = message.ts_r().cloned();
        self.ke = message.ke().cloned();
        self.transport = message.has_notify(NotifyType::UseTransportMode);
        self.beet = message.has_notify(NotifyType::UseBeetMode);
        self.ipcomp = ipcomp::offered(message);
        self.no_tfc = message.has_notify(NotifyType::EspTfcPaddingNotSupported);
        if let Some(nonce) = message.nonce() {
            self.peer_nonce = Some(nonce.clone());
        }
    }

    /// Whether the peer offers a CHILD_SA at all.
    pub(in crate::v2::tasks) fn is_offer(&self) -> bool {
        self.sa.is_some() && self.ts_i.is_some() && self.ts_r.is_some()
    }

    /// Chooses configuration, proposal and selectors, adds the response's payloads and installs the CHILD_SA, unless
    /// additional key exchanges are left.
    ///
    /// `replaced` gives configuration and properties of the CHILD_SA that is rekeyed.
    ///
    /// # Errors
    /// The notify that refuses the offer; nothing is left installed then.
    pub(in crate::v2::tasks) fn build(
        &mut self,
        sa: &mut IkeSa,
        env: &mut Env<'_>,
        message: &mut Outgoing,
        in_auth: bool,
        replaced: Option<(Arc<ChildConfig>, Inherited)>,
    ) -> Result<Agreed, Notify> {
        let (Some(payload), Some(ts_i), Some(ts_r)) = (self.sa.take(), self.ts_i.take(), self.ts_r.take()) else {
            return Err(Notify::new(NotifyType::InvalidSyntax));
        };
        within_limit(sa, env, replaced.is_some()).map_err(Notify::new)?;
        let asked = Asked { local: ts_r.selectors, remote: ts_i.selectors };
        let (config, asked) = self.select_config(sa, env, asked, replaced.as_ref().map(|(config, _)| config))?;
        let configured = feasible(&config, in_auth);
        let Some(Choice { proposal, offered }) = choose(sa, env, &configured, &payload, in_auth) else {
            log!(IKE, 1, "no acceptable proposal found");
            explain::child::no_proposal(sa, env, &config, &payload, in_auth);
            sa.alert(Alert::ProposalMismatchChild);
            return Err(Notify::new(NotifyType::NoProposalChosen));
        };
        let (public, shared) = self.exchange_keys(&proposal)?;
        let Some(spi_out) = offered.spi.child() else {
            log!(IKE, 1, "proposal without usable SPI");
            return Err(Notify::new(NotifyType::NoProposalChosen));
        };

        let mut child = Self::create(sa, env, &config, replaced.as_ref().map(|(_, inherited)| inherited));
        child.spi_out = Some(spi_out);
        child.protocol = proposal.protocol();
        child.algorithms = Algorithms::from(&proposal);
        child.tfc = !self.no_tfc;
        match self.ipcomp.take() {
            Some(cpi) if config.ipcomp => {
                let announced = ipcomp::announce(env, message, &mut child);
                child.cpi_out = announced.then_some(cpi);
            }
            Some(_) => log!(IKE, 1, "received an IPCOMP_SUPPORTED notify, but IPComp is disabled, ignoring it"),
            None => {}
        }
        // until the peer deletes the old SA it may not have installed the new one yet
        let defer_outbound = replaced.is_some();
        let own = self.own_nonce.get_or_insert_with(|| Nonce::generate(env.rng)).clone();
        let complete = proposal.additional_key_exchanges().next().is_none();
        let result = self.narrow(sa, env, &mut child, &asked).and_then(|()| {
            let secrets = Secrets { shared: shared.as_ref(), additional: &[] };
            if complete { self.install(sa, env, &mut child, secrets, defer_outbound) } else { Ok(()) }
        });
        result.map_err(|kind| {
            child.uninstall(env);
            Notify::new(kind)
        })?;
        let Some(spi_in) = child.spi_in else { return Err(Notify::new(NotifyType::NoProposalChosen)) };
        let follow_up = FollowUpResponder::start(env, &proposal, message);
        message.push(Sa::choice(offered.number, proposal, SpiField::from(spi_in)));
        if !in_auth {
            message.push(own);
        }
        if let Some(ke) = public {
            message.push(ke);
        }
        message.push(Payload::TsI(Ts::new(child.remote_ts.clone())));
        message.push(Payload::TsR(Ts::new(child.local_ts.clone())));
        announce(env, message, child.mode);
        if let Some(follow_up) = follow_up {
            self.pending = Some(Box::new(Half { child, shared, follow_up, defer_outbound }));
            return Ok(Agreed::FollowUp);
        }
        Ok(Agreed::Installed(Self::adopt(sa, child)))
    }

    fn adopt(sa: &mut IkeSa, child: ChildSa) -> UniqueId {
        let id = child.unique_id;
        sa.adopt_child(child);
        sa.set_child_state(id, ChildSaState::Installed);
        id
    }

    /// The link of the additional key exchange that is due.
    pub(in crate::v2::tasks) fn link(&self) -> Option<&[u8]> {
        self.pending.as_ref().map(|half| half.follow_up.link())
    }

    /// The lower of the nonces.
    pub(in crate::v2::tasks) fn lower_nonce(&self) -> Option<Nonce> {
        self.own_nonce.iter().chain(&self.peer_nonce).min().cloned()
    }

    /// Reads an additional key exchange.
    pub(in crate::v2::tasks) fn read_follow_up(&mut self, message: &Message) {
        if let Some(half) = &mut self.pending {
            half.follow_up.read(message);
        }
    }

    /// Answers it, and installs the CHILD_SA after the last one.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub(in crate::v2::tasks) fn follow_up(
        &mut self,
        sa: &mut IkeSa,
        env: &mut Env<'_>,
        message: &mut Outgoing,
    ) -> Result<Agreed, Notify> {
        let Some(mut half) = self.pending.take() else { return Err(Notify::new(NotifyType::StateNotFound)) };
        let result = half.follow_up.build(env, message).and_then(|progress| {
            if progress == Progress::Done {
                let secrets = Secrets { shared: half.shared.as_ref(), additional: half.follow_up.secrets() };
                self.install(sa, env, &mut half.child, secrets, half.defer_outbound).map_err(Notify::new)?;
            }
            Ok(progress)
        });
        match result {
            Ok(Progress::Done) => Ok(Agreed::Installed(Self::adopt(sa, half.child))),
            Ok(Progress::More | Progress::Restart) => {
                self.pending = Some(half);
                Ok(Agreed::FollowUp)
            }
            Err(notify) => {
                half.child.uninstall(env);
                message.message.payloads.clear();
                Err(notify)
            }
        }
    }

    /// Gives back what was reserved for a CHILD_SA that did not come to be.
    pub(in crate::v2::tasks) fn abandon(&mut self, env: &mut Env<'_>) {
        if let Some(mut half) = self.pending.take() {
            half.child.uninstall(env);
        }
    }

    /// The configuration that serves what is asked for, and what that is from our side of a NAT. A CHILD_SA that
    /// replaces another keeps its configuration.
    fn select_config(
        &self,
        sa: &mut IkeSa,
        env: &Env<'_>,
        asked: Asked,
        replaced: Option<&Arc<ChildConfig>>,
    ) -> Result<(Arc<ChildConfig>, Asked), Notify> {
        let hosts = sa.dynamic_hosts();
        let config = sa.config().map(|config| env.config.latest(config));
        let select = |asked: &Asked, accept: &dyn Fn(&ChildConfig) -> bool| {
            if let Some(config) = replaced {
                return accept(config).then(|| Arc::clone(config));
            }
            let wanted = Wanted { local: &asked.local, remote: &asked.remote, hosts: &hosts };
            config.as_ref().and_then(|config| child_select::select(config, &wanted, accept))
        };
        if self.transport && sa.conditions.nat_any() {
            let meant = Asked {
                local: behind_nat(&asked.local, sa.local.ip()),
                remote: behind_nat(&asked.remote, sa.remote.ip()),
            };
            if let Some(child) = select(&meant, &|child| child.mode == Mode::Transport) {
                return Ok((child, meant));
            }
        }
        if let Some(child) = select(&asked, &|_| true) {
            return Ok((child, asked));
        }
        log!(IKE, 1, "traffic selectors {} unacceptable", Selectors(&asked.local, &asked.remote));
        explain::child::no_selectors(sa, env, &asked.local, &asked.remote);
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

    fn create(sa: &mut IkeSa, env: &Env<'_>, config: &Arc<ChildConfig>, inherited: Option<&Inherited>) -> ChildSa {
        let tags = match inherited {
            Some(inherited) => inherited.tags,
            None => Tags::allocate(env.ids, sa.interfaces(env), config),
        };
        let mut child = ChildSa::new(env.ids.child_sa_id(), Arc::clone(config), sa.endpoints(), tags);
        if let Some(inherited) = inherited {
            child.reqid = inherited.reqid;
        }
        child
    }

    /// Mode and selectors.
    fn narrow(&self, sa: &mut IkeSa, env: &Env<'_>, child: &mut ChildSa, asked: &Asked) -> Result<(), NotifyType> {
        child.mode = match child.config.mode {
            mode @ (Mode::Transport | Mode::TransportProxy) if self.transport => mode,
            Mode::Beet if self.beet => Mode::Beet,
            _ => Mode::Tunnel,
        };
        let (local, remote) =
            own_selectors(sa, (&child.config.local_ts, &child.config.remote_ts), child.mode, &sa.dynamic_hosts());
        child.local_ts = narrow(&local, &asked.local);
        child.remote_ts = narrow(&remote, &asked.remote);
        if !fits_mode(child, sa) {
            child.mode = Mode::Tunnel;
        }
        let configured = local.len().saturating_mul(remote.len());
        if child.local_ts.is_empty() || child.remote_ts.is_empty() || !few_policies(child, env, configured) {
            log!(IKE, 1, "no acceptable traffic selectors found");
            explain::child::nothing_left(sa, env, &child.config, &asked.local, &asked.remote);
            sa.alert(Alert::TsMismatch);
            return Err(NotifyType::TsUnacceptable);
        }
        if child.local_ts != local || child.remote_ts != remote {
            sa.alert(Alert::TsNarrowed);
        }
        child.allocate_spi(env, child.protocol).map(|_| ()).map_err(|error| {
            log!(IKE, 1, "unable to allocate SPI from kernel: {error}");
            NotifyType::NoProposalChosen
        })
    }

    /// Puts the CHILD_SA into the data plane.
    fn install(
        &self,
        sa: &mut IkeSa,
        env: &mut Env<'_>,
        child: &mut ChildSa,
        secrets: Secrets<'_>,
        defer_outbound: bool,
    ) -> Result<(), NotifyType> {
        let nonces = self.own_nonce.as_ref().zip(self.peer_nonce.as_ref()).ok_or(NotifyType::InvalidSyntax)?;
        install(sa, env, child, secrets, nonces, defer_outbound)
    }
}
