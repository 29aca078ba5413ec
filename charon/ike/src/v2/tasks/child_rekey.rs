//! Rekeying of a CHILD_SA (RFC 7296 §1.3.3, §2.8), and what happens when both sides do it at once (§2.8.1, RFC 7296 §2.25.1).
//!
//! The replacement's inbound SA is installed first on both sides; outbound traffic moves over when the old SA is deleted, so
//! that no packet meets an SA the other side does not have.
//!
//! Of two simultaneous rekeyings the one that holds the lowest of the four nonces is redundant: the side that started it
//! deletes its result. Each side only learns this when its own request is answered, and anything may arrive before that:
//! [`Rival`] and the flags next to it remember. With additional key exchanges a rekeying of the peer may be half done only;
//! then it is among the tasks that serve the peer.

use std::sync::Arc;

use strongswan::crypto::Protocol;
use strongswan::log;

use super::child_create::ChildCreateInitiator;
use super::child_delete::{self, ChildDeleteInitiator, DeletedSpis};
use super::child_negotiation::{Agreed, Answer, Inherited, Offer, OfferError};
use super::follow_up::{Pending, Subject};
use crate::env::Env;
use crate::ids::{Spi, UniqueId};
use crate::input::InitiateChild;
use crate::output::Alert;
use crate::sa::{ChildSa, ChildSaState, IkeSa, IkeSaState, retry_delay};
use crate::task::TaskType;
use crate::v2::task::{Collision, Incoming, Outgoing, Progress, Step, Task, Verdict};
use crate::wire::{ExchangeType, Nonce, Notify, NotifyType};

/// The peer's rekeying of the same CHILD_SA.
#[derive(Debug)]
struct Rival {
    /// What it created.
    new: UniqueId,
    /// The lower of its nonces.
    nonce: Nonce,
    /// The peer has deleted what it created: it lost.
    deleted: bool,
}

/// Rekeys a CHILD_SA.
#[derive(Debug)]
pub(crate) struct ChildRekeyInitiator {
    old: UniqueId,
    offer: Option<Offer>,
    rival: Option<Rival>,
    /// The peer has deleted the CHILD_SA that we are rekeying.
    old_deleted: bool,
    /// SPIs the peer deleted that we did not know; one may be that of our replacement.
    deleted_spis: DeletedSpis,
}

impl ChildRekeyInitiator {
    pub(crate) fn new(old: UniqueId) -> Self {
        Self { old, offer: None, rival: None, old_deleted: false, deleted_spis: DeletedSpis::default() }
    }

    /// The exchange was successful: decide whether it counts.
    fn created(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, new: UniqueId, nonce: Option<Nonce>) {
        sa.log_established(new, "inbound ");
        if self.deleted_spis.contains(sa.child(new).and_then(|child| child.spi_out)) {
            if let Some(child) = sa.child(new) {
                log!(IKE, 1, "peer meanwhile sent a delete for CHILD_SA {child}, abort rekeying");
            }
            let config = sa.child(new).map(|child| Arc::clone(&child.config));
            sa.destroy_child(env, new);
            match self.rival.take_if(|rival| !rival.deleted) {
                Some(rival) if nonce.is_none_or(|own| own < rival.nonce) => self.lose(sa, env),
                rival => {
                    if let Some(rival) = rival {
                        // the peer will delete what it created, and waits for us to delete the old one
                        sa.make_redundant(env, rival.new);
                    }
                    self.remove_old(sa, env);
                    if let Some(config) = config {
                        child_delete::after_close(sa, env, config);
                    }
                }
            }
            return;
        }
        if self.loses_to_pending(sa, env, nonce.as_ref()) {
            if let Some(child) = sa.child(new) {
                log!(IKE, 1, "CHILD_SA rekey collision lost, deleting redundant child {child}");
            }
            sa.make_redundant(env, new);
            sa.queue(env, Box::new(ChildDeleteInitiator::rekeyed(new)));
            return;
        }
        let Some(rival) = self.rival.take() else { return self.win(sa, env, new) };
        let lost = !rival.deleted && nonce.is_none_or(|own| own < rival.nonce);
        if lost {
            if let Some(child) = sa.child(new) {
                log!(IKE, 1, "CHILD_SA rekey collision lost, deleting redundant child {child}");
            }
            sa.make_redundant(env, new);
            sa.queue(env, Box::new(ChildDeleteInitiator::rekeyed(new)));
            self.lose(sa, env);
        } else {
            if let Some(child) = sa.child(self.old) {
                log!(IKE, 1, "CHILD_SA rekey collision won, deleting old child {child}");
            }
            // the peer will delete what it created
            sa.make_redundant(env, rival.new);
            self.win(sa, env, new);
        }
    }

