//! IKE_AUTH as responder.

use std::sync::Arc;

use strongswan::identity::Identity;
use strongswan::log;

use super::ppk;
use super::rounds::{authenticate, complies, is_concrete, own_identity, verify};
use crate::config::{PeerConfig, UniquePolicy};
use crate::env::Env;
use crate::input::DuplicateAction;
use crate::output::{Alert, Output};
use crate::sa::{Conditions, Connection, Extensions, IkeSa, IkeSaState};
use crate::task::TaskType;
use crate::v2::auth::{AuthVerified, VerifiedRound};
use crate::v2::explain;
use crate::v2::task::{Failure, Incoming, Outgoing, Progress, Step, Task};
use crate::wire::{ExchangeType, Id, NotifyType, Payload};

/// The side that verifies first.
#[derive(Debug, Default)]
pub(crate) struct AuthResponder {
    /// The identity the peer asked for.
    wanted: Option<Identity>,
    /// Rounds of the peer that were verified.
    verified: Vec<VerifiedRound>,
    /// The peer announced no further round.
    peer_done: bool,
    /// Rounds of ours that were sent.
    sent: usize,
    /// The peer's PPK was accepted with the round that is being answered.
    confirm_ppk: bool,
    failed: bool,
    initial_contact: bool,
    /// Connections to fall back to, once they are needed, the best one last. Not kept from one message to the next: with
    /// many connections that is more than anybody may cost us who is not authenticated.
    alternatives: Option<Vec<Arc<PeerConfig>>>,
}

impl Task for AuthResponder {
    fn kind(&self) -> TaskType {
        TaskType::IkeAuth
    }

    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, incoming: &Incoming) -> Step {
        if incoming.message.header.exchange == ExchangeType::IkeAuth {
            self.failed = self.read(sa, env, incoming).is_none();
        }
        Ok(Progress::More)
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        if message.exchange() != ExchangeType::IkeAuth {
            return Ok(Progress::More);
        }
        if self.failed {
            sa.alert(Alert::PeerAuthFailed);
            return Self::reject(message);
        }
        let Some(config) = sa.config().cloned() else { return Self::reject(message) };
        if self.answer(sa, env, message, &config).is_none() {
            sa.alert(Alert::LocalAuthFailed);
            return Self::reject(message);
        }
        self.alternatives = None;
        if !self.peer_done || self.sent < config.local.len() {
            return Ok(Progress::More);
        }
        if !self.enforce(sa, env) || !self.keep_unique(sa, env) {
            return Self::reject(message);
        }
        let proof = AuthVerified::new(&self.verified);
        if let Some(handshake) = sa.handshake() {
            handshake.verified = proof;
        }
        Ok(Progress::Done)
    }
}

impl AuthResponder {
    fn reject(message: &mut Outgoing) -> Step {
        message.message.payloads.clear();
        message.notify(NotifyType::AuthenticationFailed);
        Err(Failure::Failed)
    }

    /// Reads and verifies a round of the peer.
    fn read(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, incoming: &Incoming) -> Option<()> {
        let message = &incoming.message;
        if self.peer_done {
            return Some(());
        }
        if message.has_notify(NotifyType::MultipleAuthSupported) {
            sa.extensions |= Extensions::MULTIPLE_AUTH;
        }
        if message.has_notify(NotifyType::InitialContact) {
            self.initial_contact = true;
        }
        let Some(id) = message.id_i().cloned() else {
            log!(IKE, 1, "IDi payload missing");
            return None;
        };
        let other = id.identity();
        sa.remote_id = Some(other.clone());
        if sa.config().is_none() {
            self.wanted = message.id_r().map(Id::identity).filter(is_concrete);
            self.select_config(sa, env, &other)?;
        }
        let Some(auth) = message.auth() else {
            log!(IKE, 1, "peer requested EAP, config unacceptable");
            explain::auth::wants_eap(sa, env);
            return None;
        };
        if self.verified.is_empty() {
            while ppk::accept(sa, env, message).is_err() {
                if self.switch_config(sa, env, "PPK required").is_none() {
                    let named = ppk::named(sa, message);
                    explain::auth::no_ppk(sa, env, named.as_ref());
                    return None;
                }
            }
        }
        let Some(me) = self.own_id(sa) else {
            self.explain_identity(sa, env);
            return None;
        };
        let Some(auth) = ppk::effective_auth(sa, message, auth) else {
            let named = ppk::named(sa, message);
            explain::auth::no_ppk(sa, env, named.as_ref());
            return None;
        };
        let round = match verify(sa, env, &me, &id, &auth) {
            Ok(round) => round,
            Err(error) => {
                let index = self.verified.len();
                explain::auth::not_proven(sa, env, index, (&me, &other), auth.method, &error);
                return None;
            }
        };
        self.confirm_ppk = sa.handshake()?.ppk.is_some();
        ppk::apply(sa)?;
        self.verified.push(round);
        self.peer_done = !message.has_notify(NotifyType::AnotherAuthFollows);
        while !self.complies(sa) || !self.keeps_secret(sa, &me) {
            if self.switch_config(sa, env, "non-matching authentication done").is_none() {
                explain::auth::not_compliant(sa, env, Some(&me), &self.verified);
                return None;
            }
        }
        Some(())
    }

