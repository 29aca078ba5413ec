//! A further CHILD_SA, or the first one within IKE_AUTH (RFC 7296 §1.2, §1.3.1).

use strongswan::log;

use super::auth::concerns_child;
use super::child_delete::{ChildDeleteInitiator, DeletedSpis};
use super::child_negotiation::{Agreed, Answer, Offer, OfferError};
use super::follow_up::{Pending, Subject};
use crate::config::Childless;
use crate::env::Env;
use crate::input::InitiateChild;
use crate::output::Alert;
use crate::sa::{ChildSaState, Extensions, IkeSa, IkeSaState, retry_delay};
use crate::task::TaskType;
use crate::v2::explain;
use crate::v2::task::{Collision, Failure, Incoming, Outgoing, Progress, Step, Task, Verdict};
use crate::wire::{ExchangeType, Notify, NotifyType};

/// A CHILD_SA's setup failed and `charon.close_ike_on_child_failure` wants the IKE_SA closed: the response goes out first.
const CLOSE_DELAY: std::time::Duration = std::time::Duration::from_millis(100);

/// Creates a CHILD_SA.
#[derive(Debug)]
pub(crate) struct ChildCreateInitiator {
    request: InitiateChild,
    offer: Offer,
    /// It was offered in IKE_AUTH.
    in_auth: bool,
    /// SPIs the peer deleted that we did not know; one may be that of the CHILD_SA the answer on its way created.
    deleted_spis: DeletedSpis,
    /// Nobody wants it any more.
    withdrawn: bool,
}

impl ChildCreateInitiator {
    pub(crate) fn new(request: InitiateChild) -> Self {
        let mut offer = Offer::new(std::sync::Arc::clone(&request.config));
        offer.packet = request.packet;
        offer.previous.clone_from(&request.previous);
        Self { request, offer, in_auth: false, deleted_spis: DeletedSpis::default(), withdrawn: false }
    }

    /// The peer would do without a CHILD_SA in IKE_AUTH, and so would we.
    fn is_childless(sa: &IkeSa) -> bool {
        let childless = sa.ike_config().map_or(Childless::Allow, |config| config.childless);
        matches!(childless, Childless::Prefer | Childless::Force) && sa.extensions.contains(Extensions::CHILDLESS)
    }

    /// An equal CHILD_SA makes this one superfluous. One with marks or interfaces of its own (`%unique`) is none, nor is
    /// one of another trap, unless it serves the packet that hit this one.
    fn find_duplicate(&mut self, sa: &mut IkeSa, env: &Env<'_>) -> bool {
        let tags = self.offer.tags(sa, env);
        let InitiateChild { config, reqid, packet, .. } = &self.request;
        let covers = |child: &crate::sa::ChildSa| {
            packet.as_ref().is_some_and(|(source, destination)| {
                child.local_ts.iter().any(|ts| ts.contains(source))
                    && child.remote_ts.iter().any(|ts| ts.contains(destination))
            })
        };
        let same = |child: &&crate::sa::ChildSa| {
            child.state() == ChildSaState::Installed
                && *child.config == **config
                && child.tags == tags
                && (reqid.is_none_or(|reqid| child.reqid == Some(reqid)) || covers(child))
        };
        let Some(duplicate) = sa.children.iter().find(same) else { return false };
        let label = self.offer.child.as_ref().map_or_else(|| self.request.config.name.to_string(), ToString::to_string);
        log!(
            IKE,
            1,
            "not establishing CHILD_SA {label} due to existing duplicate {{{}}} with SPIs {}_i {}_o and TS {}",
            duplicate.unique_id,
            crate::sa::SpiText(duplicate.spi_in),
            crate::sa::SpiText(duplicate.spi_out),
            crate::sa::Selectors(&duplicate.local_ts, &duplicate.remote_ts)
        );
        true
    }

    fn failed(&mut self, sa: &mut IkeSa, env: &mut Env<'_>) {
        self.offer.abandon(env);
        log!(IKE, 1, "failed to establish CHILD_SA, keeping IKE_SA");
        sa.report_child_failed(&self.request.config);
        sa.alert(Alert::KeepOnChildSaFailure);
        if self.in_auth && env.settings.close_ike_on_child_failure {
            log!(IKE, 1, "closing IKE_SA due CHILD_SA setup failure");
            sa.delete_at(env.now + CLOSE_DELAY);
        }
    }
}

impl Task for ChildCreateInitiator {
    fn kind(&self) -> TaskType {
        TaskType::ChildCreate
    }

