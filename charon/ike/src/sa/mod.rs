//! [`IkeSa`] and what it consists of: its state, keys, timers and CHILD_SAs. The exchanges that change them are in
//! [`v2`](crate::v2).

mod assigned;
mod auth_lifetime;
mod child;
mod children;
mod drain;
mod flags;
mod handshake;
mod install;
mod intermediate;
mod keys;
mod lifecycle;
mod mobility;
mod path;
mod redirect;
mod restart;
mod roam;
mod state;
mod timeout;
mod timers;
mod withdraw;

pub use state::{ChildSaState, IkeSaState};

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use strongswan::clock::MonoTime;
use strongswan::identity::Identity;

use crate::config::{IkeConfig, IkeVersion, PeerConfig};
use crate::eap::Answer;
use crate::env::Env;
use crate::ids::{IkeSpi, UniqueId};
use crate::input::Input;
use crate::output::{Alert, Event, Output};
use crate::snapshot::{Algorithms, IkeSaSnapshot, NatSituation};
use crate::v2::{AuthVerified, Exchanges};

pub(crate) use assigned::{Assigned, DynamicHosts};
pub(crate) use child::{ChildSa, ChildTimer, Endpoints, Selectors, Tags};
pub(crate) use children::SpiText;
pub(crate) use flags::{Conditions, Extensions};
pub(crate) use handshake::Handshake;
pub(crate) use install::{InstallError, Interfaces};
pub(crate) use keys::{AuthKeys, IkeKeys, IkeSeed};
pub(crate) use lifecycle::{IdText, retry_delay};
pub(crate) use mobility::{Mobility, Path, Wants, is_host};
pub(crate) use path::Host;
pub(crate) use redirect::Redirects;
pub(crate) use timers::{Timer, Timers};

/// Which side of an IKE_SA we are: the one that sent its first message (or rekeyed it) or the one that answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Original initiator.
    Initiator,
    /// Original responder.
    Responder,
}

/// The SPIs of an IKE_SA and our role in it: its key in a manager's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IkeSaId {
    /// Our role.
    pub role: Role,
    /// The initiator's SPI.
    pub initiator: IkeSpi,
    /// The responder's SPI, once known.
    pub responder: Option<IkeSpi>,
}

impl IkeSaId {
    /// The SPI that we chose, by which messages find us. A responder without one does not exist.
    pub fn local(&self) -> Option<IkeSpi> {
        match self.role {
            Role::Initiator => Some(self.initiator),
            Role::Responder => self.responder,
        }
    }
}

/// How much of its configuration an IKE_SA knows.
#[derive(Debug, Clone)]
pub(crate) enum Connection {
    /// A responder before IKE_SA_INIT.
    Unknown,
    /// A responder before IKE_AUTH.
    Ike(Arc<IkeConfig>),
    /// Anyone else.
    Peer(Arc<PeerConfig>),
}

/// How far authentication is.
#[derive(Debug)]
pub(crate) enum Phase {
    /// IKE_SA_INIT and IKE_AUTH: everything that is needed until both sides are authenticated.
    Handshake(Box<Handshake>),
    /// Both are, and here is the proof.
    Authenticated(AuthVerified),
}

