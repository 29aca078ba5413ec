//! The kernel's own IPsec (XFRM): SAs, policies and their events over netlink.
//!
//! ```text
//!    IKE_SA ── Kernel ──▶ Netlink ─ state, algorithms ─▶ SAs
//!                            │      policies, policy ──▶ policies
//!                            │      routes ────────────▶ routes, rules
//!                            └ sas ◀── lost events
//!    jobs ◀── KernelEvent ── events ◀── acquire, expire, mapping
//! ```
//!
//! Messages are those of crate `netlink-packet-xfrm`, wrapped so that keys are wiped ([`message`]).

mod algorithms;
mod events;
mod journal;
mod message;
mod policies;
mod policy;
mod probe;
mod routes;
mod sas;
mod selector;
mod settings;
mod state;
#[cfg(test)]
mod tests;
mod upkeep;
mod version;

pub use settings::{NetlinkSettings, RuleMark};
pub use upkeep::FlushOnStart;

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ike::attributes::Held;
use ike::config::HwOffload;
use ike::ids::{IfId, Mark, Spi};
use ike::kernel::{Direction, Features, Kernel, KernelError, PolicyParams, SaId, SaParams, SaUpdate, SaUsage};
use netlink_packet_xfrm::XfrmMessage;
use netlink_packet_xfrm::state::ModifyMessage;
use nix::net::if_::if_nametoindex;
use strongswan::crypto::Protocol;
use strongswan::log;
use strongswan::processing::monotonic;
use strongswan::settings::Settings;
use strongswan::sync::Mutex;

use super::options::{bypass, enable_udp_encap};
use super::socket::NetlinkSocket;
use super::{NetlinkError, Network, Outside, VirtualIps, look_up_once};
use crate::kernel::EventSink;
use crate::net::IkeSockets;
use events::Events;
use journal::Journal;
use message::Message;
use policies::{Apply, Change, Policies, failed};
use policy::Policy;
use routes::Routes;
use sas::Sas;
use state::{Offload, Unsupported};
use version::Version;

/// The kernel as data plane.
pub struct Netlink {
    shared: Arc<Shared>,
    network: Network,
    settings: NetlinkSettings,
    /// To exempt them again.
    sockets: IkeSockets,
    sink: EventSink,
    /// Whether the kernel has IPComp, once somebody wanted to know.
    compresses: OnceLock<bool>,
    virtual_ips: Arc<VirtualIps>,
    outside: Arc<Outside>,
    /// `None` once shut down.
    events: Mutex<Option<Events>>,
}

/// What the event thread needs too.
struct Shared {
    socket: NetlinkSocket,
    version: Version,
    sas: Sas,
    policies: Policies,
    /// `kernel-netlink.policy_update`
    policy_update: bool,
    /// Unset where none are installed.
    routes: OnceLock<Routes>,
    /// Unset until it is known that this data plane is used.
    journal: OnceLock<Journal>,
}

impl Netlink {
    /// Takes the kernel's IPsec into use. IKE's `sockets` are exempted from all policies, and those for NAT traversal hand
    /// ESP to the kernel.
    ///
    /// # Errors
    /// If the kernel has no ESP, or not for us.
    pub fn start(settings: NetlinkSettings, sockets: &IkeSockets, sink: EventSink) -> Result<Self, NetlinkError> {
        let socket = NetlinkSocket::open(libc::NETLINK_XFRM)?;
        let shared = Arc::new(Shared {
            socket,
            version: Version::running(),
            sas: Sas::default(),
            policies: Policies::default(),
            policy_update: settings.policy_update,
            routes: OnceLock::new(),
            journal: OnceLock::new(),
        });
        probe::esp(&shared)?;
        let (journal, left) = Journal::open(&settings.journal);
        let _first = shared.journal.set(journal);
        shared.clean(settings.flush_on_start, &left, settings.hold_orphans)?;
        expire_acquires_after(settings.acquire_expires);
        let sockets = sockets.try_clone().map_err(NetlinkError::Socket)?;
        prepare(&sockets);
        if settings.install_routes {
            let _first = shared.routes.set(Routes::new(Network::open()?, &settings, &left));
        }
        let check = {
            let (shared, sink) = (Arc::clone(&shared), Arc::clone(&sink));
            move |suspects| shared.check(suspects, &sink)
        };
        let own = shared.socket.sign()?;
        let events = Mutex::new(Some(Events::start(settings.receive_buffer, own, Arc::clone(&sink), check)?));
        let network = Network::open()?;
        let virtual_ips = VirtualIps::open(settings.virtual_ips.clone(), None)?;
        let filter = settings.interfaces.clone();
        let outside = Outside::open(settings.routing_table, filter, None, Arc::clone(&virtual_ips))?;
        Ok(Self {
            shared,
            network,
            settings,
            sockets,
            sink,
            compresses: OnceLock::new(),
            virtual_ips,
            outside: Arc::new(outside),
            events,
        })
    }