    fn exchange(&self) -> Option<ExchangeType> {
        Some(self.offer.exchange())
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        match message.exchange() {
            ExchangeType::IkeSaInit => return Ok(Progress::More),
            ExchangeType::IkeFollowupKe => {
                if self.offer.follow_up(message).is_err() {
                    self.failed(sa, env);
                    message.cancelled = true;
                    return Ok(Progress::Done);
                }
                return Ok(Progress::More);
            }
            ExchangeType::IkeAuth => {
                // SA and TS go into the first IKE_AUTH only
                if self.in_auth || Self::is_childless(sa) {
                    return Ok(Progress::More);
                }
                self.in_auth = true;
            }
            _ => {
                self.in_auth = false;
                if self.find_duplicate(sa, env) {
                    explain::child::duplicate(sa, env, &self.request.config);
                    self.offer.abandon(env);
                    sa.report_child_failed(&self.request.config);
                    message.cancelled = true;
                    return Ok(Progress::Done);
                }
            }
        }
        match self.offer.build(sa, env, message, self.in_auth) {
            Ok(()) => Ok(Progress::More),
            Err(_) if self.in_auth => Err(Failure::Failed),
            Err(_) => {
                self.failed(sa, env);
                message.cancelled = true;
                Ok(Progress::Done)
            }
        }
    }

    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, incoming: &Incoming) -> Step {
        let message = &incoming.message;
        match message.header.exchange {
            ExchangeType::IkeSaInit => {
                // its keys are derived from the IKE_SA's nonces
                if let Some(handshake) = sa.handshake() {
                    self.offer.own_nonce.clone_from(&handshake.own_nonce);
                    self.offer.peer_nonce.clone_from(&handshake.peer_nonce);
                }
                return Ok(Progress::More);
            }
            ExchangeType::IkeAuth if sa.state() != IkeSaState::Established => return Ok(Progress::More),
            // it is created with the other gateway
            ExchangeType::IkeAuth if sa.is_redirect_pending() => return Ok(Progress::More),
            // childless: on with an exchange of its own
            ExchangeType::IkeAuth if !self.in_auth => return Ok(Progress::More),
            _ => {}
        }
        match self.offer.process(sa, env, message, self.in_auth) {
            Ok(Agreed::FollowUp) => return Ok(Progress::More),
            Ok(Agreed::Installed(id)) => {
                sa.log_established(id, "");
                if sa.child(id).is_some_and(|child| self.deleted_spis.contains(child.spi_out)) {
                    log!(IKE, 1, "peer meanwhile sent a delete for it");
                    sa.destroy_child(env, id);
                    sa.report_child_failed(&self.request.config);
                    return Ok(Progress::Done);
                }
                sa.arm_inactivity(env, id);
                sa.report_child(id, true);
                if self.withdrawn {
                    sa.terminate_child(env, id);
                }
            }
            Err(OfferError::Retry) => return Ok(Progress::More),
            Err(OfferError::Refused(kind @ (NotifyType::TemporaryFailure | NotifyType::StateNotFound)))
                if !self.withdrawn =>
            {
                let delay = retry_delay(env);
                log!(IKE, 1, "received {kind} notify");
                log!(IKE, 1, "creating CHILD_SA failed, trying again in {} seconds", delay.as_secs());
                self.offer.abandon(env);
                sa.queue_at(env.now + delay, Box::new(Self::new(self.request.clone())));
            }
            Err(OfferError::Refused(kind)) => {
                if concerns_child(kind) {
                    log!(IKE, 1, "received {kind} notify, no CHILD_SA built");
                } else {
                    log!(IKE, 1, "received {kind} notify error");
                }
                self.failed(sa, env);
            }
            Err(OfferError::Unusable) => {
                if let Some(delete) = self.offer.child.as_ref().and_then(|child| ChildDeleteInitiator::unusable(child))
                {
                    sa.queue(env, Box::new(delete));
                }
                self.failed(sa, env);
            }
            Err(OfferError::Local) => self.failed(sa, env),
        }
        Ok(Progress::Done)
    }

    fn collide(&mut self, _sa: &mut IkeSa, _env: &mut Env<'_>, collision: Collision) -> Verdict {
        match collision {
            Collision::ChildDeleted { child: None, spi } => {
                self.deleted_spis.add(spi);
                Verdict::Taken
            }
            other => Verdict::Unrelated(other),
        }
    }

    fn initiation(&self) -> Option<InitiateChild> {
        Some(self.request.clone())
    }

    fn reset(&mut self, _sa: &mut IkeSa, env: &mut Env<'_>) {
        self.offer.abandon(env);
        *self = Self { withdrawn: self.withdrawn, ..Self::new(self.request.clone()) };
    }

    fn withdraw(&mut self) {
        self.withdrawn = true;
    }

    fn abandon(&mut self, _sa: &mut IkeSa, env: &mut Env<'_>) {
        self.offer.abandon(env);
    }
}

/// Serves the peer's request for a CHILD_SA.
#[derive(Debug, Default)]
pub(crate) struct ChildCreateResponder {
    answer: Answer,
}

