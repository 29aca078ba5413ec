//! RADIUS (`eap-radius`): clients that another server authenticates, addresses and groups that it gives them, sessions that
//! it accounts, and its requests to end or change them.
//!
//! Implements RFC 2865, 2866 and 2869 as far as a VPN gateway needs them, EAP over RADIUS (RFC 3579, with the attributes of
//! RFC 3580), and Disconnect and CoA requests (RFC 5176). The packets are in [`packet`]; a [`Server`](server::Server) has
//! threads of its own that wait for answers, so that no worker and no IKE_SA does.
//!
//! The EAP conversation itself is the IKE_SA's ([`ike::eap`]): it asks ([`Aaa`]), and goes on when the answer comes.
//!
//! A request that has no part in a conversation yet goes to the best server, and to the next one if that does not answer;
//! strongSwan leaves the second to the client's next attempt.

mod accept;
mod accounting;
mod attribute;
mod authentication;
mod dae;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod mppe;
pub mod packet;
mod provider;
mod server;
mod settings;
mod station;
#[cfg(test)]
mod tests;

pub use attribute::{Attribute, AttributeType, Code};
pub use dae::{Dae, DaeError};
pub use provider::RadiusPools;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use ike::Input;
use ike::ids::UniqueId;
use parking_lot::Mutex;
use strongswan::crypto::{Rng, SystemRng};
use strongswan::log;
use strongswan::processing::{Priority, Processor, job};
use strongswan::settings::Settings;

use crate::bus::{Bus, DaemonAlert, Listener};
use crate::manager::Manager;
use accept::Granted;
use accounting::Accounting;
use packet::Packet;
use server::{Response, Server};
use settings::{Options, ServerSettings};

pub(crate) use settings::accounting as is_accounting;

/// Makes the packet for a server.
type Make = Arc<dyn Fn(&ServerSettings) -> Packet + Send + Sync>;
/// Called with a response and who gave it, or without if nobody did.
type Answered = Box<dyn FnOnce(Option<(Response, Arc<Server>)>) + Send>;

/// Our side of RADIUS.
pub struct Radius {
    options: ArcSwap<Options>,
    servers: ArcSwap<Vec<Arc<Server>>>,
    /// The servers that EAP conversations are with. A leaf lock.
    conversations: Mutex<HashMap<UniqueId, Arc<Server>>>,
    /// What was granted to IKE_SAs that are not up yet. A leaf lock.
    granted: Mutex<HashMap<UniqueId, Granted>>,
    accounting: Option<Accounting>,
    bus: Arc<Bus>,
    processor: Arc<Processor>,
    manager: OnceLock<Weak<Manager>>,
}

impl Radius {
    /// As `settings` say.
    pub fn new(settings: &Settings, bus: &Arc<Bus>, processor: &Arc<Processor>) -> Arc<Self> {
        let accounting = settings::accounting(settings).then(Accounting::new);
        let radius = Self {
            options: ArcSwap::default(),
            servers: ArcSwap::default(),
            conversations: Mutex::default(),
            granted: Mutex::default(),
            accounting,
            bus: Arc::clone(bus),
            processor: Arc::clone(processor),
            manager: OnceLock::new(),
        };
        radius.reload(settings);
        Arc::new(radius)
    }

    /// Says whose IKE_SAs these are. Only the first call counts.
    pub fn serve(self: &Arc<Self>, manager: &Arc<Manager>) {
        let _already = self.manager.set(Arc::downgrade(manager));
        self.bus.add(Arc::new(Watch(Arc::clone(self))));
    }

    /// Takes over servers and options; a server that is as it was keeps what is known about it. Whether there is accounting,
    /// and the listener, stay as they were.
    pub fn reload(&self, settings: &Settings) {
        let old = self.servers.load();
        let known = |new: &ServerSettings| old.iter().find(|server| server.settings == *new).map(Arc::clone);
        let new = settings::servers(settings).into_iter();
        let servers = new.map(|settings| known(&settings).unwrap_or_else(|| Server::new(settings))).collect();
        self.servers.store(Arc::new(servers));
        self.options.store(Arc::new(settings::options(settings)));
    }

