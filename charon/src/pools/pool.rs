//! One pool: a range of addresses and the book of who has which.
//!
//! An address belongs to an identity from the first time it is assigned. While an IKE_SA holds it the lease is *online*;
//! after that it stays the identity's, *offline*, until no other address is left for somebody else.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ike::attributes::{Client, Held, Lease};
use parking_lot::Mutex;
use strongswan::host::Family;
use strongswan::identity::Identity;
use strongswan::log;

use super::bounds::Bounds;

/// A pool.
#[derive(Debug)]
pub struct Pool {
    name: Arc<str>,
    bounds: Bounds,
    /// A leaf lock.
    book: Mutex<Book>,
}

/// How to look for an address: every pool is searched in one way before the next way is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// One the client has or had.
    Existing,
    /// One that nobody has had.
    New,
    /// One that somebody else had.
    Reassign,
}

/// A lease in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseInfo {
    /// The address.
    pub address: IpAddr,
    /// Whose it is.
    pub identity: Identity,
    /// In use.
    pub online: bool,
}

#[derive(Debug, Default)]
struct Book {
    clients: HashMap<Identity, Leases>,
    /// Offline leases, the one longest offline first.
    offline: BTreeMap<u64, (Identity, u64)>,
    /// Number of the next offline lease.
    next_offline: u64,
    /// Offset of the first address that nobody has had.
    fresh: u64,
    /// Number of online leases.
    online: usize,
}

/// The leases of one identity.
#[derive(Debug, Default)]
struct Leases {
    online: Vec<Online>,
    offline: Vec<Offline>,
}

#[derive(Debug)]
struct Online {
    offset: u64,
    /// Where the client was when it got it.
    remote: SocketAddr,
    /// IKE_SAs that hold it.
    users: usize,
}

#[derive(Debug, Clone, Copy)]
struct Offline {
    offset: u64,
    /// Its place in the order of offline leases.
    number: u64,
}

impl Book {
    fn set_online(&mut self, client: &Client<'_>, offset: u64) {
        let leases = self.clients.entry(client.identity.clone()).or_default();
        leases.online.push(Online { offset, remote: client.remote, users: 1 });
        self.online = self.online.saturating_add(1);
    }

    /// A lease the client has, from where it is now, or had.
    fn existing(&mut self, client: &Client<'_>, bounds: &Bounds, requested: IpAddr) -> Option<u64> {
        let leases = self.clients.get_mut(client.identity)?;
        let is_requested = |offset| bounds.address(offset) == Some(requested);
        let shared = |lease: &&mut Online| {
            lease.remote == client.remote
                && (requested.is_unspecified() || is_requested(lease.offset))
                && !client.taken.iter().any(|address| bounds.offset(*address) == Some(lease.offset))
        };
        if let Some(lease) = leases.online.iter_mut().find(shared) {
            lease.users = lease.users.saturating_add(1);
            log!(CFG, 1, "reassigning online lease to '{}'", client.identity);
            return Some(lease.offset);
        }
        let index = leases.offline.iter().position(|lease| is_requested(lease.offset)).unwrap_or(0);
        let lease = (index < leases.offline.len()).then(|| leases.offline.remove(index))?;
        self.offline.remove(&lease.number);
        log!(CFG, 1, "reassigning offline lease to '{}'", client.identity);
        self.set_online(client, lease.offset);
        Some(lease.offset)
    }

    fn fresh(&mut self, client: &Client<'_>, size: u64) -> Option<u64> {
        let offset = self.fresh;
        if offset >= size {
            return None;
        }
        self.fresh = offset.saturating_add(1);
        log!(CFG, 1, "assigning new lease to '{}'", client.identity);
        self.set_online(client, offset);
        Some(offset)
    }

    fn reassign(&mut self, client: &Client<'_>) -> Option<u64> {
        let (number, (identity, offset)) = self.offline.pop_first()?;
        if let Some(leases) = self.clients.get_mut(&identity) {
            leases.offline.retain(|lease| lease.number != number);
            if leases.offline.is_empty() && leases.online.is_empty() {
                self.clients.remove(&identity);
            }
        }
        log!(CFG, 1, "reassigning existing offline lease by '{identity}' to '{}'", client.identity);
        self.set_online(client, offset);
        Some(offset)
    }

