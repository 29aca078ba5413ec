//! Rekeying of the IKE_SA (RFC 7296 §1.3.2, §2.18), and what happens when both sides do it at once (§2.8.2).

use std::sync::Arc;
use std::time::Duration;

use strongswan::crypto::{KeyExchange, KeyExchangeMethod, Proposal, Secret, TransformType, ke};
use strongswan::log;

use super::ike_delete::IkeDeleteInitiator;
use super::proposals::{Choice, choose, without_additional_key_exchanges};
use crate::env::Env;
use crate::output::{Alert, Event, Output};
use crate::sa::{ChildSaState, Conditions, IdText, IkeSa, IkeSaId, IkeSaState, IkeSeed, Phase, Timer, retry_delay};
use crate::snapshot::Algorithms;
use crate::task::TaskType;
use crate::v2::task::{Collision, Incoming, Outgoing, Progress, Step, Task, Verdict};
use crate::wire::{Ke, Nonce, Notify, NotifyType, Sa};

/// The peer has this long to delete an IKE_SA that it rekeyed.
const REKEYED_GRACE: Duration = Duration::from_secs(90);
/// The peer has this long to delete an IKE_SA that lost a collision.
const REDUNDANT_GRACE: Duration = Duration::from_secs(30);

/// Rekeys the IKE_SA.
#[derive(Debug, Default)]
pub(crate) struct IkeRekeyInitiator {
    new: Option<Box<IkeSa>>,
    proposals: Vec<Proposal>,
    requested: Option<KeyExchangeMethod>,
    ke: Option<KeyExchange>,
    nonce: Option<Nonce>,
    /// The IKE_SA the peer's rekeying created, and the lower of its nonces.
    rival: Option<(Box<IkeSa>, Nonce)>,
}

impl IkeRekeyInitiator {
    fn accept(&mut self, sa: &mut IkeSa, env: &Env<'_>, incoming: &Incoming) -> Option<(Box<IkeSa>, Nonce)> {
        let message = &incoming.message;
        let (payload, theirs, peer_nonce) = (message.sa()?, message.ke()?, message.nonce()?);
        let Some(Choice { proposal, offered }) = choose(sa, env, &self.proposals, payload, false) else {
            log!(IKE, 1, "no acceptable proposal found");
            sa.alert(Alert::ProposalMismatchIke);
            return None;
        };
        let own = self.ke.take_if(|own| own.method() == theirs.method)?;
        if proposal.key_exchange() != Some(theirs.method) {
            return None;
        }
        let shared = own.agree(&theirs.data).ok()?;
        let mut new = self.new.take()?;
        new.id.responder = Some(offered.spi.ike()?);
        let own_nonce = self.nonce.as_ref()?;
        sa.derive_successor(&mut new, &proposal, own_nonce, peer_nonce, &shared)?;
        Some((new, own_nonce.min(peer_nonce).clone()))
    }

    fn retry_later(sa: &mut IkeSa, env: &mut Env<'_>) {
        let delay = retry_delay(env);
        log!(IKE, 1, "IKE_SA rekeying failed, trying again in {} seconds", delay.as_secs());
        sa.set_state(IkeSaState::Established);
        sa.timers.set(Timer::Rekey, env.now + delay);
    }

    fn refused(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, notify: &Notify) -> Step {
        if notify.kind == NotifyType::InvalidKePayload
            && let (None, Some(wanted)) = (self.requested, notify.requested_ke())
            && self.proposals.iter().any(|proposal| proposal.contains(TransformType::KeyExchange, wanted))
        {
            let used = self.ke.as_ref().map_or(KeyExchangeMethod::None, KeyExchange::method);
            log!(IKE, 1, "peer didn't accept key exchange method {used}, it requested {wanted}");
            self.requested = Some(wanted);
            return Ok(Progress::More);
        }
        if let Some((rival, _)) = self.rival.take() {
            log!(IKE, 1, "peer may not have noticed IKE_SA rekey collision, abort active rekeying");
            sa.replace_by(env, *rival, Some(REKEYED_GRACE));
        } else if notify.kind == NotifyType::NoAdditionalSas {
            log!(IKE, 1, "peer seems to not support IKE rekeying, starting reauthentication");
            sa.set_state(IkeSaState::Established);
            sa.reauthenticate(env);
        } else {
            log!(IKE, 1, "received {} notify error", notify.kind);
            Self::retry_later(sa, env);
        }
        Ok(Progress::Done)
    }
}