    /// The identity we act as: the one the peer asked for, if the configuration allows it.
    fn own_id(&self, sa: &IkeSa) -> Option<Identity> {
        let config = sa.config()?;
        let round = config.local.get(self.sent).or_else(|| config.local.first())?;
        if let Some(wanted) = self.wanted.as_ref().filter(|_| self.sent == 0) {
            match round.id.as_ref().filter(|id| !id.is_any()) {
                Some(required) if !wanted.matches(required).is_match() => {
                    log!(IKE, 1, "received IDr {wanted}, but require {required}");
                    return None;
                }
                _ => return Some(wanted.clone()),
            }
        }
        Some(own_identity(sa, round, "IDr"))
    }

    /// Says why [`own_id`](Self::own_id) has none.
    fn explain_identity(&self, sa: &mut IkeSa, env: &Env<'_>) {
        if let Some(wanted) = &self.wanted {
            explain::auth::other_identity(sa, env, wanted, self.sent);
        }
    }

    /// A secret is shared by two identities, so it proves nothing to a connection on which we have another one.
    fn keeps_secret(&self, sa: &IkeSa, me: &Identity) -> bool {
        let shared = self.verified.last().is_some_and(VerifiedRound::is_by_secret);
        !shared || self.own_id(sa).as_ref() == Some(me)
    }

    /// The connections this IKE_SA may use, best first.
    fn candidates(&self, sa: &IkeSa, env: &Env<'_>, other: &Identity) -> Vec<Arc<PeerConfig>> {
        let algorithms = sa.algorithms.as_ref();
        let candidates = env.config.peer_configs(sa.local, sa.remote, self.wanted.as_ref(), Some(other), 2);
        let fits = |config: &Arc<PeerConfig>| {
            // what IKE_SA_INIT agreed on by another connection's proposals must do for this one
            let fits = algorithms.is_some_and(|algorithms| algorithms.are_in(&config.ike.proposals));
            if !fits {
                log!(CFG, 2, "ignore candidate '{}' without matching IKE proposal", config.name);
            }
            fits
        };
        candidates.into_iter().filter(fits).collect()
    }

    fn select_config(&self, sa: &mut IkeSa, env: &Env<'_>, other: &Identity) -> Option<()> {
        let any = Identity::any();
        let me = self.wanted.as_ref();
        log!(
            CFG,
            1,
            "looking for peer configs matching {}[{}]...{}[{other}]",
            sa.local.ip(),
            me.unwrap_or(&any),
            sa.remote.ip()
        );
        let Some(selected) = self.candidates(sa, env, other).into_iter().next() else {
            log!(CFG, 1, "no matching peer config found");
            explain::auth::no_connection(sa, env, me, other);
            return None;
        };
        log!(CFG, 1, "selected peer config '{}'", selected.name);
        sa.connection = Connection::Peer(selected);
        Some(())
    }

    /// Falls back to the next candidate whose rounds so far fit.
    fn switch_config(&mut self, sa: &mut IkeSa, env: &Env<'_>, why: &str) -> Option<()> {
        log!(CFG, 1, "selected peer config '{}' unacceptable: {why}", sa.name());
        let alternatives = match self.alternatives.take() {
            Some(alternatives) => alternatives,
            None => self.after_current(sa, env),
        };
        let Some(next) = self.alternatives.insert(alternatives).pop() else {
            log!(CFG, 1, "no alternative config found");
            return None;
        };
        log!(CFG, 1, "switching to peer config '{}'", next.name);
        sa.connection = Connection::Peer(next);
        Some(())
    }

