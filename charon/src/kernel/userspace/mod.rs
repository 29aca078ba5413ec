//! The userspace data plane: crate `esp` between a TUN device and the sockets.
//!
//! ```text
//!   applications            ┌───────────── Plane (crate esp) ─────────────┐
//!       │ route             │   SPD ── Bundle ── Outbound SA              │   UDP 4500, raw ESP
//!       ▼                   │                                            │
//!    TUN device ──read────▶ │ ─────────────── encap ──────────────────▶  │ ──────▶ EspSender
//!    TUN device ◀─write──── │ ◀────────────── decap ───────────────────  │ ◀────── receiver, raw socket
//!       │                   │   SAD ── Inbound SA (selectors enforced)    │
//!       ▼                   └────────────────────────────────────────────┘
//! ```
//!
//! One thread reads the device and sends; ESP in UDP is decrypted on the receiver's thread, raw ESP on one of its own; a
//! last one waits for lifetimes to end. Packets pass through without a queue in between, in batches: what one read of
//! the device returns is encrypted and handed to the socket with one system call where the kernel can segment.

mod convert;
mod inbound;
mod outbound;
mod routes;
mod sender;
mod settings;
mod timer;
mod tun;

pub use settings::UserspaceSettings;

use std::io::{self, PipeReader, PipeWriter};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;

use esp::ids::SaKey;
use esp::inbound::Inbound;
use esp::outbound::Outbound;
use esp::plane::Plane;
use esp::spd::Action;
use ike::attributes::Held;
use ike::ids::Spi;
use ike::kernel::{Direction, Features, Kernel, KernelError, PolicyParams, SaId, SaParams, SaUpdate, SaUsage};
use strongswan::crypto::{Protocol, SystemRng};
use strongswan::log;
use strongswan::processing::monotonic;
use strongswan::selectors::TrafficSelector;
use strongswan::sync::Mutex;

use super::netlink::{NetlinkError, Network, Outside, VirtualIps, look_up_once};
use super::{EventSink, KernelEvent};
use crate::net::EspSink;
use routes::{RouteError, Routes, Routing};
use sender::EspSender;
use timer::Timer;
use tun::Tun;

