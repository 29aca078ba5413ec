//! Two nodes, a wire between them, and a clock that only moves when told.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strongswan::clock::{MonoTime, UnixTime};
use strongswan::credentials::{SecretKind, SharedSecret, Store};
use strongswan::crypto::hash::sha1;
use strongswan::crypto::{Proposal, Protocol, Rng, Secret};
use strongswan::identity::Identity;
use strongswan::selectors::TrafficSelector;

use crate::config::{AuthClass, AuthRound, ChildConfig, IkeConfig, PeerConfig};
use crate::ids::{IfId, IkeSpi, Reqid, Spi, UniqueId};
use crate::kernel::{Direction, Features, Kernel, KernelError, PolicyParams, SaId, SaParams, SaUpdate, SaUsage};
use crate::wire::Header;
use crate::{
    ConfigSource, Duplicate, Env, Event, IkeSa, IkeSaState, IkeSettings, InitiateChild, Input, Output, Peers, ReqidKey,
    Transmit, UniqueIds,
};

/// xorshift: reproducible, and nothing here needs more.
#[derive(Debug)]
pub(super) struct TestRng(pub(super) u64);

impl Rng for TestRng {
    fn fill(&mut self, buf: &mut [u8]) {
        for byte in buf {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            *byte = self.0.to_le_bytes()[3];
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InstalledSa {
    pub(super) direction: Direction,
    pub(super) encryption_key: Vec<u8>,
    pub(super) reqid: Reqid,
    pub(super) encap: bool,
}

#[derive(Debug, Default)]
pub(super) struct TestKernel {
    next_spi: AtomicU32,
    pub(super) reserved: Mutex<Vec<Spi>>,
    pub(super) sas: Mutex<HashMap<SaId, InstalledSa>>,
    pub(super) policies: Mutex<Vec<(Direction, Option<Spi>)>>,
}

impl Kernel for TestKernel {
    fn features(&self) -> Features {
        Features::ESP_V3_TFC
    }

    fn allocate_spi(&self, _: Protocol, _: IpAddr, dst: IpAddr) -> Result<Spi, KernelError> {
        let side = if dst == alice().ip() { 0xa000_0000 } else { 0xb000_0000 };
        let spi = Spi::new(side + self.next_spi.fetch_add(1, Ordering::Relaxed)).unwrap();
        self.reserved.lock().unwrap().push(spi);
        Ok(spi)
    }

    fn add_sa(&self, sa: &SaParams<'_>) -> Result<(), KernelError> {
        if sa.direction == Direction::In {
            self.reserved.lock().unwrap().retain(|spi| *spi != sa.id.spi);
        }
        let installed = InstalledSa {
            direction: sa.direction,
            encryption_key: sa.keys.encryption_key.as_bytes().to_vec(),
            reqid: sa.reqid,
            encap: sa.encap.is_some(),
        };
        match self.sas.lock().unwrap().insert(sa.id, installed) {
            None => Ok(()),
            Some(_) => Err(KernelError::Exists),
        }
    }

    fn update_sa(&self, update: &SaUpdate) -> Result<(), KernelError> {
        let mut sas = self.sas.lock().unwrap();
        let mut sa = sas.remove(&update.id).ok_or(KernelError::NotFound)?;
        sa.encap = update.encap.is_some();
        sas.insert(SaId { src: update.src, dst: update.dst, ..update.id }, sa);
        Ok(())
    }

    fn query_sa(&self, id: &SaId) -> Result<SaUsage, KernelError> {
        self.sas.lock().unwrap().get(id).map(|_| SaUsage::default()).ok_or(KernelError::NotFound)
    }

    fn delete_sa(&self, id: &SaId) -> Result<(), KernelError> {
        self.reserved.lock().unwrap().retain(|spi| *spi != id.spi);
        self.sas.lock().unwrap().remove(id).map(|_| ()).ok_or(KernelError::NotFound)
    }

    fn add_policies(&self, policies: &PolicyParams<'_>) -> Result<(), KernelError> {
        self.policies.lock().unwrap().push((policies.direction, policies.spi));
        Ok(())
    }

    fn delete_policies(&self, policies: &PolicyParams<'_>) -> Result<(), KernelError> {
        let mut installed = self.policies.lock().unwrap();
        let key = (policies.direction, policies.spi);
        let index = installed.iter().position(|other| *other == key).ok_or(KernelError::NotFound)?;
        installed.remove(index);
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(super) struct TestIds {
    next: AtomicU32,
    pub(super) reqids: Mutex<Vec<(ReqidKey, Reqid, usize)>>,
}

impl TestIds {
    fn number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl UniqueIds for TestIds {
    fn ike_sa_id(&self) -> UniqueId {
        UniqueId::new(self.number()).unwrap()
    }

    fn child_sa_id(&self) -> UniqueId {
        UniqueId::new(self.number()).unwrap()
    }

    fn ike_spi(&self, rng: &mut dyn Rng, _: Option<IkeSpi>) -> IkeSpi {
        IkeSpi::new(rng.next_u64().to_be_bytes()).unwrap()
    }

    fn allocate_reqid(&self, key: &ReqidKey) -> Option<Reqid> {
        let mut reqids = self.reqids.lock().unwrap();
        if let Some((_, reqid, users)) = reqids.iter_mut().find(|(other, ..)| other == key) {
            *users += 1;
            return Some(*reqid);
        }
        let reqid = Reqid::new(self.number())?;
        reqids.push((key.clone(), reqid, 1));
        Some(reqid)
    }

    fn release_reqid(&self, reqid: Reqid) {
        let mut reqids = self.reqids.lock().unwrap();
        for (_, other, users) in reqids.iter_mut() {
            if *other == reqid {
                *users -= 1;
            }
        }
        reqids.retain(|(.., users)| *users > 0);
    }

    fn unique_mark(&self) -> u32 {
        self.number()
    }

    fn unique_if_id(&self) -> IfId {
        IfId(self.number())
    }
}

#[derive(Debug, Default)]
pub(super) struct TestConfig(pub(super) Vec<Arc<PeerConfig>>);

impl ConfigSource for TestConfig {
    fn ike_configs(&self, _: SocketAddr, _: SocketAddr, _: u8) -> Vec<Arc<IkeConfig>> {
        self.0.iter().map(|config| Arc::clone(&config.ike)).collect()
    }

    fn peer_configs(
        &self,
        _: SocketAddr,
        _: SocketAddr,
        me: Option<&Identity>,
        other: Option<&Identity>,
        _: u8,
    ) -> Vec<Arc<PeerConfig>> {
        let fits = |id: Option<&Identity>, rounds: &[AuthRound]| {
            let pattern = rounds.first().and_then(|round| round.id.as_ref());
            id.zip(pattern).is_none_or(|(id, pattern)| id.matches(pattern).is_match())
        };
        self.0.iter().filter(|config| fits(me, &config.local) && fits(other, &config.remote)).cloned().collect()
    }
}

/// A store with one secret for everybody.
pub(super) fn store(secret: &str) -> Store {
    let store = Store::new();
    store.add_secret(SharedSecret::new(SecretKind::Ike, Secret::from(secret.as_bytes()), Vec::new()));
    store
}

#[derive(Debug, Default)]
pub(super) struct TestPeers(pub(super) Mutex<Vec<Duplicate>>);

impl Peers for TestPeers {
    fn duplicates(&self, _: UniqueId, _: &Identity, _: &Identity, _: bool) -> Vec<Duplicate> {
        self.0.lock().unwrap().clone()
    }
}

pub(super) fn alice() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 500))
}

pub(super) fn bob() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 2], 500))
}