    /// One user less; whether it was the last one.
    fn release(&mut self, identity: &Identity, offset: u64) -> bool {
        let Some(leases) = self.clients.get_mut(identity) else { return false };
        let Some(index) = leases.online.iter().position(|lease| lease.offset == offset) else { return false };
        if let Some(lease) = leases.online.get_mut(index)
            && lease.users > 1
        {
            lease.users -= 1;
            return false;
        }
        leases.online.remove(index);
        let number = self.next_offline;
        self.next_offline = number.saturating_add(1);
        leases.offline.push(Offline { offset, number });
        self.offline.insert(number, (identity.clone(), offset));
        self.online = self.online.saturating_sub(1);
        true
    }
}

impl Pool {
    pub(super) fn new(name: &str, bounds: Bounds) -> Self {
        Self { name: name.into(), bounds, book: Mutex::default() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its addresses.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Number of addresses in use.
    pub fn online(&self) -> usize {
        self.book.lock().online
    }

    /// Number of addresses that are not in use but remembered.
    pub fn offline(&self) -> usize {
        self.book.lock().offline.len()
    }

    /// All leases, those of one identity together, online ones first.
    pub fn leases(&self) -> Vec<LeaseInfo> {
        let book = self.book.lock();
        let mut groups: Vec<Vec<(u64, LeaseInfo)>> = Vec::with_capacity(book.clients.len());
        for (identity, leases) in &book.clients {
            let info = |offset: u64, online| {
                let address = self.bounds.address(offset)?;
                Some((offset, LeaseInfo { address, identity: identity.clone(), online }))
            };
            let online = leases.online.iter().filter_map(|lease| info(lease.offset, true));
            groups.push(online.chain(leases.offline.iter().filter_map(|lease| info(lease.offset, false))).collect());
        }
        drop(book);
        // in the order of addresses as far as the grouping allows
        groups.sort_by_key(|group| group.iter().map(|(offset, _)| *offset).min());
        groups.into_iter().flatten().map(|(_, info)| info).collect()
    }

    /// Assigns an address in one way.
    pub(super) fn acquire(pool: &Arc<Self>, pass: Pass, client: &Client<'_>, requested: IpAddr) -> Option<PoolLease> {
        if Family::of(requested) != Family::of(pool.bounds.base()) {
            return None;
        }
        let mut book = pool.book.lock();
        let offset = match pass {
            Pass::Existing => book.existing(client, &pool.bounds, requested),
            Pass::New => book.fresh(client, pool.bounds.size()),
            Pass::Reassign => book.reassign(client),
        };
        drop(book);
        let Some(offset) = offset else {
            if pass == Pass::Reassign {
                log!(CFG, 1, "pool '{}' is full, unable to assign address", pool.name);
            }
            return None;
        };
        let address = pool.bounds.address(offset)?;
        Some(PoolLease { pool: Arc::clone(pool), identity: client.identity.clone(), offset, address })
    }

    /// Whether this address is in use by this client.
    pub(super) fn has_assigned(&self, address: IpAddr, identity: &Identity) -> bool {
        let Some(offset) = self.bounds.offset(address) else { return false };
        let book = self.book.lock();
        book.clients.get(identity).is_some_and(|leases| leases.online.iter().any(|lease| lease.offset == offset))
    }
}

/// An address in use, until it is dropped.
#[derive(Debug)]
pub(super) struct PoolLease {
    pool: Arc<Pool>,
    identity: Identity,
    offset: u64,
    address: IpAddr,
}

impl Held for PoolLease {}

impl Lease for PoolLease {
    fn address(&self) -> IpAddr {
        self.address
    }
}

impl Drop for PoolLease {
    fn drop(&mut self) {
        let last = self.pool.book.lock().release(&self.identity, self.offset);
        if last {
            log!(CFG, 1, "lease {} by '{}' went offline", self.address, self.identity);
        }
    }
}
