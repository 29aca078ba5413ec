//! IKE_SA_INIT (RFC 7296 §1.2): algorithms, key exchange, nonces, and the capabilities announced along with them.

use std::sync::Arc;

use strongswan::credentials::{HashAlgorithm, SecretKind};
use strongswan::crypto::{KeyExchange, KeyExchangeMethod, Proposal, Secret, TransformType, ke};
use strongswan::log;

use super::intermediate;
use super::proposals::{Choice, choose, feasible, offered};
use crate::config::{Childless, Fragmentation, IkeConfig};
use crate::env::Env;
use crate::output::Alert;
use crate::sa::{Connection, Extensions, IkeKeys, IkeSa, IkeSaState, IkeSeed};
use crate::snapshot::Algorithms;
use crate::task::TaskType;
use crate::v2::explain;
use crate::v2::task::{Failure, Incoming, Outgoing, Progress, Step, Task, Veto};
use crate::wire::{ExchangeType, Ke, Nonce, Notify, NotifyType, Sa, SpiField};

/// How often IKE_SA_INIT is started over because of COOKIE or INVALID_KE_PAYLOAD.
const MAX_RETRIES: u8 = 5;

/// The side that sends the request.
#[derive(Debug, Default)]
pub(crate) struct InitInitiator {
    nonce: Option<Nonce>,
    ke: Option<KeyExchange>,
    /// The method the responder asked for.
    requested: Option<KeyExchangeMethod>,
    cookie: Option<Vec<u8>>,
    retries: u8,
    /// We announced that we let ourselves be redirected.
    follows_redirects: bool,
    proposals: Vec<Proposal>,
    /// IKE_SA_INIT is over, additional key exchanges follow.
    intermediate: bool,
}

impl Task for InitInitiator {
    fn kind(&self) -> TaskType {
        TaskType::IkeInit
    }

    fn exchange(&self) -> Option<ExchangeType> {
        Some(if self.intermediate { ExchangeType::IkeIntermediate } else { ExchangeType::IkeSaInit })
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        if self.intermediate {
            self.ke = Some(intermediate::offer(sa, message)?);
            return Ok(Progress::More);
        }
        let Some(config) = sa.ike_config().cloned() else { return Err(Failure::Failed) };
        sa.float_source(env);
        log!(IKE, 0, "initiating IKE_SA {} to {}", sa.label(), sa.remote.ip());
        sa.set_state(IkeSaState::Connecting);
        if self.retries >= MAX_RETRIES {
            log!(IKE, 1, "giving up after {MAX_RETRIES} retries");
            return Err(Failure::Failed);
        }
        self.proposals = offered(&config.proposals);
        let configured = self.proposals.iter().find_map(Proposal::key_exchange);
        let Some(method) = self.requested.or(configured) else {
            log!(IKE, 1, "no key exchange method configured");
            return Err(Failure::Failed);
        };
        Proposal::promote_key_exchange_in(&mut self.proposals, method);
        if self.ke.as_ref().map(KeyExchange::method) != Some(method) {
            self.ke = KeyExchange::generate(method).ok();
        }
        let Some(ke) = &self.ke else {
            log!(IKE, 1, "configured key exchange method {method} not supported");
            return Err(Failure::Failed);
        };
        let nonce = self.nonce.get_or_insert_with(|| Nonce::generate(env.rng)).clone();
        if let Some(cookie) = &self.cookie {
            message.push(Notify::with_data(NotifyType::Cookie, cookie));
        }
        message.push(Sa::offer(self.proposals.iter().cloned(), SpiField::NONE));
        message.push(Ke { method, data: ke.public_value().to_vec() });
        message.push(nonce.clone());
        if config.fragmentation != Fragmentation::No {
            message.notify(NotifyType::FragmentationSupported);
        }
        if self.proposals.iter().any(|proposal| proposal.additional_key_exchanges().next().is_some()) {
            message.notify(NotifyType::IntermediateExchangeSupported);
        }
        if env.settings.signature_authentication {
            message.push(signature_hashes(sa));
        }
        self.follows_redirects = env.settings.follow_redirects;
        if self.follows_redirects {
            message.push(match sa.redirected_from() {
                Some(gateway) => Notify::redirected_from(gateway),
                None => Notify::new(NotifyType::RedirectSupported),
            });
        }
        if may_use_ppk(sa, env) {
            message.notify(NotifyType::UsePpk);
        }
        if let Some(handshake) = sa.handshake() {
            handshake.own_nonce = Some(nonce);
        }
        Ok(Progress::More)
    }