/// An IKE_SA.
///
/// Owned by whoever works on it; everything it needs comes in with [`handle`](Self::handle), everything it wants done
/// comes out of [`poll_output`](Self::poll_output).
pub struct IkeSa {
    unique_id: UniqueId,
    pub(crate) id: IkeSaId,
    state: IkeSaState,
    /// Our address, unspecified until known.
    pub(crate) local: SocketAddr,
    /// The peer's address, unspecified until known.
    pub(crate) remote: SocketAddr,
    pub(crate) connection: Connection,
    pub(crate) local_id: Option<Identity>,
    pub(crate) remote_id: Option<Identity>,
    /// The name the peer was authenticated by within EAP.
    pub(crate) remote_eap_id: Option<Identity>,
    pub(crate) extensions: Extensions,
    pub(crate) conditions: Conditions,
    pub(crate) algorithms: Option<Algorithms>,
    pub(crate) keys: Option<Box<IkeKeys>>,
    pub(crate) phase: Phase,
    /// XFRM interfaces of CHILD_SAs that have none of their own, once drawn.
    pub(crate) interfaces: Option<Interfaces>,
    pub(crate) children: Vec<ChildSa>,
    pub(crate) exchanges: Exchanges,
    pub(crate) timers: Timers,
    pub(crate) established_at: Option<MonoTime>,
    /// When a message of the peer was last accepted.
    pub(crate) last_inbound: MonoTime,
    /// When we last sent anything.
    pub(crate) last_outbound: MonoTime,
    pub(crate) keying_tries: u32,
    pub(crate) assigned: Option<Box<Assigned>>,
    /// What MOBIKE keeps, if it is in use.
    pub(crate) mobility: Option<Box<Mobility>>,
    /// Other gateways that we were sent to.
    pub(crate) redirects: Option<Box<Redirects>>,
    finished: bool,
    outputs: VecDeque<Output>,
}

impl IkeSa {
    /// An IKE_SA that we are going to initiate with [`Input::Initiate`].
    pub fn initiator(unique_id: UniqueId, spi: IkeSpi, config: Arc<PeerConfig>, now: MonoTime) -> Self {
        let id = IkeSaId { role: Role::Initiator, initiator: spi, responder: None };
        let mut sa = Self::new(unique_id, id, Connection::Peer(config), now);
        sa.conditions |= Conditions::ORIGINAL_INITIATOR;
        sa
    }

    /// An IKE_SA for an IKE_SA_INIT request with this initiator SPI; the request itself is the first input.
    pub fn responder(unique_id: UniqueId, initiator_spi: IkeSpi, spi: IkeSpi, now: MonoTime) -> Self {
        let id = IkeSaId { role: Role::Responder, initiator: initiator_spi, responder: Some(spi) };
        Self::new(unique_id, id, Connection::Unknown, now)
    }

