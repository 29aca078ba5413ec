//! A host: IKE_SAs in a list, and as much of a daemon around them as they need.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ike::config::{ChildConfig, PeerConfig};
use ike::eap::{AaaAnswer, AaaRequest};
use ike::ids::UniqueId;
use ike::kernel::{Direction, Features};
use ike::wire::{ExchangeType, Header, Message, MessageId, Notify, NotifyType, Received};
use ike::{
    Duplicate, DuplicateAction, Env, Event, IkeSa, IkeSaSnapshot, IkeSettings, InitiateChild, Input, Output, Peers,
    Role,
};
use strongswan::clock::{MonoTime, UnixTime};
use strongswan::credentials::Store;
use strongswan::credentials::revocation::{Fetch, FetchError};
use strongswan::host::HostSpec;
use strongswan::identity::Identity;

use super::attributes::{SimHandlers, SimPools};
use super::config::Connections;
use super::ids::Ids;
use super::kernel::{Expired, FakeKernel};
use super::net::Datagram;
use super::rng::SimRng;
use super::trace::Trace;
use ike::UniqueIds;

/// An AAA server.
pub type Aaa = Box<dyn FnMut(AaaRequest) -> AaaAnswer>;

/// One end of the simulation.
pub struct Host {
    pub name: &'static str,
    pub address: IpAddr,
    pub settings: IkeSettings,
    pub connections: Connections,
    pub credentials: Store,
    pub kernel: FakeKernel,
    pub pools: SimPools,
    pub handlers: SimHandlers,
    pub ids: Ids,
    pub sas: Vec<IkeSa>,
    /// What observers were told.
    pub events: Vec<Event>,
    /// Traps that were asked for.
    pub traps: Vec<Arc<ChildConfig>>,
    /// What its resolver knows.
    pub names: Vec<(&'static str, IpAddr)>,
    /// Its address towards a peer is not known before it sends.
    pub knows_source: bool,
    /// Answer initial requests without a cookie by asking for one.
    pub demand_cookies: bool,
    /// Suspended until then: it hears and does nothing.
    pub asleep_until: Option<MonoTime>,
    /// How far its monotonic clock is behind, because that stood still while it slept.
    pub lag: Duration,
    /// How far its civil time is off, in seconds.
    pub wall_offset: i64,
    /// Its data plane counts down the lifetimes of SAs.
    pub enforce_lifetimes: bool,
    /// Any IKE_SA of an equal connection is reused, as a controller does; else only those of the very same one.
    pub reuse_equal: bool,
    /// Its AAA server.
    pub aaa: Option<Aaa>,
    /// Questions about certificates.
    pub asked: usize,
    /// The answers to them do not arrive by themselves.
    pub never_told: bool,
    /// Those that did not.
    pub untold: Vec<(UniqueId, u64)>,
    rng: SimRng,
    trace: Trace,
    outbox: Vec<Datagram>,
}

/// The civil time at which simulations start: 2027-01-15, when the certificates of the tests are valid.
const EPOCH: i64 = 1_800_000_000;

/// The cookie hosts demand; a real one is tied to the request.
const COOKIE: &[u8] = b"chocolate";

/// There are no servers in the simulation.
struct NobodyKnows;

impl Fetch for NobodyKnows {
    fn get(&self, _uri: &str) -> Result<Vec<u8>, FetchError> {
        Err(FetchError("nobody there".into()))
    }

    fn post_ocsp(&self, _uri: &str, _request: &[u8]) -> Result<Vec<u8>, FetchError> {
        Err(FetchError("nobody there".into()))
    }
}

impl Host {
    pub fn new(name: &'static str, address: &str, first_spi: u32, mut rng: SimRng, trace: Trace) -> Self {
        let kernel = FakeKernel::new(first_spi, Features::empty());
        kernel.set_addresses(&[address.parse().unwrap()]);
        Self {
            name,
            address: address.parse().unwrap(),
            settings: IkeSettings::default(),
            connections: Connections::default(),
            credentials: Store::default(),
            kernel,
            pools: SimPools::default(),
            handlers: SimHandlers::default(),
            ids: Ids::default(),
            sas: Vec::new(),
            events: Vec::new(),
            traps: Vec::new(),
            names: Vec::new(),
            knows_source: true,
            demand_cookies: false,
            asleep_until: None,
            lag: Duration::ZERO,
            wall_offset: 0,
            enforce_lifetimes: false,
            reuse_equal: false,
            aaa: None,
            asked: 0,
            never_told: false,
            untold: Vec::new(),
            rng: rng.fork(),
            trace,
            outbox: Vec::new(),
        }
    }