/// One end: its IKE_SAs and everything they ask for.
pub(super) struct Node {
    pub(super) address: SocketAddr,
    pub(super) sas: Vec<IkeSa>,
    pub(super) config: TestConfig,
    pub(super) credentials: Store,
    pub(super) kernel: TestKernel,
    pub(super) ids: TestIds,
    pub(super) peers: TestPeers,
    pub(super) settings: IkeSettings,
    pub(super) rng: TestRng,
    pub(super) wall: UnixTime,
    pub(super) events: Vec<Event>,
    /// Hashes of IKE_SA_INIT requests seen, as a manager remembers them.
    known: HashMap<[u8; 20], UniqueId>,
}

impl Node {
    fn new(address: SocketAddr, seed: u64) -> Self {
        Self {
            address,
            sas: Vec::new(),
            config: TestConfig::default(),
            credentials: store("secret"),
            kernel: TestKernel::default(),
            ids: TestIds::default(),
            peers: TestPeers::default(),
            settings: IkeSettings::default(),
            rng: TestRng(seed),
            wall: UnixTime(0),
            events: Vec::new(),
            known: HashMap::new(),
        }
    }

    /// Feeds one IKE_SA and carries out what it wants; datagrams are returned.
    pub(super) fn feed(&mut self, id: UniqueId, input: Input, now: MonoTime) -> Vec<Transmit> {
        let Some(index) = self.sas.iter().position(|sa| sa.unique_id() == id) else { return Vec::new() };
        let mut sa = self.sas.remove(index);
        let mut env = Env {
            now,
            wall: self.wall,
            rng: &mut self.rng,
            settings: &self.settings,
            config: &self.config,
            credentials: &self.credentials,
            kernel: &self.kernel,
            ids: &self.ids,
            peers: &self.peers,
        };
        strongswan::log!(JOB, 1, "---- {} {}", if self.address == alice() { "alice" } else { "bob" }, sa.state());
        sa.handle(input, &mut env);
        let mut sent = Vec::new();
        let mut follow_up = Vec::new();
        let mut drained = vec![(index, sa)];
        while let Some((index, mut sa)) = drained.pop() {
            let mut alive = true;
            while let Some(output) = sa.poll_output() {
                match output {
                    Output::Send(transmit) => sent.push(transmit),
                    Output::Adopt(new) => drained.push((usize::MAX, *new)),
                    Output::Event(event) => self.events.push(event),
                    Output::Resolve(_) => {
                        let remote = if self.address == alice() { bob() } else { alice() };
                        follow_up.push((sa.unique_id(), Input::Resolved(Some((self.address, remote)))));
                    }
                    Output::Duplicate { id, action } => follow_up.push((id, Input::Replaced(action))),
                    Output::Trap(_) => {}
                    Output::Destroy => alive = false,
                }
            }
            if alive {
                self.sas.insert(index.min(self.sas.len()), sa);
            }
        }
        for (id, input) in follow_up {
            sent.extend(self.feed(id, input, now));
        }
        sent
    }