    /// Start scripts may have flushed what was there before them: exempts IKE's sockets again and restores policies.
    pub fn reassert(&self) {
        prepare(&self.sockets);
        self.shared.check(upkeep::Suspects { sas: true, policies: true }, &self.sink);
    }

    /// How long policies of a predecessor that did not end properly are kept, see [`release_orphans`](Self::release_orphans).
    pub fn hold_orphans(&self) -> Duration {
        self.settings.hold_orphans
    }

    /// Removes the policies of such a predecessor that nobody has taken over.
    pub fn release_orphans(&self) {
        self.shared.release();
    }

    /// Puts settings in force that may change while the daemon runs.
    pub fn reload(settings: &Settings) {
        expire_acquires_after(NetlinkSettings::from_settings(settings).acquire_expires);
    }

    /// Stops to report events and removes routes and rules.
    pub fn shut_down(&self) {
        let events = self.events.lock().take();
        drop(events);
        self.shared.release();
        if let Some(routes) = self.shared.routes.get() {
            routes.clear();
        }
        self.virtual_ips.clear();
        if let Some(journal) = self.shared.journal.get() {
            journal.close();
        }
    }

    /// The network outside of its tunnels.
    pub(in crate::kernel) fn outside(&self) -> Arc<Outside> {
        Arc::clone(&self.outside)
    }

    /// The kernel moves no SA in place: it goes and comes back with its counters and its replay window.
    fn move_one(&self, update: &SaUpdate) -> Result<(), AddError> {
        let current = self.shared.get(&update.id)?;
        let current = modified(&current).ok_or_else(|| NetlinkError::Malformed("no SA in the answer".to_owned()))?;
        let interface = self.interface_of(update.src).or_else(|| self.interface_of(update.dst));
        let moved = || state::moved(current, update, interface);
        self.shared.request(XfrmMessage::DeleteSa(state::name(&update.id)?))?;
        let new = SaId { src: update.src, dst: update.dst, ..update.id };
        self.shared.note_sa(&new);
        let added = match self.shared.request(XfrmMessage::AddSa(moved())) {
            // a packet came while it was away, and left the start of an SA behind: that one becomes it
            Err(error) if error.is_exists() => self.shared.request(XfrmMessage::UpdateSa(moved())),
            result => result,
        };
        if let Err(error) = added {
            self.shared.sas.remove(&update.id);
            [new, update.id].iter().for_each(|id| self.shared.forget_sa(id));
            return Err(error.into());
        }
        if new != update.id {
            self.shared.forget_sa(&update.id);
        }
        Ok(())
    }

    /// The index of the interface that has an address.
    fn interface_of(&self, address: IpAddr) -> Option<u32> {
        let addresses = self.network.addresses().ok()?;
        addresses.iter().find(|local| local.address == address).map(|local| local.interface)
    }

    fn add(&self, sa: &SaParams<'_>, offload: Option<Offload>) -> Result<(), AddError> {
        let local = if sa.direction == Direction::In { sa.id.dst } else { sa.id.src };
        let offload = match offload {
            None => None,
            Some(kind) => Some((kind, self.interface_of(local).ok_or(AddError::NoDevice)?)),
        };
        self.shared.add(sa, offload, self.settings.ports_in_transport)
    }

    fn expand(&self, params: &PolicyParams<'_>) -> Result<Vec<Policy>, KernelError> {
        let interface = match params.interface {
            None => 0,
            Some(name) => if_nametoindex(name).map_err(|error| {
                log!(KNL, 1, "unable to restrict a policy to interface '{name}': {}", error.desc());
                KernelError::NotFound
            })?,
        };
        Ok(policy::policies(params, interface).collect())
    }
}

/// Why an SA was not added.
#[derive(Debug, thiserror::Error)]
enum AddError {
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error("no device to offload to")]
    NoDevice,
}

