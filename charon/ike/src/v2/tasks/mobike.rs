//! MOBIKE (RFC 4555): the announcement in IKE_AUTH, and the INFORMATIONAL exchanges by which peers check paths, move and
//! tell each other their addresses (spec §9.3).

use std::net::{IpAddr, SocketAddr};

use smallvec::SmallVec;
use strongswan::log;

use super::natd::{add_hashes, read_hashes};
use crate::env::Env;
use crate::sa::{Conditions, IkeSa, IkeSaState, Path, Wants, is_host};
use crate::task::TaskType;
use crate::v2::task::{Failure, Incoming, Outgoing, Progress, Step, Task};
use crate::wire::{ExchangeType, Message, Notify, NotifyType};

/// Length of our COOKIE2.
const COOKIE_LEN: usize = 16;

/// Whether the connection allows MOBIKE.
fn is_enabled(sa: &IkeSa) -> bool {
    sa.config().is_some_and(|config| config.mobike)
}

/// Tells the peer our addresses besides the one in use.
fn add_addresses(sa: &mut IkeSa, env: &Env<'_>, message: &mut Outgoing) {
    let addresses = sa.additional_addresses(env);
    if addresses.is_empty() {
        message.notify(NotifyType::NoAdditionalAddresses);
    }
    addresses.iter().for_each(|address| message.push(Notify::additional_address(*address)));
    sa.announce(addresses);
}

/// Reads the peer's addresses besides the one in use; false if the message does not list them.
fn read_addresses(sa: &mut IkeSa, message: &Message) -> bool {
    let listed = message.has_notify(NotifyType::NoAdditionalAddresses)
        || message.notifies().any(|notify| notify.address().is_some());
    if listed {
        sa.set_peer_addresses(message.notifies().filter_map(Notify::address));
    }
    listed
}

/// Announces MOBIKE in IKE_AUTH, either role.
#[derive(Debug, Default)]
pub(crate) struct MobikeAuth {
    /// The first IKE_AUTH message was built.
    offered: bool,
    /// The peer supports it.
    supported: bool,
    /// The peer's addresses.
    addresses: Vec<IpAddr>,
}

impl MobikeAuth {
    fn read(&mut self, message: &Message) {
        if message.has_notify(NotifyType::MobikeSupported) {
            self.supported = true;
            self.addresses = message.notifies().filter_map(Notify::address).collect();
        }
    }

    /// Both sides are authenticated: it is in use if both want it.
    fn conclude(&self, sa: &mut IkeSa) {
        if !self.supported {
            return;
        }
        if is_enabled(sa) {
            log!(IKE, 1, "peer supports MOBIKE");
            sa.enable_mobike();
            sa.set_peer_addresses(self.addresses.iter().copied());
        } else {
            log!(IKE, 1, "peer supports MOBIKE, but disabled in config");
        }
    }
}

impl Task for MobikeAuth {
    fn kind(&self) -> TaskType {
        TaskType::IkeMobike
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        if message.exchange() != ExchangeType::IkeAuth {
            return Ok(Progress::More);
        }
        match sa.id.role {
            crate::Role::Initiator => {
                if !self.offered && is_enabled(sa) {
                    message.notify(NotifyType::MobikeSupported);
                    add_addresses(sa, env, message);
                }
                self.offered = true;
                Ok(Progress::More)
            }
            crate::Role::Responder if !sa.is_authenticated() => Ok(Progress::More),
            crate::Role::Responder => {
                self.conclude(sa);
                if sa.uses_mobike() {
                    message.notify(NotifyType::MobikeSupported);
                    add_addresses(sa, env, message);
                }
                Ok(Progress::Done)
            }
        }
    }

    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, incoming: &Incoming) -> Step {
        if incoming.message.header.exchange != ExchangeType::IkeAuth {
            return Ok(Progress::More);
        }
        self.read(&incoming.message);
        if sa.id.role == crate::Role::Responder || !sa.is_authenticated() {
            return Ok(Progress::More);
        }
        self.conclude(sa);
        if sa.uses_mobike() {
            // of what the peer was told in the first message
            let announced = sa.additional_addresses(env);
            sa.announce(announced);
            if sa.conditions.contains(Conditions::NAT_FAKE) && !sa.forces_encap(env) {
                // by now the address is known that was not when NATs were looked for
                sa.want(env, Wants::NATD);
            }
        }
        Ok(Progress::Done)
    }

    fn reset(&mut self, _sa: &mut IkeSa, _env: &mut Env<'_>) {
        *self = Self::default();
    }
}

/// Asks for an answer over one path or all, tells addresses, moves.
#[derive(Debug, Default)]
pub(crate) struct MobikeInitiator {
    wants: Wants,
    /// The path in use when the request was built.
    path: Option<Path>,
    cookie: Option<[u8; COOKIE_LEN]>,
}

impl MobikeInitiator {
    /// Reads what the peer says about NATs on the path.
    fn read_nat(&self, sa: &mut IkeSa, env: &mut Env<'_>, incoming: &Incoming) {
        let seen = incoming.message.notifies().find(|notify| notify.kind == NotifyType::NatDetectionDestinationIp);
        let changed = seen.and_then(Notify::nat_detection_hash).is_some_and(|mapping| sa.learn_mapping(mapping));
        read_hashes(sa, env, incoming);
        sa.update_children(env);
        if changed && !self.wants.contains(Wants::UPDATE) {
            log!(IKE, 1, "detected changes in NAT mappings, initiating MOBIKE update");
            sa.want(env, Wants::UPDATE);
        }
    }

