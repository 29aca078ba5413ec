//! DNS names in connections. A handshake must not wait for DNS, so lookups answer from a cache that is filled behind their back.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Sender, unbounded};
use parking_lot::Mutex;
use strongswan::clock::MonoTime;
use strongswan::log;
use strongswan::processing::{monotonic, spawn};

/// Resolves names to what is known about them right now.
pub trait Names: Send + Sync {
    /// Addresses of a name; empty if it has none or they are not known yet.
    fn addresses(&self, name: &str) -> Vec<IpAddr>;
}

/// Resolves nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNames;

impl Names for NoNames {
    fn addresses(&self, _name: &str) -> Vec<IpAddr> {
        Vec::new()
    }
}

/// How long an answer counts as fresh; the system's resolver does not tell how long it is valid.
const FRESH: Duration = Duration::from_secs(60);

/// Names kept; beyond it the cache starts over. Only configured names are ever asked for.
const MAX_NAMES: usize = 20_000;

/// Remembers the addresses of names and asks the system's resolver again, on a thread of its own, when an answer is
/// needed and old.
#[derive(Debug)]
pub struct NameCache {
    known: Arc<Mutex<HashMap<Box<str>, Known>>>,
    queries: Sender<Box<str>>,
}

#[derive(Debug, Default)]
struct Known {
    addresses: Vec<IpAddr>,
    /// When they were learned; `None` before the first answer.
    learned: Option<MonoTime>,
    asking: bool,
}

impl NameCache {
    /// An empty cache with its thread, which ends after the cache is dropped.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start() -> io::Result<Self> {
        let known = Arc::<Mutex<HashMap<Box<str>, Known>>>::default();
        // bounded by the names known: each is asked for once at a time
        let (queries, names) = unbounded::<Box<str>>();
        let learning = Arc::clone(&known);
        spawn("names", move || {
            for name in names {
                let addresses = query(&name);
                learn(&learning, name, addresses);
            }
        })?;
        Ok(Self { known, queries })
    }
}

fn learn(known: &Mutex<HashMap<Box<str>, Known>>, name: Box<str>, addresses: Option<Vec<IpAddr>>) {
    let mut known = known.lock();
    let entry = known.entry(name).or_default();
    entry.asking = false;
    entry.learned = Some(monotonic());
    // what was right before a failure is still the best guess
    if let Some(addresses) = addresses {
        entry.addresses = addresses;
    }
}

fn query(name: &str) -> Option<Vec<IpAddr>> {
    match (name, 0).to_socket_addrs() {
        Ok(addresses) => Some(addresses.map(|address| address.ip()).collect()),
        Err(error) => {
            log!(LIB, 1, "resolving '{name}' failed: {error}");
            None
        }
    }
}

impl Names for NameCache {
    fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let now = monotonic();
        let mut known = self.known.lock();
        if known.len() >= MAX_NAMES && !known.contains_key(name) {
            known.clear();
        }
        let entry = known.entry(name.into()).or_default();
        let stale = entry.learned.is_none_or(|learned| now.saturating_since(learned) >= FRESH);
        let ask = stale && !entry.asking;
        entry.asking |= ask;
        let addresses = entry.addresses.clone();
        drop(known);
        if ask {
            // fails only when the thread is gone, and then there is nobody to answer
            let _ = self.queries.send(name.into());
        }
        addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_arrive_for_a_later_lookup() {
        let cache = NameCache::start().unwrap();
        assert!(cache.addresses("localhost").is_empty());
        let addresses = (0..1000).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            Some(cache.addresses("localhost")).filter(|addresses| !addresses.is_empty())
        });
        assert!(addresses.unwrap().iter().all(IpAddr::is_loopback));
    }
}