/// Why the data plane could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum UserspaceError {
    /// No TUN device.
    #[error("failed to create TUN device: {0}")]
    Tun(#[source] io::Error),
    /// No netlink socket.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// No thread or file descriptor left.
    #[error("unable to start the data plane: {0}")]
    Start(#[source] io::Error),
}

/// The data plane of a daemon. Dropping it shuts it down and removes the device.
pub struct Userspace {
    /// Dropped before the device, which they lead to.
    routes: Option<Routes>,
    shared: Arc<Shared>,
    settings: UserspaceSettings,
    virtual_ips: Arc<VirtualIps>,
    outside: Arc<Outside>,
    /// Dropped to end the threads.
    stop: Mutex<Option<PipeWriter>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the threads need.
struct Shared {
    plane: Plane,
    tun: Tun,
    sender: EspSender,
    timer: Timer,
    events: EventSink,
}

impl Userspace {
    /// Creates device, rules and threads. `sockets` are clones of the IKE sockets for NAT traversal.
    ///
    /// # Errors
    /// If the device or the rest cannot be had; nothing is left behind then.
    pub fn start(
        settings: UserspaceSettings,
        sockets: Vec<UdpSocket>,
        events: EventSink,
    ) -> Result<Self, UserspaceError> {
        let tun = Tun::open().map_err(UserspaceError::Tun)?;
        log!(KNL, 1, "created TUN device: {}", tun.name());
        let (sender, marked) = EspSender::new(sockets, settings.raw_esp, settings.fwmark.0);
        let routes = if settings.install_routes {
            let routing = Routing {
                table: settings.routing_table,
                priority: settings.routing_table_prio,
                mark: (marked && settings.routing_table != 0).then_some(settings.fwmark),
                tun: tun.index(),
                allow_peer_ts: settings.allow_peer_ts,
            };
            Some(Routes::new(Network::open()?, routing))
        } else {
            None
        };
        let virtual_ips = VirtualIps::open(settings.virtual_ips.clone(), Some(tun.index()))?;
        let (filter, tun_index) = (settings.interfaces.clone(), Some(tun.index()));
        let outside = Outside::open(settings.routing_table, filter, tun_index, Arc::clone(&virtual_ips))?;
        let shared = Arc::new(Shared { plane: Plane::default(), tun, sender, timer: Timer::default(), events });
        let (stop, writer) = io::pipe().map_err(UserspaceError::Start)?;
        let userspace = Self {
            shared,
            routes,
            settings,
            virtual_ips,
            outside: Arc::new(outside),
            stop: Mutex::new(Some(writer)),
            threads: Mutex::new(Vec::new()),
        };
        userspace.spawn_all(&stop).map_err(UserspaceError::Start)?;
        Ok(userspace)
    }

    fn spawn_all(&self, stop: &PipeReader) -> io::Result<()> {
        let outbound = stop.try_clone()?;
        self.spawn("esp-out", move |shared| outbound::run(shared, &outbound))?;
        self.spawn("esp-timer", timer::run)?;
        if !self.shared.sender.raw().is_empty() {
            let inbound = stop.try_clone()?;
            self.spawn("esp-in", move |shared| inbound::run(shared, &inbound))?;
        }
        Ok(())
    }

    fn spawn(&self, name: &str, run: impl FnOnce(&Shared) + Send + 'static) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared))?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// Ends the threads and removes routes and rules. The device goes when the last reference does.
    pub fn shut_down(&self) {
        drop(self.stop.lock().take());
        self.shared.timer.stop();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            if thread.join().is_err() {
                log!(KNL, 1, "a thread of the data plane has panicked");
            }
        }
        if let Some(routes) = &self.routes {
            routes.clear();
        }
        self.virtual_ips.clear();
    }

    /// The network outside of its tunnels.
    pub(in crate::kernel) fn outside(&self) -> Arc<Outside> {
        Arc::clone(&self.outside)
    }

    /// Name of the TUN device.
    pub fn device(&self) -> &str {
        self.shared.tun.name()
    }

    /// Which SA an IKE_SA means. The peer's address may have changed since it was installed.
    fn key(&self, id: &SaId) -> SaKey {
        let spi = id.spi;
        let sad = &self.shared.plane.sad;
        let exact = SaKey::Outbound(spi, id.dst);
        if sad.outbound(exact).is_some() {
            return exact;
        }
        match sad.inbound(spi) {
            Some(sa) if sa.path().local.ip() == id.dst => SaKey::Inbound(spi),
            Some(_) | None => sad.find_outbound(spi, id.dst).unwrap_or(SaKey::Inbound(spi)),
        }
    }

    /// Installs the policy for one pair of selectors, with its route.
    fn add_policy(
        &self,
        params: &PolicyParams<'_>,
        local: &TrafficSelector,
        remote: &TrafficSelector,
    ) -> Result<(), KernelError> {
        let plane = &self.shared.plane;
        match (convert::action(plane, params), &self.routes) {
            (None, _) => return Err(KernelError::NotSupported),
            (Some(Action::Bypass), None) => {
                log!(KNL, 1, "failed to add policy: bypass policies need install_routes");
                return Err(KernelError::NotSupported);
            }
            (Some(Action::Bypass), Some(routes)) => {
                routes.add_bypass(local, remote).map_err(|error| refused(local, remote, &error))?;
            }
            (Some(action), routes) => {
                if let Some(routes) = routes {
                    let added = routes.add_network(local, remote, params.remote);
                    added.map_err(|error| refused(local, remote, &error))?;
                }
                plane.spd.insert(convert::policy(params, local, remote, action));
            }
        }
        Ok(())
    }

    /// Removes the policy for one pair of selectors; false if there is none.
    fn remove_policy(&self, params: &PolicyParams<'_>, local: &TrafficSelector, remote: &TrafficSelector) -> bool {
        let plane = &self.shared.plane;
        let found = match convert::action(plane, params) {
            None => false,
            Some(Action::Bypass) => {
                return self.routes.as_ref().is_some_and(|routes| routes.remove_bypass(local, remote));
            }
            Some(action) => plane.spd.remove(&convert::policy(params, local, remote, action)),
        };
        if let (true, Some(routes)) = (found, &self.routes) {
            routes.remove_network(remote);
        }
        found
    }

    fn forget_reqid(&self, params: &PolicyParams<'_>) {
        if let Some(reqid) = params.reqid {
            self.shared.plane.sad.prune(reqid);
        }
    }
}

fn refused(local: &TrafficSelector, remote: &TrafficSelector, error: &RouteError) -> KernelError {
    log!(KNL, 1, "can't install route for {local} === {remote} out, {error}");
    KernelError::Failed(error.to_string())
}

impl Kernel for Userspace {
    fn features(&self) -> Features {
        let features = Features::ESP_V3_TFC | Features::SA_USE_TIME | Features::NO_POLICY_UPDATES;
        if self.shared.sender.raw().is_empty() { features | Features::REQUIRE_UDP_ENCAPSULATION } else { features }
    }

    fn allocate_spi(&self, _protocol: Protocol, _src: IpAddr, _dst: IpAddr) -> Result<Spi, KernelError> {
        let spi = self.shared.plane.sad.reserve_spi(self.settings.spis.clone(), &mut SystemRng);
        spi.ok_or_else(|| {
            log!(KNL, 1, "unable to get SPI");
            KernelError::Failed("no SPI left".to_owned())
        })
    }

    fn add_sa(&self, sa: &SaParams<'_>) -> Result<(), KernelError> {
        if let Some(problem) = convert::unsupported(sa, self.features()) {
            log!(KNL, 1, "failed to add SAD entry: {problem}");
            return Err(KernelError::NotSupported);
        }
        let sad = &self.shared.plane.sad;
        let now = monotonic();
        let installed = match sa.direction {
            Direction::In => sad.insert_inbound(Inbound::new(convert::inbound(sa)?), now),
            Direction::Out => sad.insert_outbound(Outbound::new(convert::outbound(sa)?), now),
        };
        installed.map_err(|_| KernelError::Exists)?;
        if let (Direction::Out, Some(routes)) = (sa.direction, &self.routes) {
            routes.add_peer(sa.id.dst);
        }
        self.shared.timer.wake();
        Ok(())
    }

    fn update_sa(&self, update: &SaUpdate) -> Result<(), KernelError> {
        let key = self.key(&update.id);
        if update.encap.is_none() && self.shared.sender.raw().is_empty() {
            return Err(KernelError::NotSupported);
        }
        let inbound = matches!(key, SaKey::Inbound(_));
        let path = convert::path(update.src, update.dst, update.encap, inbound);
        let sad = &self.shared.plane.sad;
        let old = sad.outbound(key).map(|sa| sa.path().remote.ip());
        if !sad.set_path(key, path) {
            return Err(KernelError::NotFound);
        }
        if let (Some(old), Some(routes)) = (old, &self.routes) {
            routes.add_peer(update.dst);
            routes.remove_peer(old);
        }
        Ok(())
    }

    fn query_sa(&self, id: &SaId) -> Result<SaUsage, KernelError> {
        let usage = self.shared.plane.sad.usage(self.key(id)).ok_or(KernelError::NotFound)?;
        let idle = usage.last.map(|last| monotonic().saturating_since(last));
        Ok(SaUsage { bytes: usage.bytes, packets: usage.packets, idle })
    }

    fn delete_sa(&self, id: &SaId) -> Result<(), KernelError> {
        let key = self.key(id);
        let peer = self.shared.plane.sad.outbound(key).map(|sa| sa.path().remote.ip());
        if !self.shared.plane.sad.remove(key) {
            return Err(KernelError::NotFound);
        }
        if let (Some(peer), Some(routes)) = (peer, &self.routes) {
            routes.remove_peer(peer);
        }
        Ok(())
    }

    fn add_policies(&self, policies: &PolicyParams<'_>) -> Result<(), KernelError> {
        if let Some(problem) = convert::unsupported_policy(policies) {
            log!(KNL, 1, "failed to add policy: {problem}");
            return Err(KernelError::NotSupported);
        }
        if policies.direction == Direction::In {
            // Every inbound SA enforces its own selectors.
            return Ok(());
        }
        for (index, (local, remote)) in convert::pairs(policies).enumerate() {
            if let Err(error) = self.add_policy(policies, local, remote) {
                convert::pairs(policies).take(index).for_each(|(local, remote)| {
                    self.remove_policy(policies, local, remote);
                });
                self.forget_reqid(policies);
                return Err(error);
            }
        }
        Ok(())
    }

    fn delete_policies(&self, policies: &PolicyParams<'_>) -> Result<(), KernelError> {
        if policies.direction == Direction::In {
            return Ok(());
        }
        let mut found = true;
        for (local, remote) in convert::pairs(policies) {
            found &= self.remove_policy(policies, local, remote);
        }
        self.forget_reqid(policies);
        if found { Ok(()) } else { Err(KernelError::NotFound) }
    }

    fn source_address(&self, remote: IpAddr, preferred: Option<IpAddr>) -> Option<IpAddr> {
        self.outside.source_address(remote, preferred)
    }

    fn local_addresses(&self) -> Vec<IpAddr> {
        self.outside.local_addresses()
    }

    fn look_up_once(&self, work: &mut dyn FnMut()) {
        look_up_once(work);
    }

    fn add_virtual_ip(&self, address: IpAddr, outer: IpAddr) -> Result<Box<dyn Held>, KernelError> {
        VirtualIps::add(&self.virtual_ips, address, outer)
    }
}

impl EspSink for Userspace {
    fn receive_esp(&self, _local: SocketAddr, remote: SocketAddr, traffic_class: Option<u8>, packet: &mut [u8]) {
        self.shared.receive(remote, traffic_class, packet);
    }
}

impl Shared {
    fn report(&self, event: KernelEvent) {
        (self.events)(event);
    }
}

impl Drop for Userspace {
    fn drop(&mut self) {
        self.shut_down();
    }
}