    /// Whether the peer returned our cookie: it really got the request.
    fn is_answered(&self, incoming: &Incoming) -> bool {
        let returned = incoming.message.notify(NotifyType::Cookie2).map(|notify| notify.data.as_slice());
        self.cookie.as_ref().is_none_or(|cookie| returned == Some(cookie.as_slice()))
    }
}

impl Task for MobikeInitiator {
    fn kind(&self) -> TaskType {
        TaskType::IkeMobike
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        self.wants = sa.take_wants(env);
        if self.wants.is_empty() {
            message.cancelled = true;
            return Ok(Progress::Done);
        }
        self.path = Some(sa.path());
        if self.wants.contains(Wants::LIST) {
            add_addresses(sa, env, message);
        }
        if self.wants.contains(Wants::UPDATE) {
            message.notify(NotifyType::UpdateSaAddresses);
            let mut cookie = [0; COOKIE_LEN];
            env.rng.fill(&mut cookie);
            message.push(Notify::with_data(NotifyType::Cookie2, &cookie));
            self.cookie = Some(cookie);
        }
        if self.wants.intersects(Wants::UPDATE | Wants::NATD) {
            add_hashes(sa, env, message);
        }
        Ok(Progress::More)
    }

    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, incoming: &Incoming) -> Step {
        if !matches!(sa.state(), IkeSaState::Established | IkeSaState::Rekeying) {
            // an IKE_SA that was rekeyed meanwhile; its successor does it
            return Ok(Progress::Done);
        }
        let refusal = [NotifyType::UnacceptableAddresses, NotifyType::UnexpectedNatDetected];
        let refusal = refusal.into_iter().find(|kind| incoming.message.has_notify(*kind));
        if refusal.is_none() && !self.is_answered(incoming) {
            log!(IKE, 1, "COOKIE2 mismatch, closing IKE_SA");
            return Err(Failure::Failed);
        }
        // what was asked may be about another path than the one that answered
        let current = sa.end_of_exchange(self.path);
        if let (Some(kind), Some(path)) = (refusal, self.path) {
            log!(IKE, 1, "received {kind} notify, trying another path");
            sa.path_refused(env, path);
        } else if current {
            self.read_nat(sa, env, incoming);
        }
        Ok(Progress::Done)
    }
}

/// Answers path checks, notes the peer's addresses, follows the peer.
#[derive(Debug, Default)]
pub(crate) struct MobikeResponder {
    cookie: Option<SmallVec<[u8; 24]>>,
    nat: bool,
    refusal: Option<NotifyType>,
    path: Option<Path>,
}

/// Whether a message came unchanged from and to the addresses it names (RFC 4555 §4.2.5).
fn has_no_nat(notify: &Notify, incoming: &Incoming) -> bool {
    let octets = |host: SocketAddr| match host.ip() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let (source, destination) = (incoming.remote, incoming.local);
    let mut expected = octets(source);
    expected.extend(octets(destination));
    expected.extend(source.port().to_be_bytes());
    expected.extend(destination.port().to_be_bytes());
    notify.data.as_slice() == expected
}

impl MobikeResponder {
    /// Why the peer may not move to where it sent this from.
    fn refusal(incoming: &Incoming) -> Option<NotifyType> {
        if incoming.message.notify(NotifyType::NoNatsAllowed).is_some_and(|notify| !has_no_nat(notify, incoming)) {
            return Some(NotifyType::UnexpectedNatDetected);
        }
        let remote = incoming.remote;
        let unusable = !is_host(&remote.ip()) || remote.port() == 0;
        unusable.then_some(NotifyType::UnacceptableAddresses)
    }

    fn follow(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, incoming: &Incoming) {
        if sa.conditions.contains(Conditions::ORIGINAL_INITIATOR) {
            log!(IKE, 1, "ignoring {} of a responder", NotifyType::UpdateSaAddresses);
            return;
        }
        self.refusal = Self::refusal(incoming);
        match self.refusal {
            Some(kind) => log!(IKE, 1, "refusing to change addresses, sending {kind}"),
            None => sa.moved_by_peer(env, incoming.path()),
        }
    }
}

impl Task for MobikeResponder {
    fn kind(&self) -> TaskType {
        TaskType::IkeMobike
    }

    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, incoming: &Incoming) -> Step {
        let message = &incoming.message;
        self.cookie = message.notify(NotifyType::Cookie2).map(|notify| notify.data.clone());
        self.nat = message.has_notify(NotifyType::NatDetectionSourceIp)
            && message.has_notify(NotifyType::NatDetectionDestinationIp);
        self.path = Some(incoming.path());
        if !sa.uses_mobike() || sa.state() == IkeSaState::Rekeyed {
            return Ok(Progress::More);
        }
        let listed = read_addresses(sa, message);
        if message.has_notify(NotifyType::UpdateSaAddresses) {
            self.follow(sa, env, incoming);
        } else if listed
            && sa.conditions.contains(Conditions::ORIGINAL_INITIATOR)
            && (incoming.local.ip(), incoming.remote.ip()) != (sa.local.ip(), sa.remote.ip())
        {
            sa.peer_moved(env, incoming.remote.ip());
        }
        if self.nat && incoming.path() == sa.path() {
            read_hashes(sa, env, incoming);
            sa.update_children(env);
        }
        Ok(Progress::More)
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        if let Some(kind) = self.refusal {
            message.notify(kind);
        }
        if let (true, Some(path)) = (self.nat, self.path) {
            super::natd::add_hashes_for(sa, env, message, path);
        }
        if let Some(cookie) = self.cookie.take() {
            message.push(Notify::with_data(NotifyType::Cookie2, &cookie));
        }
        Ok(Progress::Done)
    }
}