    pub(crate) fn new(unique_id: UniqueId, id: IkeSaId, connection: Connection, now: MonoTime) -> Self {
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            unique_id,
            id,
            state: IkeSaState::Created,
            local: unspecified,
            remote: unspecified,
            connection,
            local_id: None,
            remote_id: None,
            remote_eap_id: None,
            extensions: Extensions::empty(),
            conditions: Conditions::empty(),
            algorithms: None,
            keys: None,
            phase: Phase::Handshake(Box::default()),
            interfaces: None,
            children: Vec::new(),
            exchanges: Exchanges::default(),
            timers: Timers::default(),
            established_at: None,
            last_inbound: now,
            last_outbound: now,
            keying_tries: 0,
            assigned: None,
            mobility: None,
            redirects: None,
            finished: false,
            outputs: VecDeque::new(),
        }
    }

    /// Addresses of both ends for an IKE_SA that has not been initiated, in place of those of its connection.
    pub fn set_hosts(&mut self, local: SocketAddr, remote: SocketAddr) {
        if self.state == IkeSaState::Created {
            (self.local, self.remote) = (local, remote);
        }
    }

    /// Reacts to what happened. Outputs and the next deadline change; drain and read them afterwards.
    ///
    /// After [`Output::Destroy`] every input is ignored.
    pub fn handle(&mut self, input: Input, env: &mut Env<'_>) {
        if self.finished {
            return;
        }
        match input {
            Input::Datagram { local, remote, data } => {
                self.receive(env, local, remote, data);
                // made for a request that was not even looked into, it would wait for another one for ever
                if self.id.role == Role::Responder && self.state == IkeSaState::Created {
                    self.destroy(env);
                }
            }
            Input::Timeout => self.on_timeout(env),
            Input::Initiate(child) => self.initiate(env, child),
            Input::Resolved(hosts) => self.resolved(env, hosts),
            Input::Aaa(answer) => self.resume(env, Answer::Aaa(answer)),
            Input::Inquired { number } => self.inquired(env, number),
            Input::TerminateIke { force } => self.terminate(env, force),
            Input::TerminateChild { child } => self.terminate_child(env, child),
            Input::Withdraw { children, close_ike } => self.withdraw(env, &children, close_ike),
            Input::RekeyIke => self.rekey(env),
            Input::ReauthIke => self.reauthenticate(env),
            Input::RekeyChild { child } => self.rekey_child(env, child),
            Input::ExpireChild { protocol, spi, hard } => self.expire_child(env, protocol, spi, hard),
            Input::MappingChanged { protocol, spi, remote } => self.mapping_changed(env, protocol, spi, remote),
            Input::Roam { address } => self.roam(env, address),
            Input::Replaced(action) => self.replaced(env, action),
            Input::AuthLifetime(lifetime) => self.set_auth_lifetime(env, lifetime),
            Input::Redirect(gateway) => self.redirect(env, gateway),
            Input::Shutdown => self.shutdown(env),
        }
        self.pursue_update(env);
        self.follow_redirect(env);
        self.start_exchange(env);
        self.rest();
    }

    /// Gives back what an IKE_SA needs only while messages go back and forth.
    fn rest(&mut self) {
        if matches!(self.phase, Phase::Authenticated(_)) && self.exchanges.is_idle() {
            if let Some(keys) = &mut self.keys {
                keys.rest();
            }
            self.exchanges.rest();
        }
    }

    /// The next thing to do for the caller, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if self.outputs.is_empty() {
            // at rest an IKE_SA should not hold on to the room a busy moment took
            self.outputs = VecDeque::new();
        }
        output
    }

    /// When to call [`handle`](Self::handle) with [`Input::Timeout`], unless something else happens before.
    pub fn next_timeout(&self) -> Option<MonoTime> {
        let children = self.children.iter().filter_map(ChildSa::due);
        self.timers.earliest().into_iter().chain(children).min().filter(|_| !self.finished)
    }

    /// Its number.
    pub fn unique_id(&self) -> UniqueId {
        self.unique_id
    }

    /// Its SPIs and our role.
    pub fn id(&self) -> IkeSaId {
        self.id
    }

    /// Its state.
    pub fn state(&self) -> IkeSaState {
        self.state
    }

    /// Our address.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The peer's address.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Our identity and the one that tells the peer from others, once both are authenticated.
    pub fn identities(&self) -> Option<(&Identity, &Identity)> {
        match &self.phase {
            Phase::Authenticated(_) => self.local_id.as_ref().zip(self.peer_id()),
            Phase::Handshake(_) => None,
        }
    }

    /// The identity that tells the peer from others: clients that do EAP often have the same one otherwise.
    pub(crate) fn peer_id(&self) -> Option<&Identity> {
        self.remote_eap_id.as_ref().or(self.remote_id.as_ref())
    }

    /// Its connection, once chosen.
    pub fn config(&self) -> Option<&Arc<PeerConfig>> {
        match &self.connection {
            Connection::Peer(config) => Some(config),
            Connection::Ike(_) | Connection::Unknown => None,
        }
    }

    /// Its connection's name, or `(unnamed)`.
    pub fn name(&self) -> &str {
        self.config().map_or("(unnamed)", |config| &*config.name)
    }

    /// Whether another initiation of an equal connection may use this IKE_SA.
    pub fn is_reusable(&self) -> bool {
        !self.finished
            && !self.conditions.contains(Conditions::REDIRECTED)
            && !self.is_redirect_pending()
            && !matches!(self.state, IkeSaState::Deleting | IkeSaState::Rekeyed | IkeSaState::Destroying)
            && !self.exchanges.is_delete_queued()
    }

    /// The state of the moment with all CHILD_SAs.
    pub fn snapshot(&self) -> IkeSaSnapshot {
        IkeSaSnapshot { children: self.children.iter().map(ChildSa::snapshot).collect(), ..self.summary() }
    }

    /// The state of the moment without CHILD_SAs.
    pub(crate) fn summary(&self) -> IkeSaSnapshot {
        let established = self.state == IkeSaState::Established;
        let timer = |timer| self.timers.get(timer).filter(|_| established);
        IkeSaSnapshot {
            unique_id: self.unique_id,
            config: self.config().cloned(),
            version: IkeVersion::V2,
            state: self.state,
            local: self.local,
            remote: self.remote,
            local_id: self.local_id.clone(),
            remote_id: self.remote_id.clone(),
            remote_eap_id: self.remote_eap_id.clone(),
            initiator: self.id.role == Role::Initiator,
            initiator_spi: Some(self.id.initiator),
            responder_spi: self.id.responder,
            nat: self.nat(),
            if_id_in: self.interfaces.unwrap_or_default().inbound,
            if_id_out: self.interfaces.unwrap_or_default().outbound,
            algorithms: self.algorithms.clone(),
            ppk: self.conditions.contains(Conditions::PPK),
            established: self.established_at.filter(|_| established),
            rekey: timer(Timer::Rekey),
            reauth: timer(Timer::Reauth),
            local_vips: self.local_vips(),
            remote_vips: self.remote_vips(),
            dns_servers: self.dns_servers(),
            tasks_queued: self.exchanges.queued_types(),
            tasks_active: self.exchanges.active_types(),
            tasks_passive: self.exchanges.passive_types(),
            children: Vec::new(),
        }
    }

    /// XFRM interfaces of CHILD_SAs that have none of their own: drawn once for the IKE_SA and those that rekey it.
    pub(crate) fn interfaces(&mut self, env: &Env<'_>) -> Interfaces {
        let config = self.config().map(|config| (config.if_id_in, config.if_id_out)).unwrap_or_default();
        *self.interfaces.get_or_insert_with(|| Interfaces::allocate(env.ids, config.0, config.1))
    }

    /// NATs between us and the peer.
    pub(crate) fn nat(&self) -> NatSituation {
        NatSituation {
            local: self.conditions.contains(Conditions::NAT_HERE),
            remote: self.conditions.contains(Conditions::NAT_THERE),
            fake: self.conditions.contains(Conditions::NAT_FAKE),
        }
    }

    /// The configuration for IKE_SA_INIT, once known.
    pub(crate) fn ike_config(&self) -> Option<&Arc<IkeConfig>> {
        match &self.connection {
            Connection::Peer(config) => Some(&config.ike),
            Connection::Ike(config) => Some(config),
            Connection::Unknown => None,
        }
    }

    /// Whether both sides are authenticated, even if the IKE_SA is not established yet.
    pub(crate) fn is_authenticated(&self) -> bool {
        match &self.phase {
            Phase::Handshake(handshake) => handshake.verified.is_some(),
            Phase::Authenticated(_) => true,
        }
    }

    /// What is needed until both sides are authenticated, if they are not yet.
    pub(crate) fn handshake(&mut self) -> Option<&mut Handshake> {
        match &mut self.phase {
            Phase::Handshake(handshake) => Some(handshake),
            Phase::Authenticated(_) => None,
        }
    }

    /// `name[id]` of log lines.
    pub(crate) fn label(&self) -> Label<'_> {
        Label(self)
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.push(Output::Event(event));
    }

    pub(crate) fn alert(&mut self, alert: Alert) {
        self.event(Event::Alert(alert));
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }
}

impl fmt::Debug for IkeSa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IkeSa")
            .field("name", &self.name())
            .field("unique_id", &self.unique_id)
            .field("id", &self.id)
            .field("state", &self.state)
            .field("children", &self.children)
            .finish_non_exhaustive()
    }
}

/// `name[id]`
pub(crate) struct Label<'a>(&'a IkeSa);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.0.name(), self.0.unique_id)
    }
}
