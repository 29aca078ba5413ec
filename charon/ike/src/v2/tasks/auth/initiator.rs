//! IKE_AUTH as initiator.

use strongswan::credentials::ConstraintError;
use strongswan::identity::Identity;
use strongswan::log;

use super::super::redirect;
use super::eap_client::{EapClient, Refusal};
use super::ppk;
use super::rounds::{add_verified, announce_another, authenticate, complies, is_concrete, own_identity, verify};
use crate::config::{AuthClass, PeerConfig, UniquePolicy};
use crate::env::Env;
use crate::output::Alert;
use crate::sa::{Extensions, IkeSa};
use crate::task::TaskType;
use crate::v2::auth::{AuthVerified, Signed, VerifiedRound};
use crate::v2::explain;
use crate::v2::task::{Failure, Incoming, Outgoing, Progress, Step, Task};
use crate::wire::{ExchangeType, Id, Message, Notify, NotifyType, Payload};

/// The side that authenticates itself first.
#[derive(Debug, Default)]
pub(crate) struct AuthInitiator {
    /// Rounds of ours that were sent.
    sent: usize,
    /// Rounds of the peer that were verified.
    verified: Vec<VerifiedRound>,
    /// The peer announced no further round.
    peer_done: bool,
    peer_id: Option<Id>,
    /// The peer's next AUTH answers our first one, with which a PPK may have been offered.
    confirms_ppk: bool,
    /// A round of ours that is done with EAP and not at its end.
    eap: Option<EapClient>,
}

impl Task for AuthInitiator {
    fn kind(&self) -> TaskType {
        TaskType::IkeAuth
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        if message.exchange() != ExchangeType::IkeAuth {
            return Ok(Progress::More);
        }
        let Some(config) = sa.config().cloned() else { return Err(Failure::Failed) };
        if self.eap.is_some() {
            return self.continue_eap(sa, env, message, &config);
        }
        if let Some(round) = config.local.get(self.sent) {
            let expected = self.expected_peer(&config);
            let me = own_identity(sa, round, "IDi");
            let id = Id::new(&me);
            message.push(Payload::IdI(id.clone()));
            if self.sent == 0 {
                Self::announce(sa, env, message, &config, &me);
            }
            let other = expected.clone().unwrap_or_else(Identity::any);
            sa.local_id = Some(me.clone());
            if let AuthClass::Eap(method) = round.class {
                self.eap = Some(EapClient::new(method, round, id));
                return Ok(Progress::More);
            }
            if self.sent == 0 && ppk::offer(sa, env, &config).is_err() {
                explain::auth::no_ppk(sa, env, None);
                return Err(Failure::Failed);
            }
            let signed = match authenticate(sa, env, round, &me, &other, &id) {
                Ok(signed) => signed,
                Err(error) => {
                    explain::auth::own(sa, env, self.sent, (&me, &other), &error);
                    sa.alert(Alert::LocalAuthFailed);
                    return Err(Failure::Failed);
                }
            };
            self.finish_round(sa, env, message, &config, signed)?;
        }
        Ok(Progress::More)
    }

    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, incoming: &Incoming) -> Step {
        let message = &incoming.message;
        if message.header.exchange != ExchangeType::IkeAuth {
            return Ok(Progress::More);
        }
        let Some(config) = sa.config().cloned() else { return Err(Failure::Failed) };
        let fatal = message.notifies().find(|notify| notify.kind.is_error() && !concerns_child(notify.kind));
        if let Some(notify) = fatal {
            log!(IKE, 1, "received {} notify error", notify.kind);
            explain::auth::refused(sa, env, notify.kind, self.sent);
            if notify.kind == NotifyType::AuthenticationFailed {
                sa.alert(Alert::LocalAuthFailed);
            }
            return Err(Failure::Failed);
        }
        if self.read(sa, env, &config, incoming).is_none() {
            sa.alert(Alert::PeerAuthFailed);
            sa.send_auth_failed(env);
            return Err(Failure::Failed);
        }
        if let Err(refusal) = self.converse(sa, env, &config, message) {
            let round = config.local.get(self.sent);
            let who = round.and_then(|round| round.eap_id.clone()).or_else(|| sa.local_id.clone());
            explain::auth::eap_failed(sa, env, who.as_ref(), refusal == Refusal::Theirs);
            sa.alert(Alert::LocalAuthFailed);
            if refusal == Refusal::Ours {
                sa.send_auth_failed(env);
            }
            return Err(Failure::Failed);
        }
        if self.eap.is_some() || !self.peer_done || self.sent < config.local.len() {
            return Ok(Progress::More);
        }
        if !self.satisfies(&config) || !ppk::permitted(sa, &config) {
            explain::auth::not_compliant(sa, env, None, &self.verified);
            sa.alert(Alert::PeerAuthFailed);
            sa.send_auth_failed(env);
            return Err(Failure::Failed);
        }
        let proof = AuthVerified::new(&config, &self.verified, self.sent);
        if let Some(handshake) = sa.handshake() {
            handshake.verified = proof;
        }
        redirect::accept(sa, env, incoming);
        Ok(Progress::Done)
    }
}