    /// Whether the peer's rekeying counts, of which key exchanges are left. If it does, the peer completes it.
    fn loses_to_pending(&self, sa: &mut IkeSa, env: &mut Env<'_>, nonce: Option<&Nonce>) -> bool {
        let Some(rival) = sa.pending_rival(Subject::Child(self.old)) else { return false };
        if nonce.is_some_and(|own| *own > rival) {
            sa.drop_pending(env);
            return false;
        }
        self.leave_to_peer(sa, env);
        true
    }

    /// The peer is going to complete its rekeying; in case it does not, ours is tried again.
    fn leave_to_peer(&self, sa: &mut IkeSa, env: &mut Env<'_>) {
        sa.set_child_state(self.old, ChildSaState::Installed);
        let delay = retry_delay(env);
        sa.queue_at(env.now + delay, Box::new(Self::new(self.old)));
    }

    /// Additional key exchanges are left: whether they are worth it.
    fn goes_on(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, offer: &Offer) -> bool {
        let nonce = lower(offer.own_nonce.as_ref(), offer.peer_nonce.as_ref());
        let lost = match self.rival.take() {
            Some(rival) if !rival.deleted && nonce.as_ref().is_none_or(|own| *own < rival.nonce) => {
                self.lose(sa, env);
                true
            }
            Some(rival) => {
                // the peer will delete what it created
                sa.make_redundant(env, rival.new);
                false
            }
            None => self.loses_to_pending(sa, env, nonce.as_ref()),
        };
        if lost {
            log!(IKE, 1, "CHILD_SA rekey collision lost, abort incomplete multi-KE rekeying");
        }
        !lost
    }

    /// Ours is the replacement.
    fn win(&self, sa: &mut IkeSa, env: &mut Env<'_>, new: UniqueId) {
        sa.link_rekeyed(self.old, new);
        sa.conclude_rekeying(env, self.old);
        sa.set_child_state(self.old, ChildSaState::Rekeyed);
        if self.old_deleted {
            if let Some(child) = sa.child(self.old) {
                log!(IKE, 1, "peer sent an incorrect delete for CHILD_SA {child} after responding to our rekeying");
            }
            sa.set_child_state(self.old, ChildSaState::Deleting);
            sa.retire_child(env, self.old);
        } else {
            sa.queue(env, Box::new(ChildDeleteInitiator::rekeyed(self.old)));
        }
    }

    /// The peer's is the replacement: it deletes the old one, if it has not done so. The two were linked when the
    /// collision was detected; meanwhile the replacement may have been rekeyed itself.
    fn lose(&self, sa: &mut IkeSa, env: &mut Env<'_>) {
        if sa.child(self.old).is_some_and(|child| child.state() == ChildSaState::Rekeying) {
            sa.set_child_state(self.old, ChildSaState::Rekeyed);
        }
        if self.old_deleted {
            sa.conclude_rekeying(env, self.old);
            sa.set_child_state(self.old, ChildSaState::Deleting);
            sa.retire_child(env, self.old);
        }
    }

    /// Nothing replaces the old one, but the peer is done with it.
    fn remove_old(&self, sa: &mut IkeSa, env: &mut Env<'_>) {
        if self.old_deleted {
            sa.set_child_state(self.old, ChildSaState::Deleting);
            sa.close_child(env, self.old);
        } else {
            sa.queue(env, Box::new(ChildDeleteInitiator::new(self.old, false)));
        }
    }

