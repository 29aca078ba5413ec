//! Rekeying of the IKE_SA (RFC 7296 §1.3.2, §2.18), and what happens when both sides do it at once (§2.8.2).

use std::sync::Arc;
use std::time::Duration;

use strongswan::crypto::{KeyExchange, KeyExchangeMethod, Proposal, Secret, TransformType, ke};
use strongswan::log;

use super::follow_up::{FollowUpInitiator, FollowUpResponder, Pending, Subject};
use super::ike_delete::IkeDeleteInitiator;
use super::proposals::{Choice, choose, feasible, offered};
use crate::env::Env;
use crate::output::{Alert, Event, Output};
use crate::sa::{ChildSaState, Conditions, IdText, IkeSa, IkeSaId, IkeSaState, IkeSeed, Phase, Timer, retry_delay};
use crate::snapshot::Algorithms;
use crate::task::TaskType;
use crate::v2::task::{Collision, Incoming, Outgoing, Progress, Step, Task, Verdict};
use crate::wire::{ExchangeType, Ke, Nonce, Notify, NotifyType, Sa};

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
    /// What the peer's answer says, while additional key exchanges follow.
    agreed: Option<Agreed>,
    follow_up: Option<FollowUpInitiator>,
    /// The IKE_SA the peer's rekeying created, and the lower of its nonces.
    rival: Option<(Box<IkeSa>, Nonce)>,
}

/// What both sides have said in CREATE_CHILD_SA.
#[derive(Debug)]
struct Agreed {
    proposal: Proposal,
    own: Nonce,
    peer: Nonce,
    shared: Secret,
}

impl Agreed {
    fn lower_nonce(&self) -> Nonce {
        self.own.clone().min(self.peer.clone())
    }
}

impl IkeRekeyInitiator {
    fn accept(&mut self, sa: &mut IkeSa, env: &Env<'_>, incoming: &Incoming) -> Option<()> {
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
        self.new.as_mut()?.id.responder = Some(offered.spi.ike()?);
        self.follow_up = FollowUpInitiator::start(&proposal, message).ok()?;
        self.agreed = Some(Agreed { proposal, own: self.nonce.clone()?, peer: peer_nonce.clone(), shared });
        Some(())
    }

    /// Reads an answer; `More` if another key exchange has to follow.
    fn advance(&mut self, sa: &mut IkeSa, env: &Env<'_>, incoming: &Incoming) -> Option<Progress> {
        if let Some(follow_up) = &mut self.follow_up {
            return follow_up.process(&incoming.message).ok();
        }
        self.accept(sa, env, incoming)?;
        Some(if self.follow_up.is_some() { Progress::More } else { Progress::Done })
    }

    /// The new IKE_SA, when all key exchanges are done.
    fn finish(&mut self, sa: &IkeSa) -> Option<(Box<IkeSa>, Nonce)> {
        let (agreed, mut new) = (self.agreed.take()?, self.new.take()?);
        let additional = self.follow_up.as_ref().map(FollowUpInitiator::secrets).unwrap_or_default();
        sa.derive_successor(&mut new, &agreed, additional)?;
        Some((new, agreed.lower_nonce()))
    }

    /// Whether the additional key exchanges that are left are worth it: not if the peer's rekeying counts.
    fn goes_on(&mut self, sa: &mut IkeSa, env: &mut Env<'_>) -> bool {
        let Some(own) = self.agreed.as_ref().map(Agreed::lower_nonce) else { return false };
        if let Some((rival, other)) = self.rival.take() {
            if own >= other {
                Self::outlast(sa, env, rival);
                return true;
            }
            sa.replace_by(env, *rival, Some(REKEYED_GRACE));
        } else {
            match sa.pending_rival(Subject::Ike) {
                Some(other) if own < other => Self::leave_to_peer(sa, env),
                Some(_) => {
                    sa.drop_pending(env);
                    return true;
                }
                None => return true,
            }
        }
        log!(IKE, 1, "IKE_SA rekey collision lost, abort incomplete multi-KE rekeying");
        false
    }

