//! The daemon as the control interface sees it.

use std::sync::Arc;
use std::time::Duration;

use ike::config::{ChildConfig, PeerConfig};
use ike::ids::UniqueId;
use ike::kernel::{SaId, SaUsage};
use ike::{Event, IkeSa, IkeSaSnapshot};
use strongswan::clock::MonoTime;
use strongswan::credentials::AuthOptions;
use strongswan::log;
use strongswan::processing::monotonic;

use super::Base;
use crate::bus::{DaemonAlert, Listener};
use crate::control::{
    DaemonStats, Events, InitiateOutcome, Initiation, InstalledPolicy, Operations, PolicyKind, Progress, Termination,
    Wait,
};
use crate::controller::{Completion, Controller, Watch};
use crate::manager::Snapshot;
use crate::traps::{self, Installed};

/// How long a listing waits for an IKE_SA that is being worked on.
const PATIENCE: Duration = Duration::from_secs(1);

/// Carries out what clients of the control interface ask for.
pub(super) struct DaemonOperations {
    pub(super) base: Arc<Base>,
    pub(super) controller: Arc<Controller>,
    pub(super) started: MonoTime,
    pub(super) since: String,
    pub(super) plugins: Vec<String>,
}

/// A [`Watch`] that tells `done` how an operation ended.
fn watch(wait: Wait, progress: Option<Progress>, done: impl FnOnce(Completion) + Send + 'static) -> Watch {
    let timeout = match wait {
        Wait::Up(timeout) => Some(timeout),
        Wait::Forever | Wait::No => None,
    };
    let log_level = progress.as_ref().map_or(-1, |progress| progress.level);
    Watch { timeout, log: progress.map(|progress| progress.receiver), log_level, done: Box::new(done) }
}

impl DaemonOperations {
    fn snapshots(&self, ids: Vec<UniqueId>) -> Vec<Arc<IkeSaSnapshot>> {
        let manager = self.controller.manager();
        let taken = ids.into_iter().filter_map(|id| match manager.snapshot(id, PATIENCE) {
            Snapshot::Taken(snapshot) => Some(Arc::from(snapshot)),
            Snapshot::Busy | Snapshot::Gone => None,
        });
        taken.collect()
    }
}

impl Operations for DaemonOperations {
    fn initiate(&self, what: Initiation, progress: Option<Progress>, done: Box<dyn FnOnce(InitiateOutcome) + Send>) {
        let Initiation { connection, child, limits, wait } = what;
        let watch = watch(wait, progress, move |completion| {
            done(match completion {
                Completion::Success => InitiateOutcome::Established,
                Completion::Failed => InitiateOutcome::Failed,
                Completion::Timeout => InitiateOutcome::TimedOut,
                Completion::Limits => InitiateOutcome::Limited,
            });
        });
        if wait == Wait::No {
            self.controller.start(connection, child, limits, watch);
        } else {
            self.controller.initiate(connection, child, limits, watch);
        }
    }

    fn terminate_ike(
        &self,
        id: UniqueId,
        how: Termination,
        progress: Option<Progress>,
        done: Box<dyn FnOnce(bool) + Send>,
    ) {
        if how.wait == Wait::No {
            done(self.controller.terminate_ike(id, how.force, None));
            return;
        }
        let watch = watch(how.wait, progress, move |completion| done(completion == Completion::Success));
        self.controller.terminate_ike(id, how.force, Some(watch));
    }

    fn terminate_child(
        &self,
        _ike: UniqueId,
        child: UniqueId,
        how: Termination,
        progress: Option<Progress>,
        done: Box<dyn FnOnce(bool) + Send>,
    ) {
        if how.wait == Wait::No {
            done(self.controller.terminate_child(child, None));
            return;
        }
        let watch = watch(how.wait, progress, move |completion| done(completion == Completion::Success));
        self.controller.terminate_child(child, Some(watch));
    }

    fn rekey_ike(&self, id: UniqueId, reauth: bool) {
        self.controller.rekey_ike(id, reauth);
    }

    fn rekey_child(&self, _ike: UniqueId, child: UniqueId) {
        self.controller.rekey_child(child);
    }

    fn install(&self, connection: &Arc<PeerConfig>, child: &Arc<ChildConfig>) {
        if let Err(error) = self.controller.traps().install(connection, child) {
            log!(CFG, 1, "{error}");
        }
    }

    fn uninstall(&self, connection: &str, child: &str) -> bool {
        self.controller.traps().uninstall(Some(connection), child)
    }

    fn ike_sas(&self) -> Vec<Arc<IkeSaSnapshot>> {
        self.snapshots(self.controller.manager().ike_sas())
    }

    fn ike_sas_of(&self, connection: &str) -> Vec<Arc<IkeSaSnapshot>> {
        self.snapshots(self.controller.manager().ike_sas_named(connection))
    }

    fn policies(&self) -> Vec<InstalledPolicy> {
        let traps = self.controller.traps();
        traps.traps().iter().chain(&traps.shunts()).map(|policy| show(policy)).collect()
    }

    fn usage(&self, id: &SaId) -> Option<SaUsage> {
        self.controller.manager().kernel().query_sa(id).ok()
    }

    fn stats(&self) -> DaemonStats {
        let manager = self.controller.manager();
        DaemonStats {
            uptime: monotonic().saturating_since(self.started),
            since: self.since.clone(),
            jobs: manager.processor().stats(),
            ike_sas: manager.len(),
            half_open: manager.half_open().total(),
            plugins: self.plugins.clone(),
        }
    }

    fn auth_options(&self) -> AuthOptions {
        self.base.auth_options()
    }

    fn reload_settings(&self) -> Result<(), String> {
        self.base.reload()
    }
}

fn show(policy: &Installed) -> InstalledPolicy {
    let (kind, reqid) = match policy.kind {
        traps::PolicyKind::Trap(reqid) => (PolicyKind::Trap, Some(reqid)),
        traps::PolicyKind::Pass => (PolicyKind::Pass, None),
        traps::PolicyKind::Drop => (PolicyKind::Drop, None),
    };
    InstalledPolicy {
        kind,
        connection: Arc::clone(&policy.connection.name),
        child: Arc::clone(&policy.child),
        reqid,
        local_ts: policy.local_ts.clone(),
        remote_ts: policy.remote_ts.clone(),
    }
}

/// Raises vici events for what happens to IKE_SAs.
pub(super) struct ViciListener {
    pub(super) events: Events,
    pub(super) controller: Arc<Controller>,
}

impl Listener for ViciListener {
    fn event(&self, ike_sa: &IkeSa, event: &Event) {
        let kernel = self.controller.manager().kernel();
        let shown = matches!(event, Event::Alert(_)).then(|| ike_sa.snapshot());
        self.events.raise(event, shown.as_ref(), |id| kernel.query_sa(id).ok());
    }

    fn alert(&self, alert: &DaemonAlert) {
        match alert {
            DaemonAlert::ShutdownSignal => self.events.shutdown(),
            // Whoever wants to could fill the queues of all clients with these.
            DaemonAlert::InvalidIkeSpi | DaemonAlert::ParseErrorHeader => {}
        }
    }
}