impl AuthInitiator {
    /// Whom we expect, if the configuration names someone.
    fn expected_peer(&self, config: &PeerConfig) -> Option<Identity> {
        let round = config.remote.get(self.verified.len())?;
        round.id.clone().filter(is_concrete)
    }

    /// What goes into the first IKE_AUTH request only.
    fn announce(sa: &IkeSa, env: &Env<'_>, message: &mut Outgoing, config: &PeerConfig, me: &Identity) {
        let expected = config.remote.first().and_then(|round| round.id.clone()).filter(is_concrete);
        if let Some(other) = &expected {
            message.push(Payload::IdR(Id::new(other)));
            // without a known peer nobody could say whether this is the first contact
            if config.unique != UniquePolicy::Never
                && env.peers.duplicates(sa.unique_id(), me, other, sa.remote.is_ipv6()).is_empty()
            {
                message.notify(NotifyType::InitialContact);
            }
        }
        if sa.extensions.contains(Extensions::MULTIPLE_AUTH) {
            message.notify(NotifyType::MultipleAuthSupported);
        }
        message.notify(NotifyType::EapOnlyAuthentication);
        message.notify(NotifyType::Ikev2MessageIdSyncSupported);
    }

    /// A round of ours is sent; says whether there is another one.
    fn finish_round(
        &mut self,
        sa: &mut IkeSa,
        env: &Env<'_>,
        message: &mut Outgoing,
        config: &PeerConfig,
        signed: Signed,
    ) -> Result<(), Failure> {
        message.push(signed.auth);
        if let Some(identity) = ppk::identity(sa) {
            message.push(identity);
        }
        if let Some(data) = signed.without_ppk {
            message.push(Notify::with_data(NotifyType::NoPpkAuth, &data));
        }
        self.confirms_ppk = self.sent == 0;
        self.sent = self.sent.saturating_add(1);
        if self.sent < config.local.len() {
            announce_another(sa, env, message).ok_or(Failure::Failed)?;
        }
        Ok(())
    }

    /// The next packet of an EAP round, or the AUTH payload at its end.
    fn continue_eap(&mut self, sa: &mut IkeSa, env: &Env<'_>, message: &mut Outgoing, config: &PeerConfig) -> Step {
        let Some(eap) = &mut self.eap else { return Ok(Progress::More) };
        if let Some(packet) = eap.take_packet() {
            message.push(packet);
            return Ok(Progress::More);
        }
        if self.sent == 0 && ppk::offer(sa, env, config).is_err() {
            explain::auth::no_ppk(sa, env, None);
            return Err(Failure::Failed);
        }
        let Some(signed) = eap.sign(sa) else {
            sa.alert(Alert::LocalAuthFailed);
            return Err(Failure::Failed);
        };
        self.finish_round(sa, env, message, config, signed)?;
        Ok(Progress::More)
    }

    /// What the peer's message says about itself.
    fn read(&mut self, sa: &mut IkeSa, env: &Env<'_>, config: &PeerConfig, incoming: &Incoming) -> Option<()> {
        let message = &incoming.message;
        if message.has_notify(NotifyType::Ikev2MessageIdSyncSupported) {
            sa.extensions |= Extensions::MESSAGE_ID_SYNC;
        }
        let talking = self.eap.as_ref().map(EapClient::is_talking);
        match talking {
            // our AUTH of an EAP round is answered by one that is made with the same key
            Some(false) => self.verify_eap_peer(sa, env, config, incoming),
            // the first response without AUTH: EAP has to authenticate the peer as well (RFC 5998)
            Some(true) if message.auth().is_none() && self.verified.is_empty() && self.peer_id.is_none() => {
                self.expect_mutual_eap(sa, config, incoming)
            }
            Some(true) if message.auth().is_none() => Some(()),
            _ if self.peer_done => Some(()),
            _ => self.verify_peer(sa, env, config, incoming),
        }
    }

