//! The simulator: hosts with IKE_SAs, a network between them, one virtual clock and one seed for all of it.
//!
//! Nothing in a run depends on anything but its seed (public keys apart, which have a fixed size), so a failing run is
//! repeated with `SIM_SEED=<seed> cargo nextest run -p ike --test protocol <test>`. When a test fails the trace is printed.

pub mod attributes;
pub mod config;
pub mod host;
pub mod ids;
pub mod kernel;
pub mod net;
pub mod rng;
pub mod trace;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ike::config::PeerConfig;
use ike::ids::UniqueId;
use ike::wire::{Header, Message, Payload, PayloadType, Writer, emit_chain};
use ike::{ChildSaState, Event, IkeSa, IkeSaState, InitiateChild, Input};
use strongswan::clock::MonoTime;
use strongswan::credentials::{SecretKind, SharedSecret};
use strongswan::crypto::{Rng, Secret};
use strongswan::identity::Identity;

use config::{MOON, SUN, connection};
use host::Host;
use net::{Datagram, Network};
use rng::SimRng;
use trace::Trace;

/// Index of the host that initiates in most tests.
pub const A: usize = 0;
/// Index of the host that responds.
pub const B: usize = 1;

/// The simulation.
pub struct Sim {
    pub now: MonoTime,
    pub seed: u64,
    pub rng: SimRng,
    pub hosts: Vec<Host>,
    pub net: Network,
    /// Every datagram sent, in order.
    pub sent: Vec<Datagram>,
    pub trace: Trace,
    _log: Option<tracing::subscriber::DefaultGuard>,
}

impl Sim {
    /// Two gateways, moon and sun, that share a secret and have a connection `gw` with one child `net` to each other.
    pub fn pair() -> Self {
        Self::with_seed(seed_of_environment().unwrap_or(1), true)
    }

    /// As [`Self::pair`], for a certain seed.
    pub fn with_seed(seed: u64, traced: bool) -> Self {
        let mut rng = SimRng::new(seed);
        let trace = if traced { Trace::recording() } else { Trace::off() };
        let log = trace.capture_log();
        let mut moon = Host::new("moon", MOON.address, 0xaaaa_0001, rng.fork(), trace.clone());
        let mut sun = Host::new("sun", SUN.address, 0xbbbb_0001, rng.fork(), trace.clone());
        for (host, local, remote) in [(&mut moon, &MOON, &SUN), (&mut sun, &SUN, &MOON)] {
            host.connections.0.push(Arc::new(connection(local, remote)));
            host.credentials.add_secret(SharedSecret {
                kind: SecretKind::Ike,
                owners: vec![Identity::parse(local.id), Identity::parse(remote.id)],
                data: Secret::from(&b"a secret between moon and sun"[..]),
                id: Some("ike-1".into()),
            });
        }
        Self {
            now: MonoTime::from_duration(Duration::from_secs(1000)),
            seed,
            net: Network::new(rng.fork()),
            rng,
            hosts: vec![moon, sun],
            sent: Vec::new(),
            trace,
            _log: log,
        }
    }

    /// Changes the connection of both hosts before it is used.
    pub fn configure(&mut self, mut change: impl FnMut(&mut PeerConfig)) {
        for host in [A, B] {
            self.configure_host(host, &mut change);
        }
    }

    /// Changes the connection of one host before it is used.
    pub fn configure_host(&mut self, host: usize, change: impl FnOnce(&mut PeerConfig)) {
        let Some(connection) = self.hosts[host].connections.0.first_mut() else { return };
        let mut changed = PeerConfig::clone(connection);
        change(&mut changed);
        *connection = Arc::new(changed);
    }

    /// Initiates child `net` of connection `gw` from a host.
    pub fn initiate(&mut self, host: usize) -> UniqueId {
        let peer = Arc::clone(&self.hosts[host].connections.0[0]);
        let child = peer.children.first().cloned();
        self.at(host);
        let id = self.hosts[host].initiate(self.now, &peer, child);
        self.flush(host);
        id
    }

    /// Initiates a named child of connection `gw`.
    pub fn initiate_child(&mut self, host: usize, name: &str) -> UniqueId {
        let peer = Arc::clone(&self.hosts[host].connections.0[0]);
        let child = peer.child(name).cloned().unwrap();
        self.at(host);
        let id = self.hosts[host].initiate(self.now, &peer, Some(child));
        self.flush(host);
        id
    }

    /// Initiates a child of a connection from a host.
    pub fn initiate_from(&mut self, host: usize, peer: &Arc<PeerConfig>, child: Option<InitiateChild>) {
        self.at(host);
        self.hosts[host].initiate_child(self.now, peer, child);
        self.flush(host);
    }

