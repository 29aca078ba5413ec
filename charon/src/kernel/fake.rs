//! A data plane that keeps books and moves nothing.
//!
//! Selected by `charon.plugins.load-tester { enable = yes  fake_kernel = yes }` it lets the control plane be measured
//! alone, with as many SAs as memory holds; in tests its books show what IKE installed, and it raises the events that a
//! test wants to happen: moves, acquires, expiries, changed mappings.

mod network;

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ike::attributes::Held;
use ike::ids::{Reqid, Spi};
use ike::kernel::{
    Direction, Features, Kernel, KernelError, PolicyAction, PolicyClass, PolicyParams, SaId, SaParams, SaUpdate,
    SaUsage,
};
use strongswan::clock::MonoTime;
use strongswan::crypto::{Protocol, Rng, SystemRng};
use strongswan::log;
use strongswan::processing::monotonic;
use strongswan::selectors::TrafficSelector;
use strongswan::sync::Mutex;

use super::{EventSink, KernelEvent};
use network::FakeNetwork;

/// SPIs are taken in turn from this range, as strongSwan's default range.
const SPI_MIN: u32 = 0xc000_0000;
const SPI_COUNT: u32 = 0x1000_0000;

/// An SA in the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeSa {
    /// Its SPI.
    pub spi: Spi,
    /// Its direction.
    pub direction: Direction,
    /// The CHILD_SA's reqid.
    pub reqid: Reqid,
    /// Sender of outer packets, as updated.
    pub src: IpAddr,
    /// Receiver of outer packets, as updated.
    pub dst: IpAddr,
    /// When it was installed.
    pub installed: MonoTime,
}

/// What makes two policies the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FakePolicy {
    /// Its direction.
    pub direction: Direction,
    /// What it does.
    pub action: PolicyAction,
    /// Its class.
    pub class: PolicyClass,
    /// Our end.
    pub local: TrafficSelector,
    /// The peer's end.
    pub remote: TrafficSelector,
    /// Reqid of the SAs to use.
    pub reqid: Option<Reqid>,
}

/// An SA is named by SPI and receiver.
type Key = (Spi, IpAddr);

#[derive(Debug, Default)]
struct Books {
    reserved: HashSet<Key>,
    sas: HashMap<Key, FakeSa>,
    policies: HashMap<FakePolicy, usize>,
}

/// Virtual IPs and the number of their users.
type VirtualIps = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// A virtual IP in the books.
#[derive(Debug)]
struct FakeAddress {
    address: IpAddr,
    addresses: VirtualIps,
}

impl Held for FakeAddress {}

impl Drop for FakeAddress {
    fn drop(&mut self) {
        let mut addresses = self.addresses.lock();
        match addresses.get_mut(&self.address) {
            Some(users) if *users > 1 => *users -= 1,
            _ => drop(addresses.remove(&self.address)),
        }
    }
}

/// The fake data plane.
#[derive(Debug)]
pub struct FakeKernel {
    next_spi: AtomicU32,
    books: Mutex<Books>,
    addresses: VirtualIps,
    network: FakeNetwork,
}

impl Default for FakeKernel {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeKernel {
    /// Empty books.
    pub fn new() -> Self {
        Self {
            next_spi: AtomicU32::new(SystemRng.next_u32()),
            books: Mutex::new(Books::default()),
            addresses: VirtualIps::default(),
            network: FakeNetwork::default(),
        }
    }

    /// Says who takes the events it raises. Only the first call counts.
    pub fn report_to(&self, events: EventSink) {
        self.network.report_to(events);
    }

    /// Pretends to have these addresses, best first. Reported as a roam event, together with what else changes soon after.
    pub fn set_addresses(&self, addresses: Vec<IpAddr>) {
        self.network.set_addresses(addresses);
    }

    /// Pretends that a peer can or cannot be reached. Reported as a roam event of routes.
    pub fn set_reachable(&self, remote: IpAddr, reachable: bool) {
        self.network.set_reachable(remote, reachable);
    }

    /// Pretends that a packet hit a trap.
    pub fn acquire(&self, reqid: Reqid, source: TrafficSelector, destination: TrafficSelector) {
        self.network.raise(KernelEvent::Acquire { reqid, source, destination });
    }

    /// Pretends that an SA has reached its soft or hard limit; one that is gone is gone from the books, too.
    pub fn expire(&self, sa: &FakeSa, hard: bool) {
        if hard {
            self.books.lock().sas.remove(&(sa.spi, sa.dst));
        }
        let (protocol, spi, destination) = (Protocol::Esp, sa.spi, sa.dst);
        self.network.raise(KernelEvent::Expire { protocol, spi, destination, hard });
    }