    /// The exchange failed.
    fn refused(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, kind: NotifyType) {
        let Some(old) = sa.child(self.old).map(ToString::to_string) else { return };
        if kind == NotifyType::NoAdditionalSas && self.rival.is_none() && !self.old_deleted {
            log!(IKE, 1, "peer seems to not support CHILD_SA rekeying, starting reauthentication");
            sa.set_child_state(self.old, ChildSaState::Installed);
            sa.reauthenticate(env);
            return;
        }
        if self.rival.take_if(|rival| !rival.deleted).is_some() {
            log!(IKE, 1, "abort active rekeying for CHILD_SA {old} because the peer rekeyed it");
            return self.lose(sa, env);
        }
        if !self.old_deleted && sa.pending_rival(Subject::Child(self.old)).is_some() {
            log!(IKE, 1, "abort active rekeying for CHILD_SA {old} because the peer is rekeying it");
            return self.leave_to_peer(sa, env);
        }
        if self.old_deleted {
            let when = if kind == NotifyType::ChildSaNotFound {
                "deleted it before it received"
            } else {
                "started to delete it before receiving"
            };
            log!(IKE, 1, "closing CHILD_SA {old} we tried to rekey because the peer {when} our request");
            sa.set_child_state(self.old, ChildSaState::Deleting);
            return sa.close_child(env, self.old);
        }
        if kind == NotifyType::ChildSaNotFound {
            log!(IKE, 1, "peer didn't find CHILD_SA {old} we tried to rekey, create a replacement");
            return self.recreate(sa, env);
        }
        let delay = retry_delay(env);
        log!(IKE, 1, "CHILD_SA rekeying failed, trying again in {} seconds", delay.as_secs());
        sa.set_child_state(self.old, ChildSaState::Installed);
        sa.queue_at(env.now + delay, Box::new(Self::new(self.old)));
    }

    /// The old one is lost: start anew.
    fn recreate(&self, sa: &mut IkeSa, env: &mut Env<'_>) {
        let Some(child) = sa.child(self.old) else { return };
        let request = InitiateChild::new(Arc::clone(&child.config));
        sa.report_child(self.old, false);
        sa.destroy_child(env, self.old);
        sa.queue(env, Box::new(ChildCreateInitiator::new(request)));
    }

    /// We cannot use what the peer accepted.
    fn unusable(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, offer: &Offer) {
        let lower = lower(offer.own_nonce.as_ref(), offer.peer_nonce.as_ref());
        if let Some(delete) = offer.child.as_ref().and_then(|child| ChildDeleteInitiator::unusable(child)) {
            sa.queue(env, Box::new(delete));
        }
        if self.loses_to_pending(sa, env, lower.as_ref()) {
            return;
        }
        match self.rival.take_if(|rival| !rival.deleted) {
            Some(rival) if lower.is_none_or(|own| own < rival.nonce) => self.lose(sa, env),
            rival => {
                if let Some(rival) = rival {
                    sa.make_redundant(env, rival.new);
                }
                let request = sa.child(self.old).map(|child| InitiateChild::new(Arc::clone(&child.config)));
                self.remove_old(sa, env);
                if let Some(request) = request {
                    sa.queue(env, Box::new(ChildCreateInitiator::new(request)));
                }
            }
        }
    }
}

/// The lower nonce of an exchange.
fn lower(own: Option<&Nonce>, peer: Option<&Nonce>) -> Option<Nonce> {
    own.into_iter().chain(peer).min().cloned()
}

impl Task for ChildRekeyInitiator {
    fn kind(&self) -> TaskType {
        TaskType::ChildRekey
    }

