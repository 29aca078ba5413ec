//! What the fake data plane pretends about addresses and ways, and the events it raises when told to.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use strongswan::log;
use strongswan::processing::monotonic;
use strongswan::sync::Mutex;

use crate::kernel::settle::{Change, Settling};
use crate::kernel::{EventSink, KernelEvent};

/// A pretended network. Without addresses it knows nothing about the ways to anybody.
#[derive(Default)]
pub(super) struct FakeNetwork {
    ways: Mutex<Ways>,
    settling: Arc<Mutex<Settling>>,
    events: OnceLock<EventSink>,
}

#[derive(Debug, Default)]
struct Ways {
    /// Best first.
    addresses: Vec<IpAddr>,
    unreachable: HashSet<IpAddr>,
}

impl std::fmt::Debug for FakeNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FakeNetwork").field(&*self.ways.lock()).finish()
    }
}

impl FakeNetwork {
    /// Says who takes events. Only the first call counts.
    pub(super) fn report_to(&self, events: EventSink) {
        let _already = self.events.set(events);
    }

    /// Raises an event, if somebody takes it.
    pub(super) fn raise(&self, event: KernelEvent) {
        if let Some(events) = self.events.get() {
            events(event);
        }
    }

    pub(super) fn set_addresses(&self, addresses: Vec<IpAddr>) {
        self.ways.lock().addresses = addresses;
        self.changed(Change::Address);
    }

    pub(super) fn set_reachable(&self, remote: IpAddr, reachable: bool) {
        let mut ways = self.ways.lock();
        let _known = if reachable { ways.unreachable.remove(&remote) } else { ways.unreachable.insert(remote) };
        drop(ways);
        self.changed(Change::Route);
    }

    /// Reports a change as the real ones do: with those that follow on its heels.
    fn changed(&self, change: Change) {
        let Some(events) = self.events.get().cloned() else { return };
        let now = monotonic();
        let mut settling = self.settling.lock();
        let idle = settling.wait(now).is_none();
        settling.note(change, now);
        let wait = settling.wait(now).unwrap_or_default();
        drop(settling);
        if !idle {
            return;
        }
        let settling = Arc::clone(&self.settling);
        let report = move || {
            std::thread::sleep(wait);
            let change = settling.lock().take(monotonic());
            if let Some(change) = change {
                events(KernelEvent::Roam { address: change == Change::Address });
            }
        };
        if let Err(error) = std::thread::Builder::new().name("fake-roam".to_owned()).spawn(report) {
            log!(KNL, 1, "unable to report a change of addresses: {error}");
        }
    }

    pub(super) fn source_address(&self, remote: IpAddr, preferred: Option<IpAddr>) -> Option<IpAddr> {
        let ways = self.ways.lock();
        if ways.unreachable.contains(&remote) {
            return None;
        }
        let mut fitting = ways.addresses.iter().copied().filter(|address| address.is_ipv6() == remote.is_ipv6());
        preferred.filter(|preferred| ways.addresses.contains(preferred)).or_else(|| fitting.next())
    }

    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.ways.lock().addresses.clone()
    }
}
