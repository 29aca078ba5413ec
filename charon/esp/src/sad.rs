//! The security association database (RFC 4301 §4.4.2): inbound SAs by SPI, outbound ones by the policies they serve,
//! and the clock of their lifetimes.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use strongswan::clock::MonoTime;
use strongswan::crypto::Rng;
use strongswan::sync::{Mutex, RwLock};
use thiserror::Error;

use crate::ids::{Reqid, SaKey, Spi};
use crate::inbound::Inbound;
use crate::lifetime::{Expiry, Lifetime, Usage};
use crate::outbound::{Outbound, Path};

/// Shards of the inbound table: receivers on different cores seldom meet, and an installation stops few of them.
const SHARDS: u32 = 64;

/// How often a random SPI may be taken before the range counts as full.
const SPI_ATTEMPTS: u32 = 128;

/// After asking for an SA, further packets do not ask again for this long: a negotiation takes its time.
const ACQUIRE_INTERVAL: Duration = Duration::from_secs(10);

/// Why an SA could not be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SadError {
    /// There is one with this SPI (and, outbound, this peer).
    #[error("the SA exists already")]
    Exists,
}

/// A limit of an SA that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired {
    /// The SA.
    pub key: SaKey,
    /// Its reqid.
    pub reqid: Reqid,
    /// Which limit.
    pub expiry: Expiry,
}

/// The outbound SAs that protect the policies of one reqid. Policies hold it, so that a rekeyed SA takes over between two
/// packets, in all of them at once.
#[derive(Debug)]
pub struct Bundle {
    reqid: Reqid,
    /// What packets use: the newest of `installed`.
    current: ArcSwapOption<Outbound>,
    /// Oldest first. Locked after the database's own lock.
    installed: Mutex<Vec<Arc<Outbound>>>,
    /// When an SA was asked for, in microseconds; 0 for never.
    acquired: AtomicU64,
}

impl Bundle {
    fn new(reqid: Reqid) -> Self {
        Self { reqid, current: ArcSwapOption::empty(), installed: Mutex::new(Vec::new()), acquired: AtomicU64::new(0) }
    }

    /// The reqid.
    pub fn reqid(&self) -> Reqid {
        self.reqid
    }

    /// The SA for the next packet. An expired one has been replaced by the next older one that is not, if any.
    pub fn current(&self) -> Option<Arc<Outbound>> {
        self.current.load_full()
    }

    /// Whether an SA should be asked for now.
    pub(crate) fn acquire(&self, now: MonoTime) -> bool {
        let now = now.as_micros().max(1);
        let last = self.acquired.load(Ordering::Relaxed);
        let due = last == 0 || now.saturating_sub(last) >= u64::try_from(ACQUIRE_INTERVAL.as_micros()).unwrap_or(0);
        due && self.acquired.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn install(&self, sa: Arc<Outbound>) {
        self.acquired.store(0, Ordering::Relaxed);
        let mut installed = self.installed.lock();
        installed.push(sa);
        self.elect(&installed);
    }

    fn remove(&self, sa: &Arc<Outbound>) {
        let mut installed = self.installed.lock();
        installed.retain(|other| !Arc::ptr_eq(other, sa));
        self.elect(&installed);
    }

    /// Chooses again, as an SA has expired.
    pub(crate) fn reelect(&self) {
        self.elect(&self.installed.lock());
    }

    fn elect(&self, installed: &[Arc<Outbound>]) {
        self.current.store(installed.iter().rev().find(|sa| !sa.is_expired()).cloned());
    }
}

/// Inbound SAs of some SPIs. Nothing else is locked while it is held.
type Shard = RwLock<HashMap<Spi, Arc<Inbound>>>;

/// The database.
#[derive(Debug)]
pub struct Sad {
    inbound: Box<[Shard]>,
    /// Taken before any other lock of this database.
    control: Mutex<Control>,
}

/// What only installation, removal and expiry need.
#[derive(Debug, Default)]
struct Control {
    /// SPIs handed out whose SA is not installed yet.
    reserved: HashSet<Spi>,
    outbound: HashMap<SaKey, Arc<Outbound>>,
    bundles: HashMap<Reqid, Arc<Bundle>>,
    timers: BTreeSet<(MonoTime, SaKey, Expiry)>,
    /// When each SA was installed: what its timers count from.
    installed: HashMap<SaKey, MonoTime>,
}

impl Control {
    fn start(&mut self, key: SaKey, lifetime: &Lifetime, now: MonoTime) {
        self.installed.insert(key, now);
        self.timers.extend(deadlines(key, lifetime, now));
    }

    fn stop(&mut self, key: SaKey, lifetime: &Lifetime) {
        if let Some(installed) = self.installed.remove(&key) {
            for timer in deadlines(key, lifetime, installed) {
                self.timers.remove(&timer);
            }
        }
    }