    /// Whether sessions are accounted.
    pub fn is_accounting(&self) -> bool {
        self.accounting.is_some()
    }

    /// Waits until servers have heard of the end of all sessions, not longer than `patience`.
    pub fn finish(&self, patience: std::time::Duration) {
        const STEP: std::time::Duration = std::time::Duration::from_millis(10);
        let deadline = std::time::Instant::now() + patience;
        while self.accounting.is_some() && !self.servers.load().iter().all(|server| server.is_idle()) {
            if std::time::Instant::now() >= deadline {
                log!(CFG, 1, "giving up on RADIUS accounting");
                return;
            }
            std::thread::sleep(STEP);
        }
    }

    fn manager(&self) -> Option<Arc<Manager>> {
        self.manager.get().and_then(Weak::upgrade)
    }

    /// The servers, the best first; which of equal ones is left to chance.
    fn candidates(&self) -> VecDeque<Arc<Server>> {
        let servers = self.servers.load();
        let mut scored: Vec<_> = servers.iter().map(|server| (server.score(), SystemRng.next_u32(), server)).collect();
        scored.sort_by_key(|(score, chance, _)| (std::cmp::Reverse(*score), *chance));
        scored.into_iter().map(|(_, _, server)| Arc::clone(server)).collect()
    }

    /// Asks these servers one after the other until one answers.
    fn ask(mut candidates: VecDeque<Arc<Server>>, make: Make, answered: Answered) {
        let Some(server) = candidates.pop_front() else { return answered(None) };
        let packet = make(&server.settings);
        let asked = Arc::clone(&server);
        server.request(
            packet,
            Box::new(move |result| match result {
                Ok(response) => answered(Some((response, asked))),
                Err(_) => Self::ask(candidates, make, answered),
            }),
        );
    }

    /// No server answers what concerns this IKE_SA, or nobody in particular.
    fn timed_out(&self, ike_sa: Option<UniqueId>) {
        self.bus.alert(&DaemonAlert::RadiusNotResponding);
        let Some(manager) = self.manager() else { return };
        if self.options.load().close_all_on_timeout {
            log!(CFG, 1, "deleting all IKE_SAs after RADIUS timeout");
            manager.ike_sas().into_iter().for_each(|id| self.close(&manager, id));
        } else if let Some(id) = ike_sa {
            log!(CFG, 1, "deleting IKE_SA after RADIUS timeout");
            self.close(&manager, id);
        }
    }

    fn close(&self, manager: &Arc<Manager>, id: UniqueId) {
        let manager = Arc::clone(manager);
        self.processor.queue(job(Priority::Medium, move || {
            manager.input(id, Input::TerminateIke { force: false });
        }));
    }
}

/// Watches IKE_SAs.
struct Watch(Arc<Radius>);

impl Listener for Watch {
    fn event(&self, ike_sa: &ike::IkeSa, event: &ike::Event) {
        let radius = &self.0;
        if let ike::Event::IkeUpDown { up: true, .. } = event {
            let granted = radius.granted.lock().remove(&ike_sa.unique_id()).unwrap_or_default();
            if let Some(accounting) = &radius.accounting {
                accounting.begin(radius, &ike_sa.snapshot(), granted);
            }
        } else if let Some(accounting) = &radius.accounting {
            accounting.event(ike_sa.unique_id(), event);
        }
    }

    fn destroyed(&self, ike_sa: UniqueId) {
        let radius = &self.0;
        radius.conversations.lock().remove(&ike_sa);
        radius.granted.lock().remove(&ike_sa);
        if let Some(accounting) = &radius.accounting {
            accounting.end(radius, ike_sa);
        }
    }
}
