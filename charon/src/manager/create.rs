//! New IKE_SAs, as responder and as initiator.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ike::config::PeerConfig;
use ike::ids::{IkeSpi, UniqueId};
use ike::{IkeSa, InitiateChild, Input, UniqueIds};
use strongswan::crypto::SystemRng;
use strongswan::log;
use strongswan::processing::{Priority, job, monotonic};

use super::Manager;
use super::half_open::HalfOpenEntry;
use super::index::Registration;
use super::initial::Seen;
use super::resident::{Initiation, OnStart, Resident, Work};
use super::work::key_of;

/// Why nothing was initiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InitiateError {
    /// `init_limit_half_open` or `init_limit_job_load` is reached.
    #[error("limits reached")]
    Limits,
    /// The daemon shuts down.
    #[error("shutting down")]
    ShuttingDown,
}

/// An initiation: what to establish, and who wants to know.
pub struct Initiated {
    /// The connection.
    pub config: Arc<PeerConfig>,
    /// A CHILD_SA to establish as well.
    pub child: Option<InitiateChild>,
    /// Apply the limits for new IKE_SAs.
    pub limits: bool,
    /// Always make a new IKE_SA.
    pub fresh: bool,
    /// Addresses of both ends, if not those of the connection: ours, the peer's.
    pub hosts: Option<(IpAddr, IpAddr)>,
    /// Called with the IKE_SA that is used, before anything happens on it.
    pub on_start: Option<OnStart>,
}

impl Manager {
    /// Establishes a CHILD_SA, or only an IKE_SA, on an IKE_SA of an equal connection or on a new one. Returns before it is
    /// established.
    ///
    /// # Errors
    /// See [`InitiateError`].
    pub fn initiate(self: &Arc<Self>, request: Initiated) -> Result<(), InitiateError> {
        if self.closing.load(Ordering::Acquire) {
            return Err(InitiateError::ShuttingDown);
        }
        let Initiated { config, child, limits, fresh, hosts, on_start } = request;
        let id = self.around.numbers.ike_sa_id();
        let reusable =
            if self.settings.reuse && !fresh { self.indexes.reusable_or_enter(&config, id) } else { Vec::new() };
        if !reusable.is_empty() {
            self.initiate_on(reusable, config, child, limits, on_start);
            return Ok(());
        }
        if limits && let Err(error) = self.check_limits() {
            self.indexes.withdraw(&config, id);
            return Err(error);
        }
        self.initiate_new(id, config, child, hosts, on_start);
        Ok(())
    }

    /// Tries existing IKE_SAs one after the other, then a new one.
    fn initiate_on(
        self: &Arc<Self>,
        mut ids: Vec<UniqueId>,
        config: Arc<PeerConfig>,
        child: Option<InitiateChild>,
        limits: bool,
        on_start: Option<OnStart>,
    ) {
        let Some(id) = ids.pop() else {
            let fresh = Initiated { config, child, limits, fresh: true, hosts: None, on_start };
            if let Err(error) = self.initiate(fresh) {
                log!(MGR, 1, "initiation failed: {error}");
            }
            return;
        };
        log!(MGR, 2, "found existing IKE_SA {id} with config '{}'", config.name);
        let manager = Arc::clone(self);
        let otherwise = Box::new(move |child: Option<InitiateChild>, on_start: Option<OnStart>| {
            let processor = Arc::clone(&manager.around.processor);
            processor.queue(job(Priority::Medium, move || {
                manager.initiate_on(ids, config, child, limits, on_start);
            }));
        });
        let initiation = Initiation { child, on_start, otherwise };
        match self.indexes.key(id) {
            Some(key) => {
                self.post(key, Work::Initiate(initiation));
            }
            None => (initiation.otherwise)(initiation.child, initiation.on_start),
        }
    }

    fn initiate_new(
        self: &Arc<Self>,
        id: UniqueId,
        config: Arc<PeerConfig>,
        child: Option<InitiateChild>,
        hosts: Option<(IpAddr, IpAddr)>,
        on_start: Option<OnStart>,
    ) {
        let spi = self.reserve_spi();
        let registration = Registration::new(&self.indexes, id, key_of(spi));
        let remote_port = config.ike.remote_port;
        let local_port = self.local_port(&config.ike);
        let mut sa = IkeSa::initiator(id, spi, config, monotonic());
        if let Some((local, remote)) = hosts {
            sa.set_hosts(SocketAddr::new(local, local_port), SocketAddr::new(remote, remote_port));
        }
        let mut resident = Box::new(Resident::new(sa, registration));
        resident.registration.update(&resident.sa, false);
        let first = on_start.unwrap_or_else(|| Box::new(|_| ()));
        self.work(resident, Work::Watched { input: Input::Initiate(child), first });
    }

    /// Makes an IKE_SA for an IKE_SA_INIT request, unless it is a retransmit.
    pub(super) fn respond(self: &Arc<Self>, initiator: IkeSpi, input: Input, half_open: Option<HalfOpenEntry>) {
        let Input::Datagram { data, remote, .. } = &input else { return };
        let from = remote.ip();
        let spi = self.reserve_spi();
        let claim = match self.initial.claim(initiator, data, spi) {
            Seen::First(claim) => claim,
            Seen::Again(known) => {
                self.release_spi(spi);
                self.post(key_of(known), Work::Input(input));
                return;
            }
        };
        let limit = self.settings.limit;
        if self.closing.load(Ordering::Acquire) || (limit > 0 && self.len() > limit) {
            if limit > 0 && self.strangers.tell(from, monotonic()) {
                self.strangers.failed(from, monotonic());
                log!(MGR, 1, "ignoring IKE_SA_INIT, hitting IKE_SA limit ({limit})");
            }
            self.release_spi(spi);
            return;
        }
        let id = self.around.numbers.ike_sa_id();
        let registration = Registration::new(&self.indexes, id, key_of(spi));
        let sa = IkeSa::responder(id, initiator, spi, monotonic());
        let mut resident = Box::new(Resident::new(sa, registration));
        resident.half_open = half_open;
        resident.initial = Some(claim);
        self.work(resident, Work::Input(input));
    }

    fn check_limits(&self) -> Result<(), InitiateError> {
        let half_open = self.around.half_open.total();
        let limit = self.settings.init_limit_half_open;
        if limit > 0 && half_open >= limit {
            log!(IKE, 1, "abort IKE_SA initiation, half open IKE_SA count of {half_open} exceeds limit of {limit}");
            return Err(InitiateError::Limits);
        }
        let limit = self.settings.init_limit_job_load;
        if limit > 0 {
            let load = self.around.processor.load();
            if load > limit {
                log!(IKE, 1, "abort IKE_SA initiation, job load of {load} exceeds limit of {limit}");
                return Err(InitiateError::Limits);
            }
        }
        Ok(())
    }

    /// A new SPI with an entry in the table, checked out.
    fn reserve_spi(&self) -> IkeSpi {
        loop {
            let spi = self.around.numbers.ike_spi(&mut SystemRng, None);
            if self.table.reserve(key_of(spi)) {
                self.count.fetch_add(1, Ordering::Relaxed);
                return spi;
            }
        }
    }

    fn release_spi(&self, spi: IkeSpi) {
        self.table.remove(key_of(spi));
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}
