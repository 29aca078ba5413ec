//! What the control interface asks of the rest of the daemon.

use std::sync::Arc;
use std::time::Duration;

use ike::IkeSaSnapshot;
use ike::config::{ChildConfig, PeerConfig};
use ike::ids::UniqueId;
use ike::kernel::{SaId, SaUsage};
use ike::wire::Gateway;
use strongswan::credentials::AuthOptions;
use strongswan::processing::ProcessorStats;

use crate::bus::counters::Counters;
use crate::controller::{Fits, Watch};
use crate::traps::Installed;

/// The daemon behind the commands. Only [`snapshot`](Self::snapshot) waits, for as long as it is told; what takes time
/// otherwise calls back when it is done, from any thread.
pub trait Operations: Send + Sync + 'static {
    /// Establishes a CHILD_SA, or an IKE_SA alone. With `limits` the limits for new IKE_SAs apply.
    fn initiate(&self, connection: Arc<PeerConfig>, child: Option<Arc<ChildConfig>>, limits: bool, watch: Watch);

    /// As above, but done as soon as the first message is on its way.
    fn start(&self, connection: Arc<PeerConfig>, child: Option<Arc<ChildConfig>>, limits: bool, watch: Watch);

    /// As above, because the configuration says so: nobody waits for it, and a daemon that is still starting takes its time.
    fn start_action(&self, connection: Arc<PeerConfig>, child: Arc<ChildConfig>) {
        self.start(connection, Some(child), false, Watch::nobody());
    }

    /// Closes an IKE_SA. With `force` the peer is not waited for, or, if there is a timeout, not longer than that. `false` if
    /// it does not exist.
    fn terminate_ike(&self, id: UniqueId, force: bool, watch: Option<Watch>) -> bool;

    /// Closes a CHILD_SA. `false` if it does not exist.
    fn terminate_child(&self, child: UniqueId, watch: Option<Watch>) -> bool;

    /// Closes the CHILD_SAs of these names that a connection has, stops creating them, and with `close_ike` closes its
    /// IKE_SAs that nobody else needs.
    fn withdraw(&self, connection: &str, children: Vec<Arc<str>>, close_ike: bool);

    /// Rekeys an IKE_SA, or reauthenticates its peers.
    fn rekey_ike(&self, id: UniqueId, reauth: bool);

    /// Sends the clients of those IKE_SAs to another gateway that `fits` agrees to, and tells how many these are once all
    /// were looked at.
    fn redirect(&self, ids: Vec<UniqueId>, fits: Fits, gateway: Gateway, done: Box<dyn FnOnce(usize) + Send>);

    /// Rekeys a CHILD_SA.
    fn rekey_child(&self, child: UniqueId);

    /// Installs the trap or shunt policy of a child, or has names looked up for it first. `false` if that failed, which is
    /// logged.
    fn install(&self, connection: &Arc<PeerConfig>, child: &Arc<ChildConfig>) -> bool;

    /// Removes the trap or shunt policy of a child, of any connection if none is named. `false` if there is none.
    fn uninstall(&self, connection: Option<&str>, child: &str) -> bool;

    /// All IKE_SAs, the oldest first.
    fn ike_sas(&self) -> Vec<UniqueId>;

    /// The IKE_SAs of a connection, the oldest first.
    fn ike_sas_named(&self, connection: &str) -> Vec<UniqueId>;

    /// Whether there is such an IKE_SA.
    fn exists(&self, id: UniqueId) -> bool;

    /// The CHILD_SAs of a name, the oldest first.
    fn child_sas_named(&self, child: &str) -> Vec<UniqueId>;

    /// The IKE_SA a CHILD_SA belongs to.
    fn ike_sa_of_child(&self, child: UniqueId) -> Option<UniqueId>;

    /// An IKE_SA as it is now. One that is being worked on is waited for up to `wait`.
    fn snapshot(&self, id: UniqueId, wait: Duration) -> Option<Box<IkeSaSnapshot>>;

    /// Traps, most recently installed first, then shunts in the order of their installation.
    fn policies(&self) -> Vec<Arc<Installed>>;

    /// Counters of an SA.
    fn usage(&self, id: &SaId) -> Option<SaUsage>;

    /// Figures of the daemon.
    fn stats(&self) -> DaemonStats;

    /// What has been counted.
    fn counters(&self) -> &Counters;

    /// What the settings make of constraints in `auth`.
    fn auth_options(&self) -> AuthOptions;

    /// Reads strongswan.conf again.
    ///
    /// # Errors
    /// The name of the file that could not be read.
    fn reload_settings(&self) -> Result<(), String>;
}

/// How long a request wants an operation to be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Until it succeeds or fails.
    Forever,
    /// As long, at most; it continues in the background.
    Up(Duration),
    /// Only until it is handed over.
    No,
}

impl Wait {
    /// From the `timeout` of a request in milliseconds.
    pub(super) fn from_millis(timeout: i64) -> Self {
        match u64::try_from(timeout) {
            Err(_) => Self::No,
            Ok(0) => Self::Forever,
            Ok(millis) => Self::Up(Duration::from_millis(millis)),
        }
    }
}

/// Figures of the daemon.
#[derive(Debug, Clone)]
pub struct DaemonStats {
    /// How long it has been running.
    pub uptime: Duration,
    /// When it was started, as text in local time.
    pub since: String,
    /// Workers, queues and scheduled jobs.
    pub jobs: ProcessorStats,
    /// IKE_SAs.
    pub ike_sas: usize,
    /// Those of them that are half open.
    pub half_open: usize,
    /// What is built in and in use, the daemon itself first.
    pub plugins: Vec<String>,
}
