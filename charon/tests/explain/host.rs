//! One side: IKE_SAs with the parts of the daemon they ask.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use charon::config::{Connections, NoNames};
use charon::kernel::fake::FakeKernel;
use charon::manager::{NumberSettings, Numbers};
use charon::pools::Pools;
use ike::attributes::NoAttributes;
use ike::explain::Explanation;
use ike::ids::UniqueId;
use ike::wire::Header;
use ike::{
    ChildSaState, Duplicate, Env, Event, IkeSa, IkeSaState, IkeSettings, InitiateChild, Input, Output, Peers, Role,
    UniqueIds,
};
use strongswan::clock::{MonoTime, UnixTime};
use strongswan::credentials::Store;
use strongswan::crypto::SystemRng;
use strongswan::host::HostSpec;
use strongswan::identity::Identity;

use super::config::Config;

/// 2027-01-15, when the certificates of the tests are valid.
const EPOCH: i64 = 1_800_000_000;

/// A datagram on its way.
#[derive(Debug)]
pub struct Datagram {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub data: Vec<u8>,
}

/// One side.
pub struct Host {
    pub address: IpAddr,
    /// Added to the civil time of the test.
    pub clock: Duration,
    pub settings: IkeSettings,
    pub connections: Connections,
    pub credentials: Store,
    pub kernel: FakeKernel,
    pub explanations: Vec<Arc<Explanation>>,
    pub sas: Vec<IkeSa>,
    numbers: Numbers,
    pools: Pools,
    outbox: VecDeque<Datagram>,
}

impl Host {
    /// A host with this configuration.
    pub fn new(address: &str, config: &Config) -> Self {
        let connections = Connections::new(Arc::new(NoNames), 500);
        config.load_connections(&connections);
        let credentials = Store::default();
        config.load_credentials(&credentials);
        Config::load_public_keys(&connections, &credentials);
        Self {
            address: address.parse().unwrap(),
            clock: Duration::ZERO,
            settings: IkeSettings::default(),
            connections,
            credentials,
            kernel: FakeKernel::new(),
            explanations: Vec::new(),
            sas: Vec::new(),
            numbers: Numbers::new(NumberSettings::default()),
            pools: config.load_pools(),
            outbox: VecDeque::new(),
        }
    }

    /// Starts to establish a child of `gw`, or the IKE_SA alone.
    pub fn initiate(&mut self, now: MonoTime, child: Option<&str>) {
        let config = self.connections.get("gw").expect("a connection gw");
        let child = child.map(|name| Arc::clone(config.child(name).unwrap_or_else(|| panic!("no child {name}"))));
        let reusable = self.sas.iter().find(|sa| sa.is_reusable() && sa.state() == IkeSaState::Established);
        let id = if let Some(sa) = reusable {
            sa.unique_id()
        } else {
            let (id, spi) = (self.numbers.ike_sa_id(), self.numbers.ike_spi(&mut SystemRng, None));
            self.sas.push(IkeSa::initiator(id, spi, config, now));
            id
        };
        self.input(now, id, Input::Initiate(child.map(InitiateChild::new)));
    }

    /// Starts to establish a child on an IKE_SA of its own, as after a move.
    pub fn initiate_anew(&mut self, now: MonoTime, child: &str) {
        let others = std::mem::take(&mut self.sas);
        self.initiate(now, Some(child));
        self.sas.extend(others);
    }

    /// Receives a datagram.
    pub fn receive(&mut self, now: MonoTime, datagram: Datagram) {
        let Ok((header, _)) = Header::parse(&datagram.data) else { return };
        let id = match header.receiver_spi() {
            Some(spi) => self.sas.iter().find(|sa| sa.id().local() == Some(spi)).map(IkeSa::unique_id),
            None if header.is_request() => {
                let known = self
                    .sas
                    .iter()
                    .find(|sa| sa.id().role == Role::Responder && sa.id().initiator == header.initiator_spi);
                Some(known.map(IkeSa::unique_id).unwrap_or_else(|| {
                    let (id, spi) = (self.numbers.ike_sa_id(), self.numbers.ike_spi(&mut SystemRng, None));
                    self.sas.push(IkeSa::responder(id, header.initiator_spi, spi, now));
                    id
                }))
            }
            None => None,
        };
        if let Some(id) = id {
            let Datagram { from, to, data } = datagram;
            self.input(now, id, Input::Datagram { local: to, remote: from, data });
        }
    }