    /// Finds or creates the IKE_SA for a datagram.
    fn dispatch(&mut self, transmit: Transmit, now: MonoTime) -> Vec<Transmit> {
        if transmit.keepalive {
            return Vec::new();
        }
        let Ok((header, _)) = Header::parse(&transmit.data) else { return Vec::new() };
        let id = match header.receiver_spi() {
            Some(spi) => self.sas.iter().find(|sa| sa.id().local() == Some(spi)).map(IkeSa::unique_id),
            None => Some(match self.known.get(&sha1(&[&transmit.data])) {
                Some(id) => *id,
                None => {
                    let id = self.ids.ike_sa_id();
                    let spi = self.ids.ike_spi(&mut self.rng, None);
                    self.known.insert(sha1(&[&transmit.data]), id);
                    self.sas.push(IkeSa::responder(id, header.initiator_spi, spi, now));
                    id
                }
            }),
        };
        let Some(id) = id else { return Vec::new() };
        let Transmit { local, remote, data, .. } = transmit;
        self.feed(id, Input::Datagram { local: remote, remote: local, data }, now)
    }

    /// Input for the only IKE_SA.
    pub(super) fn only(&self) -> UniqueId {
        assert_eq!(self.sas.len(), 1, "{:?}", self.sas);
        self.sas[0].unique_id()
    }