impl AddError {
    fn for_ike(&self) -> KernelError {
        match self {
            Self::Unsupported(_) => KernelError::NotSupported,
            Self::Netlink(error) => failed(error),
            Self::NoDevice => KernelError::Failed(self.to_string()),
        }
    }
}

impl Shared {
    fn change(&self, policy: &Policy, change: Change<'_>) -> Result<(), NetlinkError> {
        let (message, user) = match change {
            Change::Install(XfrmMessage::AddPolicy(message), user) if self.policy_update => {
                (XfrmMessage::UpdatePolicy(message), Some(user))
            }
            Change::Install(message, user) => (message, Some(user)),
            Change::Remove(message) => (message, None),
        };
        let is_new = matches!(message, XfrmMessage::AddPolicy(_));
        if let Some(user) = user {
            self.note_policy(policy, user);
        }
        let result = self.request(message);
        match (&result, user) {
            (Err(_), Some(_)) if is_new => self.forget_policy(&policy.key),
            (Ok(_), None) => self.forget_policy(&policy.key),
            (Err(error), None) if error.is_not_found() => self.forget_policy(&policy.key),
            _ => {}
        }
        if let Some(routes) = self.routes.get() {
            match user {
                // The route leads into the tunnel: not before the policy that protects what takes it.
                Some(user) if result.is_ok() => routes.set(policy, user),
                Some(_) => {}
                None => routes.unset(policy),
            }
        }
        result.map(drop)
    }

    fn remove_all(&self, policies: &[Policy]) -> Result<(), KernelError> {
        let apply: Apply<'_> = &|policy, change| self.change(policy, change);
        let mut result = Ok(());
        for policy in policies {
            if let Err(error) = self.policies.remove(policy, apply) {
                result = Err(error);
            }
        }
        result
    }

    fn request(&self, message: XfrmMessage) -> Result<Vec<Message>, NetlinkError> {
        self.socket.request(Message::from(message), 0)
    }

    fn allocate(&self, protocol: Protocol, ends: (IpAddr, IpAddr), spis: (u32, u32)) -> Result<Option<Spi>, AddError> {
        let message = state::allocate(protocol, ends, spis, self.version)?;
        let answers = self.request(XfrmMessage::AllocSpi(message))?;
        let spi = answers.iter().find_map(|answer| match answer.get() {
            XfrmMessage::AddSa(sa) => Spi::new(sa.user_sa_info.id.spi),
            XfrmMessage::AllocSpi(spi) => Spi::new(spi.spi_info.info.id.spi),
            _ => None,
        });
        if let Some(spi) = spi {
            let (src, dst) = ends;
            // Marks and interfaces come with the SA.
            self.note_sa(&SaId { spi, protocol, src, dst, mark: Mark::NONE, if_id: IfId::NONE });
        }
        Ok(spi)
    }

    fn add(&self, sa: &SaParams<'_>, offload: Option<(Offload, u32)>, ports: bool) -> Result<(), AddError> {
        let cpi = sa.cpi.and_then(|cpi| Spi::new(cpi.into()));
        if let Some(cpi) = cpi {
            self.add_compression(sa, cpi)?;
        }
        let message = || state::install(sa, self.version, offload, ports);
        self.note_sa(&sa.id);
        let result = match sa.direction {
            Direction::In => match self.request(XfrmMessage::UpdateSa(message()?)) {
                Err(error) if error.is_not_found() => {
                    log!(KNL, 1, "allocated SPI not found anymore, try to add SAD entry");
                    self.request(XfrmMessage::AddSa(message()?))
                }
                result => result,
            },
            Direction::Out => self.request(XfrmMessage::AddSa(message()?)).inspect_err(|_| self.forget_sa(&sa.id)),
        };
        if let (Err(_), Some(cpi)) = (&result, cpi) {
            let _gone = self.delete_one(&SaId { spi: cpi, protocol: Protocol::IpComp, ..sa.id });
        }
        result?;
        self.sas.insert(sa.id, sa.lifetimes, cpi);
        Ok(())
    }

