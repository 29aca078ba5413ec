//! IKE_FOLLOWUP_KE (RFC 9370 §2.2.4): key exchanges behind the one in CREATE_CHILD_SA, for whichever task negotiates there.
//! Nothing is installed before the last of them.
//!
//! The responder names its half-done negotiation by a link, a notify's data that the initiator returns. It keeps one: a peer
//! that starts something new has given the unfinished up, and one that falls silent is not waited for forever.
//!
//! Both sides may rekey the same SA at once. Which exchange counts is decided by the nonces, as without additional key
//! exchanges, but as soon as the response to CREATE_CHILD_SA has them: the side that lost does not go on. Whoever has
//! sent an IKE_FOLLOWUP_KE request has decided, and refuses what comes later.

use std::collections::VecDeque;
use std::time::Duration;

use strongswan::crypto::{KeyExchange, KeyExchangeMethod, Proposal, Secret, ke};
use strongswan::log;

use crate::env::Env;
use crate::ids::UniqueId;
use crate::sa::{IkeSa, Timer};
use crate::v2::task::{Outgoing, Progress, Task};
use crate::wire::{ExchangeType, Ke, Message, Nonce, Notify, NotifyType};

/// A half-done negotiation of the peer is kept this long: a little longer than retransmissions take by default.
const PATIENCE: Duration = Duration::from_secs(180);

/// Length of our links: enough that none is seen twice.
const LINK_LEN: usize = 8;

fn methods(proposal: &Proposal) -> VecDeque<KeyExchangeMethod> {
    proposal.additional_key_exchanges().map(|(_, method)| method).collect()
}

/// The link a message carries.
fn link_of(message: &Message) -> Option<&[u8]> {
    message.notify(NotifyType::AdditionalKeyExchange).map(|notify| notify.data.as_slice())
}

fn link(data: &[u8]) -> Notify {
    Notify::with_data(NotifyType::AdditionalKeyExchange, data)
}

/// The peer did not do what was agreed on.
#[derive(Debug)]
pub(super) struct Broken;

/// The key exchanges that are left, from the side that asked for them.
#[derive(Debug)]
pub(super) struct FollowUpInitiator {
    methods: VecDeque<KeyExchangeMethod>,
    own: Option<KeyExchange>,
    link: Vec<u8>,
    secrets: Vec<Secret>,
}

impl FollowUpInitiator {
    /// What has to follow the response to CREATE_CHILD_SA, if anything.
    pub(super) fn start(proposal: &Proposal, response: &Message) -> Result<Option<Self>, Broken> {
        let methods = methods(proposal);
        if methods.is_empty() {
            return Ok(None);
        }
        let Some(link) = link_of(response) else {
            log!(IKE, 1, "{} notify missing", NotifyType::AdditionalKeyExchange);
            return Err(Broken);
        };
        Ok(Some(Self { methods, own: None, link: link.to_vec(), secrets: Vec::new() }))
    }

    /// Adds our half of the next key exchange.
    pub(super) fn build(&mut self, message: &mut Outgoing) -> Result<(), Broken> {
        let method = self.methods.front().copied().ok_or(Broken)?;
        let own = KeyExchange::generate(method).map_err(|error| {
            log!(IKE, 1, "additional key exchange failed: {error}");
            Broken
        })?;
        message.push(Ke { method, data: own.public_value().to_vec() });
        message.push(link(&self.link));
        self.own = Some(own);
        Ok(())
    }

    /// Reads the peer's half.
    pub(super) fn process(&mut self, response: &Message) -> Result<Progress, Broken> {
        let (Some(own), Some(theirs)) = (self.own.take(), response.ke()) else {
            log!(IKE, 1, "KE payload missing in message");
            return Err(Broken);
        };
        if theirs.method != own.method() {
            log!(IKE, 1, "received KE payload of {} instead of {}", theirs.method, own.method());
            return Err(Broken);
        }
        let secret = own.agree(&theirs.data).map_err(|error| {
            log!(IKE, 1, "additional key exchange failed: {error}");
            Broken
        })?;
        self.secrets.push(secret);
        self.methods.pop_front();
        if self.methods.is_empty() {
            return Ok(Progress::Done);
        }
        let Some(link) = link_of(response) else {
            log!(IKE, 1, "{} notify missing", NotifyType::AdditionalKeyExchange);
            return Err(Broken);
        };
        self.link = link.to_vec();
        Ok(Progress::More)
    }

    /// SK(1), SK(2), …
    pub(super) fn secrets(&self) -> &[Secret] {
        &self.secrets
    }
}

/// The key exchanges that are left, from the side that was asked.
#[derive(Debug)]
pub(super) struct FollowUpResponder {
    methods: VecDeque<KeyExchangeMethod>,
    link: [u8; LINK_LEN],
    theirs: Option<Ke>,
    secrets: Vec<Secret>,
}

