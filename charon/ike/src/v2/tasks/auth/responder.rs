//! IKE_AUTH as responder.

use std::sync::Arc;

use strongswan::credentials::ConstraintError;
use strongswan::identity::Identity;
use strongswan::log;

use super::eap_server::{EapServer, Event, Sides};
use super::ppk;
use super::rounds::{add_verified, authenticate, complies, is_concrete, own_identity, verify};
use crate::config::{AuthClass, AuthRound, PeerConfig, UniquePolicy};
use crate::eap::Answer;
use crate::env::Env;
use crate::input::DuplicateAction;
use crate::output::{Alert, Output};
use crate::sa::{Conditions, Connection, Extensions, IkeSa, IkeSaState};
use crate::task::TaskType;
use crate::v2::auth::{AuthVerified, VerifiedRound};
use crate::v2::explain;
use crate::v2::task::{Failure, Incoming, Outgoing, Progress, Step, Task};
use crate::wire::{ExchangeType, Id, Message, NotifyType, Payload};

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
    /// What these were by configuration: no other connection will do from then on.
    answered: Vec<AuthRound>,
    /// The peer's PPK was accepted with the round that is being answered.
    confirm_ppk: bool,
    failed: bool,
    initial_contact: bool,
    /// Connections to fall back to, once they are needed, the best one last. Not kept from one message to the next: with
    /// many connections that is more than anybody may cost us who is not authenticated.
    alternatives: Option<Vec<Arc<PeerConfig>>>,
    /// The peer's round that is done with EAP, or our part of it.
    eap: EapServer,
    /// What we said about ourselves so far, round by round.
    shown: Vec<Shown>,
}

/// A round of ours, as far as the peer has seen it.
#[derive(Debug)]
struct Shown {
    id: Id,
    /// Without AUTH: EAP authenticates us too.
    eap_only: bool,
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
            return self.reject_peer(message);
        }
        let Some(config) = sa.config().cloned() else { return Self::reject(message) };
        if self.answer(sa, env, message, &config).is_none() {
            sa.alert(Alert::LocalAuthFailed);
            return Self::reject(message);
        }
        self.alternatives = None;
        if self.eap.is_active() || !self.peer_done || self.sent < config.local.len() {
            return Ok(Progress::More);
        }
        if !self.enforce(sa, env) {
            return Self::reject(message);
        }
        sa.remote_eap_id = self.verified.iter().rev().find_map(VerifiedRound::eap_identity).cloned();
        if !self.keep_unique(sa, env) {
            return Self::reject(message);
        }
        if let Some(redirect) = sa.redirect_authenticated(env) {
            message.push(redirect);
        }
        let proof = AuthVerified::new(&self.verified);
        if let Some(handshake) = sa.handshake() {
            handshake.verified = proof;
        }
        Ok(Progress::Done)
    }

    fn waits(&self) -> bool {
        self.eap.is_waiting()
    }

    fn resume(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, answer: Answer) -> Step {
        self.failed = self.with_eap(sa, env, |eap, sa, env, sides| eap.answered(sa, env, sides, answer));
        Ok(Progress::More)
    }
}

impl AuthResponder {
    fn reject(message: &mut Outgoing) -> Step {
        message.message.payloads.clear();
        message.notify(NotifyType::AuthenticationFailed);
        Err(Failure::Failed)
    }

    /// As above; an EAP-Failure says it all.
    fn reject_peer(&mut self, message: &mut Outgoing) -> Step {
        let Some(packet) = self.eap.take_packet() else { return Self::reject(message) };
        message.message.payloads.clear();
        message.push(packet);
        Err(Failure::Failed)
    }

    /// Reads and verifies a round of the peer.
    fn read(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, incoming: &Incoming) -> Option<()> {
        let message = &incoming.message;
        if self.eap.is_talking() {
            let Some(packet) = message.eap() else {
                log!(IKE, 1, "EAP payload missing");
                return None;
            };
            let failed = self.with_eap(sa, env, |eap, sa, env, sides| eap.process(sa, env, sides, packet));
            if failed {
                let who = self.eap.identity().cloned();
                explain::auth::eap_failed(sa, env, who.as_ref(), false);
            }
            return (!failed).then_some(());
        }
        if self.eap.is_proven() {
            return self.verify_eap(sa, env, message);
        }
        if self.peer_done {
            return Some(());
        }
        if message.has_notify(NotifyType::MultipleAuthSupported) {
            sa.extensions |= Extensions::MULTIPLE_AUTH;
        }
        if message.has_notify(NotifyType::EapOnlyAuthentication) {
            sa.extensions |= Extensions::EAP_ONLY;
        }
        if message.has_notify(NotifyType::Ikev2MessageIdSyncSupported) {
            sa.extensions |= Extensions::MESSAGE_ID_SYNC;
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
            return self.begin_eap(sa, env, &id);
        };
        self.accept_ppk(sa, env, message)?;
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
        self.add_round(sa, message, round)?;
        while !self.complies(sa) || !self.keeps_secret(sa, &me) {
            if self.switch_config(sa, env, "non-matching authentication done").is_none() {
                explain::auth::not_compliant(sa, env, Some(&me), &self.verified);
                return None;
            }
        }
        Some(())
    }