impl Task for IkeRekeyInitiator {
    fn kind(&self) -> TaskType {
        TaskType::IkeRekey
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        let Some(config) = sa.config().map(|config| env.config.latest(config)) else {
            message.cancelled = true;
            return Ok(Progress::Done);
        };
        let previous = sa.algorithms.as_ref().and_then(|algorithms| algorithms.key_exchange);
        let previous = previous.filter(|_| env.settings.prefer_previous_dh_group);
        self.proposals = without_additional_key_exchanges(&config.ike.proposals);
        let configured = self.proposals.iter().find_map(Proposal::key_exchange);
        let method = self.requested.or(previous).or(configured).unwrap_or(KeyExchangeMethod::None);
        Proposal::promote_key_exchange_in(&mut self.proposals, method);
        if self.ke.as_ref().map(KeyExchange::method) != Some(method) {
            self.ke = KeyExchange::generate(method).ok();
        }
        let Some(ke) = &self.ke else {
            log!(IKE, 1, "configured key exchange method {method} not supported");
            message.cancelled = true;
            return Ok(Progress::Done);
        };
        let new = self.new.get_or_insert_with(|| {
            let spi = env.ids.ike_spi(env.rng, sa.id.local());
            let id = IkeSaId { role: crate::Role::Initiator, initiator: spi, responder: None };
            Box::new(sa.successor(env, id))
        });
        let nonce = self.nonce.get_or_insert_with(|| Nonce::generate(env.rng));
        message.push(Sa::offer(self.proposals.iter().cloned(), new.id.initiator.into()));
        message.push(nonce.clone());
        message.push(Ke { method, data: ke.public_value().to_vec() });
        sa.set_state(IkeSaState::Rekeying);
        Ok(Progress::More)
    }

    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, incoming: &Incoming) -> Step {
        if let Some(notify) = incoming.message.error_notify() {
            return self.refused(sa, env, notify);
        }
        let Some((mut new, nonce)) = self.accept(sa, env, incoming) else {
            match self.rival.take() {
                Some((rival, _)) => sa.replace_by(env, *rival, Some(REKEYED_GRACE)),
                None => Self::retry_later(sa, env),
            }
            return Ok(Progress::Done);
        };
        match self.rival.take() {
            Some((rival, other)) if nonce < other => {
                log!(IKE, 1, "IKE_SA rekey collision lost, deleting redundant IKE_SA {}", new.label());
                new.make_redundant_ike(sa);
                new.queue(env, Box::new(IkeDeleteInitiator::default()));
                new.start_exchange(env);
                sa.push(Output::Adopt(new));
                sa.replace_by(env, *rival, Some(REKEYED_GRACE));
            }
            rival => {
                if let Some((mut redundant, _)) = rival {
                    let label = redundant.label().to_string();
                    log!(IKE, 1, "IKE_SA rekey collision won, waiting for delete for redundant IKE_SA {label}");
                    redundant.make_redundant_ike(sa);
                    redundant.timers.set(Timer::Delete, env.now + REDUNDANT_GRACE);
                    sa.push(Output::Adopt(redundant));
                }
                sa.replace_by(env, *new, None);
                sa.queue(env, Box::new(IkeDeleteInitiator::default()));
            }
        }
        Ok(Progress::Done)
    }

    fn collide(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, collision: Collision) -> Verdict {
        match collision {
            Collision::IkeRekeyed { new, nonce } => {
                log!(IKE, 1, "detected IKE_SA rekey collision for {}", sa.label());
                self.rival = Some((new, nonce));
                Verdict::Taken
            }
            Collision::IkeDeleted => match self.rival.take() {
                Some((rival, _)) => {
                    log!(IKE, 1, "detected IKE_REKEY collision with IKE_DELETE");
                    sa.replace_by(env, *rival, None);
                    Verdict::Taken
                }
                None => Verdict::Unrelated(Collision::IkeDeleted),
            },
            other => Verdict::Unrelated(other),
        }
    }
}