    fn add_compression(&self, sa: &SaParams<'_>, cpi: Spi) -> Result<(), AddError> {
        let id = SaId { spi: cpi, protocol: Protocol::IpComp, ..sa.id };
        self.note_sa(&id);
        let message = || state::compression(sa, cpi, self.version);
        let result = match sa.direction {
            Direction::In => match self.request(XfrmMessage::UpdateSa(message()?)) {
                Err(error) if error.is_not_found() => self.request(XfrmMessage::AddSa(message()?)),
                result => result,
            },
            Direction::Out => self.request(XfrmMessage::AddSa(message()?)),
        };
        result.inspect_err(|_| self.forget_sa(&id))?;
        Ok(())
    }

    fn get(&self, id: &SaId) -> Result<Message, AddError> {
        let answers = self.request(XfrmMessage::GetSa(state::name(id)?))?;
        let found = answers.into_iter().find(|answer| matches!(answer.get(), XfrmMessage::AddSa(_)));
        found.ok_or_else(|| AddError::Netlink(NetlinkError::Malformed("no SA in the answer".to_owned())))
    }

    fn delete(&self, id: &SaId) -> Result<(), AddError> {
        if let Some(compression) = self.sas.compression(id)
            && let Err(error) = self.delete_one(&compression)
        {
            log!(KNL, 1, "unable to delete SAD entry with CPI {}: {error}", compression.spi);
        }
        self.sas.remove(id);
        self.delete_one(id)
    }

    fn delete_one(&self, id: &SaId) -> Result<(), AddError> {
        let result = self.request(XfrmMessage::DeleteSa(state::name(id)?));
        if result.as_ref().err().is_none_or(NetlinkError::is_not_found) {
            self.forget_sa(id);
            // as it was reserved
            self.forget_sa(&SaId { mark: Mark::NONE, if_id: IfId::NONE, ..*id });
        }
        result?;
        Ok(())
    }

    /// Events were lost: reports what they would have told.
    fn compare(&self, sink: &EventSink) {
        let ids = self.sas.all();
        log!(KNL, 2, "comparing {} SAs with the kernel's", ids.len());
        for id in ids {
            let event = match self.get(&id) {
                Ok(answer) => self.sas.missed(&id, modified(&answer)),
                Err(AddError::Netlink(error)) if error.is_not_found() => self.sas.missed(&id, None),
                Err(error) => {
                    log!(KNL, 1, "unable to query SAD entry with SPI {}: {error}", id.spi);
                    None
                }
            };
            event.into_iter().for_each(|event| sink(event));
        }
    }
}

fn modified(message: &Message) -> Option<&ModifyMessage> {
    match message.get() {
        XfrmMessage::AddSa(sa) => Some(sa),
        _ => None,
    }
}

/// How long the kernel keeps what an acquire or the reservation of an SPI left behind.
fn expire_acquires_after(seconds: u32) {
    const PATH: &str = "/proc/sys/net/core/xfrm_acq_expires";
    if let Err(error) = std::fs::write(PATH, seconds.to_string()) {
        log!(KNL, 1, "unable to write to {PATH}: {error}");
    }
}

/// IKE gets through whatever the policies are; ESP in UDP goes to the kernel.
fn prepare(sockets: &IkeSockets) {
    for socket in sockets.plain.iter().chain(&sockets.nat_t) {
        if let Err(error) = bypass(socket) {
            log!(KNL, 1, "unable to set IPSEC_POLICY on socket: {}", error.desc());
        }
    }
    for socket in &sockets.nat_t {
        if let Err(error) = enable_udp_encap(socket) {
            log!(KNL, 1, "unable to set UDP_ENCAP: {}", error.desc());
        }
    }
}

impl Kernel for Netlink {
    fn features(&self) -> Features {
        let mut features = Features::ESP_V3_TFC | Features::POLICY_SPI | Features::ACQUIRE_SEQ | Features::IPCOMP;
        features.set(Features::SA_USE_TIME, self.shared.version.has_sa_use_time());
        features
    }

    fn allocate_spi(&self, protocol: Protocol, src: IpAddr, dst: IpAddr) -> Result<Spi, KernelError> {
        match self.shared.allocate(protocol, (src, dst), self.settings.spis) {
            Ok(Some(spi)) => Ok(spi),
            Ok(None) => {
                log!(KNL, 1, "unable to get SPI");
                Err(KernelError::Failed("no SPI in the answer".to_owned()))
            }
            Err(error) => {
                log!(KNL, 1, "unable to get SPI: {error}");
                Err(error.for_ike())
            }
        }
    }