    /// As the peer's first AUTH arrives: looks for the PPK that it names.
    fn accept_ppk(&mut self, sa: &mut IkeSa, env: &Env<'_>, message: &Message) -> Option<()> {
        if self.verified.is_empty() {
            while ppk::accept(sa, env, message).is_err() {
                if self.switch_config(sa, env, "PPK required").is_none() {
                    let named = ppk::named(sa, message);
                    explain::auth::no_ppk(sa, env, named.as_ref());
                    return None;
                }
            }
        }
        Some(())
    }

    fn add_round(&mut self, sa: &mut IkeSa, message: &Message, round: VerifiedRound) -> Option<()> {
        self.confirm_ppk = sa.handshake()?.ppk.is_some();
        ppk::apply(sa)?;
        add_verified(&mut self.verified, round)?;
        self.peer_done = !message.has_notify(NotifyType::AnotherAuthFollows);
        Some(())
    }

    /// The AUTH payload at the end of EAP.
    fn verify_eap(&mut self, sa: &mut IkeSa, env: &Env<'_>, message: &Message) -> Option<()> {
        let Some(auth) = message.auth() else {
            log!(IKE, 1, "AUTH payload missing");
            return None;
        };
        self.accept_ppk(sa, env, message)?;
        let auth = ppk::effective_auth(sa, message, auth)?;
        let round = self.eap.verify(sa, env, &auth)?;
        self.add_round(sa, message, round)?;
        while !self.complies(sa) {
            if self.switch_config(sa, env, "non-matching authentication done").is_none() {
                let me = sa.local_id.clone();
                explain::auth::not_compliant(sa, env, me.as_ref(), &self.verified);
                return None;
            }
        }
        Some(())
    }

    /// The peer leaves out AUTH, so it wants to do EAP.
    fn begin_eap(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, id: &Id) -> Option<()> {
        while !self.may_do_eap(sa) {
            log!(IKE, 1, "peer requested EAP, config unacceptable");
            let tried = sa.connection.clone();
            if self.switch_config(sa, env, "non-matching authentication done").is_none() {
                sa.connection = tried;
                explain::auth::wants_eap(sa, env);
                return None;
            }
        }
        let failed = self.with_eap(sa, env, |eap, sa, env, sides| eap.begin(sa, env, sides, id));
        (!failed).then_some(())
    }

    /// The selected connection wants EAP for the peer's next round, and is content with everything before that.
    fn may_do_eap(&self, sa: &IkeSa) -> bool {
        let Some(config) = sa.config() else { return false };
        let round = config.remote.get(self.verified.len());
        round.is_some_and(|round| matches!(round.class, AuthClass::Eap(_))) && self.rounds_comply(config)
    }

    /// Lets the conversation go on under the selected connection, and chooses another one when it turns out who the peer is.
    /// Says whether it failed.
    fn with_eap(
        &mut self,
        sa: &mut IkeSa,
        env: &mut Env<'_>,
        step: impl FnOnce(&mut EapServer, &mut IkeSa, &mut Env<'_>, Sides<'_>) -> Event,
    ) -> bool {
        match self.eap_step(sa, env, step) {
            Event::Identified => {}
            Event::Continues => return false,
            Event::Failed => return true,
        }
        if self.find_config_of_client(sa, env).is_none() {
            self.eap.refuse();
            return true;
        }
        let event = self.eap_step(sa, env, |eap, sa, env, sides| eap.start(sa, env, sides));
        !matches!(event, Event::Continues)
    }

    fn eap_step(
        &mut self,
        sa: &mut IkeSa,
        env: &mut Env<'_>,
        step: impl FnOnce(&mut EapServer, &mut IkeSa, &mut Env<'_>, Sides<'_>) -> Event,
    ) -> Event {
        let (Some(config), Some(me)) = (sa.config().cloned(), self.shown_id(sa)) else { return self.eap.refuse() };
        let local = config.local.get(self.shown.len().saturating_sub(1));
        let (Some(local), Some(remote)) = (local, config.remote.get(self.verified.len())) else {
            return self.eap.refuse();
        };
        let eap_only = matches!(local.class, AuthClass::Eap(_));
        step(&mut self.eap, sa, env, Sides { me: &me, local, remote, eap_only })
    }