    fn bundle(&mut self, reqid: Reqid) -> Arc<Bundle> {
        Arc::clone(self.bundles.entry(reqid).or_insert_with(|| Arc::new(Bundle::new(reqid))))
    }

    /// Forgets a bundle that neither an SA nor a policy uses.
    fn prune(&mut self, reqid: Reqid) {
        if let Entry::Occupied(entry) = self.bundles.entry(reqid)
            && Arc::strong_count(entry.get()) == 1
            && entry.get().installed.lock().is_empty()
        {
            entry.remove();
        }
    }
}

fn deadlines(
    key: SaKey,
    lifetime: &Lifetime,
    installed: MonoTime,
) -> impl Iterator<Item = (MonoTime, SaKey, Expiry)> + use<> {
    let soft = lifetime.time.soft.map(|after| (installed + after, key, Expiry::Soft));
    let hard = lifetime.time.hard.map(|after| (installed + after, key, Expiry::Hard));
    soft.into_iter().chain(hard)
}

impl Default for Sad {
    fn default() -> Self {
        Self {
            inbound: (0..SHARDS).map(|_| RwLock::new(HashMap::new())).collect(),
            control: Mutex::new(Control::default()),
        }
    }
}

impl Sad {
    /// Reserves an unused SPI of `range` for an inbound SA; `None` if the range is full.
    pub fn reserve_spi(&self, range: RangeInclusive<u32>, rng: &mut dyn Rng) -> Option<Spi> {
        let (start, end) = (*range.start().max(&Spi::MIN), *range.end());
        let size = u64::from(end.checked_sub(start)?).saturating_add(1);
        let mut control = self.control.lock();
        (0..SPI_ATTEMPTS).find_map(|_| {
            let spi = Spi::new(start.checked_add(u32::try_from(rng.below(size)).ok()?)?)?;
            (self.inbound(spi).is_none() && control.reserved.insert(spi)).then_some(spi)
        })
    }

    /// Installs an inbound SA, in the place of its reservation if there is one.
    ///
    /// # Errors
    /// If the SPI is in use.
    pub fn insert_inbound(&self, sa: Inbound, now: MonoTime) -> Result<(), SadError> {
        let spi = sa.spi();
        let mut control = self.control.lock();
        let lifetime = *sa.lifetime();
        match self.shard(spi).map(|shard| shard.write()) {
            Some(mut shard) if !shard.contains_key(&spi) => shard.insert(spi, Arc::new(sa)),
            _ => return Err(SadError::Exists),
        };
        control.reserved.remove(&spi);
        control.start(SaKey::Inbound(spi), &lifetime, now);
        Ok(())
    }

    /// Installs an outbound SA. The next packet of its reqid's policies uses it.
    ///
    /// # Errors
    /// If there is one with its SPI to the same peer.
    pub fn insert_outbound(&self, sa: Outbound, now: MonoTime) -> Result<(), SadError> {
        let key = sa.key();
        let mut control = self.control.lock();
        let sa = Arc::new(sa);
        match control.outbound.entry(key) {
            Entry::Vacant(entry) => entry.insert(Arc::clone(&sa)),
            Entry::Occupied(_) => return Err(SadError::Exists),
        };
        control.start(key, sa.lifetime(), now);
        control.bundle(sa.reqid()).install(sa);
        Ok(())
    }

    /// Removes an SA or a reservation. Packets under way finish with it. Returns whether there was one.
    pub fn remove(&self, key: SaKey) -> bool {
        let mut control = self.control.lock();
        match key {
            SaKey::Inbound(spi) => {
                let reserved = control.reserved.remove(&spi);
                let Some(sa) = self.shard(spi).and_then(|shard| shard.write().remove(&spi)) else { return reserved };
                control.stop(key, sa.lifetime());
            }
            SaKey::Outbound(..) => {
                let Some(sa) = control.outbound.remove(&key) else { return false };
                control.stop(key, sa.lifetime());
                let reqid = sa.reqid();
                control.bundle(reqid).remove(&sa);
                control.prune(reqid);
            }
        }
        true
    }

    /// Moves an SA to another path. Its key stays what it was. Returns whether there is such an SA.
    pub fn set_path(&self, key: SaKey, path: Path) -> bool {
        match key {
            SaKey::Inbound(spi) => self.inbound(spi).map(|sa| sa.set_path(path)).is_some(),
            SaKey::Outbound(..) => self.outbound(key).map(|sa| sa.set_path(path)).is_some(),
        }
    }

    /// What an SA has carried.
    pub fn usage(&self, key: SaKey) -> Option<Usage> {
        match key {
            SaKey::Inbound(spi) => self.inbound(spi).map(|sa| sa.usage()),
            SaKey::Outbound(..) => self.outbound(key).map(|sa| sa.usage()),
        }
    }

