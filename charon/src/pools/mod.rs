//! Virtual IPs and attributes: what a gateway hands out to its clients, and what a client
//! does with what it is given.
//!
//! [`Pools`] are the pools that vici clients load, each a range of addresses with a book of [leases](pool); attributes
//! go with a pool, or to every client as `charon.plugins.attr` says. [`Resolve`] puts DNS servers into force that a
//! gateway assigns to us.

mod attribute;
mod attributes_for_all;
mod bounds;
mod p_cscf;
mod pool;
mod resolve;

pub use attribute::{Attribute, AttributeError};
pub use attributes_for_all::AttributesForAll;
pub use bounds::{Bounds, BoundsError};
pub use p_cscf::{Pcscf, PcscfConnections};
pub use pool::{LeaseInfo, Pool};
pub use resolve::{Resolve, ResolveSettings};

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ike::attributes::{Client, Lease};
use ike::config::IkeVersion;
use ike::wire::CpAttribute;
use parking_lot::RwLock;
use pool::{Pass, PoolLease};
use strongswan::log;

/// The pools of the daemon, and the attributes that all clients get.
#[derive(Debug, Default)]
pub struct Pools {
    /// Held while an address is taken, so that a pool with users is not replaced. Before the lock of a pool's book.
    loaded: RwLock<Loaded>,
    for_all: Arc<ArcSwap<AttributesForAll>>,
}

#[derive(Debug, Default)]
struct Loaded {
    by_name: HashMap<String, Entry>,
    /// Number of the next entry: listings are in the order of loading.
    next: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    pool: Arc<Pool>,
    attributes: Vec<Attribute>,
}

/// Why a pool was not loaded or unloaded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Addresses in use would be handed out twice.
    #[error("vici pool {0} has online leases, unable to replace")]
    UnableToReplace(String),
    /// Addresses are in use.
    #[error("{0} has online leases, unable to unload")]
    UnableToUnload(String),
    /// There is no such pool.
    #[error("{0} not found")]
    NotFound(String),
}

impl Pools {
    /// No pools yet; `for_all` is replaced on reload.
    pub fn new(for_all: Arc<ArcSwap<AttributesForAll>>) -> Self {
        Self { loaded: RwLock::default(), for_all }
    }

    /// Loads a pool. One of that name keeps its leases if the addresses are the same, and is replaced if not.
    ///
    /// # Errors
    /// If the addresses are others and some of the old ones are in use.
    pub fn load(&self, name: &str, bounds: Bounds, attributes: Vec<Attribute>) -> Result<(), PoolError> {
        let mut loaded = self.loaded.write();
        let pool = match loaded.by_name.get(name).map(|entry| &entry.pool) {
            Some(pool) if pool.bounds() == bounds => Arc::clone(pool),
            Some(pool) if pool.online() > 0 => return Err(PoolError::UnableToReplace(name.to_owned())),
            Some(_) | None => {
                log!(CFG, 1, "added vici pool {name}: {}, {} entries", bounds.base(), bounds.size());
                Arc::new(Pool::new(name, bounds))
            }
        };
        loaded.next += 1;
        let number = loaded.next;
        loaded.by_name.insert(name.to_owned(), Entry { number, pool, attributes });
        Ok(())
    }

    /// Unloads a pool.
    ///
    /// # Errors
    /// If there is none of that name, or if its addresses are in use.
    pub fn unload(&self, name: &str) -> Result<(), PoolError> {
        let mut loaded = self.loaded.write();
        let entry = loaded.by_name.get(name).ok_or_else(|| PoolError::NotFound(name.to_owned()))?;
        if entry.pool.online() > 0 {
            return Err(PoolError::UnableToUnload(name.to_owned()));
        }
        loaded.by_name.remove(name);
        log!(CFG, 1, "unloaded vici pool {name}");
        Ok(())
    }

    /// All pools in the order in which they were loaded last.
    pub fn all(&self) -> Vec<Arc<Pool>> {
        let loaded = self.loaded.read();
        let mut entries: Vec<_> = loaded.by_name.values().collect();
        entries.sort_by_key(|entry| entry.number);
        entries.into_iter().map(|entry| Arc::clone(&entry.pool)).collect()
    }

    fn take(&self, pools: &[String], client: &Client<'_>, requested: IpAddr) -> Option<PoolLease> {
        let loaded = self.loaded.read();
        let named = || pools.iter().filter_map(|name| loaded.by_name.get(name));
        // a client keeps its address even if an earlier pool has a free one
        [Pass::Existing, Pass::New, Pass::Reassign]
            .into_iter()
            .find_map(|pass| named().find_map(|entry| Pool::acquire(&entry.pool, pass, client, requested)))
    }
}

impl ike::attributes::Pools for Pools {
    fn acquire(&self, pools: &[String], client: &Client<'_>, requested: IpAddr) -> Option<Box<dyn Lease>> {
        self.take(pools, client, requested).map(|lease| -> Box<dyn Lease> { Box::new(lease) })
    }

    fn attributes(&self, pools: &[String], client: &Client<'_>, addresses: &[IpAddr]) -> Vec<CpAttribute> {
        let loaded = self.loaded.read();
        let assigned =
            |entry: &&Entry| addresses.iter().any(|address| entry.pool.has_assigned(*address, client.identity));
        let entries = pools.iter().filter_map(|name| loaded.by_name.get(name)).filter(assigned);
        let mut attributes: Vec<_> = entries.flat_map(|entry| &entry.attributes).map(Attribute::to_wire).collect();
        if !addresses.is_empty() {
            let fits = |attribute: &&Attribute| client.version == IkeVersion::V1 || !attribute.is_unity();
            attributes.extend(self.for_all.load().0.iter().filter(fits).map(Attribute::to_wire));
        }
        attributes
    }
}

#[cfg(test)]
mod tests;