impl ChildCreateResponder {
    fn refused(sa: &mut IkeSa, env: &Env<'_>, message: &mut Outgoing, in_auth: bool, notify: Notify) {
        let retry = notify.kind == NotifyType::InvalidKePayload;
        message.push(notify);
        if !retry {
            Self::failed(sa, env, in_auth);
        }
    }

    fn failed(sa: &mut IkeSa, env: &Env<'_>, in_auth: bool) {
        log!(IKE, 1, "failed to establish CHILD_SA, keeping IKE_SA");
        sa.alert(Alert::KeepOnChildSaFailure);
        if in_auth && env.settings.close_ike_on_child_failure {
            log!(IKE, 1, "closing IKE_SA due CHILD_SA setup failure");
            sa.delete_at(env.now + CLOSE_DELAY);
        }
    }
}

impl Task for ChildCreateResponder {
    fn kind(&self) -> TaskType {
        TaskType::ChildCreate
    }

    fn process(&mut self, sa: &mut IkeSa, _env: &mut Env<'_>, incoming: &Incoming) -> Step {
        let message = &incoming.message;
        match message.header.exchange {
            ExchangeType::IkeSaInit => {}
            ExchangeType::IkeFollowupKe => {
                self.answer.read_follow_up(message);
                return Ok(Progress::More);
            }
            // in IKE_AUTH it may come rounds before the one that completes authentication
            _ if message.sa().is_some() => self.answer.read(message),
            _ => {}
        }
        if let Some(handshake) = sa.handshake() {
            self.answer.peer_nonce.clone_from(&handshake.peer_nonce);
        }
        Ok(Progress::More)
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        let in_auth = match message.exchange() {
            ExchangeType::IkeSaInit => {
                if let Some(handshake) = sa.handshake() {
                    self.answer.own_nonce.clone_from(&handshake.own_nonce);
                }
                return Ok(Progress::More);
            }
            ExchangeType::IkeAuth => {
                if sa.state() != IkeSaState::Established {
                    return Ok(Progress::More);
                }
                // RFC 5685 §6: the client gets it from the other gateway
                if message.message.has_notify(NotifyType::Redirect) {
                    return Ok(Progress::Done);
                }
                let childless = sa.ike_config().map_or(Childless::Allow, |config| config.childless);
                match (self.answer.is_offer(), childless) {
                    (false, Childless::Never) => {
                        log!(IKE, 1, "peer tried to initiate a childless IKE_SA");
                        explain::child::childless(sa, env, false);
                        message.notify(NotifyType::InvalidSyntax);
                        return Err(Failure::Failed);
                    }
                    (true, Childless::Force) => {
                        log!(IKE, 1, "peer did not initiate a childless IKE_SA");
                        explain::child::childless(sa, env, true);
                        message.notify(NotifyType::InvalidSyntax);
                        return Err(Failure::Failed);
                    }
                    (false, _) => return Ok(Progress::Done),
                    (true, _) => true,
                }
            }
            _ => false,
        };
        let busy = match sa.state() {
            // what the peer has begun it may complete: it will not let us rekey before
            IkeSaState::Rekeying if message.exchange() == ExchangeType::CreateChildSa => Some("rekeying"),
            IkeSaState::Deleting => Some("deleting"),
            _ => None,
        };
        if let Some(doing) = busy {
            log!(IKE, 1, "unable to create CHILD_SA while {doing} IKE_SA");
            self.answer.abandon(env);
            message.notify(NotifyType::TemporaryFailure);
            return Ok(Progress::Done);
        }
        let refused = [NotifyType::InternalAddressFailure, NotifyType::FailedCpRequired];
        if refused.into_iter().any(|kind| message.message.has_notify(kind)) {
            log!(IKE, 1, "configuration payload negotiation failed, no CHILD_SA built");
            Self::failed(sa, env, in_auth);
            return Ok(Progress::Done);
        }
        let result = if message.exchange() == ExchangeType::IkeFollowupKe {
            self.answer.follow_up(sa, env, message)
        } else {
            self.answer.build(sa, env, message, in_auth, None)
        };
        match result {
            Ok(Agreed::FollowUp) => return Ok(Progress::More),
            Ok(Agreed::Installed(id)) => {
                sa.log_established(id, "");
                sa.arm_inactivity(env, id);
                sa.report_child(id, true);
            }
            Err(notify) => Self::refused(sa, env, message, in_auth, notify),
        }
        Ok(Progress::Done)
    }

    fn pending(&self) -> Option<Pending<'_>> {
        let link = self.answer.link()?;
        Some(Pending { subject: Subject::NewChild, link, nonce: self.answer.lower_nonce() })
    }

    fn abandon(&mut self, _sa: &mut IkeSa, env: &mut Env<'_>) {
        self.answer.abandon(env);
    }
}
