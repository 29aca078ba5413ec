//! Ways to find an IKE_SA other than by its SPI, so that nothing has to search the table.
//!
//! An IKE_SA is entered with a [`Registration`], which follows it and takes it out of every index when it is dropped, however
//! that happens. The locks here are leaves: nothing else is locked while one is held.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ike::config::PeerConfig;
use ike::ids::{Spi, UniqueId};
use ike::kernel::SaId;
use ike::{Duplicate, IkeSa, IkeSaState};
use parking_lot::Mutex;
use smallvec::SmallVec;
use strongswan::crypto::Protocol;
use strongswan::identity::Identity;

use super::table::KeyMap;

/// An SA in the data plane.
type SaKey = (Protocol, Spi, IpAddr);

/// Local identity, remote identity, whether over IPv6.
type PeerKey = (Identity, Identity, bool);

#[derive(Debug, Clone)]
struct PeerEntry {
    remote: SocketAddr,
    state: IkeSaState,
    config: Arc<PeerConfig>,
    children: SmallVec<[Arc<str>; 1]>,
}

/// An IKE_SA's CHILD_SA in the indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ChildEntry {
    id: UniqueId,
    name: Arc<str>,
    inbound: Option<SaId>,
    outbound: Option<SaId>,
}

/// Everything that IKE_SAs can be found by.
#[derive(Default)]
pub(crate) struct Indexes {
    /// Keys in the table by number.
    keys: Mutex<KeyMap<u64>>,
    names: Mutex<HashMap<Arc<str>, BTreeSet<UniqueId>>>,
    /// By what equal connections have in common.
    configs: Mutex<HashMap<u64, BTreeMap<UniqueId, Arc<PeerConfig>>>>,
    peers: Mutex<HashMap<PeerKey, BTreeMap<UniqueId, PeerEntry>>>,
    /// IKE_SAs by the numbers of their CHILD_SAs.
    children: Mutex<KeyMap<UniqueId>>,
    /// CHILD_SAs by name.
    child_names: Mutex<HashMap<Arc<str>, BTreeSet<UniqueId>>>,
    /// CHILD_SAs by their SAs.
    sas: Mutex<HashMap<SaKey, UniqueId>>,
}

impl Indexes {
    /// The key of an IKE_SA in the table.
    pub(crate) fn key(&self, id: UniqueId) -> Option<u64> {
        self.keys.lock().get(&u64::from(id.get())).copied()
    }

    /// All IKE_SAs, the oldest first.
    pub(crate) fn all(&self) -> Vec<UniqueId> {
        let mut all: Vec<_> =
            self.keys.lock().keys().filter_map(|id| UniqueId::new(u32::try_from(*id).ok()?)).collect();
        all.sort_unstable();
        all
    }

    /// The IKE_SAs of a connection, the oldest first.
    pub(crate) fn by_name(&self, name: &str) -> Vec<UniqueId> {
        self.names.lock().get(name).map(|ids| ids.iter().copied().collect()).unwrap_or_default()
    }

    /// The IKE_SA a CHILD_SA belongs to.
    pub(crate) fn of_child(&self, child: UniqueId) -> Option<UniqueId> {
        self.children.lock().get(&u64::from(child.get())).copied()
    }

    /// The CHILD_SAs of a name, the oldest first.
    pub(crate) fn children_by_name(&self, name: &str) -> Vec<UniqueId> {
        self.child_names.lock().get(name).map(|ids| ids.iter().copied().collect()).unwrap_or_default()
    }

    /// The CHILD_SA that has an SA in the data plane.
    pub(crate) fn child_of_sa(&self, protocol: Protocol, spi: Spi, destination: IpAddr) -> Option<UniqueId> {
        self.sas.lock().get(&(protocol, spi, destination)).copied()
    }

    /// The IKE_SAs of connections equal to `config`, the oldest first. If there is none, `new` is entered before anybody
    /// else can ask.
    pub(crate) fn reusable_or_enter(&self, config: &Arc<PeerConfig>, new: UniqueId) -> Vec<UniqueId> {
        let mut configs = self.configs.lock();
        let entries = configs.entry(likeness(config)).or_default();
        let equal: Vec<_> = entries
            .iter()
            .filter(|(_, other)| Arc::ptr_eq(other, config) || other.equals_with_ike(config))
            .map(|(id, _)| *id)
            .collect();
        if equal.is_empty() {
            entries.insert(new, Arc::clone(config));
        }
        equal
    }