    fn exchange(&self) -> Option<ExchangeType> {
        Some(self.offer.as_ref().map_or(ExchangeType::CreateChildSa, Offer::exchange))
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        if message.exchange() == ExchangeType::IkeFollowupKe
            && let Some(offer) = &mut self.offer
        {
            if offer.follow_up(message).is_err() {
                offer.abandon(env);
                message.cancelled = true;
                self.refused(sa, env, NotifyType::NoProposalChosen);
                return Ok(Progress::Done);
            }
            return Ok(Progress::More);
        }
        let retrying = self.offer.is_some();
        let old = sa.child(self.old).filter(|child| match child.state() {
            ChildSaState::Installed => true,
            ChildSaState::Rekeying => retrying,
            _ => false,
        });
        let Some((old, spi)) = old.and_then(|old| Some((old, old.spi_in?))) else {
            message.cancelled = true;
            return Ok(Progress::Done);
        };
        if !retrying && sa.is_unconfirmed(self.old) {
            let delay = retry_delay(env);
            log!(IKE, 1, "peer has not confirmed CHILD_SA {old}, rekeying it in {} seconds", delay.as_secs());
            sa.queue_at(env.now + delay, Box::new(Self::new(self.old)));
            message.cancelled = true;
            return Ok(Progress::Done);
        }
        message.push(Notify::about_child(NotifyType::RekeySa, old.protocol, spi));
        let mut offer = self.offer.take().unwrap_or_else(|| {
            let mut offer = Offer::new(Arc::clone(&old.config));
            offer.inherited = Some(Inherited::from(old));
            offer
        });
        if offer.build(sa, env, message, false).is_err() {
            offer.abandon(env);
            message.cancelled = true;
            self.refused(sa, env, NotifyType::NoProposalChosen);
            return Ok(Progress::Done);
        }
        self.offer = Some(offer);
        sa.set_child_state(self.old, ChildSaState::Rekeying);
        Ok(Progress::More)
    }

    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, incoming: &Incoming) -> Step {
        let Some(mut offer) = self.offer.take() else { return Ok(Progress::Done) };
        match offer.process(sa, env, &incoming.message, false) {
            Ok(Agreed::Installed(new)) => {
                let nonce = lower(offer.own_nonce.as_ref(), offer.peer_nonce.as_ref());
                self.created(sa, env, new, nonce);
            }
            Ok(Agreed::FollowUp) => {
                let first = incoming.message.header.exchange == ExchangeType::CreateChildSa;
                if !first || self.goes_on(sa, env, &offer) {
                    self.offer = Some(offer);
                    return Ok(Progress::More);
                }
                offer.abandon(env);
            }
            Err(OfferError::Retry) => {
                self.offer = Some(offer);
                return Ok(Progress::More);
            }
            Err(OfferError::Refused(kind)) => {
                offer.abandon(env);
                self.refused(sa, env, kind);
            }
            Err(OfferError::Unusable | OfferError::Local) => {
                self.unusable(sa, env, &offer);
                offer.abandon(env);
            }
        }
        Ok(Progress::Done)
    }

    fn collide(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, collision: Collision) -> Verdict {
        match collision {
            Collision::ChildRekeyed { old, new, nonce } if old == self.old => {
                if let Some(child) = sa.child(old) {
                    log!(IKE, 1, "detected rekey collision for CHILD_SA {child}");
                }
                sa.link_rekeyed(old, new);
                self.rival = Some(Rival { new, nonce, deleted: false });
                Verdict::Taken
            }
            Collision::ChildDeleted { child: Some(child), .. } if child == self.old => {
                self.old_deleted = true;
                if let Some(child) = sa.child(child) {
                    log!(IKE, 1, "keeping rekeyed CHILD_SA {child} until active rekeying is concluded");
                }
                // traffic must not wait for that
                if self.rival.as_ref().is_some_and(|rival| !rival.deleted) {
                    sa.conclude_rekeying(env, self.old);
                }
                Verdict::Taken
            }
            // a peer that has deleted the old one has won: what it does with its replacement later is another matter
            Collision::ChildDeleted { child: Some(child), .. }
                if !self.old_deleted && self.rival.as_ref().is_some_and(|rival| rival.new == child) =>
            {
                if let Some(rival) = &mut self.rival {
                    rival.deleted = true;
                }
                sa.make_redundant(env, child);
                sa.set_child_state(child, ChildSaState::Deleting);
                sa.retire_child(env, child);
                Verdict::Taken
            }
            Collision::ChildDeleted { child: None, spi } => {
                self.deleted_spis.add(spi);
                Verdict::Taken
            }
            other => Verdict::Unrelated(other),
        }
    }

    fn concerns(&self, child: UniqueId) -> bool {
        self.old == child
    }

    fn abandon(&mut self, _sa: &mut IkeSa, env: &mut Env<'_>) {
        if let Some(mut offer) = self.offer.take() {
            offer.abandon(env);
        }
    }
}

