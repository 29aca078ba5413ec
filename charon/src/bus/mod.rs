//! Observation: log sinks, and the events of IKE_SAs with their listeners. The core never calls a listener by name.

pub mod counters;
pub mod log;

use std::sync::Arc;

use arc_swap::ArcSwap;
use ike::ids::UniqueId;
use ike::{Event, IkeSa};
use parking_lot::Mutex;

/// Watches IKE_SAs. Called by the worker that has the IKE_SA checked out, so it must neither block nor ask the manager for
/// that IKE_SA.
pub trait Listener: Send + Sync {
    /// Something happened to an IKE_SA.
    fn event(&self, ike_sa: &IkeSa, event: &Event);

    /// An IKE_SA is gone; nothing more will happen to it.
    fn destroyed(&self, ike_sa: UniqueId) {
        let _ = ike_sa;
    }

    /// Something went wrong that has to do with no IKE_SA.
    fn alert(&self, alert: &DaemonAlert) {
        let _ = alert;
    }
}

/// An alert without an IKE_SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DaemonAlert {
    /// The daemon shuts down.
    ShutdownSignal,
    /// A message came for an IKE_SA that does not exist.
    InvalidIkeSpi,
    /// A datagram had an invalid header.
    ParseErrorHeader,
    /// No RADIUS server answers.
    RadiusNotResponding,
}

impl DaemonAlert {
    /// The name vici uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ShutdownSignal => "shutdown-signal",
            Self::InvalidIkeSpi => "invalid-ike-spi",
            Self::ParseErrorHeader => "parse-error-header",
            Self::RadiusNotResponding => "radius-not-responding",
        }
    }
}

/// Hands events to listeners, in the order of their registration.
#[derive(Default)]
pub struct Bus {
    listeners: ArcSwap<Vec<Arc<dyn Listener>>>,
    changing: Mutex<()>,
}

impl Bus {
    /// Without listeners.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Adds a listener.
    pub fn add(&self, listener: Arc<dyn Listener>) {
        let _changing = self.changing.lock();
        let mut listeners = Vec::clone(&self.listeners.load());
        listeners.push(listener);
        self.listeners.store(Arc::new(listeners));
    }

    /// Removes a listener.
    pub fn remove(&self, listener: &Arc<dyn Listener>) {
        let _changing = self.changing.lock();
        let mut listeners = Vec::clone(&self.listeners.load());
        listeners.retain(|other| !Arc::ptr_eq(other, listener));
        self.listeners.store(Arc::new(listeners));
    }

    /// Removes all listeners.
    pub fn clear(&self) {
        let _changing = self.changing.lock();
        self.listeners.store(Arc::default());
    }

    /// Tells listeners about an IKE_SA.
    pub fn raise(&self, ike_sa: &IkeSa, event: &Event) {
        self.listeners.load().iter().for_each(|listener| listener.event(ike_sa, event));
    }

    /// Tells listeners that an IKE_SA is gone.
    pub fn destroyed(&self, ike_sa: UniqueId) {
        self.listeners.load().iter().for_each(|listener| listener.destroyed(ike_sa));
    }

    /// Tells listeners what went wrong without an IKE_SA.
    pub fn alert(&self, alert: &DaemonAlert) {
        self.listeners.load().iter().for_each(|listener| listener.alert(alert));
    }
}
