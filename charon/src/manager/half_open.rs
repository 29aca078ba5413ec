//! How many IKE_SAs are half open: initiated by anybody, but not yet authenticated. The receiver refuses new ones by these
//! counts, and counts a request from the moment it is queued.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Counts of half-open IKE_SAs.
#[derive(Debug, Default)]
pub struct HalfOpen {
    total: AtomicUsize,
    responder: AtomicUsize,
    /// Those we respond to, by the initiator's address.
    by_ip: Mutex<HashMap<IpAddr, usize>>,
}

impl HalfOpen {
    /// Nothing is half open.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// In both roles.
    pub fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Those we respond to.
    pub fn responder(&self) -> usize {
        self.responder.load(Ordering::Relaxed)
    }

    /// Those we respond to, from one address.
    pub fn responder_from(&self, ip: IpAddr) -> usize {
        self.by_ip.lock().get(&ip).copied().unwrap_or(0)
    }

    /// Counts one we initiate, until the entry is dropped.
    pub fn initiated(self: &Arc<Self>) -> HalfOpenEntry {
        self.total.fetch_add(1, Ordering::Relaxed);
        HalfOpenEntry { counts: Arc::clone(self), from: None }
    }

    /// Counts one that somebody else initiates, until the entry is dropped.
    pub fn responding(self: &Arc<Self>, from: SocketAddr) -> HalfOpenEntry {
        self.total.fetch_add(1, Ordering::Relaxed);
        self.responder.fetch_add(1, Ordering::Relaxed);
        let mut by_ip = self.by_ip.lock();
        let count = by_ip.entry(from.ip()).or_insert(0);
        *count = count.saturating_add(1);
        drop(by_ip);
        HalfOpenEntry { counts: Arc::clone(self), from: Some(from.ip()) }
    }
}

/// Counts one half-open IKE_SA while it exists.
#[derive(Debug)]
pub struct HalfOpenEntry {
    counts: Arc<HalfOpen>,
    from: Option<IpAddr>,
}

impl HalfOpenEntry {
    /// Who initiated it, unless we did.
    pub(super) fn stranger(&self) -> Option<IpAddr> {
        self.from
    }
}

impl Drop for HalfOpenEntry {
    fn drop(&mut self) {
        self.counts.total.fetch_sub(1, Ordering::Relaxed);
        let Some(ip) = self.from else { return };
        self.counts.responder.fetch_sub(1, Ordering::Relaxed);
        let mut by_ip = self.counts.by_ip.lock();
        if let Some(count) = by_ip.get_mut(&ip) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                by_ip.remove(&ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_count_while_they_live() {
        let counts = HalfOpen::new();
        let peer: SocketAddr = "192.0.2.1:500".parse().unwrap();
        let own = counts.initiated();
        let theirs = [counts.responding(peer), counts.responding(peer)];
        assert_eq!((counts.total(), counts.responder(), counts.responder_from(peer.ip())), (3, 2, 2));
        drop(theirs);
        assert_eq!((counts.total(), counts.responder(), counts.responder_from(peer.ip())), (1, 0, 0));
        assert!(counts.by_ip.lock().is_empty());
        drop(own);
        assert_eq!(counts.total(), 0);
    }
}