/// Serves the peer's rekeying.
#[derive(Debug)]
pub(crate) struct ChildRekeyResponder {
    protocol: Protocol,
    /// The peer's inbound SPI of the CHILD_SA.
    spi: Option<Spi>,
    /// The CHILD_SA, while additional key exchanges are left.
    old: Option<UniqueId>,
    answer: Answer,
}

impl ChildRekeyResponder {
    pub(crate) fn new(notify: &Notify) -> Self {
        Self { protocol: notify.protocol, spi: notify.spi.child(), old: None, answer: Answer::default() }
    }

    /// The peer has replaced a CHILD_SA.
    fn replaced(&self, sa: &mut IkeSa, env: &mut Env<'_>, old: UniqueId, new: UniqueId) {
        sa.log_established(new, "inbound ");
        if let Some(nonce) = self.answer.lower_nonce()
            && let Verdict::Unrelated(_) = sa.collide(env, Collision::ChildRekeyed { old, new, nonce })
        {
            sa.link_rekeyed(old, new);
            sa.set_child_state(old, ChildSaState::Rekeyed);
        }
    }
}

impl Task for ChildRekeyResponder {
    fn kind(&self) -> TaskType {
        TaskType::ChildRekey
    }

    fn process(&mut self, _sa: &mut IkeSa, _env: &mut Env<'_>, incoming: &Incoming) -> Step {
        if incoming.message.header.exchange == ExchangeType::IkeFollowupKe {
            self.answer.read_follow_up(&incoming.message);
        } else {
            self.answer.read(&incoming.message);
        }
        Ok(Progress::More)
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        let step = self.answer(sa, env, message);
        if step != Ok(Progress::More) {
            self.answer.abandon(env);
        }
        step
    }

    fn pending(&self) -> Option<Pending<'_>> {
        let (old, link) = self.old.zip(self.answer.link())?;
        Some(Pending { subject: Subject::Child(old), link, nonce: self.answer.lower_nonce() })
    }

    fn abandon(&mut self, _sa: &mut IkeSa, env: &mut Env<'_>) {
        self.answer.abandon(env);
    }
}

impl ChildRekeyResponder {
    fn answer(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        let follows_up = message.exchange() == ExchangeType::IkeFollowupKe;
        let busy = match sa.state() {
            // what the peer has begun it may complete: it will not let us rekey before
            IkeSaState::Rekeying if !follows_up => Some("rekeying"),
            IkeSaState::Deleting => Some("deleting"),
            _ => None,
        };
        if let Some(doing) = busy {
            log!(IKE, 1, "unable to rekey CHILD_SA while {doing} IKE_SA");
            message.notify(NotifyType::TemporaryFailure);
            return Ok(Progress::Done);
        }
        let found = self.spi.and_then(|spi| sa.child_by_outbound(self.protocol, spi));
        let found = found.filter(|child| !matches!(child.state(), ChildSaState::Deleted | ChildSaState::Rekeyed));
        let Some(old) = found else {
            // the response to our request may have been lost, and with it what created the CHILD_SA: ask again later
            if [TaskType::ChildCreate, TaskType::ChildRekey].into_iter().any(|kind| sa.exchanges.is_active(kind)) {
                log!(IKE, 1, "unable to rekey unknown CHILD_SA while creating one");
                message.notify(NotifyType::TemporaryFailure);
                return Ok(Progress::Done);
            }
            let kind = NotifyType::ChildSaNotFound;
            log!(
                IKE,
                1,
                "unable to rekey, {} CHILD_SA with SPI {} not found",
                self.protocol,
                crate::sa::SpiText(self.spi)
            );
            message.push(match self.spi {
                Some(spi) => Notify::about_child(kind, self.protocol, spi),
                None => Notify::new(kind),
            });
            return Ok(Progress::Done);
        };
        if old.state() == ChildSaState::Deleting {
            log!(IKE, 1, "unable to rekey CHILD_SA {old}, we are deleting it");
            message.notify(NotifyType::TemporaryFailure);
            return Ok(Progress::Done);
        }
        // it has done so already, and has deleted neither what it replaced nor what replaced it
        let partner = old.rekey_partner.and_then(|partner| sa.child(partner));
        if old.state() == ChildSaState::Rekeying && partner.is_some_and(|new| new.state() == ChildSaState::Installed) {
            log!(IKE, 1, "unable to rekey CHILD_SA {old}, the peer rekeyed it before");
            message.notify(NotifyType::TemporaryFailure);
            return Ok(Progress::Done);
        }
        let id = old.unique_id;
        if sa.is_following_up(|task| task.concerns(id)) {
            log!(IKE, 1, "peer initiated rekeying, but we did too and already sent IKE_FOLLOWUP_KE");
            message.notify(NotifyType::TemporaryFailure);
            return Ok(Progress::Done);
        }
        let result = if follows_up {
            self.answer.follow_up(sa, env, message)
        } else {
            let replaced = (Arc::clone(&old.config), Inherited::from(old));
            self.answer.build(sa, env, message, false, Some(replaced))
        };
        match result {
            Err(notify) => message.push(notify),
            Ok(Agreed::FollowUp) => {
                self.old = Some(id);
                return Ok(Progress::More);
            }
            Ok(Agreed::Installed(new)) => self.replaced(sa, env, id, new),
        }
        Ok(Progress::Done)
    }
}