    /// The data plane of a host says that an SA reached a limit.
    pub fn expired(&mut self, host: usize, expired: kernel::Expired) {
        self.at(host);
        self.hosts[host].expired(self.now, expired);
        self.flush(host);
    }

    /// Makes a host lose its IKE_SAs and its data plane, as a power failure does.
    pub fn forget(&mut self, host: usize) {
        self.hosts[host].forget();
    }

    /// Gives an input to the one IKE_SA of a host that is not being replaced or deleted.
    pub fn input(&mut self, host: usize, input: Input) {
        let id = self.ike(host).unwrap_or_else(|| panic!("{} has no IKE_SA", self.hosts[host].name));
        self.input_to(host, id, input);
    }

    /// Gives a host other addresses, best first, and lets its IKE_SAs know as the kernel's events would.
    pub fn move_to(&mut self, host: usize, addresses: &[&str]) {
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.hosts[host].kernel.set_addresses(&addresses);
        if let Some(first) = addresses.first() {
            self.hosts[host].address = *first;
        }
        self.roam(host, true);
    }

    /// Tells the IKE_SAs of a host that addresses or routes changed.
    pub fn roam(&mut self, host: usize, address: bool) {
        for ike in self.hosts[host].snapshots() {
            self.input_to(host, ike.unique_id, Input::Roam { address });
        }
    }

    /// Gives an input to an IKE_SA.
    pub fn input_to(&mut self, host: usize, id: UniqueId, input: Input) {
        self.at(host);
        self.hosts[host].input(self.now, id, input);
        self.flush(host);
    }

    /// The live IKE_SA of a host, if there is one.
    pub fn ike(&self, host: usize) -> Option<UniqueId> {
        let live = |state| !matches!(state, IkeSaState::Rekeyed | IkeSaState::Deleting | IkeSaState::Destroying);
        self.hosts[host].sas.iter().find(|sa| live(sa.state())).map(IkeSa::unique_id)
    }

    /// The newest installed CHILD_SA of a host.
    pub fn child(&self, host: usize) -> Option<UniqueId> {
        self.children(host).last().copied()
    }

    /// The installed CHILD_SAs of a host, oldest first.
    pub fn children(&self, host: usize) -> Vec<UniqueId> {
        let snapshots = self.hosts[host].snapshots();
        let children = snapshots.iter().flat_map(|ike| &ike.children);
        let mut installed: Vec<_> =
            children.filter(|child| child.state == ChildSaState::Installed).map(|child| child.unique_id).collect();
        installed.sort();
        installed
    }

    /// Rekeys the newest CHILD_SA of a host.
    pub fn rekey_child(&mut self, host: usize) {
        let child = self.child(host).expect("a CHILD_SA to rekey");
        self.input(host, Input::RekeyChild { child });
    }

    /// Advances to the next thing that happens within `limit` and lets it happen. False if nothing does.
    pub fn step(&mut self, limit: MonoTime) -> bool {
        let timeouts = self.hosts.iter().filter_map(Host::next_timeout);
        let Some(next) = timeouts.chain(self.net.next_arrival()).min().filter(|at| *at <= limit) else {
            return false;
        };
        self.now = self.now.max(next);
        if let Some(datagram) = self.net.receive(self.now) {
            self.deliver(datagram);
            return true;
        }
        for host in 0..self.hosts.len() {
            if self.hosts[host].next_timeout().is_some_and(|at| at <= self.now) {
                self.at(host);
                self.hosts[host].timeouts(self.now);
                self.flush(host);
            }
        }
        true
    }

    /// Hands a datagram to the host it is addressed to.
    pub fn deliver(&mut self, datagram: Datagram) {
        let Some(host) = self.hosts.iter().position(|host| host.kernel.has_address(datagram.to.ip())) else { return };
        self.at(host);
        if self.hosts[host].is_asleep(self.now) {
            return self.trace.line("asleep, does not hear it");
        }
        self.hosts[host].receive(self.now, datagram);
        self.flush(host);
    }

    /// The IKE_SA of a host that a datagram belongs to.
    fn ike_of(&mut self, address: IpAddr, datagram: &Datagram) -> &mut IkeSa {
        let spi = datagram.header().unwrap().initiator_spi;
        let host = self.hosts.iter_mut().find(|host| host.kernel.has_address(address)).unwrap();
        host.sas.iter_mut().find(|sa| sa.id().initiator == spi).unwrap()
    }

    /// What is in a protected datagram that has not been delivered.
    pub fn payloads(&mut self, datagram: &Datagram) -> Vec<Payload> {
        let receiver = self.ike_of(datagram.to.ip(), datagram);
        let (header, first, content) = ike::testing::open(receiver, &datagram.data).unwrap();
        Message::parse_inner(header, first, &content).unwrap().payloads
    }