    fn expect_mutual_eap(&mut self, sa: &mut IkeSa, config: &PeerConfig, incoming: &Incoming) -> Option<()> {
        let Some(id) = incoming.message.id_r().cloned() else {
            log!(IKE, 1, "IDr payload missing");
            return None;
        };
        let required = config.remote.first()?;
        if !matches!(required.class, AuthClass::Eap(_) | AuthClass::Any) {
            log!(IKE, 1, "AUTH payload missing");
            return None;
        }
        let other = id.identity();
        if let Some(wanted) = required.id.as_ref().filter(|wanted| !other.matches(wanted).is_match()) {
            let error = ConstraintError::Identity { wanted: wanted.clone(), used: other };
            log!(CFG, 1, "{error}");
            return None;
        }
        sa.remote_id = Some(other);
        self.peer_id = Some(id);
        self.eap.as_mut()?.require_mutual();
        Some(())
    }

    fn verify_eap_peer(
        &mut self,
        sa: &mut IkeSa,
        env: &Env<'_>,
        config: &PeerConfig,
        incoming: &Incoming,
    ) -> Option<()> {
        let message = &incoming.message;
        let Some(auth) = message.auth() else {
            log!(IKE, 1, "AUTH payload missing");
            return None;
        };
        let other = self.peer_id.clone()?;
        if std::mem::take(&mut self.confirms_ppk) && ppk::confirmed(sa, message, config).is_err() {
            explain::auth::no_ppk(sa, env, None);
            return None;
        }
        let round = self.eap.take()?.verify(sa, &other, auth)?;
        ppk::apply(sa)?;
        let Some(round) = round else { return Some(()) };
        if let Some(required) = config.remote.get(self.verified.len())
            && !complies(&round, required)
        {
            return None;
        }
        add_verified(&mut self.verified, round)?;
        self.peer_done = !message.has_notify(NotifyType::AnotherAuthFollows);
        Some(())
    }

    /// The peer's packet in an EAP round of ours. By now the peer has authenticated itself, or has to do so within EAP.
    fn converse(
        &mut self,
        sa: &IkeSa,
        env: &mut Env<'_>,
        config: &PeerConfig,
        message: &Message,
    ) -> Result<(), Refusal> {
        let Some(eap) = self.eap.as_mut().filter(|eap| eap.is_talking()) else { return Ok(()) };
        let Some(packet) = message.eap() else {
            log!(IKE, 1, "EAP payload missing");
            return Err(Refusal::Ours);
        };
        let rounds = config.local.get(self.sent).zip(config.remote.first());
        let (Some((local, remote)), Some(responder)) = (rounds, sa.remote_id.as_ref()) else {
            return Err(Refusal::Ours);
        };
        eap.process(env, (local, remote), responder, packet)
    }

    /// Reads identity and AUTH of the peer's round.
    fn verify_peer(&mut self, sa: &mut IkeSa, env: &Env<'_>, config: &PeerConfig, incoming: &Incoming) -> Option<()> {
        let message = &incoming.message;
        if let Some(id) = message.id_r() {
            self.peer_id = Some(id.clone());
        }
        let Some(id) = self.peer_id.clone() else {
            log!(IKE, 1, "IDr payload missing");
            return None;
        };
        let Some(auth) = message.auth() else {
            log!(IKE, 1, "AUTH payload missing");
            return None;
        };
        let me = sa.local_id.clone()?;
        if std::mem::take(&mut self.confirms_ppk) && ppk::confirmed(sa, message, config).is_err() {
            explain::auth::no_ppk(sa, env, None);
            return None;
        }
        let round = match verify(sa, env, &me, &id, auth) {
            Ok(round) => round,
            Err(error) => {
                let index = self.verified.len();
                explain::auth::not_proven(sa, env, index, (&me, &id.identity()), auth.method, &error);
                return None;
            }
        };
        ppk::apply(sa)?;
        sa.remote_id = Some(round.identity().clone());
        // the constraints of this round count before our next one reveals anything
        if let Some(required) = config.remote.get(self.verified.len())
            && !complies(&round, required)
        {
            self.verified.push(round);
            explain::auth::not_compliant(sa, env, Some(&me), &self.verified);
            return None;
        }
        add_verified(&mut self.verified, round)?;
        self.peer_done = !message.has_notify(NotifyType::AnotherAuthFollows);
        Some(())
    }

    /// Every configured round of the peer took place.
    fn satisfies(&self, config: &PeerConfig) -> bool {
        let enough = self.verified.len() >= config.remote.len();
        if !enough {
            log!(CFG, 1, "selected peer config '{}' unacceptable: insufficient authentication rounds", config.name);
        }
        enough
    }
}

/// Errors that concern the CHILD_SA only (spec §5.3).
pub(in crate::v2::tasks) fn concerns_child(kind: NotifyType) -> bool {
    matches!(
        kind,
        NotifyType::NoProposalChosen
            | NotifyType::SinglePairRequired
            | NotifyType::NoAdditionalSas
            | NotifyType::InternalAddressFailure
            | NotifyType::FailedCpRequired
            | NotifyType::TsUnacceptable
            | NotifyType::InvalidSelectors
    )
}