    fn pre_process(&mut self, _sa: &mut IkeSa, incoming: &Incoming) -> Result<(), Veto> {
        let cookie = incoming.message.notify(NotifyType::Cookie).map(|notify| notify.data.as_slice());
        if cookie.is_some() && cookie == self.cookie.as_deref() {
            log!(IKE, 1, "ignore response with duplicate COOKIE notify");
            return Err(Veto);
        }
        // RFC 5685 §5: whoever did not see our nonce is not the gateway
        if let Some(notify) = incoming.message.notify(NotifyType::Redirect) {
            let nonce = self.nonce.as_ref().map(Nonce::as_bytes);
            if !self.follows_redirects || notify.gateway().map(|(_, nonce)| nonce) != nonce {
                log!(IKE, 1, "ignore response with invalid REDIRECT notify");
                return Err(Veto);
            }
        }
        Ok(())
    }

    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, incoming: &Incoming) -> Step {
        let message = &incoming.message;
        if self.intermediate {
            return intermediate::complete(sa, self.ke.take(), incoming);
        }
        if let Some(notify) = message.notify(NotifyType::Cookie) {
            self.cookie = Some(notify.data.to_vec());
            self.retries = self.retries.saturating_add(1);
            return Ok(Progress::Restart);
        }
        if let Some(notify) = message.notify(NotifyType::InvalidKePayload) {
            return self.retry(sa, env, notify);
        }
        if let Some((gateway, _)) = message.notify(NotifyType::Redirect).and_then(Notify::gateway) {
            return match sa.redirect_to(env, gateway) {
                Ok(()) => Ok(Progress::Restart),
                Err(_) => Err(Failure::Failed),
            };
        }
        if let Some(notify) = message.error_notify() {
            log!(IKE, 1, "received {} notify error", notify.kind);
            explain::init::refused(sa, env, notify.kind);
            return Err(Failure::Failed);
        }
        announced(sa, env, incoming);
        let childless = sa.ike_config().map_or(Childless::Allow, |config| config.childless);
        if childless == Childless::Force && !sa.extensions.contains(Extensions::CHILDLESS) {
            log!(IKE, 1, "peer does not support childless IKE_SA initiation");
            explain::init::not_childless(sa, env);
            return Err(Failure::Failed);
        }
        let (Some(payload), Some(ke), Some(nonce), Some(responder)) =
            (message.sa(), message.ke(), message.nonce(), message.header.responder_spi)
        else {
            log!(IKE, 1, "IKE_SA_INIT response incomplete");
            return Err(Failure::Failed);
        };
        let Some(Choice { proposal, .. }) = choose(sa, env, &self.proposals, payload, false) else {
            log!(IKE, 1, "received proposals unacceptable");
            explain::init::answered(sa, env, payload);
            sa.alert(Alert::ProposalMismatchIke);
            return Err(Failure::Failed);
        };
        let Some(own) = self.ke.take_if(|own| own.method() == ke.method && proposal.key_exchange() == Some(ke.method))
        else {
            log!(IKE, 1, "received KE payload does not match the selected key exchange method");
            return Err(Failure::Failed);
        };
        let shared = match own.agree(&ke.data) {
            Ok(shared) => shared,
            Err(error) => {
                log!(IKE, 1, "key exchange failed: {error}");
                return Err(Failure::Failed);
            }
        };
        sa.id.responder = Some(responder);
        if let Some(handshake) = sa.handshake() {
            handshake.init_received.clone_from(&incoming.datagram);
            handshake.peer_nonce = Some(nonce.clone());
        }
        derive_keys(sa, &proposal, &shared)?;
        self.intermediate = true;
        intermediate::prepare(sa, &proposal)
    }
}

impl InitInitiator {
    /// INVALID_KE_PAYLOAD: the responder wants another method, which must be one we offered.
    fn retry(&mut self, sa: &mut IkeSa, env: &Env<'_>, notify: &Notify) -> Step {
        let used = self.proposals.iter().find_map(Proposal::key_exchange);
        let (Some(used), Some(requested)) = (used, notify.requested_ke()) else {
            log!(IKE, 1, "received {} notify error", notify.kind);
            return Err(Failure::Failed);
        };
        log!(IKE, 1, "peer didn't accept key exchange method {used}, it requested {requested}");
        // anyone can send this: it must not talk us into something that is not configured
        if !self.proposals.iter().any(|proposal| proposal.contains(TransformType::KeyExchange, requested)) {
            explain::init::other_method(sa, env, requested);
            return Err(Failure::Failed);
        }
        self.requested = Some(requested);
        self.retries = self.retries.saturating_add(1);
        Ok(Progress::Restart)
    }
}

/// The side that answers.
#[derive(Debug, Default)]
pub(crate) struct InitResponder {
    choice: Option<(u8, Proposal)>,
    ke: Option<Ke>,
    nonce: Option<Nonce>,
    fragmentation: bool,
    answered: bool,
}