/// Serves the peer's rekeying.
#[derive(Debug, Default)]
pub(crate) struct IkeRekeyResponder {
    sa: Option<Sa>,
    ke: Option<Ke>,
    nonce: Option<Nonce>,
}

impl IkeRekeyResponder {
    /// Why the peer has to wait, if it does.
    fn refuses(sa: &IkeSa) -> Option<&'static str> {
        let half_open =
            |state| matches!(state, ChildSaState::Rekeying | ChildSaState::Retrying | ChildSaState::Deleting);
        if sa.state() == IkeSaState::Deleting {
            Some("we are deleting")
        } else if sa.conditions.contains(Conditions::REAUTHENTICATING) {
            Some("we are reauthenticating")
        } else if sa.children.iter().any(|child| half_open(child.state()))
            || sa.exchanges.is_active(TaskType::ChildCreate)
        {
            Some("a child is half-open")
        } else {
            None
        }
    }

    fn respond(
        &mut self,
        sa: &mut IkeSa,
        env: &mut Env<'_>,
        message: &mut Outgoing,
    ) -> Result<(Box<IkeSa>, Nonce), Notify> {
        let refused = || Notify::new(NotifyType::NoProposalChosen);
        let (Some(payload), Some(theirs), Some(peer_nonce)) = (self.sa.take(), self.ke.take(), self.nonce.take())
        else {
            return Err(Notify::new(NotifyType::InvalidSyntax));
        };
        let config = sa.config().map(|config| env.config.latest(config)).ok_or_else(refused)?;
        let configured = without_additional_key_exchanges(&config.ike.proposals);
        let Some(Choice { proposal, offered }) = choose(sa, env, &configured, &payload, false) else {
            log!(IKE, 1, "no acceptable proposal found");
            sa.alert(Alert::ProposalMismatchIke);
            return Err(refused());
        };
        let method = proposal.key_exchange().ok_or_else(refused)?;
        if method != theirs.method {
            log!(IKE, 1, "key exchange method {} unacceptable, requesting {method}", theirs.method);
            return Err(Notify::invalid_ke(method));
        }
        let initiator = offered.spi.ike().ok_or_else(refused)?;
        let (public, shared) = ke::respond(method, &theirs.data).map_err(|_| refused())?;
        let nonce = Nonce::generate(env.rng);
        let spi = env.ids.ike_spi(env.rng, sa.id.local());
        let id = IkeSaId { role: crate::Role::Responder, initiator, responder: Some(spi) };
        let mut new = Box::new(sa.successor(env, id));
        sa.derive_successor(&mut new, &proposal, &nonce, &peer_nonce, &shared).ok_or_else(refused)?;
        message.push(Sa::choice(offered.number, proposal, spi.into()));
        message.push(nonce.clone());
        message.push(Ke { method, data: public });
        let lower = nonce.min(peer_nonce);
        Ok((new, lower))
    }
}

impl Task for IkeRekeyResponder {
    fn kind(&self) -> TaskType {
        TaskType::IkeRekey
    }

    fn process(&mut self, _sa: &mut IkeSa, _env: &mut Env<'_>, incoming: &Incoming) -> Step {
        self.sa = incoming.message.sa().cloned();
        self.ke = incoming.message.ke().cloned();
        self.nonce = incoming.message.nonce().cloned();
        Ok(Progress::More)
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        if let Some(why) = Self::refuses(sa) {
            log!(IKE, 1, "peer initiated rekeying, but {why}");
            message.notify(NotifyType::TemporaryFailure);
            return Ok(Progress::Done);
        }
        match self.respond(sa, env, message) {
            Err(notify) => message.replace_by(notify),
            Ok((new, nonce)) => {
                let collision = Collision::IkeRekeyed { new, nonce };
                if let Verdict::Unrelated(Collision::IkeRekeyed { new, .. }) = sa.collide(env, collision) {
                    sa.replace_by(env, *new, Some(REKEYED_GRACE));
                }
            }
        }
        Ok(Progress::Done)
    }
}