    /// Who we are to the peer: what we said last, or what we are about to say.
    fn shown_id(&self, sa: &IkeSa) -> Option<Identity> {
        match self.shown.last() {
            Some(shown) => Some(shown.id.identity()),
            None => self.own_id(sa),
        }
    }

    /// The connection for what the peer calls itself within EAP: all that was done so far has to fit it, on both sides.
    fn find_config_of_client(&mut self, sa: &mut IkeSa, env: &Env<'_>) -> Option<()> {
        let client = self.eap.identity()?.clone();
        loop {
            let wanted = sa.config().and_then(|config| config.remote.get(self.verified.len())?.eap_id.clone());
            let wanted = wanted.filter(|wanted| !client.matches(wanted).is_match());
            if wanted.is_none() && self.may_do_eap(sa) {
                return Some(());
            }
            if let Some(wanted) = wanted {
                let error = ConstraintError::EapIdentity { wanted, used: client.clone() };
                log!(CFG, 1, "{error}");
            }
            self.switch_config(sa, env, "non-matching authentication done")?;
        }
    }

    /// What we have said about ourselves is what a connection says.
    fn shown_fits(&self, config: &PeerConfig) -> bool {
        self.shown.iter().enumerate().all(|(index, shown)| {
            let Some(round) = config.local.get(index) else { return false };
            let required = round.id.as_ref().filter(|id| !id.is_any());
            let same = required.is_none_or(|required| shown.id.identity().matches(required).is_match());
            same && shown.eap_only == matches!(round.class, AuthClass::Eap(_))
        })
    }

    /// Every round so far, of either side, is what a connection demands.
    fn rounds_comply(&self, config: &PeerConfig) -> bool {
        self.shown_fits(config)
            && self.verified.iter().zip(&config.remote).all(|(done, required)| complies(done, required))
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
        if !ppk::permitted(sa, &config) || !config.local.starts_with(&self.answered) {
            return false;
        }
        self.rounds_comply(&config)
    }

    /// Our identity and AUTH, if a round of ours is left.
    fn answer(
        &mut self,
        sa: &mut IkeSa,
        env: &Env<'_>,
        message: &mut Outgoing,
        config: &Arc<PeerConfig>,
    ) -> Option<()> {
        if let Some(own) = self.shown.last().map(|shown| shown.id.clone())
            && let Some(auth) = self.eap.sign(sa, &own)?
        {
            message.push(auth);
            if std::mem::take(&mut self.confirm_ppk) {
                message.notify(NotifyType::PpkIdentity);
            }
            return if self.shown.len() > self.sent { self.finish_round(sa, env, message, config) } else { Some(()) };
        }
        if let Some(packet) = self.eap.take_packet() {
            message.push(packet);
        }
        let Some(round) = config.local.get(self.sent) else { return Some(()) };
        if self.shown.len() > self.sent {
            // EAP authenticates us when it comes to its end
            return self.eap.is_active().then_some(());
        }
        let me = self.own_id(sa)?;
        let other = sa.remote_id.clone()?;
        let id = Id::new(&me);
        message.push(Payload::IdR(id.clone()));
        sa.local_id = Some(me.clone());
        if self.sent == 0 && sa.extensions.contains(Extensions::MESSAGE_ID_SYNC) {
            message.notify(NotifyType::Ikev2MessageIdSyncSupported);
        }
        let eap_only = matches!(round.class, AuthClass::Eap(_));
        self.shown.push(Shown { id: id.clone(), eap_only });
        if eap_only {
            return self.may_be_eap_only(sa, env).then_some(());
        }
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
        self.finish_round(sa, env, message, config)
    }

    /// Whether EAP alone may authenticate us.
    fn may_be_eap_only(&self, sa: &IkeSa, env: &Env<'_>) -> bool {
        if !self.eap.is_active() {
            log!(IKE, 1, "EAP cannot authenticate us to a peer that does not do EAP");
            return false;
        }
        if !sa.extensions.contains(Extensions::EAP_ONLY) && !env.settings.eap.force_eap_only {
            log!(IKE, 1, "configured EAP-only authentication, but peer does not support it");
            return false;
        }
        true
    }

    /// A round of ours is complete; says whether there is another one.
    fn finish_round(
        &mut self,
        sa: &mut IkeSa,
        env: &Env<'_>,
        message: &mut Outgoing,
        config: &PeerConfig,
    ) -> Option<()> {
        self.answered.extend(config.local.get(self.sent).cloned());
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
            if self.verified.len() >= config.remote.len() && self.sent >= config.local.len() && self.complies(sa) {
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
        let (Some(config), Some(me), Some(other)) = (sa.config().cloned(), sa.local_id.clone(), sa.peer_id().cloned())
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