impl Task for InitResponder {
    fn kind(&self) -> TaskType {
        TaskType::IkeInit
    }

    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, incoming: &Incoming) -> Step {
        if incoming.message.header.exchange == ExchangeType::IkeIntermediate {
            self.ke = intermediate::read(sa, incoming)?;
            return Ok(Progress::More);
        }
        if self.answered {
            return Ok(Progress::Done);
        }
        log!(IKE, 0, "{} is initiating IKE_SA {}", incoming.remote.ip(), sa.label());
        sa.set_state(IkeSaState::Connecting);
        let message = &incoming.message;
        self.fragmentation = message.has_notify(NotifyType::FragmentationSupported);
        announced(sa, env, incoming);
        self.ke = message.ke().cloned();
        self.nonce = message.nonce().cloned();
        self.choice = message.sa().and_then(|payload| select_with_fallback(sa, env, incoming, payload));
        if let (None, Some(payload)) = (&self.choice, message.sa()) {
            explain::init::no_proposal(sa, env, incoming.local, incoming.remote, payload);
        }
        if let Some(handshake) = sa.handshake() {
            handshake.init_received.clone_from(&incoming.datagram);
        }
        Ok(Progress::More)
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        if message.exchange() == ExchangeType::IkeIntermediate {
            return intermediate::answer(sa, self.ke.take(), message);
        }
        if self.answered {
            return Ok(Progress::Done);
        }
        self.answered = true;
        let (Some((number, proposal)), Some(ke), Some(peer_nonce)) =
            (self.choice.take(), self.ke.take(), self.nonce.take())
        else {
            log!(IKE, 1, "received proposals unacceptable");
            sa.alert(Alert::ProposalMismatchIke);
            message.notify(NotifyType::NoProposalChosen);
            return Err(Failure::Failed);
        };
        let Some(method) = proposal.key_exchange().filter(|method| ke::is_supported(*method)) else {
            message.notify(NotifyType::NoProposalChosen);
            return Err(Failure::Failed);
        };
        if method != ke.method {
            log!(IKE, 1, "key exchange method {} unacceptable, requesting {method}", ke.method);
            message.push(Notify::invalid_ke(method));
            return Err(Failure::Failed);
        }
        let Ok(more) = intermediate::prepare(sa, &proposal) else {
            message.notify(NotifyType::NoProposalChosen);
            return Err(Failure::Failed);
        };
        let Ok((public, shared)) = ke::respond(method, &ke.data) else {
            log!(IKE, 1, "applying received public value of {method} failed");
            message.notify(NotifyType::NoProposalChosen);
            return Err(Failure::Failed);
        };
        let nonce = Nonce::generate(env.rng);
        if let Some(handshake) = sa.handshake() {
            handshake.own_nonce = Some(nonce.clone());
            handshake.peer_nonce = Some(peer_nonce);
        }
        derive_keys(sa, &proposal, &shared)?;
        message.push(Sa::choice(number, proposal, SpiField::NONE));
        message.push(Ke { method, data: public });
        message.push(nonce);
        let config = sa.ike_config().cloned();
        if self.fragmentation && config.as_ref().is_some_and(|c| c.fragmentation != Fragmentation::No) {
            message.notify(NotifyType::FragmentationSupported);
        }
        if more == Progress::More {
            message.notify(NotifyType::IntermediateExchangeSupported);
        }
        // announced only to peers that announced theirs
        if sa.handshake().is_some_and(|handshake| handshake.peer_hashes.is_some()) {
            message.push(signature_hashes(sa));
        }
        if config.is_some_and(|c| c.childless != Childless::Never) {
            message.notify(NotifyType::ChildlessIkev2Supported);
        }
        if env.settings.multiple_authentication {
            message.notify(NotifyType::MultipleAuthSupported);
        }
        if sa.extensions.contains(Extensions::PPK) {
            message.notify(NotifyType::UsePpk);
        }
        Ok(Progress::More)
    }
}

/// The responder's choice; if nothing fits, the next configurations for these addresses are tried.
fn select_with_fallback(sa: &mut IkeSa, env: &Env<'_>, incoming: &Incoming, payload: &Sa) -> Option<(u8, Proposal)> {
    let current = sa.ike_config().cloned()?;
    let others = env.config.ike_configs(incoming.local, incoming.remote, 2);
    let mut tried: Vec<Arc<IkeConfig>> = Vec::new();
    for config in std::iter::once(current).chain(others) {
        // connections mostly share their proposals; anybody's first datagram must not cost a selection for each of them
        if tried.iter().any(|earlier| earlier.proposals == config.proposals) {
            continue;
        }
        if !tried.is_empty() {
            log!(IKE, 1, "no matching proposal found, trying alternative config");
        }
        let configured = feasible(&config.proposals);
        if let Some(Choice { proposal, offered }) = choose(sa, env, &configured, payload, false) {
            sa.connection = Connection::Ike(config);
            return Some((offered.number, proposal));
        }
        tried.push(config);
    }
    None
}

