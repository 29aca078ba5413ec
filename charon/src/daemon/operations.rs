//! The daemon as the control interface sees it.

use std::sync::Arc;
use std::time::Duration;

use ike::IkeSaSnapshot;
use ike::config::{ChildConfig, PeerConfig};
use ike::ids::UniqueId;
use ike::kernel::{SaId, SaUsage};
use ike::wire::Gateway;
use strongswan::clock::MonoTime;
use strongswan::credentials::AuthOptions;
use strongswan::log;
use strongswan::processing::monotonic;

use super::Base;
use super::start_gate::StartGate;
use crate::bus::counters::Counters;
use crate::control::{DaemonStats, Operations};
use crate::controller::{Controller, Fits, Watch};
use crate::manager::Snapshot;
use crate::traps::{Installed, TrapError};

/// Carries out what clients of the control interface ask for.
pub(super) struct DaemonOperations {
    pub(super) base: Arc<Base>,
    pub(super) start_gate: Arc<StartGate>,
    pub(super) controller: Arc<Controller>,
    pub(super) started: MonoTime,
    pub(super) since: String,
    pub(super) plugins: Vec<String>,
    pub(super) counters: Arc<Counters>,
}

impl Operations for DaemonOperations {
    fn initiate(&self, connection: Arc<PeerConfig>, child: Option<Arc<ChildConfig>>, limits: bool, watch: Watch) {
        self.controller.initiate(connection, child, limits, watch);
    }

    fn start(&self, connection: Arc<PeerConfig>, child: Option<Arc<ChildConfig>>, limits: bool, watch: Watch) {
        self.controller.start(connection, child, limits, watch);
    }

    fn start_action(&self, connection: Arc<PeerConfig>, child: Arc<ChildConfig>) {
        let controller = Arc::clone(&self.controller);
        self.start_gate.pass(Box::new(move || controller.start(connection, Some(child), false, Watch::nobody())));
    }

    fn terminate_ike(&self, id: UniqueId, force: bool, watch: Option<Watch>) -> bool {
        self.controller.terminate_ike(id, force, watch)
    }

    fn terminate_child(&self, child: UniqueId, watch: Option<Watch>) -> bool {
        self.controller.terminate_child(child, watch)
    }

    fn withdraw(&self, connection: &str, children: Vec<Arc<str>>, close_ike: bool) {
        self.controller.withdraw(connection, &children, close_ike);
    }

    fn rekey_ike(&self, id: UniqueId, reauth: bool) {
        self.controller.rekey_ike(id, reauth);
    }

    fn redirect(&self, ids: Vec<UniqueId>, fits: Fits, gateway: Gateway, done: Box<dyn FnOnce(usize) + Send>) {
        self.controller.redirect(ids, fits, gateway, done);
    }

    fn rekey_child(&self, child: UniqueId) {
        self.controller.rekey_child(child);
    }

    fn install(&self, connection: &Arc<PeerConfig>, child: &Arc<ChildConfig>) -> bool {
        let Err(error) = self.controller.traps().install(connection, child) else { return true };
        log!(CFG, 1, "{error}");
        // a shunt that is there is what was asked for
        matches!(error, TrapError::Exists(..))
    }

    fn uninstall(&self, connection: Option<&str>, child: &str) -> bool {
        self.controller.traps().uninstall(connection, child)
    }

    fn ike_sas(&self) -> Vec<UniqueId> {
        self.controller.manager().ike_sas()
    }

    fn ike_sas_named(&self, connection: &str) -> Vec<UniqueId> {
        self.controller.manager().ike_sas_named(connection)
    }

    fn exists(&self, id: UniqueId) -> bool {
        self.controller.manager().exists(id)
    }

    fn child_sas_named(&self, child: &str) -> Vec<UniqueId> {
        self.controller.manager().child_sas_named(child)
    }

    fn ike_sa_of_child(&self, child: UniqueId) -> Option<UniqueId> {
        self.controller.manager().ike_sa_of_child(child)
    }

    fn snapshot(&self, id: UniqueId, wait: Duration) -> Option<Box<IkeSaSnapshot>> {
        match self.controller.manager().snapshot(id, wait) {
            Snapshot::Taken(snapshot) => Some(snapshot),
            Snapshot::Busy | Snapshot::Gone => None,
        }
    }

    fn policies(&self) -> Vec<Arc<Installed>> {
        let traps = self.controller.traps();
        traps.traps().into_iter().chain(traps.shunts()).collect()
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

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn auth_options(&self) -> AuthOptions {
        self.base.auth_options()
    }

    fn reload_settings(&self) -> Result<(), String> {
        self.base.reload()
    }
}