    /// The peer's rekeying came to an IKE_SA that does not count; the peer deletes it.
    fn outlast(sa: &mut IkeSa, env: &Env<'_>, mut redundant: Box<IkeSa>) {
        let label = redundant.label().to_string();
        log!(IKE, 1, "IKE_SA rekey collision won, waiting for delete for redundant IKE_SA {label}");
        redundant.make_redundant_ike(sa);
        redundant.timers.set(Timer::Delete, env.now + REDUNDANT_GRACE);
        sa.push(Output::Adopt(redundant));
    }

    /// The peer is going to complete its rekeying; in case it does not, ours is tried again.
    fn leave_to_peer(sa: &mut IkeSa, env: &mut Env<'_>) {
        let delay = retry_delay(env);
        sa.set_state(IkeSaState::Established);
        sa.timers.set(Timer::Rekey, env.now + delay);
    }

    /// Our rekeying came to nothing.
    fn failed(&mut self, sa: &mut IkeSa, env: &mut Env<'_>) {
        match self.rival.take() {
            Some((rival, _)) => sa.replace_by(env, *rival, Some(REKEYED_GRACE)),
            None => Self::retry_later(sa, env),
        }
    }

    fn retry_later(sa: &mut IkeSa, env: &mut Env<'_>) {
        let delay = retry_delay(env);
        log!(IKE, 1, "IKE_SA rekeying failed, trying again in {} seconds", delay.as_secs());
        sa.set_state(IkeSaState::Established);
        sa.timers.set(Timer::Rekey, env.now + delay);
    }