impl IkeSa {
    /// An IKE_SA like this one under other SPIs.
    fn successor(&self, env: &Env<'_>, id: IkeSaId) -> Self {
        let mut new = Self::new(env.ids.ike_sa_id(), id, self.connection.clone(), env.now);
        new.local = self.local;
        new.remote = self.remote;
        new.local_id.clone_from(&self.local_id);
        new.remote_id.clone_from(&self.remote_id);
        new.extensions = self.extensions;
        new.interfaces = self.interfaces;
        new.conditions = self.conditions - (Conditions::STALE | Conditions::REAUTHENTICATING);
        new
    }

    /// Gives a successor its keys.
    fn derive_successor(
        &self,
        new: &mut Self,
        proposal: &Proposal,
        own: &Nonce,
        peer: &Nonce,
        shared: &Secret,
    ) -> Option<()> {
        let initiator = new.id.role == crate::Role::Initiator;
        let (ni, nr) = if initiator { (own, peer) } else { (peer, own) };
        let algorithms = Algorithms::from(proposal);
        let seed = IkeSeed {
            algorithms: &algorithms,
            ni: ni.as_bytes(),
            nr: nr.as_bytes(),
            spi_i: new.id.initiator,
            spi_r: new.id.responder?,
            shared,
            initiator,
        };
        match self.keys.as_ref()?.derive_rekeyed(&seed) {
            Ok((keys, _)) => new.keys = Some(Box::new(keys)),
            Err(error) => {
                log!(IKE, 1, "key derivation failed: {error}");
                return None;
            }
        }
        new.algorithms = Some(algorithms);
        Some(())
    }

    /// This IKE_SA lost a collision: it exists only to be deleted.
    fn make_redundant_ike(&mut self, old: &Self) {
        self.inherit_proof(old);
        self.set_state(IkeSaState::Established);
        self.set_state(IkeSaState::Rekeyed);
    }

    fn inherit_proof(&mut self, old: &Self) {
        if let Phase::Authenticated(proof) = &old.phase {
            self.phase = Phase::Authenticated(proof.inherit());
        }
    }

    /// Hands everything over to the IKE_SA that replaces this one. With `grace` the peer has to delete this one.
    fn replace_by(&mut self, env: &mut Env<'_>, mut new: Self, grace: Option<Duration>) {
        new.inherit_proof(self);
        new.inherit_path(env, self);
        new.set_state(IkeSaState::Established);
        log!(
            IKE,
            0,
            "IKE_SA {} rekeyed between {}[{}]...{}[{}]",
            new.label(),
            new.local.ip(),
            IdText(new.local_id.as_ref()),
            new.remote.ip(),
            IdText(new.remote_id.as_ref())
        );
        let reauth = self.timers.get(Timer::Reauth);
        if let Some(at) = reauth {
            new.timers.set(Timer::Reauth, at);
        }
        new.schedule_lifetimes(env);
        if let (Some(at), Some(hard)) = (reauth, new.timers.get(Timer::Lifetime)) {
            let (at, hard) = (at.saturating_since(env.now).as_secs(), hard.saturating_since(env.now).as_secs());
            log!(IKE, 1, "rescheduling reauthentication in {at}s after rekeying, lifetime reduced to {hard}s");
        }
        if let Some(at) = self.timers.get(Timer::Keepalive) {
            new.timers.set(Timer::Keepalive, at);
        }
        new.last_outbound = self.last_outbound;
        new.children = std::mem::take(&mut self.children);
        new.assigned = self.assigned.take();
        for queued in std::mem::take(&mut self.exchanges.queued) {
            match queued.task.kind() {
                TaskType::IkeRekey | TaskType::IkeDpd | TaskType::IkeMobike => {}
                _ => new.queue(env, queued.task),
            }
        }
        let (old, successor) = (Arc::new(self.summary()), Arc::new(new.summary()));
        new.start_exchange(env);
        for timer in [Timer::Rekey, Timer::Reauth, Timer::Lifetime, Timer::Dpd, Timer::Keepalive, Timer::Queue] {
            self.timers.stop(timer);
        }
        self.push(Output::Adopt(Box::new(new)));
        self.event(Event::IkeRekey { old, new: successor });
        self.set_state(IkeSaState::Rekeyed);
        if let Some(grace) = grace {
            self.timers.set(Timer::Delete, env.now + grace);
        }
    }
}
