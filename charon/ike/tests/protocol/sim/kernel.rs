//! A data plane that only remembers: which SPIs, SAs and policies exist, and what was done that should not have been.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use ike::attributes::Held;
use ike::ids::{IfId, Mark, Reqid, Spi};
use ike::kernel::{
    Direction, Encap, Features, Kernel, KernelError, PolicyAction, PolicyClass, PolicyParams, SaId, SaLifetimes,
    SaParams, SaUpdate, SaUsage,
};
use strongswan::clock::MonoTime;
use strongswan::crypto::{EncryptionAlgorithm, IntegrityAlgorithm, Protocol};
use strongswan::selectors::TrafficSelector;

use super::attributes::{Book, InUse};

/// An installed SA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledSa {
    pub id: SaId,
    pub direction: Direction,
    pub reqid: Reqid,
    pub encryption: Option<(EncryptionAlgorithm, Option<u16>)>,
    pub encryption_key: Vec<u8>,
    pub integrity: Option<IntegrityAlgorithm>,
    pub integrity_key: Vec<u8>,
    pub esn: bool,
    pub cpi: Option<u16>,
    pub encap: Option<Encap>,
    pub lifetimes: SaLifetimes,
    /// When its soft limit is reported.
    soft_at: Option<MonoTime>,
    /// When it goes.
    hard_at: Option<MonoTime>,
}

/// An SA that reached a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired {
    pub protocol: Protocol,
    pub spi: Spi,
    pub direction: Direction,
    pub hard: bool,
}

impl InstalledSa {
    /// Whether packets that `self` sends are understood by `other`.
    pub fn talks_to(&self, other: &Self) -> bool {
        self.direction == Direction::Out
            && other.direction == Direction::In
            && (self.id.spi, self.id.protocol) == (other.id.spi, other.id.protocol)
            && (self.encryption, self.integrity, self.esn) == (other.encryption, other.integrity, other.esn)
            && (&self.encryption_key, &self.integrity_key) == (&other.encryption_key, &other.integrity_key)
            && self.encap.is_some() == other.encap.is_some()
            && self.cpi == other.cpi
    }
}

/// An installed set of policies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InstalledPolicy {
    pub direction: Direction,
    pub action: PolicyAction,
    pub class: PolicyClass,
    pub local: IpAddr,
    pub remote: IpAddr,
    pub local_ts: Vec<TrafficSelector>,
    pub remote_ts: Vec<TrafficSelector>,
    pub reqid: Option<Reqid>,
    pub spi: Option<Spi>,
    pub protocol: Protocol,
    pub mark: Mark,
    pub if_id: IfId,
}

impl From<&PolicyParams<'_>> for InstalledPolicy {
    fn from(p: &PolicyParams<'_>) -> Self {
        Self {
            direction: p.direction,
            action: p.action,
            class: p.class,
            local: p.local,
            remote: p.remote,
            local_ts: p.local_ts.to_vec(),
            remote_ts: p.remote_ts.to_vec(),
            reqid: p.reqid,
            spi: p.spi,
            protocol: p.protocol,
            mark: p.mark,
            if_id: p.if_id,
        }
    }
}

/// Which calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Failures {
    pub allocate_spi: bool,
    pub allocate_cpi: bool,
    pub add_sa: bool,
    pub add_policies: bool,
    /// Addresses of SAs cannot be changed in place.
    pub update_sa: bool,
    /// SAs whose addresses change get lost.
    pub lose_sa: bool,
    pub add_virtual_ip: bool,
}

#[derive(Debug, Default)]
struct State {
    next_spi: u32,
    next_cpi: u16,
    reserved: HashSet<(Protocol, Spi)>,
    sas: HashMap<(Protocol, Spi, Direction), InstalledSa>,
    /// In order of installation; the last one of a class wins.
    policies: Vec<InstalledPolicy>,
    violations: Vec<String>,
    failures: Failures,
    /// Addresses of the host, best first.
    addresses: Vec<IpAddr>,
    /// Where no route leads.
    unreachable: HashSet<IpAddr>,
    now: MonoTime,
    /// SAs that are gone because their time was over; deleting them again is no mistake.
    expired: HashSet<(Protocol, Spi)>,
}