    /// Delivers other payloads from the sender of `datagram`, under its keys; returns what is sent in reaction.
    pub fn deliver_instead(&mut self, datagram: Datagram, header: Header, payloads: &[Payload]) -> Vec<Datagram> {
        let before = self.sent.len();
        let forged = self.forge(datagram, header, payloads);
        self.deliver(forged);
        self.sent[before..].to_vec()
    }

    /// Other payloads from the sender of `datagram`, under its keys.
    pub fn forge(&mut self, datagram: Datagram, header: Header, payloads: &[Payload]) -> Datagram {
        let mut w = Writer::default();
        emit_chain(payloads, &mut w);
        let first = payloads.first().map_or(PayloadType::NoNext, Payload::kind);
        let mut rng = self.rng.fork();
        let sender = self.ike_of(datagram.from.ip(), &datagram);
        let data = ike::testing::seal(sender, &mut rng, &header, first, &w.finish().unwrap()).unwrap();
        Datagram { data, ..datagram }
    }

    /// As [`Self::deliver_instead`], under the keys the receiver has at the moment.
    pub fn forge_instead(&mut self, datagram: Datagram, header: Header, payloads: &[Payload]) -> Vec<Datagram> {
        let mut w = Writer::default();
        emit_chain(payloads, &mut w);
        let first = payloads.first().map_or(PayloadType::NoNext, Payload::kind);
        let mut rng = self.rng.fork();
        let receiver = self.ike_of(datagram.to.ip(), &datagram);
        let data = ike::testing::forge(receiver, &mut rng, &header, first, &w.finish().unwrap()).unwrap();
        let before = self.sent.len();
        self.deliver(Datagram { data, ..datagram });
        self.sent[before..].to_vec()
    }