    fn allocate_cpi(&self, src: IpAddr, dst: IpAddr) -> Result<u16, KernelError> {
        const CPIS: (u32, u32) = (0x100, 0xefff);
        if !*self.compresses.get_or_init(|| probe::ipcomp(&self.shared)) {
            return Err(KernelError::NotSupported);
        }
        let allocated = self.shared.allocate(Protocol::IpComp, (src, dst), CPIS).map_err(|error| {
            log!(KNL, 1, "unable to get CPI: {error}");
            error.for_ike()
        })?;
        let cpi = allocated.and_then(|spi| u16::try_from(spi.get()).ok());
        cpi.ok_or_else(|| KernelError::Failed("no CPI in the answer".to_owned()))
    }

    fn release_cpi(&self, cpi: u16, src: IpAddr, dst: IpAddr) {
        let spi = Spi::new(cpi.into());
        let id = spi.map(|spi| SaId { spi, protocol: Protocol::IpComp, src, dst, mark: Mark::NONE, if_id: IfId::NONE });
        // It may have expired.
        let _gone = id.map(|id| self.shared.delete_one(&id));
    }

    fn add_sa(&self, sa: &SaParams<'_>) -> Result<(), KernelError> {
        let result = match sa.hw_offload {
            HwOffload::No => self.add(sa, None),
            HwOffload::Crypto => self.add(sa, Some(Offload::Crypto)),
            HwOffload::Packet => self.add(sa, Some(Offload::Packet)),
            HwOffload::Auto => self
                .add(sa, Some(Offload::Packet))
                .or_else(|_| self.add(sa, Some(Offload::Crypto)))
                .or_else(|_| self.add(sa, None)),
        };
        result.map_err(|error| {
            log!(KNL, 1, "unable to add SAD entry with SPI {}: {error}", sa.id.spi);
            error.for_ike()
        })
    }

    fn update_sa(&self, update: &SaUpdate) -> Result<(), KernelError> {
        let fail = |error: AddError| {
            log!(KNL, 1, "unable to update SAD entry with SPI {}: {error}", update.id.spi);
            error.for_ike()
        };
        let compression = self.shared.sas.compression(&update.id);
        let moving = self.shared.sas.take(&update.id);
        // What is inside first: the SA leads to it.
        if let Some(id) = compression {
            self.move_one(&SaUpdate { id, encap: None, ..*update }).map_err(fail)?;
        }
        if let Err(error) = self.move_one(update) {
            // The caller deletes it, and what is inside with it.
            moving.into_iter().for_each(|moving| self.shared.sas.put(update.id, moving));
            return Err(fail(error));
        }
        let new = SaId { src: update.src, dst: update.dst, ..update.id };
        if let Some(moving) = moving {
            self.shared.sas.put(new, moving);
        }
        Ok(())
    }

    fn query_sa(&self, id: &SaId) -> Result<SaUsage, KernelError> {
        let answer = self.shared.get(id).map_err(|error| {
            let error_for_ike = error.for_ike();
            if error_for_ike != KernelError::NotFound {
                log!(KNL, 1, "unable to query SAD entry with SPI {}: {error}", id.spi);
            }
            error_for_ike
        })?;
        let current = modified(&answer).ok_or(KernelError::NotFound)?;
        Ok(self.shared.sas.usage(id, current, monotonic()))
    }

    fn delete_sa(&self, id: &SaId) -> Result<(), KernelError> {
        self.shared.delete(id).map_err(|error| {
            let error_for_ike = error.for_ike();
            if error_for_ike != KernelError::NotFound {
                log!(KNL, 1, "unable to delete SAD entry with SPI {}: {error}", id.spi);
            }
            error_for_ike
        })
    }

    fn add_policies(&self, params: &PolicyParams<'_>) -> Result<(), KernelError> {
        let policies = self.expand(params)?;
        let apply: Apply<'_> = &|policy, change| self.shared.change(policy, change);
        for (index, policy) in policies.iter().enumerate() {
            if let Err(error) = self.shared.policies.add(policy, apply) {
                // Logged by now, or not there because the error is the reason.
                let _ = self.shared.remove_all(policies.get(..index).unwrap_or_default());
                return Err(error);
            }
        }
        Ok(())
    }

    fn delete_policies(&self, params: &PolicyParams<'_>) -> Result<(), KernelError> {
        self.shared.remove_all(&self.expand(params)?)
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