/// The recording data plane of one host.
#[derive(Debug)]
pub struct FakeKernel {
    features: Mutex<Features>,
    state: Mutex<State>,
    virtual_ips: Book<IpAddr>,
}

impl FakeKernel {
    /// A data plane whose SPIs start at `first_spi`, so that those of two hosts differ.
    pub fn new(first_spi: u32, features: Features) -> Self {
        let state = Mutex::new(State { next_spi: first_spi, ..State::default() });
        Self { features: Mutex::new(features), state, virtual_ips: Book::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Makes calls fail from now on.
    pub fn fail(&self, failures: Failures) {
        self.state().failures = failures;
    }

    /// From now on it can do this.
    pub fn set_features(&self, features: Features) {
        *self.features.lock().unwrap() = features;
    }

    /// Loses everything. SPIs are not used again.
    pub fn forget(&self) {
        let mut state = self.state();
        *state = State {
            next_spi: state.next_spi,
            addresses: std::mem::take(&mut state.addresses),
            unreachable: std::mem::take(&mut state.unreachable),
            violations: std::mem::take(&mut state.violations),
            ..State::default()
        };
    }

    /// What time it is.
    pub fn set_time(&self, now: MonoTime) {
        self.state().now = now;
    }

    /// When the next limit of an SA is reached.
    pub fn next_expiry(&self) -> Option<MonoTime> {
        self.state().sas.values().flat_map(|sa| [sa.soft_at, sa.hard_at]).flatten().min()
    }

    /// The SAs that have reached a limit; those whose hard limit it is are gone.
    pub fn expire(&self, now: MonoTime) -> Vec<Expired> {
        let mut state = self.state();
        let mut reached = Vec::new();
        for ((protocol, spi, direction), sa) in &mut state.sas {
            let is_due = |at: &mut MonoTime| *at <= now;
            let soft = sa.soft_at.take_if(is_due).is_some();
            let hard = sa.hard_at.take_if(is_due).is_some();
            if soft || hard {
                reached.push(Expired { protocol: *protocol, spi: *spi, direction: *direction, hard });
            }
        }
        reached.sort_by_key(|expired| (expired.spi, expired.direction == Direction::Out));
        for expired in reached.iter().filter(|expired| expired.hard) {
            state.sas.remove(&(expired.protocol, expired.spi, expired.direction));
            state.expired.insert((expired.protocol, expired.spi));
        }
        reached
    }

    /// Takes one SA away, as its hard limit does.
    pub fn drop_sa(&self, expired: &Expired) {
        let mut state = self.state();
        state.sas.remove(&(expired.protocol, expired.spi, expired.direction));
        state.expired.insert((expired.protocol, expired.spi));
    }

    /// Gives the host these addresses, best first, and no others.
    pub fn set_addresses(&self, addresses: &[IpAddr]) {
        self.state().addresses = addresses.to_vec();
    }

    /// Whether the host has an address.
    pub fn has_address(&self, address: IpAddr) -> bool {
        self.state().addresses.contains(&address)
    }

    /// Whether a route leads to `remote`.
    pub fn set_reachable(&self, remote: IpAddr, reachable: bool) {
        let mut state = self.state();
        if reachable {
            state.unreachable.remove(&remote);
        } else {
            state.unreachable.insert(remote);
        }
    }

    /// All SAs.
    pub fn sas(&self) -> Vec<InstalledSa> {
        self.state().sas.values().cloned().collect()
    }

    /// All policies.
    pub fn policies(&self) -> Vec<InstalledPolicy> {
        self.state().policies.clone()
    }

    /// SPIs that were allocated and neither installed nor released.
    pub fn reserved_spis(&self) -> usize {
        self.state().reserved.len()
    }

    /// Inbound SA with this SPI.
    pub fn inbound(&self, protocol: Protocol, spi: Spi) -> Option<InstalledSa> {
        self.state().sas.get(&(protocol, spi, Direction::In)).cloned()
    }

    /// The outbound SAs in use: those the newest policy of each set of selectors names.
    pub fn active_outbound(&self) -> Vec<Option<InstalledSa>> {
        let state = self.state();
        let mut seen = HashSet::new();
        let newest_first = state.policies.iter().rev();
        newest_first
            .filter(|p| p.direction == Direction::Out && p.class == PolicyClass::Default)
            .filter(|p| seen.insert((&p.local_ts, &p.remote_ts, p.mark, p.if_id)))
            .map(|p| p.spi.and_then(|spi| state.sas.get(&(p.protocol, spi, Direction::Out)).cloned()))
            .collect()
    }

    /// Virtual IPs, as often as they are in use.
    pub fn virtual_ips(&self) -> Vec<IpAddr> {
        self.virtual_ips.lock().unwrap().clone()
    }

    /// Wrong calls so far.
    pub fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    /// What exists, for messages.
    pub fn describe(&self) -> String {
        let state = self.state();
        let mut sas: Vec<_> = state.sas.keys().map(|(_, spi, dir)| format!("{dir:?} {spi}")).collect();
        sas.sort();
        format!("SAs [{}], {} policies, {} reserved SPIs", sas.join(", "), state.policies.len(), state.reserved.len())
    }

    /// Whether nothing exists.
    pub fn is_empty(&self) -> bool {
        let state = self.state();
        state.sas.is_empty() && state.policies.is_empty() && state.reserved.is_empty()
    }
}

impl State {
    fn violation(&mut self, text: String) -> KernelError {
        self.violations.push(text);
        KernelError::NotFound
    }

    /// The SA with this id, whatever its direction: the addresses tell.
    fn find(&self, id: &SaId) -> Option<(Protocol, Spi, Direction)> {
        let matching = self.sas.iter().find(|(_, sa)| sa.id == *id);
        matching.map(|(key, _)| *key)
    }
}

impl Kernel for FakeKernel {
    fn features(&self) -> Features {
        *self.features.lock().unwrap()
    }

    fn allocate_spi(&self, protocol: Protocol, _src: IpAddr, _dst: IpAddr) -> Result<Spi, KernelError> {
        let mut state = self.state();
        if state.failures.allocate_spi {
            return Err(KernelError::Failed("scripted".into()));
        }
        let spi = Spi::new(state.next_spi).unwrap();
        state.next_spi += 1;
        state.reserved.insert((protocol, spi));
        Ok(spi)
    }

    fn allocate_cpi(&self, _src: IpAddr, _dst: IpAddr) -> Result<u16, KernelError> {
        let mut state = self.state();
        if state.failures.allocate_cpi {
            return Err(KernelError::NotSupported);
        }
        state.next_cpi += 1;
        let cpi = 0x100 + state.next_cpi;
        state.reserved.insert((Protocol::IpComp, Spi::new(cpi.into()).unwrap()));
        Ok(cpi)
    }

    fn release_cpi(&self, cpi: u16, _src: IpAddr, _dst: IpAddr) {
        let mut state = self.state();
        if !state.reserved.remove(&(Protocol::IpComp, Spi::new(cpi.into()).unwrap())) {
            state.violation(format!("release of unknown CPI {cpi:04x}"));
        }
    }

    fn add_sa(&self, sa: &SaParams<'_>) -> Result<(), KernelError> {
        let mut state = self.state();
        if state.failures.add_sa {
            return Err(KernelError::Failed("scripted".into()));
        }
        let key = (sa.id.protocol, sa.id.spi, sa.direction);
        if sa.direction == Direction::In && !state.reserved.remove(&(sa.id.protocol, sa.id.spi)) {
            state.violation(format!("inbound SA {} was not reserved", sa.id.spi));
        }
        if let (Direction::In, Some(cpi)) = (sa.direction, sa.cpi)
            && !state.reserved.remove(&(Protocol::IpComp, Spi::new(cpi.into()).unwrap()))
        {
            state.violation(format!("inbound CPI {cpi:04x} was not reserved"));
        }
        let at = |seconds| (seconds != 0).then(|| state.now + Duration::from_secs(seconds));
        let installed = InstalledSa {
            soft_at: at(sa.lifetimes.time.soft),
            hard_at: at(sa.lifetimes.time.hard),
            id: sa.id,
            direction: sa.direction,
            reqid: sa.reqid,
            encryption: sa.keys.encryption,
            encryption_key: sa.keys.encryption_key.as_bytes().to_vec(),
            integrity: sa.keys.integrity,
            integrity_key: sa.keys.integrity_key.as_bytes().to_vec(),
            esn: sa.keys.esn,
            cpi: sa.cpi,
            encap: sa.encap,
            lifetimes: sa.lifetimes,
        };
        if state.sas.insert(key, installed).is_some() {
            state.violation(format!("SA {} installed twice", sa.id.spi));
            return Err(KernelError::Exists);
        }
        Ok(())
    }

    fn update_sa(&self, update: &SaUpdate) -> Result<(), KernelError> {
        let mut state = self.state();
        if state.failures.update_sa {
            return Err(KernelError::NotSupported);
        }
        if state.failures.lose_sa {
            return Err(KernelError::Failed("scripted".into()));
        }
        let Some(key) = state.find(&update.id) else {
            if state.expired.contains(&(update.id.protocol, update.id.spi)) {
                return Err(KernelError::NotFound);
            }
            return Err(state.violation(format!("update of unknown SA {}", update.id.spi)));
        };
        if let Some(sa) = state.sas.get_mut(&key) {
            (sa.id.src, sa.id.dst, sa.encap) = (update.src, update.dst, update.encap);
        }
        Ok(())
    }

    fn query_sa(&self, id: &SaId) -> Result<SaUsage, KernelError> {
        match self.state().find(id) {
            Some(_) => Ok(SaUsage::default()),
            None => Err(KernelError::NotFound),
        }
    }

    fn delete_sa(&self, id: &SaId) -> Result<(), KernelError> {
        let mut state = self.state();
        if let Some(key) = state.find(id) {
            state.sas.remove(&key);
            return Ok(());
        }
        if state.reserved.remove(&(id.protocol, id.spi)) {
            return Ok(());
        }
        if state.expired.contains(&(id.protocol, id.spi)) {
            return Err(KernelError::NotFound);
        }
        Err(state.violation(format!("deletion of unknown SA {} {} -> {}", id.spi, id.src, id.dst)))
    }

    fn add_policies(&self, policies: &PolicyParams<'_>) -> Result<(), KernelError> {
        let mut state = self.state();
        if state.failures.add_policies {
            return Err(KernelError::Failed("scripted".into()));
        }
        state.policies.push(policies.into());
        Ok(())
    }

    fn delete_policies(&self, policies: &PolicyParams<'_>) -> Result<(), KernelError> {
        let mut state = self.state();
        let policy = InstalledPolicy::from(policies);
        match state.policies.iter().rposition(|p| *p == policy) {
            Some(at) => {
                state.policies.remove(at);
                Ok(())
            }
            None => Err(state.violation(format!("deletion of unknown policy {policy:?}"))),
        }
    }

    fn source_address(&self, remote: IpAddr, preferred: Option<IpAddr>) -> Option<IpAddr> {
        let state = self.state();
        if state.unreachable.contains(&remote) {
            return None;
        }
        let mut usable = state.addresses.iter().copied().filter(|local| local.is_ipv6() == remote.is_ipv6());
        let preferred = preferred.filter(|preferred| state.addresses.contains(preferred));
        preferred.or_else(|| usable.next())
    }

    fn local_addresses(&self) -> Vec<IpAddr> {
        self.state().addresses.clone()
    }

    fn add_virtual_ip(&self, address: IpAddr, _outer: IpAddr) -> Result<Box<dyn Held>, KernelError> {
        if self.state().failures.add_virtual_ip {
            return Err(KernelError::Failed("scripted".into()));
        }
        Ok(Box::new(InUse::enter(&self.virtual_ips, address)))
    }
}