    /// Lets time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut steps = 0;
        while self.step(end) {
            steps += 1;
            assert!(steps < 100_000, "livelock\n{}", self.trace.text());
        }
        self.now = end;
    }

    /// Runs until `done`, at most `limit`; whether it happened.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if !self.step(end) {
                return false;
            }
        }
        true
    }

    /// Lets everything under way come to its end, including inbound SAs that linger after a rekeying (5 s).
    pub fn settle(&mut self) {
        self.run_for(Duration::from_secs(10));
    }

    /// Establishes IKE_SA and CHILD_SA from A and checks that both are there.
    pub fn establish(&mut self) {
        self.initiate(A);
        self.settle();
        self.assert_established(1, 1);
    }

    /// Puts time and host in front of trace lines.
    fn at(&self, host: usize) {
        let seconds = self.now.as_micros() / 1_000_000;
        let millis = self.now.as_micros() / 1000 % 1000;
        self.trace.at(|| format!("{seconds:5}.{millis:03} {:<4}", self.hosts[host].name));
    }

    /// Puts what a host wants to send on the network.
    fn flush(&mut self, host: usize) {
        for datagram in self.hosts[host].take_outbox() {
            if !self.hosts[host].kernel.has_address(datagram.from.ip()) {
                self.trace.line(format_args!("-> {datagram}: not our address any more"));
                continue;
            }
            self.sent.push(datagram.clone());
            let fate = self.net.send(self.now, datagram.clone());
            self.trace.line(format_args!("-> {datagram}: {fate}"));
        }
    }

    /// The states of a host's IKE_SAs and CHILD_SAs.
    pub fn describe(&self, host: usize) -> String {
        let host = &self.hosts[host];
        let mut text = String::new();
        for ike in host.snapshots() {
            let children: Vec<_> =
                ike.children.iter().map(|child| format!("{{{}}} {}", child.unique_id, child.state)).collect();
            text += &format!("[{}] {} ({}) ", ike.unique_id, ike.state, children.join(", "));
        }
        format!("{}: {}; {}", host.name, text, host.kernel.describe())
    }

    /// Fails with the state of all hosts; the trace follows when the simulation is dropped.
    #[track_caller]
    pub fn fail(&self, why: impl std::fmt::Display) -> ! {
        let hosts: Vec<_> = (0..self.hosts.len()).map(|host| self.describe(host)).collect();
        panic!("{why} (seed {})\n{}", self.seed, hosts.join("\n"));
    }

    #[track_caller]
    pub fn assert(&self, condition: bool, what: &str) {
        if !condition {
            self.fail(what);
        }
    }

    /// Both hosts have exactly so many established IKE_SAs and installed CHILD_SAs, agree on them, and their data planes hold
    /// what these need and nothing else.
    #[track_caller]
    pub fn assert_established(&self, ikes: usize, children: usize) {
        for (index, host) in self.hosts.iter().enumerate() {
            let snapshots = host.snapshots();
            let established = snapshots.iter().filter(|ike| ike.state == IkeSaState::Established).count();
            if established != ikes || snapshots.len() != ikes {
                self.fail(format_args!("{}: {established} IKE_SAs, expected {ikes}", host.name));
            }
            if self.children(index).len() != children
                || snapshots.iter().map(|i| i.children.len()).sum::<usize>() != children
            {
                self.fail(format_args!("{}: not {children} CHILD_SAs", host.name));
            }
        }
        self.assert_agreement();
        self.assert_traffic();
    }

    /// Nothing is left anywhere.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        for host in &self.hosts {
            if !host.sas.is_empty() {
                self.fail(format_args!("{} has IKE_SAs left", host.name));
            }
        }
        self.assert_agreement();
    }

    /// Both hosts have the same IKE_SAs and the same CHILD_SAs, and their data planes hold what these need and nothing else.
    #[track_caller]
    pub fn assert_agreement(&self) {
        if let Err(why) = self.agreement() {
            self.fail(why);
        }
    }

    /// What [`Self::assert_agreement`] checks.
    pub fn agreement(&self) -> Result<(), String> {
        let mut views = Vec::new();
        for host in &self.hosts {
            let mut ikes = BTreeMap::new();
            let (mut inbound, mut outbound) = (Vec::new(), Vec::new());
            for ike in host.snapshots() {
                ikes.insert((ike.initiator_spi, ike.responder_spi), ike.state.to_string());
                for child in &ike.children {
                    inbound.extend(child.inbound.map(|id| id.spi));
                    outbound.extend(child.outbound.map(|id| id.spi));
                }
            }
            inbound.sort();
            outbound.sort();
            let count = |direction| host.kernel.sas().iter().filter(|sa| sa.direction == direction).count();
            let installed = (count(ike::kernel::Direction::In), count(ike::kernel::Direction::Out));
            if installed != (inbound.len(), outbound.len()) {
                return Err(format!("{}: {installed:?} SAs for {} CHILD_SAs", host.name, inbound.len()));
            }
            if host.kernel.reserved_spis() > 0 {
                return Err(format!("{}: SPIs leaked", host.name));
            }
            if inbound.is_empty() && !host.kernel.is_empty() {
                return Err(format!("{}: policies leaked", host.name));
            }
            if inbound.is_empty() && host.ids.reqids() > 0 {
                return Err(format!("{}: reqids leaked", host.name));
            }
            host.check_assigned()?;
            if let Some(violation) = host.kernel.violations().first() {
                return Err(format!("{}: {violation}", host.name));
            }
            views.push((host.name, ikes, inbound, outbound));
        }
        if let [(_, a_ikes, a_in, a_out), (_, b_ikes, b_in, b_out)] = views.as_slice() {
            if a_ikes != b_ikes {
                return Err(format!("different IKE_SAs: {a_ikes:?} and {b_ikes:?}"));
            }
            if a_in != b_out || a_out != b_in {
                return Err(format!("different CHILD_SAs: {a_in:x?}/{a_out:x?} and {b_in:x?}/{b_out:x?}"));
            }
        }
        Ok(())
    }

    /// What each host would send by ESP right now is understood by the other.
    #[track_caller]
    pub fn assert_traffic(&self) {
        if let Err(why) = self.traffic() {
            self.fail(why);
        }
    }

    /// What [`Self::assert_traffic`] checks.
    pub fn traffic(&self) -> Result<(), String> {
        for (host, peer) in [(A, B), (B, A)] {
            for sa in self.hosts[host].kernel.active_outbound() {
                let name = self.hosts[host].name;
                let Some(sa) = sa else { return Err(format!("{name} has a policy without SA")) };
                let understood = self.hosts[peer].kernel.inbound(sa.id.protocol, sa.id.spi);
                if !understood.is_some_and(|other| sa.talks_to(&other)) {
                    return Err(format!("{name} sends with SA {} which is not understood", sa.id.spi));
                }
            }
        }
        Ok(())
    }

    /// How many events of a host `matches` accepts.
    pub fn events(&self, host: usize, matches: impl Fn(&Event) -> bool) -> usize {
        self.hosts[host].events.iter().filter(|event| matches(event)).count()
    }

    /// A random number below `bound` from the seed.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.rng.below(bound)
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        if std::thread::panicking() && self.trace.is_recording() {
            eprintln!("--- trace (seed {}) ---\n{}", self.seed, self.trace.text());
        }
    }
}

/// The seed to replay, if one is asked for.
pub fn seed_of_environment() -> Option<u64> {
    std::env::var("SIM_SEED").ok()?.parse().ok()
}