    /// Where it listens.
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.settings.port)
    }

    /// The earliest deadline of its IKE_SAs and its data plane, on the clock of the simulation.
    pub fn next_timeout(&self) -> Option<MonoTime> {
        let expiry = if self.enforce_lifetimes { self.kernel.next_expiry() } else { None };
        let due = self.sas.iter().filter_map(IkeSa::next_timeout).chain(expiry).min()? + self.lag;
        Some(self.asleep_until.map_or(due, |until| due.max(until)))
    }

    /// Suspends it. Its clock goes on (`counted`) or stands still meanwhile.
    pub fn sleep(&mut self, now: MonoTime, duration: Duration, counted: bool) {
        self.asleep_until = Some(now + duration);
        if !counted {
            self.lag += duration;
        }
    }

    /// Whether it is suspended.
    pub fn is_asleep(&self, now: MonoTime) -> bool {
        self.asleep_until.is_some_and(|until| now < until)
    }

    /// Its own monotonic clock.
    fn local_time(&self, now: MonoTime) -> MonoTime {
        now - self.lag
    }

    /// Loses everything but its configuration.
    pub fn forget(&mut self) {
        self.sas.clear();
        self.kernel.forget();
        self.ids.forget();
        self.traps.clear();
        self.outbox.clear();
    }

    /// Datagrams to send.
    pub fn take_outbox(&mut self) -> Vec<Datagram> {
        std::mem::take(&mut self.outbox)
    }

    /// Whether exactly that is assigned and installed which IKE_SAs say they have.
    pub fn check_assigned(&self) -> Result<(), String> {
        let snapshots = self.snapshots();
        let sorted = |mut addresses: Vec<IpAddr>| {
            addresses.sort();
            addresses
        };
        let installed = sorted(self.kernel.virtual_ips());
        let known = sorted(snapshots.iter().flat_map(|ike| ike.local_vips.clone()).collect());
        if installed != known {
            return Err(format!("{}: virtual IPs {installed:?} installed, {known:?} known", self.name));
        }
        let leased = sorted(self.pools.leases.lock().unwrap().clone());
        let known = sorted(snapshots.iter().flat_map(|ike| ike.remote_vips.clone()).collect());
        if leased != known {
            return Err(format!("{}: leases {leased:?} taken, {known:?} known", self.name));
        }
        let handled = self.handlers.handled.lock().unwrap().len();
        if snapshots.is_empty() && handled > 0 {
            return Err(format!("{}: {handled} attributes leaked", self.name));
        }
        Ok(())
    }

    /// Whether the data plane holds exactly the SAs and as many policies as the CHILD_SAs say.
    pub fn check_kernel(&self) -> Result<(), String> {
        let key =
            |direction, id: &ike::kernel::SaId| (id.protocol, id.spi, direction == Direction::Out, id.src, id.dst);
        let mut installed: Vec<_> = self.kernel.sas().iter().map(|sa| key(sa.direction, &sa.id)).collect();
        let children: Vec<_> = self.snapshots().into_iter().flat_map(|ike| ike.children).collect();
        let inbound = children.iter().filter_map(|child| child.inbound.map(|id| key(Direction::In, &id)));
        let outbound = children.iter().filter_map(|child| child.outbound.map(|id| key(Direction::Out, &id)));
        let mut known: Vec<_> = inbound.chain(outbound).collect();
        installed.sort();
        known.sort();
        if installed != known {
            return Err(format!("{}: SAs {installed:x?} installed, {known:x?} known", self.name));
        }
        let policies = self.kernel.policies().len();
        if policies != children.len() * 2 {
            return Err(format!("{}: {policies} policies for {} CHILD_SAs", self.name, children.len()));
        }
        Ok(())
    }

    /// State of all IKE_SAs.
    pub fn snapshots(&self) -> Vec<IkeSaSnapshot> {
        self.sas.iter().map(IkeSa::snapshot).collect()
    }

    /// Initiates a child of a connection, reusing an IKE_SA as a controller would.
    pub fn initiate(&mut self, now: MonoTime, peer: &Arc<PeerConfig>, child: Option<Arc<ChildConfig>>) -> UniqueId {
        self.initiate_child(now, peer, child.map(InitiateChild::new))
    }

    /// As [`Self::initiate`], perhaps because of a packet.
    pub fn initiate_child(&mut self, now: MonoTime, peer: &Arc<PeerConfig>, child: Option<InitiateChild>) -> UniqueId {
        let same =
            |config: &Arc<PeerConfig>| Arc::ptr_eq(config, peer) || (self.reuse_equal && config.equals_with_ike(peer));
        let usable = |sa: &IkeSa| sa.is_reusable() && sa.config().is_some_and(same);
        let id = if let Some(sa) = self.sas.iter().find(|sa| usable(sa)) {
            sa.unique_id()
        } else {
            let id = self.ids.ike_sa_id();
            let spi = self.ids.ike_spi(&mut self.rng, None);
            let now = self.local_time(now);
            self.sas.push(IkeSa::initiator(id, spi, Arc::clone(peer), now));
            id
        };
        self.input(now, id, Input::Initiate(child));
        id
    }

    /// Runs all deadlines that have passed.
    pub fn timeouts(&mut self, now: MonoTime) {
        let local = self.local_time(now);
        let due = |sa: &&IkeSa| sa.next_timeout().is_some_and(|at| at <= local);
        let ids: Vec<_> = self.sas.iter().filter(due).map(IkeSa::unique_id).collect();
        for id in ids {
            self.input(now, id, Input::Timeout);
        }
        if self.enforce_lifetimes {
            for expired in self.kernel.expire(local) {
                self.expired(now, expired);
            }
        }
    }

    /// The data plane says that an SA reached a limit; the IKE_SA it belongs to hears of it.
    pub fn expired(&mut self, now: MonoTime, expired: Expired) {
        let Expired { protocol, spi, direction, hard } = expired;
        let of = |child: &ike::ChildSaSnapshot| match direction {
            Direction::In => child.inbound,
            Direction::Out => child.outbound,
        };
        let owns = |sa: &&IkeSa| sa.snapshot().children.iter().any(|child| of(child).is_some_and(|id| id.spi == spi));
        let Some(id) = self.sas.iter().find(owns).map(IkeSa::unique_id) else { return };
        self.input(now, id, Input::ExpireChild { protocol, spi, hard });
    }

    /// Hands a datagram to the IKE_SA it is for, or makes one.
    pub fn receive(&mut self, now: MonoTime, datagram: Datagram) {
        let Datagram { from, to, data } = datagram;
        let Ok((header, _)) = Header::parse(&data) else {
            self.trace.line("not an IKE message");
            return;
        };
        let id = match header.receiver_spi() {
            Some(spi) => self.sas.iter().find(|sa| sa.id().local() == Some(spi)).map(IkeSa::unique_id),
            None if is_initial(&header) => match self.half_open(&header, from) {
                Some(id) => Some(id),
                None if self.demand_cookies && !has_cookie(&data) => {
                    self.answer_with_cookie(&header, to, from);
                    return;
                }
                None => Some(self.respond(now, &header)),
            },
            None => None,
        };
        match id {
            Some(id) => self.input(now, id, Input::Datagram { local: to, remote: from, data }),
            None => self.trace.line("no IKE_SA for it"),
        }
    }

    /// The responder's IKE_SA for an initial request that was seen before.
    fn half_open(&self, header: &Header, from: SocketAddr) -> Option<UniqueId> {
        let same = |sa: &&IkeSa| {
            let id = sa.id();
            id.role == Role::Responder && id.initiator == header.initiator_spi && sa.remote() == from
        };
        self.sas.iter().find(same).map(IkeSa::unique_id)
    }

    fn respond(&mut self, now: MonoTime, header: &Header) -> UniqueId {
        let id = self.ids.ike_sa_id();
        let spi = self.ids.ike_spi(&mut self.rng, None);
        let now = self.local_time(now);
        self.sas.push(IkeSa::responder(id, header.initiator_spi, spi, now));
        id
    }

    fn answer_with_cookie(&mut self, header: &Header, local: SocketAddr, remote: SocketAddr) {
        let mut message = Message::new(header.reply());
        message.push(Notify::with_data(NotifyType::Cookie, COOKIE));
        let data = message.encode_plain().unwrap();
        self.outbox.push(Datagram { from: local, to: remote, data });
    }

    /// Gives an input to an IKE_SA and carries its outputs out.
    pub fn input(&mut self, now: MonoTime, id: UniqueId, input: Input) {
        let Some(at) = self.sas.iter().position(|sa| sa.unique_id() == id) else { return };
        let mut sa = self.sas.remove(at);
        self.trace.line(format_args!("{}[{}] <- {}", sa.name(), sa.unique_id(), describe(&input)));
        let peers = Others(self.sas.iter().filter_map(Other::of).collect());
        let seconds = i64::try_from(now.since_origin().as_secs()).unwrap();
        let local = self.local_time(now);
        self.kernel.set_time(local);
        let mut env = Env {
            now: local,
            wall: UnixTime(EPOCH + seconds + self.wall_offset),
            rng: &mut self.rng,
            settings: &self.settings,
            config: &self.connections,
            credentials: &self.credentials,
            kernel: &self.kernel,
            ids: &self.ids,
            peers: &peers,
            pools: &self.pools,
            handlers: &self.handlers,
        };
        sa.handle(input, &mut env);
        // Back in the list before its outputs are worked off: they may be about others, which may be about it.
        self.sas.insert(at.min(self.sas.len()), sa);
        self.drain(now, id);
    }

    fn drain(&mut self, now: MonoTime, id: UniqueId) {
        while let Some(at) = self.sas.iter().position(|sa| sa.unique_id() == id) {
            let Some(output) = self.sas[at].poll_output() else { return };
            match output {
                Output::Send(transmit) => {
                    if transmit.keepalive {
                        self.trace.line("keepalive");
                    } else {
                        let mut from = transmit.local;
                        if from.ip().is_unspecified() {
                            from.set_ip(self.address);
                        }
                        self.outbox.push(Datagram { from, to: transmit.remote, data: transmit.data });
                    }
                }
                Output::Adopt(new) => {
                    let new_id = new.unique_id();
                    self.trace.line(format_args!("adopts {}[{new_id}]", new.name()));
                    self.sas.push(*new);
                    self.drain(now, new_id);
                }
                Output::Event(event) => {
                    self.trace.line(format_args!("event {}", describe_event(&event)));
                    self.events.push(event);
                }
                Output::Resolve(config) => {
                    let any = SocketAddr::from(([0, 0, 0, 0], self.settings.port));
                    let local = if self.knows_source { self.socket() } else { any };
                    let named =
                        |name: &str| self.names.iter().find(|(known, _)| *known == name).map(|(_, address)| *address);
                    let remote = |spec: &HostSpec| spec.address().or_else(|| spec.name().and_then(named));
                    let remote = config.remote_addrs.iter().find_map(remote);
                    let hosts = remote.map(|remote| (local, SocketAddr::new(remote, config.remote_port)));
                    self.input(now, id, Input::Resolved(hosts));
                }
                Output::Aaa(request) => {
                    let answer = self.aaa.as_mut().map_or(AaaAnswer::Unavailable, |aaa| aaa(request));
                    self.input(now, id, Input::Aaa(answer));
                }
                Output::Inquire { queries, number } => {
                    self.asked += queries.len();
                    let seconds = i64::try_from(now.since_origin().as_secs()).unwrap();
                    let wall = UnixTime(EPOCH + seconds + self.wall_offset);
                    for query in &queries {
                        self.credentials.ask(query, &NobodyKnows, &mut self.rng, wall);
                    }
                    if self.never_told {
                        self.untold.push((id, number));
                        continue;
                    }
                    self.input(now, id, Input::Inquired { number });
                }
                Output::Duplicate { id, action } => self.input(now, id, Input::Replaced(action)),
                Output::Trap(child) => self.traps.push(child),
                Output::Destroy => {
                    self.trace.line("destroyed");
                    self.sas.retain(|sa| sa.unique_id() != id);
                }
            }
        }
    }
}