    /// The candidates behind the one in use, the best one last. None if that is loaded no more: nobody knows then which
    /// ones were tried.
    fn after_current(&self, sa: &IkeSa, env: &Env<'_>) -> Vec<Arc<PeerConfig>> {
        // the identity of its first round selects a connection
        let other = self.verified.first().map(VerifiedRound::identity).or(sa.remote_id.as_ref());
        let Some(other) = other else { return Vec::new() };
        let mut candidates = self.candidates(sa, env, other).into_iter();
        candidates.by_ref().find(|candidate| *candidate.name == *sa.name());
        candidates.rev().collect()
    }

    /// Whether the PPK and every round so far is what the selected configuration demands.
    fn complies(&self, sa: &mut IkeSa) -> bool {
        let Some(config) = sa.config().cloned() else { return false };
        if !ppk::permitted(sa, &config) {
            return false;
        }
        self.verified.iter().zip(&config.remote).all(|(done, required)| complies(done, required))
    }

    /// Our identity and AUTH, if a round of ours is left.
    fn answer(
        &mut self,
        sa: &mut IkeSa,
        env: &Env<'_>,
        message: &mut Outgoing,
        config: &Arc<PeerConfig>,
    ) -> Option<()> {
        let Some(round) = config.local.get(self.sent) else { return Some(()) };
        let me = self.own_id(sa)?;
        let other = sa.remote_id.clone()?;
        let id = Id::new(&me);
        message.push(Payload::IdR(id.clone()));
        sa.local_id = Some(me.clone());
        let signed = match authenticate(sa, env, round, &me, &other, &id) {
            Ok(signed) => signed,
            Err(error) => {
                explain::auth::own(sa, env, self.sent, (&me, &other), &error);
                return None;
            }
        };
        message.push(signed.auth);
        if std::mem::take(&mut self.confirm_ppk) {
            message.notify(NotifyType::PpkIdentity);
        }
        self.sent = self.sent.saturating_add(1);
        if self.sent < config.local.len() {
            if !sa.extensions.contains(Extensions::MULTIPLE_AUTH) {
                log!(IKE, 1, "peer does not support multiple authentication, but we require it");
                explain::auth::one_round_only(sa, env);
                return None;
            }
            message.notify(NotifyType::AnotherAuthFollows);
        }
        Some(())
    }

    /// All rounds the configuration demands took place; other candidates may be content with these.
    fn enforce(&mut self, sa: &mut IkeSa, env: &Env<'_>) -> bool {
        while let Some(config) = sa.config() {
            if self.verified.len() >= config.remote.len() && self.complies(sa) {
                return true;
            }
            if self.switch_config(sa, env, "insufficient authentication rounds").is_none() {
                let me = sa.local_id.clone();
                explain::auth::not_compliant(sa, env, me.as_ref(), &self.verified);
                return false;
            }
        }
        false
    }

    /// Uniqueness of the peer's IKE_SAs (spec §10); `false` refuses this one.
    fn keep_unique(&self, sa: &mut IkeSa, env: &Env<'_>) -> bool {
        if self.initial_contact {
            sa.conditions |= Conditions::INIT_CONTACT_SEEN;
        }
        let (Some(config), Some(me), Some(other)) = (sa.config().cloned(), sa.local_id.clone(), sa.remote_id.clone())
        else {
            return false;
        };
        if config.unique == UniquePolicy::Never {
            return true;
        }
        let duplicates = env.peers.duplicates(sa.unique_id(), &me, &other, sa.remote.is_ipv6());
        if self.initial_contact {
            for duplicate in &duplicates {
                sa.push(Output::Duplicate { id: duplicate.id, action: DuplicateAction::Destroy });
            }
            return true;
        }
        let replaces = match config.unique {
            UniquePolicy::Never | UniquePolicy::No => return true,
            UniquePolicy::Replace => true,
            UniquePolicy::Keep => false,
        };
        let mut kept = false;
        // one that is being replaced or deleted is no reason to do anything
        let alive = |state| matches!(state, IkeSaState::Established | IkeSaState::Rekeying);
        let rivals = duplicates.iter().filter(|other| alive(other.state) && *other.config == *config);
        for duplicate in rivals {
            let same_host = duplicate.remote == sa.remote;
            if !replaces && !kept {
                if !same_host {
                    log!(IKE, 1, "canceling IKE_SA setup due to uniqueness policy");
                    explain::auth::not_unique(sa, env, duplicate.remote.ip());
                    sa.alert(Alert::UniqueKeep);
                    return false;
                }
                kept = true;
                continue;
            }
            let action = if same_host { DuplicateAction::DeleteLater } else { DuplicateAction::Delete };
            sa.push(Output::Duplicate { id: duplicate.id, action });
        }
        true
    }
}