    pub(super) fn ups(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::IkeUpDown { up: true, .. })).count()
    }

    /// Nothing is left in the data plane or the reqid table.
    pub(super) fn assert_clean(&self) {
        assert!(self.sas.is_empty(), "{:?}", self.sas);
        assert!(self.kernel.sas.lock().unwrap().is_empty());
        assert!(self.kernel.policies.lock().unwrap().is_empty());
        assert!(self.kernel.reserved.lock().unwrap().is_empty());
        assert!(self.ids.reqids.lock().unwrap().is_empty());
    }
}

/// The two ends and the wire.
pub(super) struct Pair {
    pub(super) alice: Node,
    pub(super) bob: Node,
    pub(super) now: MonoTime,
    wire: VecDeque<Transmit>,
    /// Sees every datagram before it arrives; `false` loses it.
    pub(super) filter: Box<dyn FnMut(&Transmit) -> bool>,
    /// A NAT in front of alice.
    pub(super) translate: Option<fn(SocketAddr) -> SocketAddr>,
    /// NAT keepalives seen.
    pub(super) keepalives: usize,
    _trace: strongswan::log::__tracing::subscriber::DefaultGuard,
}

fn round(id: &str) -> AuthRound {
    AuthRound { class: AuthClass::Psk, id: Some(Identity::parse(id)), ..AuthRound::default() }
}

pub(super) fn ike_config(proposal: &str) -> IkeConfig {
    let proposals = vec![Proposal::parse(Protocol::Ike, proposal).unwrap()];
    IkeConfig { proposals, ..IkeConfig::default() }
}

pub(super) fn child_config(local: &str, remote: &str) -> ChildConfig {
    ChildConfig {
        proposals: vec![Proposal::parse(Protocol::Esp, "aes128gcm16-x25519").unwrap()],
        local_ts: vec![TrafficSelector::parse(local).unwrap()],
        remote_ts: vec![TrafficSelector::parse(remote).unwrap()],
        ..ChildConfig::new("net")
    }
}

pub(super) fn peer_config(me: &str, other: &str, local: &str, remote: &str) -> PeerConfig {
    let mut config = PeerConfig::new("gw", Arc::new(ike_config("aes128gcm16-prfsha256-x25519")));
    config.local = vec![round(me)];
    config.remote = vec![round(other)];
    config.children = vec![Arc::new(child_config(local, remote))];
    config
}

impl Pair {
    /// PSK, X25519 and AES-GCM between `alice` and `bob`.
    pub(super) fn new() -> Self {
        Self::with(
            peer_config("alice", "bob", "10.1.0.0/16", "10.2.0.0/16"),
            peer_config("bob", "alice", "10.2.0.0/16", "10.1.0.0/16"),
        )
    }

    pub(super) fn with(alice_config: PeerConfig, bob_config: PeerConfig) -> Self {
        let mut pair = Self {
            alice: Node::new(alice(), 0x1234_5678_9abc_def0),
            bob: Node::new(bob(), 0x0fed_cba9_8765_4321),
            now: MonoTime::from_duration(Duration::from_secs(1000)),
            wire: VecDeque::new(),
            filter: Box::new(|_| true),
            translate: None,
            keepalives: 0,
            _trace: super::trace::show(),
        };
        pair.alice.config.0.push(Arc::new(alice_config));
        pair.bob.config.0.push(Arc::new(bob_config));
        pair
    }