    /// The next deadline.
    pub fn next_timeout(&self) -> Option<MonoTime> {
        self.sas.iter().filter_map(IkeSa::next_timeout).min()
    }

    /// Carries out what is due.
    pub fn timeouts(&mut self, now: MonoTime) {
        let due = |sa: &&IkeSa| sa.next_timeout().is_some_and(|at| at <= now);
        let ids: Vec<_> = self.sas.iter().filter(due).map(IkeSa::unique_id).collect();
        for id in ids {
            self.input(now, id, Input::Timeout);
        }
    }

    /// What it wants to send.
    pub fn sends(&mut self) -> Option<Datagram> {
        self.outbox.pop_front()
    }

    /// Gives an input to an IKE_SA.
    pub fn input(&mut self, now: MonoTime, id: UniqueId, input: Input) {
        let Some(at) = self.sas.iter().position(|sa| sa.unique_id() == id) else { return };
        let mut sa = self.sas.remove(at);
        let others = Others(self.sas.iter().filter_map(known).collect());
        let seconds = i64::try_from((now.since_origin() + self.clock).as_secs()).unwrap();
        let mut env = Env {
            now,
            wall: UnixTime(EPOCH + seconds),
            rng: &mut SystemRng,
            settings: &self.settings,
            config: &self.connections,
            credentials: &self.credentials,
            kernel: &self.kernel,
            ids: &self.numbers,
            peers: &others,
            pools: &self.pools,
            handlers: &NoAttributes,
        };
        sa.handle(input, &mut env);
        self.sas.push(sa);
        self.drain(now, id);
    }

    fn drain(&mut self, now: MonoTime, id: UniqueId) {
        while let Some(sa) = self.sas.iter_mut().find(|sa| sa.unique_id() == id) {
            let Some(output) = sa.poll_output() else { return };
            match output {
                Output::Send(transmit) if !transmit.keepalive => {
                    self.outbox.push_back(Datagram { from: transmit.local, to: transmit.remote, data: transmit.data });
                }
                Output::Adopt(new) => {
                    let new_id = new.unique_id();
                    self.sas.push(*new);
                    self.drain(now, new_id);
                }
                Output::Event(Event::Explained(explanation)) => self.explanations.push(explanation),
                Output::Resolve(config) => {
                    let remote = config.remote_addrs.iter().find_map(HostSpec::address);
                    let local = config.local_addrs.iter().find_map(HostSpec::address).unwrap_or(self.address);
                    let hosts =
                        remote.map(|remote| (SocketAddr::new(local, 500), SocketAddr::new(remote, config.remote_port)));
                    self.input(now, id, Input::Resolved(hosts));
                }
                Output::Duplicate { id, action } => self.input(now, id, Input::Replaced(action)),
                Output::Destroy => self.sas.retain(|sa| sa.unique_id() != id),
                _ => {}
            }
        }
    }

    /// IKE_SAs and CHILD_SAs that are up.
    pub fn established(&self) -> (usize, usize) {
        let ikes = self.sas.iter().filter(|sa| sa.state() == IkeSaState::Established).count();
        let snapshots = self.sas.iter().map(IkeSa::snapshot);
        let children = snapshots.flat_map(|ike| ike.children).filter(|child| child.state == ChildSaState::Installed);
        (ikes, children.count())
    }
}

/// The other IKE_SAs of a host.
struct Others(Vec<(Identity, Identity, Duplicate)>);

fn known(sa: &IkeSa) -> Option<(Identity, Identity, Duplicate)> {
    let (me, other) = sa.identities()?;
    let config = Arc::clone(sa.config()?);
    let duplicate =
        Duplicate { id: sa.unique_id(), state: sa.state(), remote: sa.remote(), config, children: Default::default() };
    Some((me.clone(), other.clone(), duplicate))
}

impl Peers for Others {
    fn duplicates(&self, _this: UniqueId, me: &Identity, other: &Identity, ipv6: bool) -> Vec<Duplicate> {
        let same = self.0.iter().filter(|(a, b, d)| a == me && b == other && d.remote.is_ipv6() == ipv6);
        same.map(|(_, _, duplicate)| duplicate.clone()).collect()
    }
}
