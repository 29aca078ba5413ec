//! The IKE_SA manager: who works on which IKE_SA, and everything an IKE_SA needs around it.
//!
//! All work reaches an IKE_SA through [`Manager::post`]. If the IKE_SA rests the caller does the work itself, and whatever arrives
//! meanwhile; if it is busy the work waits in its mailbox and the caller is free. After each piece of work the outputs of the
//! state machine are carried out in order, the IKE_SA's one timer is set, and the indexes follow.
//!
//! Listings look at IKE_SAs that rest in place; one that is busy is asked to show itself when it is checked in
//! ([`Manager::snapshot`]).

mod aaa;
mod create;
mod half_open;
mod index;
mod initial;
mod inquire;
mod numbers;
mod outputs;
mod query;
mod reqids;
mod resident;
mod resolve;
mod strangers;
mod table;
mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use ike::attributes::{AttributeHandlers, Pools};
use ike::kernel::Kernel;
use ike::{ConfigSource, IkeSettings};
use strongswan::credentials::Store;
use strongswan::processing::Processor;

use crate::bus::Bus;
use crate::fetch::Fetcher;
use crate::net::Sender;
use index::Indexes;
use initial::InitialRequests;
use resident::{Resident, Work};
use table::Table;

pub use aaa::{Aaa, Answered, Asker, NoAaa};
pub use create::{InitiateError, Initiated};
pub use half_open::{HalfOpen, HalfOpenEntry};
pub use numbers::{NumberSettings, Numbers};
pub use query::Snapshot;
pub use resolve::Resolver;

/// Shards of the table: enough that a few dozen workers seldom meet.
const SHARDS: usize = 64;

/// Settings of the manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManagerSettings {
    /// `ikesa_limit`: new IKE_SAs are refused beyond this many; 0 is no limit.
    pub limit: usize,
    /// `reuse_ikesa`: initiate CHILD_SAs on existing IKE_SAs.
    pub reuse: bool,
    /// `init_limit_half_open`
    pub init_limit_half_open: usize,
    /// `init_limit_job_load`
    pub init_limit_job_load: usize,
}

impl Default for ManagerSettings {
    fn default() -> Self {
        Self { limit: 0, reuse: true, init_limit_half_open: 0, init_limit_job_load: 0 }
    }
}

/// Installs a trap policy for a CHILD_SA of a connection.
pub type TrapInstaller = Box<dyn Fn(Arc<ike::config::PeerConfig>, Arc<ike::config::ChildConfig>) + Send + Sync>;

/// What the manager works with.
pub struct Surroundings {
    /// `charon.*` as far as it concerns an IKE_SA; replaced on reload.
    pub ike_settings: Arc<ArcSwap<IkeSettings>>,
    /// Loaded connections.
    pub config: Arc<dyn ConfigSource>,
    /// Loaded certificates, keys and secrets.
    pub credentials: Arc<Store>,
    /// The data plane.
    pub kernel: Arc<dyn Kernel>,
    /// Addresses and attributes for clients.
    pub pools: Arc<dyn Pools>,
    /// Uses for attributes that peers assign.
    pub handlers: Arc<dyn AttributeHandlers>,
    /// AAA servers.
    pub aaa: Arc<dyn Aaa>,
    /// Observers.
    pub bus: Arc<Bus>,
    /// The sockets.
    pub sender: Sender,
    /// The workers.
    pub processor: Arc<Processor>,
    /// Numbers of the process.
    pub numbers: Arc<Numbers>,
    /// Half-open IKE_SAs.
    pub half_open: Arc<HalfOpen>,
    /// Asks others about certificates.
    pub fetcher: Arc<Fetcher>,
    /// Looks peers' names up.
    pub resolver: Arc<Resolver>,
}

/// The IKE_SA manager.
pub struct Manager {
    settings: ManagerSettings,
    around: Surroundings,
    table: Table<Resident, Work>,
    indexes: Arc<Indexes>,
    initial: Arc<InitialRequests>,
    strangers: strangers::Strangers,
    traps: std::sync::OnceLock<TrapInstaller>,
    count: AtomicUsize,
    closing: AtomicBool,
}

impl Manager {
    /// A manager without IKE_SAs.
    pub fn new(settings: ManagerSettings, around: Surroundings) -> Arc<Self> {
        Arc::new(Self {
            settings,
            around,
            table: Table::new(SHARDS),
            indexes: Arc::default(),
            initial: Arc::default(),
            strangers: strangers::Strangers::default(),
            traps: std::sync::OnceLock::new(),
            count: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
        })
    }

    /// Says who installs traps when a CHILD_SA asks for one. Only the first call counts.
    pub fn set_trap_installer(&self, traps: TrapInstaller) {
        let _already = self.traps.set(traps);
    }

    /// Number of IKE_SAs.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there is no IKE_SA.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts of half-open IKE_SAs.
    pub fn half_open(&self) -> &Arc<HalfOpen> {
        &self.around.half_open
    }

    /// The data plane.
    pub fn kernel(&self) -> &Arc<dyn Kernel> {
        &self.around.kernel
    }

    /// The loaded connection of that name.
    pub fn loaded(&self, name: &str) -> Option<Arc<ike::config::PeerConfig>> {
        self.around.config.loaded(name)
    }

    /// The workers.
    pub fn processor(&self) -> &Arc<Processor> {
        &self.around.processor
    }

    /// Numbers of the process.
    pub fn numbers(&self) -> &Arc<Numbers> {
        &self.around.numbers
    }
}

#[cfg(test)]
mod tests;