impl FollowUpResponder {
    /// What has to follow our response to CREATE_CHILD_SA, if anything; adds the link.
    pub(super) fn start(env: &mut Env<'_>, proposal: &Proposal, message: &mut Outgoing) -> Option<Self> {
        let methods = methods(proposal);
        if methods.is_empty() {
            return None;
        }
        let mut follow_up = Self { methods, link: [0; LINK_LEN], theirs: None, secrets: Vec::new() };
        follow_up.add_link(env, message);
        Some(follow_up)
    }

    fn add_link(&mut self, env: &mut Env<'_>, message: &mut Outgoing) {
        env.rng.fill(&mut self.link);
        message.push(link(&self.link));
    }

    /// What the peer's next request has to return.
    pub(super) fn link(&self) -> &[u8] {
        &self.link
    }

    /// Takes the peer's half of the next key exchange.
    pub(super) fn read(&mut self, request: &Message) {
        self.theirs = request.ke().cloned();
    }

    /// Adds ours.
    ///
    /// # Errors
    /// The notify that ends the negotiation.
    pub(super) fn build(&mut self, env: &mut Env<'_>, message: &mut Outgoing) -> Result<Progress, Notify> {
        let Some(theirs) = self.theirs.take() else { return Err(Notify::new(NotifyType::InvalidSyntax)) };
        let refused = || Notify::new(NotifyType::NoProposalChosen);
        let method = self.methods.pop_front().ok_or_else(refused)?;
        let agreed = if theirs.method == method { ke::respond(method, &theirs.data).ok() } else { None };
        let Some((public, secret)) = agreed else {
            log!(IKE, 1, "applying received public value of {} failed, expected {method}", theirs.method);
            return Err(refused());
        };
        self.secrets.push(secret);
        message.push(Ke { method, data: public });
        if self.methods.is_empty() {
            return Ok(Progress::Done);
        }
        self.add_link(env, message);
        Ok(Progress::More)
    }

    /// SK(1), SK(2), …
    pub(super) fn secrets(&self) -> &[Secret] {
        &self.secrets
    }
}

/// What a negotiation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A further CHILD_SA.
    NewChild,
    /// A CHILD_SA that is rekeyed.
    Child(UniqueId),
    /// The IKE_SA that is rekeyed.
    Ike,
}

/// A negotiation of the peer that IKE_FOLLOWUP_KE exchanges have to complete.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    /// What it is about.
    pub(crate) subject: Subject,
    /// What the peer's next request has to return.
    pub(crate) link: &'a [u8],
    /// The lower of its nonces.
    pub(crate) nonce: Option<Nonce>,
}

impl IkeSa {
    /// Whether a half-done negotiation is the one an IKE_FOLLOWUP_KE request belongs to.
    pub(crate) fn expects_follow_up(&self, request: &Message) -> bool {
        let link = link_of(request);
        self.exchanges.passive.iter().filter_map(|task| task.pending()).any(|pending| Some(pending.link) == link)
    }

    /// The lower nonce of the peer's half-done rekeying, if there is one.
    pub(super) fn pending_rival(&self, subject: Subject) -> Option<Nonce> {
        let mut pending = self.exchanges.passive.iter().filter_map(|task| task.pending());
        pending.find(|pending| pending.subject == subject).and_then(|pending| pending.nonce)
    }

    /// Whether our own rekeying has got as far as IKE_FOLLOWUP_KE.
    pub(super) fn is_following_up(&self, matches: impl Fn(&dyn Task) -> bool) -> bool {
        let follows = |task: &dyn Task| task.exchange() == Some(ExchangeType::IkeFollowupKe) && matches(task);
        self.exchanges.active.iter().any(|task| follows(&**task))
    }

    /// Gives up what the peer will not complete.
    pub(crate) fn drop_pending(&mut self, env: &mut Env<'_>) {
        let tasks = std::mem::take(&mut self.exchanges.passive);
        let (pending, others): (Vec<_>, Vec<_>) = tasks.into_iter().partition(|task| task.pending().is_some());
        self.exchanges.passive = others;
        pending.into_iter().for_each(|mut task| task.abandon(self, env));
        self.timers.stop(Timer::FollowUp);
    }

    /// The peer has not completed in time what it started.
    pub(crate) fn follow_up_overdue(&mut self, env: &mut Env<'_>) {
        log!(IKE, 1, "peer did not continue with IKE_FOLLOWUP_KE, giving up after {}s", PATIENCE.as_secs());
        self.drop_pending(env);
    }

    /// Waits for the rest of what the request just answered was about.
    pub(crate) fn await_follow_up(&mut self, env: &Env<'_>) {
        if self.exchanges.passive.iter().any(|task| task.pending().is_some()) {
            self.timers.set(Timer::FollowUp, env.now + PATIENCE);
        } else {
            self.timers.stop(Timer::FollowUp);
        }
    }
}