    /// Takes back what [`reusable_or_enter`](Self::reusable_or_enter) entered.
    pub(crate) fn withdraw(&self, config: &PeerConfig, new: UniqueId) {
        remove_from(&mut self.configs.lock(), &likeness(config), |ids| {
            ids.remove(&new);
            ids.is_empty()
        });
    }

    /// Other authenticated IKE_SAs between these identities.
    pub(crate) fn duplicates(&self, this: UniqueId, me: &Identity, other: &Identity, ipv6: bool) -> Vec<Duplicate> {
        let peers = self.peers.lock();
        if peers.is_empty() {
            return Vec::new();
        }
        let Some(entries) = peers.get(&(me.clone(), other.clone(), ipv6)) else { return Vec::new() };
        let others = entries.iter().filter(|(id, _)| **id != this);
        others
            .map(|(id, entry)| Duplicate {
                id: *id,
                state: entry.state,
                remote: entry.remote,
                config: Arc::clone(&entry.config),
                children: entry.children.clone(),
            })
            .collect()
    }

    /// An IKE_SA is closed: nobody relies on it from now on.
    pub(crate) fn closing(&self, this: UniqueId, me: &Identity, other: &Identity, ipv6: bool) {
        let mut peers = self.peers.lock();
        let entries = peers.get_mut(&(me.clone(), other.clone(), ipv6));
        if let Some(entry) = entries.and_then(|entries| entries.get_mut(&this)) {
            entry.children.clear();
        }
    }
}

/// A hash that is equal for equal connections.
fn likeness(config: &PeerConfig) -> u64 {
    let mut hasher = DefaultHasher::new();
    config.ike.version.number().hash(&mut hasher);
    config.ike.remote_port.hash(&mut hasher);
    config.ike.remote_addrs.hash(&mut hasher);
    config.ike.local_addrs.hash(&mut hasher);
    for round in config.local.iter().chain(&config.remote) {
        round.id.hash(&mut hasher);
    }
    hasher.finish()
}

/// An IKE_SA's entries in the indexes.
pub(crate) struct Registration {
    indexes: Arc<Indexes>,
    id: UniqueId,
    key: u64,
    config: Option<Arc<PeerConfig>>,
    peer: Option<Box<PeerKey>>,
    peer_state: Option<(SocketAddr, IkeSaState)>,
    children: SmallVec<[ChildEntry; 1]>,
}

impl Registration {
    /// Enters an IKE_SA with its key in the table.
    pub(crate) fn new(indexes: &Arc<Indexes>, id: UniqueId, key: u64) -> Self {
        indexes.keys.lock().insert(u64::from(id.get()), key);
        let (config, peer, peer_state, children) = (None, None, None, SmallVec::new());
        Self { indexes: Arc::clone(indexes), id, key, config, peer, peer_state, children }
    }

    /// Its key in the table.
    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    /// It has another key now.
    pub(crate) fn set_key(&mut self, key: u64) {
        self.key = key;
        self.indexes.keys.lock().insert(u64::from(self.id.get()), key);
    }

    /// Brings the entries up to date with the IKE_SA; `children` tells that its CHILD_SAs changed.
    pub(crate) fn update(&mut self, sa: &IkeSa, children: bool) {
        self.update_config(sa);
        self.update_peer(sa);
        if children {
            self.update_children(sa);
        }
    }

    /// The SAs of its CHILD_SAs in the data plane.
    pub(crate) fn sas(&self) -> impl Iterator<Item = SaId> {
        self.children.iter().flat_map(|child| [child.inbound, child.outbound]).flatten()
    }