    /// Alice initiates the connection with its child.
    pub(super) fn initiate(&mut self) -> UniqueId {
        let config = Arc::clone(&self.alice.config.0[0]);
        let spi = self.alice.ids.ike_spi(&mut self.alice.rng, None);
        let id = self.alice.ids.ike_sa_id();
        let child = config.children.first().map(|child| InitiateChild::new(Arc::clone(child)));
        self.alice.sas.push(IkeSa::initiator(id, spi, config, self.now));
        self.alice(id, Input::Initiate(child));
        id
    }

    pub(super) fn alice(&mut self, id: UniqueId, input: Input) {
        let sent = self.alice.feed(id, input, self.now);
        self.wire.extend(sent);
    }

    pub(super) fn bob(&mut self, id: UniqueId, input: Input) {
        let sent = self.bob.feed(id, input, self.now);
        self.wire.extend(sent);
    }

    /// Delivers one datagram, if any is on its way.
    pub(super) fn step(&mut self) -> bool {
        let Some(mut transmit) = self.wire.pop_front() else { return false };
        self.keepalives += usize::from(transmit.keepalive);
        if (self.filter)(&transmit) {
            let from_alice = transmit.local.ip() == alice().ip();
            if let Some(translate) = self.translate {
                if from_alice {
                    transmit.local = translate(transmit.local);
                } else {
                    let port = transmit.remote.port().wrapping_sub(10_000);
                    transmit.remote = SocketAddr::new(alice().ip(), port);
                }
            }
            let node = if from_alice { &mut self.bob } else { &mut self.alice };
            let sent = node.dispatch(transmit, self.now);
            self.wire.extend(sent);
        }
        true
    }

    /// Delivers everything that is on its way.
    pub(super) fn settle(&mut self) {
        while self.step() {}
    }

    /// Moves the clock to the next timer of either end, unless that is later than `limit` from now.
    pub(super) fn next_timer(&mut self, limit: Duration) -> bool {
        let due = |node: &Node| node.sas.iter().filter_map(|sa| Some((sa.next_timeout()?, sa.unique_id()))).min();
        let (a, b) = (due(&self.alice), due(&self.bob));
        let earliest = a.into_iter().chain(b).min();
        let Some((at, id)) = earliest.filter(|(at, _)| *at <= self.now + limit) else { return false };
        self.now = self.now.max(at);
        if a.is_some_and(|(other, _)| other == at) {
            self.alice(a.map_or(id, |(_, id)| id), Input::Timeout);
        } else {
            self.bob(id, Input::Timeout);
        }
        true
    }

    /// Lets time pass, delivering what is sent.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while self.next_timer(end.saturating_since(self.now)) {
            self.settle();
        }
        self.now = end;
    }

    /// Alice and bob with an IKE_SA and a CHILD_SA.
    pub(super) fn connected() -> Self {
        let mut pair = Self::new();
        pair.initiate();
        pair.settle();
        pair.assert_connected();
        pair
    }

    pub(super) fn assert_connected(&self) {
        for node in [&self.alice, &self.bob] {
            let sa = node.sas.iter().find(|sa| sa.state() == IkeSaState::Established).unwrap();
            assert!(sa.snapshot().children.iter().any(|child| child.state == crate::ChildSaState::Installed));
        }
        self.assert_keys_agree();
    }

    /// Each SA has its counterpart with the same key.
    pub(super) fn assert_keys_agree(&self) {
        let (a, b) = (self.alice.kernel.sas.lock().unwrap(), self.bob.kernel.sas.lock().unwrap());
        let find = |sas: &HashMap<SaId, InstalledSa>, spi: Spi, direction: Direction| {
            sas.iter().find(|(id, sa)| id.spi == spi && sa.direction == direction).map(|(_, sa)| sa.clone())
        };
        for (ours, theirs) in [(&a, &b), (&b, &a)] {
            for (id, sa) in ours.iter().filter(|(_, sa)| sa.direction == Direction::Out) {
                let inbound = find(theirs, id.spi, Direction::In).expect("an outbound SA has its inbound SA");
                assert_eq!(sa.encryption_key, inbound.encryption_key);
            }
        }
    }
}
