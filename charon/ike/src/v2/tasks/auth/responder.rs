//! IKE_AUTH as responder.

mod selection;
mod uniqueness;

use std::sync::Arc;

use strongswan::identity::Identity;
use strongswan::log;

use super::eap_server::{EapServer, Event, Sides};
use super::ppk;
use super::rounds::{add_verified, announce_another, authenticate, is_concrete, verify};
use crate::config::{AuthClass, AuthRound, PeerConfig};
use crate::eap::Answer;
use crate::env::Env;
use crate::output::Alert;
use crate::sa::{Extensions, IkeSa};
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
        // perhaps another one than before
        let proof = sa.config().and_then(|config| AuthVerified::new(config, &self.verified, self.sent));
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
        if self.sent < config.local.len() { announce_another(sa, env, message) } else { Some(()) }
    }
}