    fn refused(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, notify: &Notify) -> Step {
        if notify.kind == NotifyType::InvalidKePayload
            && self.follow_up.is_none()
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
        } else if sa.pending_rival(Subject::Ike).is_some() {
            log!(IKE, 1, "peer is rekeying the IKE_SA, abort active rekeying");
            Self::leave_to_peer(sa, env);
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

    fn exchange(&self) -> Option<ExchangeType> {
        let follow_up = self.follow_up.is_some();
        Some(if follow_up { ExchangeType::IkeFollowupKe } else { ExchangeType::CreateChildSa })
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        if let Some(follow_up) = &mut self.follow_up {
            if follow_up.build(message).is_err() {
                message.cancelled = true;
                self.failed(sa, env);
                return Ok(Progress::Done);
            }
            return Ok(Progress::More);
        }
        let Some(config) = sa.config().map(|config| env.config.latest(config)) else {
            message.cancelled = true;
            return Ok(Progress::Done);
        };
        let previous = sa.algorithms.as_ref().and_then(|algorithms| algorithms.key_exchange);
        let previous = previous.filter(|_| env.settings.prefer_previous_dh_group);
        self.proposals = offered(&config.ike.proposals);
        let configured = self.proposals.iter().find_map(Proposal::key_exchange);
        let method = self.requested.or(previous).or(configured).unwrap_or(KeyExchangeMethod::None);
        Proposal::promote_key_exchange_in(&mut self.proposals, method);
        if self.ke.as_ref().map(KeyExchange::method) != Some(method) {
            self.ke = KeyExchange::generate(method).ok();
        }
        let Some(ke) = &self.ke else {
            log!(IKE, 1, "configured key exchange method {method} not supported");
            message.cancelled = true;
            self.failed(sa, env);
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
        let first = self.follow_up.is_none();
        match self.advance(sa, env, incoming) {
            Some(Progress::More) if !first || self.goes_on(sa, env) => return Ok(Progress::More),
            Some(Progress::More) => return Ok(Progress::Done),
            Some(Progress::Done | Progress::Restart) => {}
            None => {
                self.failed(sa, env);
                return Ok(Progress::Done);
            }
        }
        let Some((mut new, nonce)) = self.finish(sa) else {
            self.failed(sa, env);
            return Ok(Progress::Done);
        };
        let pending = sa.pending_rival(Subject::Ike);
        if pending.as_ref().is_some_and(|other| nonce < *other) {
            log!(IKE, 1, "IKE_SA rekey collision lost, deleting redundant IKE_SA {}", new.label());
            new.make_redundant_ike(sa);
            new.queue(env, Box::new(IkeDeleteInitiator::default()));
            new.start_exchange(env);
            sa.push(Output::Adopt(new));
            Self::leave_to_peer(sa, env);
            return Ok(Progress::Done);
        }
        if pending.is_some() {
            sa.drop_pending(env);
        }
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
                if let Some((redundant, _)) = rival {
                    Self::outlast(sa, env, redundant);
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
    pending: Option<Half>,
}

/// An IKE_SA that is agreed on, but whose additional key exchanges are left.
#[derive(Debug)]
struct Half {
    new: Box<IkeSa>,
    agreed: Agreed,
    follow_up: FollowUpResponder,
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
        } else if sa.conditions.contains(Conditions::REDIRECTED) {
            Some("it moves to another gateway")
        } else if sa.children.iter().any(|child| half_open(child.state()))
            || sa.exchanges.is_active(TaskType::ChildCreate)
        {
            Some("a child is half-open")
        } else if sa.is_following_up(|task| task.kind() == TaskType::IkeRekey) {
            Some("we did too and already sent IKE_FOLLOWUP_KE")
        } else {
            None
        }
    }

    fn respond(
        &mut self,
        sa: &mut IkeSa,
        env: &mut Env<'_>,
        message: &mut Outgoing,
    ) -> Result<Option<(Box<IkeSa>, Nonce)>, Notify> {
        let refused = || Notify::new(NotifyType::NoProposalChosen);
        if message.exchange() == ExchangeType::IkeFollowupKe {
            return self.follow_up(sa, env, message);
        }
        let (Some(payload), Some(theirs), Some(peer_nonce)) = (self.sa.take(), self.ke.take(), self.nonce.take())
        else {
            return Err(Notify::new(NotifyType::InvalidSyntax));
        };
        let config = sa.config().map(|config| env.config.latest(config)).ok_or_else(refused)?;
        let configured = feasible(&config.ike.proposals);
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
        let own = Nonce::generate(env.rng);
        let spi = env.ids.ike_spi(env.rng, sa.id.local());
        let id = IkeSaId { role: crate::Role::Responder, initiator, responder: Some(spi) };
        let mut new = Box::new(sa.successor(env, id));
        message.push(Sa::choice(offered.number, proposal.clone(), spi.into()));
        message.push(own.clone());
        message.push(Ke { method, data: public });
        let agreed = Agreed { proposal, own, peer: peer_nonce, shared };
        if let Some(follow_up) = FollowUpResponder::start(env, &agreed.proposal, message) {
            self.pending = Some(Half { new, agreed, follow_up });
            return Ok(None);
        }
        sa.derive_successor(&mut new, &agreed, &[]).ok_or_else(refused)?;
        Ok(Some((new, agreed.lower_nonce())))
    }

    /// Answers an additional key exchange.
    fn follow_up(
        &mut self,
        sa: &IkeSa,
        env: &mut Env<'_>,
        message: &mut Outgoing,
    ) -> Result<Option<(Box<IkeSa>, Nonce)>, Notify> {
        let Some(mut half) = self.pending.take() else { return Err(Notify::new(NotifyType::StateNotFound)) };
        if half.follow_up.build(env, message)? == Progress::More {
            self.pending = Some(half);
            return Ok(None);
        }
        let Half { mut new, agreed, follow_up } = half;
        let derived = sa.derive_successor(&mut new, &agreed, follow_up.secrets());
        derived.ok_or_else(|| Notify::new(NotifyType::NoProposalChosen))?;
        Ok(Some((new, agreed.lower_nonce())))
    }
}

impl Task for IkeRekeyResponder {
    fn kind(&self) -> TaskType {
        TaskType::IkeRekey
    }

    fn process(&mut self, _sa: &mut IkeSa, _env: &mut Env<'_>, incoming: &Incoming) -> Step {
        if let Some(half) = &mut self.pending {
            half.follow_up.read(&incoming.message);
            return Ok(Progress::More);
        }
        self.sa = incoming.message.sa().cloned();
        self.ke = incoming.message.ke().cloned();
        self.nonce = incoming.message.nonce().cloned();
        Ok(Progress::More)
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        if let Some(why) = Self::refuses(sa) {
            log!(IKE, 1, "peer initiated rekeying, but {why}");
            message.notify(NotifyType::TemporaryFailure);
            self.pending = None;
            return Ok(Progress::Done);
        }
        match self.respond(sa, env, message) {
            Err(notify) => message.replace_by(notify),
            Ok(None) => return Ok(Progress::More),
            Ok(Some((new, nonce))) => {
                let collision = Collision::IkeRekeyed { new, nonce };
                if let Verdict::Unrelated(Collision::IkeRekeyed { new, .. }) = sa.collide(env, collision) {
                    sa.replace_by(env, *new, Some(REKEYED_GRACE));
                }
            }
        }
        Ok(Progress::Done)
    }

    fn pending(&self) -> Option<Pending<'_>> {
        let half = self.pending.as_ref()?;
        let nonce = Some(half.agreed.lower_nonce());
        Some(Pending { subject: Subject::Ike, link: half.follow_up.link(), nonce })
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
        new.remote_eap_id.clone_from(&self.remote_eap_id);
        new.extensions = self.extensions;
        new.interfaces = self.interfaces;
        new.conditions = self.conditions - (Conditions::STALE | Conditions::REAUTHENTICATING);
        new
    }

    /// Gives a successor its keys.
    fn derive_successor(&self, new: &mut Self, agreed: &Agreed, additional: &[Secret]) -> Option<()> {
        let Agreed { proposal, own, peer, shared } = agreed;
        let initiator = new.id.role == crate::Role::Initiator;
        let (ni, nr) = if initiator { (own, peer) } else { (peer, own) };
        // addresses may have changed while the peer took its time
        (new.local, new.remote) = (self.local, self.remote);
        let algorithms = Algorithms::from(proposal);
        let seed = IkeSeed {
            algorithms: &algorithms,
            ni: ni.as_bytes(),
            nr: nr.as_bytes(),
            spi_i: new.id.initiator,
            spi_r: new.id.responder?,
            shared,
            additional,
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
        if let Some(at) = self.timers.get(Timer::AuthLifetime) {
            new.timers.set(Timer::AuthLifetime, at);
        }
        new.schedule_lifetimes(env);
        if let (Some(at), Some(hard)) = (reauth, new.timers.get(Timer::Lifetime)) {
            let (at, hard) = (at.saturating_since(env.now).as_secs(), hard.saturating_since(env.now).as_secs());
            log!(IKE, 1, "rescheduling reauthentication in {at}s after rekeying, lifetime reduced to {hard}s");
        }
        if let Some(at) = self.timers.get(Timer::Keepalive) {
            new.timers.set(Timer::Keepalive, at);
        }
        new.redirects = self.redirects.take();
        // what was going to be closed still is
        if let Some(at) = self.timers.get(Timer::Delete) {
            new.timers.set(Timer::Delete, at);
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
        new.follow_redirect(env);
        new.start_exchange(env);
        for timer in [
            Timer::Rekey,
            Timer::Reauth,
            Timer::Lifetime,
            Timer::AuthLifetime,
            Timer::Dpd,
            Timer::Keepalive,
            Timer::Queue,
            Timer::Delete,
        ] {
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