    /// Pretends that packets of an inbound SA come from elsewhere.
    pub fn map(&self, sa: &FakeSa, remote: SocketAddr) {
        let (protocol, spi, destination) = (Protocol::Esp, sa.spi, sa.dst);
        self.network.raise(KernelEvent::Mapping { protocol, spi, destination, remote });
    }

    /// The fake for a daemon: says loudly that nothing will be protected.
    pub fn announced() -> Self {
        log!(KNL, 0, "load-tester.fake_kernel is enabled: IPsec SAs are NOT installed and NO traffic is protected");
        Self::new()
    }

    /// Every SA, in no order.
    pub fn sas(&self) -> Vec<FakeSa> {
        self.books.lock().sas.values().cloned().collect()
    }

    /// Every policy with the number of its users, in no order.
    pub fn policies(&self) -> Vec<(FakePolicy, usize)> {
        self.books.lock().policies.iter().map(|(policy, users)| (policy.clone(), *users)).collect()
    }

    /// Virtual IPs, in no order.
    pub fn virtual_ips(&self) -> Vec<IpAddr> {
        self.addresses.lock().keys().copied().collect()
    }

    /// Numbers of reserved SPIs, SAs and policies.
    pub fn counts(&self) -> (usize, usize, usize) {
        let books = self.books.lock();
        (books.reserved.len(), books.sas.len(), books.policies.len())
    }
}

fn key(id: &SaId) -> Key {
    (id.spi, id.dst)
}

fn pairs<'a>(params: &'a PolicyParams<'_>) -> impl Iterator<Item = FakePolicy> + 'a {
    params.local_ts.iter().flat_map(move |local| {
        let remotes = params.remote_ts.iter().filter(move |remote| remote.family() == local.family());
        remotes.map(move |remote| FakePolicy {
            direction: params.direction,
            action: params.action,
            class: params.class,
            local: *local,
            remote: *remote,
            reqid: params.reqid,
        })
    })
}

impl Kernel for FakeKernel {
    fn features(&self) -> Features {
        Features::ESP_V3_TFC | Features::SA_USE_TIME
    }

    fn allocate_spi(&self, _protocol: Protocol, _src: IpAddr, dst: IpAddr) -> Result<Spi, KernelError> {
        let mut books = self.books.lock();
        // A round through the whole range finds a free one if there is one; in practice the first is.
        for _ in 0..SPI_COUNT {
            let number = SPI_MIN | (self.next_spi.fetch_add(1, Ordering::Relaxed) % SPI_COUNT);
            let Some(spi) = Spi::new(number) else { continue };
            if !books.sas.contains_key(&(spi, dst)) && books.reserved.insert((spi, dst)) {
                return Ok(spi);
            }
        }
        Err(KernelError::Failed("no SPI left".to_owned()))
    }

    fn add_sa(&self, sa: &SaParams<'_>) -> Result<(), KernelError> {
        let mut books = self.books.lock();
        let key = key(&sa.id);
        if books.sas.contains_key(&key) {
            return Err(KernelError::Exists);
        }
        books.reserved.remove(&key);
        let (direction, reqid, SaId { src, dst, .. }) = (sa.direction, sa.reqid, sa.id);
        books.sas.insert(key, FakeSa { spi: sa.id.spi, direction, reqid, src, dst, installed: monotonic() });
        Ok(())
    }

    fn update_sa(&self, update: &SaUpdate) -> Result<(), KernelError> {
        let mut books = self.books.lock();
        let sa = books.sas.get_mut(&key(&update.id)).ok_or(KernelError::NotFound)?;
        (sa.src, sa.dst) = (update.src, update.dst);
        Ok(())
    }

    fn query_sa(&self, id: &SaId) -> Result<SaUsage, KernelError> {
        let books = self.books.lock();
        books.sas.get(&key(id)).map(|_| SaUsage { bytes: 0, packets: 0, idle: None }).ok_or(KernelError::NotFound)
    }

    fn delete_sa(&self, id: &SaId) -> Result<(), KernelError> {
        let mut books = self.books.lock();
        let reserved = books.reserved.remove(&key(id));
        let installed = books.sas.remove(&key(id)).is_some();
        if reserved || installed { Ok(()) } else { Err(KernelError::NotFound) }
    }