impl IkeSa {
    /// Remembers which CHILD_SA replaces which.
    fn link_rekeyed(&mut self, old: UniqueId, new: UniqueId) {
        if let Some(child) = self.child_mut(old) {
            child.rekey_partner = Some(new);
        }
        if let Some(child) = self.child_mut(new) {
            child.rekey_partner = Some(old);
        }
    }

    /// Whether a CHILD_SA replaces one that the peer has not deleted yet. Until it does, it may not have received our
    /// response, and does not know the new one.
    fn is_unconfirmed(&self, id: UniqueId) -> bool {
        let partner = self.child(id).and_then(|child| self.child(child.rekey_partner?));
        partner.is_some_and(|old| matches!(old.state(), ChildSaState::Rekeying | ChildSaState::Rekeyed))
    }

    /// Moves outbound traffic from a rekeyed CHILD_SA to its replacement. Doing so again changes nothing.
    pub(crate) fn conclude_rekeying(&mut self, env: &mut Env<'_>, old: UniqueId) {
        let Some(new) = self.child(old).and_then(|child| child.rekey_partner) else { return };
        let Some(child) = self.child_mut(new) else { return };
        if child.outbound_installed() || child.state() != ChildSaState::Installed {
            return;
        }
        if let Err(error) = child.install_outbound(env) {
            log!(CHD, 1, "unable to install outbound IPsec SA of {child}: {error}");
            self.alert(Alert::InstallChildSaFailed);
            // without it the replacement is of no use: it is closed on both sides, and created anew
            self.queue(env, Box::new(ChildDeleteInitiator::new(new, true)));
            return;
        }
        self.log_established(new, "outbound ");
        if let Some(child) = self.child_mut(old) {
            child.remove_outbound(env);
        }
        self.log_rekeyed(old, new);
        self.report_child_rekey(old, new);
        self.arm_inactivity(env, new);
    }

    /// A CHILD_SA that lost a collision: it must not carry traffic of ours, and nobody hears of its end.
    fn make_redundant(&mut self, env: &mut Env<'_>, id: UniqueId) {
        if let Some(child) = self.child_mut(id) {
            child.remove_outbound(env);
            child.rekey_partner = None;
        }
        if self.child(id).map(ChildSa::state) == Some(ChildSaState::Installed) {
            self.set_child_state(id, ChildSaState::Rekeyed);
        }
    }

    /// Tells the tasks that wait for an answer what the peer did.
    pub(super) fn collide(&mut self, env: &mut Env<'_>, collision: Collision) -> Verdict {
        let mut active = std::mem::take(&mut self.exchanges.active);
        let mut verdict = Verdict::Unrelated(collision);
        for task in &mut active {
            let Verdict::Unrelated(collision) = verdict else { break };
            verdict = task.collide(self, env, collision);
        }
        // tasks never start an exchange from here, so nothing was added meanwhile
        self.exchanges.active = active;
        verdict
    }
}