    /// The inbound SA with this SPI.
    pub fn inbound(&self, spi: Spi) -> Option<Arc<Inbound>> {
        self.shard(spi)?.read().get(&spi).cloned()
    }

    /// An outbound SA.
    pub fn outbound(&self, key: SaKey) -> Option<Arc<Outbound>> {
        self.control.lock().outbound.get(&key).cloned()
    }

    /// The outbound SA with this SPI whose packets go to `address` now, whatever its key says. Compares every outbound SA.
    pub fn find_outbound(&self, spi: Spi, address: IpAddr) -> Option<SaKey> {
        let control = self.control.lock();
        let found = control.outbound.values().find(|sa| sa.spi() == spi && sa.path().remote.ip() == address);
        found.map(|sa| sa.key())
    }

    /// The SAs of a reqid, for a policy to hold. There need not be one yet.
    pub fn bundle(&self, reqid: Reqid) -> Arc<Bundle> {
        self.control.lock().bundle(reqid)
    }

    /// To be called when a policy has dropped its [`Bundle`].
    pub fn prune(&self, reqid: Reqid) {
        self.control.lock().prune(reqid);
    }

    /// Number of inbound and outbound SAs.
    pub fn len(&self) -> (usize, usize) {
        (self.inbound.iter().map(|shard| shard.read().len()).sum(), self.control.lock().outbound.len())
    }

    /// Whether there is no SA.
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub fn next_timeout(&self) -> Option<MonoTime> {
        self.control.lock().timers.first().map(|(at, _, _)| *at)
    }

    /// The next SA whose time is up, to be called until it returns `None`. What was told by volume already is not told again.
    pub fn expire(&self, now: MonoTime) -> Option<Expired> {
        let mut control = self.control.lock();
        loop {
            let (at, key, expiry) = control.timers.first().copied()?;
            if at > now {
                return None;
            }
            control.timers.pop_first();
            let told = match key {
                SaKey::Inbound(spi) => self.inbound(spi).and_then(|sa| sa.expire(expiry).map(|_| sa.reqid())),
                SaKey::Outbound(..) => control.outbound.get(&key).and_then(|sa| {
                    let told = sa.expire(expiry)?;
                    if told == Expiry::Hard
                        && let Some(bundle) = control.bundles.get(&sa.reqid())
                    {
                        bundle.reelect();
                    }
                    Some(sa.reqid())
                }),
            };
            if let Some(reqid) = told {
                return Some(Expired { key, reqid, expiry });
            }
        }
    }