/// Hash algorithms we accept in signatures: those of the peer's configured schemes, else all.
fn signature_hashes(sa: &IkeSa) -> Notify {
    let rounds = sa.config().map(|config| config.remote.as_slice()).unwrap_or_default();
    let mut hashes: Vec<HashAlgorithm> = Vec::new();
    for scheme in rounds.iter().flat_map(|round| &round.constraints.ike_schemes) {
        if !hashes.contains(&scheme.hash()) {
            hashes.push(scheme.hash());
        }
    }
    if hashes.is_empty() {
        hashes.extend(HashAlgorithm::ANNOUNCED);
    }
    Notify::signature_hashes(hashes.into_iter().map(u16::from))
}

/// Remembers what the peer says it can do.
fn announced(sa: &mut IkeSa, env: &Env<'_>, incoming: &Incoming) {
    let fragmentation = sa.ike_config().is_some_and(|config| config.fragmentation != Fragmentation::No);
    for notify in incoming.message.notifies() {
        match notify.kind {
            NotifyType::FragmentationSupported if fragmentation => sa.extensions |= Extensions::FRAGMENTATION,
            NotifyType::SignatureHashAlgorithms if env.settings.signature_authentication => {
                let known = |hash: &HashAlgorithm| !matches!(hash, HashAlgorithm::Unknown(_));
                let hashes: Vec<_> = notify.hash_algorithms().map(HashAlgorithm::from).filter(known).collect();
                if let Some(handshake) = sa.handshake().filter(|_| !hashes.is_empty()) {
                    handshake.peer_hashes = Some(hashes);
                }
            }
            NotifyType::IntermediateExchangeSupported => sa.extensions |= Extensions::INTERMEDIATE,
            NotifyType::ChildlessIkev2Supported => sa.extensions |= Extensions::CHILDLESS,
            NotifyType::MultipleAuthSupported => sa.extensions |= Extensions::MULTIPLE_AUTH,
            NotifyType::RedirectSupported => sa.extensions |= Extensions::REDIRECTION,
            NotifyType::RedirectedFrom => {
                sa.extensions |= Extensions::REDIRECTION;
                if let Some((gateway, _)) = notify.gateway() {
                    log!(IKE, 1, "client got redirected from {gateway}");
                    sa.note_redirected_from(gateway);
                }
            }
            NotifyType::UsePpk if may_use_ppk(sa, env) => sa.extensions |= Extensions::PPK,
            _ => {}
        }
    }
}

/// Whether we are able to use a post-quantum pre-shared key (RFC 8784 §3). Which one is not known before IKE_AUTH.
fn may_use_ppk(sa: &IkeSa, env: &Env<'_>) -> bool {
    match sa.id.role {
        crate::Role::Initiator => sa.config().is_some_and(|config| config.ppk_id.is_some()),
        crate::Role::Responder => env.credentials.has_secret(SecretKind::Ppk),
    }
}

/// Derives the IKE_SA's keys from what is known now.
fn derive_keys(sa: &mut IkeSa, proposal: &Proposal, shared: &Secret) -> Result<(), Failure> {
    let initiator = sa.id.role == crate::Role::Initiator;
    let (spi_i, spi_r) = (sa.id.initiator, sa.id.responder.ok_or(Failure::Failed)?);
    let handshake = sa.handshake().ok_or(Failure::Failed)?;
    let own = handshake.own_nonce.as_ref().ok_or(Failure::Failed)?;
    let peer = handshake.peer_nonce.as_ref().ok_or(Failure::Failed)?;
    let (ni, nr) = if initiator { (own, peer) } else { (peer, own) };
    let algorithms = Algorithms::from(proposal);
    let seed = IkeSeed {
        algorithms: &algorithms,
        ni: ni.as_bytes(),
        nr: nr.as_bytes(),
        spi_i,
        spi_r,
        shared,
        additional: &[],
        initiator,
    };
    match IkeKeys::derive(&seed) {
        Ok((keys, auth_keys)) => {
            handshake.keys = Some(auth_keys);
            sa.keys = Some(Box::new(keys));
            sa.algorithms = Some(algorithms);
            Ok(())
        }
        Err(error) => {
            log!(IKE, 1, "key derivation failed: {error}");
            Err(Failure::Failed)
        }
    }
}
