//! What the control interface asks of the rest of the daemon.

use std::sync::Arc;
use std::time::Duration;

use ike::IkeSaSnapshot;
use ike::config::{ChildConfig, PeerConfig};
use ike::ids::{Reqid, UniqueId};
use ike::kernel::{SaId, SaUsage};
use strongswan::credentials::AuthOptions;
use strongswan::processing::ProcessorStats;
use strongswan::selectors::TrafficSelector;

use crate::bus::log::Record;

/// The daemon behind the commands. No method waits: what takes time calls back when it is done, from any thread.
pub trait Operations: Send + Sync + 'static {
    /// Establishes an IKE_SA, or a CHILD_SA on one.
    fn initiate(&self, what: Initiation, progress: Option<Progress>, done: Box<dyn FnOnce(InitiateOutcome) + Send>);

    /// Closes an IKE_SA; `done` is told whether it is gone.
    fn terminate_ike(
        &self,
        id: UniqueId,
        how: Termination,
        progress: Option<Progress>,
        done: Box<dyn FnOnce(bool) + Send>,
    );

    /// Closes a CHILD_SA; `done` is told whether it was closed properly. Its IKE_SA is given along.
    fn terminate_child(
        &self,
        ike: UniqueId,
        child: UniqueId,
        how: Termination,
        progress: Option<Progress>,
        done: Box<dyn FnOnce(bool) + Send>,
    );

    /// Rekeys an IKE_SA, or reauthenticates the peers.
    fn rekey_ike(&self, id: UniqueId, reauth: bool);

    /// Rekeys a CHILD_SA.
    fn rekey_child(&self, ike: UniqueId, child: UniqueId);

    /// Installs the trap policy of a child, or its shunt policy. Failures are logged.
    fn install(&self, connection: &Arc<PeerConfig>, child: &Arc<ChildConfig>);

    /// Removes the trap or shunt policy of a child; whether there was one.
    fn uninstall(&self, connection: &str, child: &str) -> bool;

    /// All IKE_SAs as they are now, oldest first.
    fn ike_sas(&self) -> Vec<Arc<IkeSaSnapshot>>;

    /// All IKE_SAs of a connection.
    fn ike_sas_of(&self, connection: &str) -> Vec<Arc<IkeSaSnapshot>> {
        let mut all = self.ike_sas();
        all.retain(|ike| ike.name() == connection);
        all
    }

    /// Traps, most recently installed first, then shunts in the order of their installation.
    fn policies(&self) -> Vec<InstalledPolicy>;

    /// Counters of an SA.
    fn usage(&self, id: &SaId) -> Option<SaUsage>;

    /// Figures of the daemon.
    fn stats(&self) -> DaemonStats;

    /// What the settings make of constraints in `auth`.
    fn auth_options(&self) -> AuthOptions;

    /// Reads strongswan.conf again.
    ///
    /// # Errors
    /// The name of the file that could not be read.
    fn reload_settings(&self) -> Result<(), String>;
}

/// What to initiate.
#[derive(Debug, Clone)]
pub struct Initiation {
    /// The connection.
    pub connection: Arc<PeerConfig>,
    /// One of its children, unless the IKE_SA alone is wanted.
    pub child: Option<Arc<ChildConfig>>,
    /// Refuse if too much is going on already.
    pub limits: bool,
    /// What counts as done.
    pub wait: Wait,
}

/// How long an operation is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Until it succeeds or fails.
    Forever,
    /// As long, at most; it continues in the background.
    Up(Duration),
    /// Only until it is handed over.
    No,
}

impl Wait {
    /// From the `timeout` of a request in milliseconds.
    pub fn from_millis(timeout: i64) -> Self {
        match u64::try_from(timeout) {
            Err(_) => Self::No,
            Ok(0) => Self::Forever,
            Ok(millis) => Self::Up(Duration::from_millis(millis)),
        }
    }
}

/// How to close an SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Termination {
    /// Destroy an IKE_SA without waiting for the peer, or after waiting in vain.
    pub force: bool,
    /// What counts as done.
    pub wait: Wait,
}

/// Where the log lines of the affected IKE_SA go during an operation.
#[derive(Clone)]
pub struct Progress {
    /// The highest level wanted.
    pub level: i8,
    /// Takes them; must neither block nor write log lines.
    pub receiver: Arc<dyn Fn(&Record<'_>) + Send + Sync>,
}

/// How an initiation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitiateOutcome {
    /// The SA is up, or, if that is not waited for, the first message is on its way.
    Established,
    /// Not within the time given; it continues.
    TimedOut,
    /// Refused because of limits.
    Limited,
    /// Anything else; the log says what.
    Failed,
}

/// Kinds of [`InstalledPolicy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyKind {
    /// Matching traffic initiates a CHILD_SA.
    Trap,
    /// Matching traffic passes.
    Pass,
    /// Matching traffic is discarded.
    Drop,
}

/// A trap or shunt policy.
#[derive(Debug, Clone)]
pub struct InstalledPolicy {
    /// What it does.
    pub kind: PolicyKind,
    /// Name of the connection.
    pub connection: Arc<str>,
    /// The child it comes from.
    pub child: Arc<ChildConfig>,
    /// Reqid of a trap.
    pub reqid: Option<Reqid>,
    /// Local selectors, as installed.
    pub local_ts: Vec<TrafficSelector>,
    /// Remote selectors, as installed.
    pub remote_ts: Vec<TrafficSelector>,
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