    fn update_config(&mut self, sa: &IkeSa) {
        let config = sa.config();
        let same = match (&self.config, config) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        };
        if same {
            return;
        }
        self.leave_config();
        if let Some(config) = config {
            self.indexes.names.lock().entry(Arc::clone(&config.name)).or_default().insert(self.id);
            let mut configs = self.indexes.configs.lock();
            configs.entry(likeness(config)).or_default().insert(self.id, Arc::clone(config));
            drop(configs);
            self.config = Some(Arc::clone(config));
        }
    }

    fn leave_config(&mut self) {
        let Some(config) = self.config.take() else { return };
        remove_from(&mut self.indexes.names.lock(), &config.name, |ids| {
            ids.remove(&self.id);
            ids.is_empty()
        });
        remove_from(&mut self.indexes.configs.lock(), &likeness(&config), |ids| {
            ids.remove(&self.id);
            ids.is_empty()
        });
    }

    fn update_peer(&mut self, sa: &IkeSa) {
        let now = (sa.remote(), sa.state());
        let (Some((me, other)), Some(config)) = (sa.identities(), sa.config()) else { return };
        let ipv6 = sa.remote().is_ipv6();
        let same = self.peer.as_ref().is_some_and(|key| key.0 == *me && key.1 == *other && key.2 == ipv6);
        if same && self.peer_state == Some(now) {
            return;
        }
        if !same {
            self.leave_peer();
        }
        let key = (me.clone(), other.clone(), ipv6);
        let children = names(&self.children);
        let entry = PeerEntry { remote: now.0, state: now.1, config: Arc::clone(config), children };
        self.indexes.peers.lock().entry(key.clone()).or_default().insert(self.id, entry);
        self.peer = Some(Box::new(key));
        self.peer_state = Some(now);
    }

    fn leave_peer(&mut self) {
        let Some(key) = self.peer.take() else { return };
        remove_from(&mut self.indexes.peers.lock(), &key, |ids| {
            ids.remove(&self.id);
            ids.is_empty()
        });
    }

    fn update_children(&mut self, sa: &IkeSa) {
        let children = sa.snapshot().children;
        let now: SmallVec<[ChildEntry; 1]> = children
            .iter()
            .map(|child| ChildEntry {
                id: child.unique_id,
                name: Arc::clone(&child.config.name),
                inbound: child.inbound,
                outbound: child.outbound,
            })
            .collect();
        if now == self.children {
            return;
        }
        for gone in self.children.iter().filter(|old| !now.contains(old)) {
            self.leave_child(gone);
        }
        for new in now.iter().filter(|new| !self.children.contains(new)) {
            self.indexes.children.lock().insert(u64::from(new.id.get()), self.id);
            self.indexes.child_names.lock().entry(Arc::clone(&new.name)).or_default().insert(new.id);
            let mut sas = self.indexes.sas.lock();
            sas.extend([new.inbound, new.outbound].into_iter().flatten().map(|sa| (sa_key(&sa), new.id)));
        }
        if let Some(key) = &self.peer
            && let Some(entry) = self.indexes.peers.lock().get_mut(&**key).and_then(|entries| entries.get_mut(&self.id))
        {
            entry.children = names(&now);
        }
        self.children = now;
    }

    fn leave_child(&self, child: &ChildEntry) {
        // After rekeying, or when a successor has adopted the CHILD_SA, the entries are somebody else's.
        let mut children = self.indexes.children.lock();
        let number = u64::from(child.id.get());
        if children.get(&number) != Some(&self.id) {
            return;
        }
        children.remove(&number);
        drop(children);
        remove_from(&mut self.indexes.child_names.lock(), &child.name, |ids| {
            ids.remove(&child.id);
            ids.is_empty()
        });
        let mut sas = self.indexes.sas.lock();
        for sa in [child.inbound, child.outbound].into_iter().flatten() {
            if sas.get(&sa_key(&sa)) == Some(&child.id) {
                sas.remove(&sa_key(&sa));
            }
        }
    }
}

/// What the CHILD_SAs are called that traffic is sent by.
fn names(children: &[ChildEntry]) -> SmallVec<[Arc<str>; 1]> {
    children.iter().filter(|child| child.outbound.is_some()).map(|child| Arc::clone(&child.name)).collect()
}

fn sa_key(sa: &SaId) -> SaKey {
    (sa.protocol, sa.spi, sa.dst)
}

/// Changes the entry of `key`; `leave` says whether nothing is left of it.
fn remove_from<K: Eq + Hash, V>(map: &mut HashMap<K, V>, key: &K, leave: impl FnOnce(&mut V) -> bool) {
    if map.get_mut(key).is_some_and(leave) {
        map.remove(key);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.leave_config();
        self.leave_peer();
        for child in &self.children {
            self.leave_child(child);
        }
        self.indexes.keys.lock().remove(&u64::from(self.id.get()));
    }
}