/// What a receiver lets through to become an IKE_SA.
fn is_initial(header: &Header) -> bool {
    header.is_request() && header.exchange == ExchangeType::IkeSaInit && header.message_id == MessageId::ZERO
}

fn has_cookie(data: &[u8]) -> bool {
    match ike::wire::parse(data) {
        Ok(Received::Plain(message)) => {
            message.notify(NotifyType::Cookie).is_some_and(|notify| notify.data.as_slice() == COOKIE)
        }
        _ => false,
    }
}

fn describe(input: &Input) -> String {
    match input {
        Input::Datagram { remote, data, .. } => format!("{} bytes from {remote}", data.len()),
        Input::Initiate(child) => format!("initiate {:?}", child.as_ref().map(|child| &child.config.name)),
        Input::Replaced(action) => format!(
            "replaced: {}",
            match action {
                DuplicateAction::Destroy => "destroy",
                DuplicateAction::Delete => "delete",
                DuplicateAction::DeleteLater => "delete later",
                DuplicateAction::Superseded => "superseded",
                DuplicateAction::NotSuperseded => "not superseded",
            }
        ),
        other => format!("{other:?}"),
    }
}

fn describe_event(event: &Event) -> String {
    match event {
        Event::IkeStateChange { old, new } => format!("IKE_SA {old} => {new}"),
        Event::IkeUpDown { up, ike } => format!("IKE_SA {} {}", ike.unique_id, if *up { "up" } else { "down" }),
        Event::IkeRekey { old, new } => format!("IKE_SA {} rekeyed by {}", old.unique_id, new.unique_id),
        Event::Message { exchange, incoming, request, .. } => {
            let (direction, kind) =
                (if *incoming { "in" } else { "out" }, if *request { "request" } else { "response" });
            format!("{exchange} {kind} {direction}")
        }
        Event::IkeRedirect { successor } => format!("IKE_SA redirected, {successor} takes its place"),
        Event::IkeUpdate { local, remote, .. } => format!("IKE_SA update {local} {remote}"),
        Event::ChildStateChange { child, old, new } => format!("CHILD_SA {child} {old} => {new}"),
        Event::ChildUpDown { up, child, .. } => {
            format!("CHILD_SA {} {}", child.unique_id, if *up { "up" } else { "down" })
        }
        Event::ChildFailed { child } => format!("CHILD_SA {child} failed"),
        Event::ChildUsed { child, received, sent } => {
            format!("CHILD_SA {child} carried {} and {} bytes", received.bytes, sent.bytes)
        }
        Event::ChildRekey { old, new, .. } => format!("CHILD_SA {} rekeyed by {}", old.unique_id, new.unique_id),
        Event::Explained(why) => format!("explained: {why}"),
        Event::Alert(alert) => format!("alert {}", alert.name()),
    }
}

/// The other IKE_SAs of a host, as uniqueness policies see them.
struct Others(Vec<Other>);

struct Other {
    me: Identity,
    other: Identity,
    duplicate: Duplicate,
}

impl Other {
    fn of(sa: &IkeSa) -> Option<Self> {
        let (me, other) = sa.identities()?;
        let config = Arc::clone(sa.config()?);
        let children = sa.snapshot().children.into_iter().filter(|child| child.outbound.is_some());
        let children = children.map(|child| Arc::clone(&child.config.name)).collect();
        let duplicate = Duplicate { id: sa.unique_id(), state: sa.state(), remote: sa.remote(), config, children };
        Some(Self { me: me.clone(), other: other.clone(), duplicate })
    }
}

impl Peers for Others {
    fn duplicates(&self, this: UniqueId, me: &Identity, other: &Identity, ipv6: bool) -> Vec<Duplicate> {
        let same = |o: &&Other| {
            o.me == *me && o.other == *other && o.duplicate.remote.is_ipv6() == ipv6 && o.duplicate.id != this
        };
        self.0.iter().filter(same).map(|o| o.duplicate.clone()).collect()
    }
}