    fn add_policies(&self, policies: &PolicyParams<'_>) -> Result<(), KernelError> {
        let mut books = self.books.lock();
        for policy in pairs(policies) {
            let users = books.policies.entry(policy).or_default();
            *users = users.saturating_add(1);
        }
        Ok(())
    }

    fn delete_policies(&self, policies: &PolicyParams<'_>) -> Result<(), KernelError> {
        let mut books = self.books.lock();
        let mut result = Ok(());
        for policy in pairs(policies) {
            match books.policies.get_mut(&policy) {
                Some(users) if *users > 1 => *users -= 1,
                Some(_) => drop(books.policies.remove(&policy)),
                None => result = Err(KernelError::NotFound),
            }
        }
        result
    }

    fn source_address(&self, remote: IpAddr, preferred: Option<IpAddr>) -> Option<IpAddr> {
        self.network.source_address(remote, preferred)
    }

    fn local_addresses(&self) -> Vec<IpAddr> {
        self.network.addresses()
    }

    fn add_virtual_ip(&self, address: IpAddr, _outer: IpAddr) -> Result<Box<dyn Held>, KernelError> {
        let users = &mut *self.addresses.lock();
        let users = users.entry(address).or_default();
        *users = users.saturating_add(1);
        Ok(Box::new(FakeAddress { address, addresses: Arc::clone(&self.addresses) }))
    }
}

#[cfg(test)]
mod tests {
    use ike::config::Mode;
    use ike::ids::{IfId, Mark};

    use super::*;

    fn policy<'a>(local_ts: &'a [TrafficSelector], remote_ts: &'a [TrafficSelector]) -> PolicyParams<'a> {
        PolicyParams {
            ipcomp: false,
            direction: Direction::Out,
            action: PolicyAction::Ipsec,
            class: PolicyClass::Default,
            priority: 0,
            local: [192, 0, 2, 1].into(),
            remote: [192, 0, 2, 2].into(),
            local_ts,
            remote_ts,
            reqid: Reqid::new(1),
            spi: Spi::new(0xc000_0001),
            protocol: Protocol::Esp,
            mode: Mode::Tunnel,
            mark: Mark::NONE,
            if_id: IfId::NONE,
            interface: None,
            fwd_out: false,
            hw_offload: ike::config::HwOffload::No,
        }
    }

    #[test]
    fn spis_are_unique_until_released() {
        let fake = FakeKernel::new();
        let (src, dst) = ([192, 0, 2, 2].into(), [192, 0, 2, 1].into());
        let spis: HashSet<_> = (0..100).map(|_| fake.allocate_spi(Protocol::Esp, src, dst).unwrap()).collect();
        assert_eq!((spis.len(), fake.counts()), (100, (100, 0, 0)));
        for spi in spis {
            let id = SaId { spi, protocol: Protocol::Esp, src, dst, mark: Mark::NONE, if_id: IfId::NONE };
            fake.delete_sa(&id).unwrap();
            assert_eq!(fake.delete_sa(&id), Err(KernelError::NotFound));
        }
        assert_eq!(fake.counts(), (0, 0, 0));
    }

    #[test]
    fn virtual_ips_are_counted_by_user() {
        let fake = FakeKernel::new();
        let (vip, outer) = ([10, 3, 0, 1].into(), [192, 0, 2, 1].into());
        let held = [fake.add_virtual_ip(vip, outer).unwrap(), fake.add_virtual_ip(vip, outer).unwrap()];
        let [first, second] = held;
        drop(first);
        assert_eq!(fake.virtual_ips(), [vip]);
        drop(second);
        assert!(fake.virtual_ips().is_empty());
    }

    #[test]
    fn policies_are_counted_by_user_and_families_do_not_mix() {
        let parse = |text| TrafficSelector::parse(text).unwrap();
        let (local, remote) = ([parse("10.1.0.0/16"), parse("fd01::/16")], [parse("10.2.0.0/16"), parse("fd02::/16")]);
        let (fake, params) = (FakeKernel::new(), policy(&local, &remote));
        fake.add_policies(&params).unwrap();
        fake.add_policies(&params).unwrap();
        assert!(fake.policies().iter().all(|(_, users)| *users == 2) && fake.counts().2 == 2);
        fake.delete_policies(&params).unwrap();
        fake.delete_policies(&params).unwrap();
        assert_eq!(fake.delete_policies(&params), Err(KernelError::NotFound));
    }
}