    fn shard(&self, spi: Spi) -> Option<&Shard> {
        self.inbound.get(usize::try_from(spi.get() % SHARDS).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use strongswan::crypto::SystemRng;

    use super::*;
    use crate::lifetime::Limit;
    use crate::testing::{inbound, outbound, reqid, spi};

    fn at(seconds: u64) -> MonoTime {
        MonoTime::from_duration(Duration::from_secs(seconds))
    }

    fn timed(soft: u64, hard: u64) -> Lifetime {
        let time = Limit { soft: Some(Duration::from_secs(soft)), hard: Some(Duration::from_secs(hard)) };
        Lifetime { time, ..Lifetime::default() }
    }

    fn peer() -> IpAddr {
        outbound(1, 256).path.remote.ip()
    }

    #[test]
    fn reserved_spis_are_unique_and_the_range_can_fill_up() {
        let sad = Sad::default();
        let spis: HashSet<_> = (0..4).filter_map(|_| sad.reserve_spi(0x100..=0x103, &mut SystemRng)).collect();
        assert_eq!(spis.len(), 4);
        assert_eq!(sad.reserve_spi(0x100..=0x103, &mut SystemRng), None);
        assert!(sad.remove(SaKey::Inbound(spi(0x101))));
        assert!(!sad.remove(SaKey::Inbound(spi(0x101))));
        assert_eq!(sad.reserve_spi(0x100..=0x103, &mut SystemRng), Some(spi(0x101)));
    }

    #[test]
    fn ranges_of_reserved_or_no_spis_yield_none() {
        let sad = Sad::default();
        assert_eq!(sad.reserve_spi(0..=255, &mut SystemRng), None);
        #[allow(clippy::reversed_empty_ranges)]
        let empty = 900..=800;
        assert_eq!(sad.reserve_spi(empty, &mut SystemRng), None);
    }

    #[test]
    fn an_installed_spi_is_not_handed_out() {
        let sad = Sad::default();
        let spi = sad.reserve_spi(0x100..=0x100, &mut SystemRng).unwrap();
        sad.insert_inbound(Inbound::new(inbound(1, spi.get())), at(0)).unwrap();
        assert_eq!(sad.insert_inbound(Inbound::new(inbound(1, spi.get())), at(0)), Err(SadError::Exists));
        assert_eq!(sad.reserve_spi(0x100..=0x100, &mut SystemRng), None);
        assert!(sad.remove(SaKey::Inbound(spi)));
        assert!(sad.is_empty());
    }

    #[test]
    fn the_newest_outbound_sa_is_used_and_the_older_returns_when_it_goes() {
        let sad = Sad::default();
        let bundle = sad.bundle(reqid(1));
        assert!(bundle.current().is_none());
        for number in [0x1001, 0x1002] {
            sad.insert_outbound(Outbound::new(outbound(1, number)), at(0)).unwrap();
            assert_eq!(bundle.current().unwrap().spi(), spi(number));
        }
        assert!(sad.remove(SaKey::Outbound(spi(0x1002), peer())));
        assert_eq!(bundle.current().unwrap().spi(), spi(0x1001));
        assert!(sad.remove(SaKey::Outbound(spi(0x1001), peer())));
        assert!(bundle.current().is_none());
    }

    #[test]
    fn two_peers_may_choose_the_same_spi() {
        let sad = Sad::default();
        let mut other = outbound(2, 0x1001);
        other.path.remote = "192.0.2.99:4500".parse().unwrap();
        sad.insert_outbound(Outbound::new(outbound(1, 0x1001)), at(0)).unwrap();
        sad.insert_outbound(Outbound::new(other), at(0)).unwrap();
        assert_eq!(sad.insert_outbound(Outbound::new(outbound(3, 0x1001)), at(0)), Err(SadError::Exists));
        assert_eq!(sad.len(), (0, 2));
    }

    #[test]
    fn a_moved_sa_keeps_its_key() {
        let sad = Sad::default();
        sad.insert_outbound(Outbound::new(outbound(1, 0x1001)), at(0)).unwrap();
        let key = SaKey::Outbound(spi(0x1001), peer());
        let path = Path { remote: "192.0.2.77:4501".parse().unwrap(), ..outbound(1, 256).path };
        assert!(sad.set_path(key, path));
        assert_eq!(sad.bundle(reqid(1)).current().unwrap().path(), path);
        assert_eq!(sad.find_outbound(spi(0x1001), path.remote.ip()), Some(key));
        assert_eq!(sad.find_outbound(spi(0x1001), peer()), None);
        assert!(sad.remove(key));
        assert!(!sad.set_path(key, path));
    }

    #[test]
    fn time_expires_each_sa_softly_and_then_for_good() {
        let sad = Sad::default();
        let mut params = inbound(1, 0x2000);
        params.lifetime = timed(10, 20);
        sad.insert_inbound(Inbound::new(params), at(100)).unwrap();
        let mut params = outbound(1, 0x1001);
        params.lifetime = timed(15, 20);
        sad.insert_outbound(Outbound::new(params), at(100)).unwrap();

        let told = |now| {
            let expired: Vec<_> = std::iter::from_fn(|| sad.expire(at(now))).map(|e| (e.key, e.expiry)).collect();
            expired
        };
        let (inbound, outbound) = (SaKey::Inbound(spi(0x2000)), SaKey::Outbound(spi(0x1001), peer()));
        assert_eq!(sad.next_timeout(), Some(at(110)));
        assert_eq!(told(109), []);
        assert_eq!(told(110), [(inbound, Expiry::Soft)]);
        assert_eq!(told(118), [(outbound, Expiry::Soft)]);
        assert!(sad.bundle(reqid(1)).current().is_some());
        assert_eq!(told(120), [(inbound, Expiry::Hard), (outbound, Expiry::Hard)]);
        assert!(sad.bundle(reqid(1)).current().is_none());
        assert_eq!(sad.next_timeout(), None);
        assert!(sad.usage(inbound).is_some(), "counters stay until the SA is deleted");
    }

    #[test]
    fn removed_sas_leave_no_timers_and_no_bundles() {
        let sad = Sad::default();
        for number in 0..50 {
            let mut params = outbound(number + 1, 0x1000 + number);
            params.lifetime = timed(10, 20);
            sad.insert_outbound(Outbound::new(params), at(0)).unwrap();
            assert!(sad.remove(SaKey::Outbound(spi(0x1000 + number), peer())));
        }
        assert_eq!(sad.next_timeout(), None);
        let control = sad.control.lock();
        assert!(control.bundles.is_empty() && control.installed.is_empty());
    }

    #[test]
    fn an_sa_is_asked_for_once_in_a_while() {
        let bundle = Bundle::new(reqid(1));
        assert!(bundle.acquire(at(5)));
        assert!(!bundle.acquire(at(14)));
        assert!(bundle.acquire(at(15)));
        bundle.install(Arc::new(Outbound::new(outbound(1, 0x1001))));
        assert!(bundle.acquire(at(16)), "that one worked, so the next need is a new one");
    }
}
