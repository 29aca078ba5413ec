//! Operations on IKE_SAs and CHILD_SAs from outside: initiate, terminate, rekey. What vici commands and start actions call.
//!
//! Every call returns at once. Who wants to know how it ends passes a [`Watch`]: it receives the log lines of the IKE_SA
//! meanwhile, and the outcome once it is known. No thread waits for it: the controller listens to the events of the
//! IKE_SA concerned.

mod operation;
mod redirect;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ike::config::{ChildConfig, PeerConfig};
use ike::explain::Explanation;
use ike::ids::UniqueId;
use ike::{ChildSaState, Event, IkeSa, IkeSaState, InitiateChild, Input};
use parking_lot::Mutex;
use strongswan::log;
use strongswan::processing::{Priority, job};

use crate::bus::log::{ControlLog, Record};
use crate::bus::{Bus, Listener};
use crate::manager::{InitiateError, Initiated, Manager};
use crate::traps::Traps;
use operation::{Goal, Operation};
pub use redirect::Fits;

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// As wanted.
    Success,
    /// It failed, if possible with the reason.
    Failed(Option<Arc<Explanation>>),
    /// It takes longer than the caller waits; it goes on.
    Timeout,
    /// The limits for new IKE_SAs are reached.
    Limits,
}

/// Receives log lines.
pub type LogReceiver = Arc<dyn Fn(&Record<'_>) + Send + Sync>;

/// Somebody who wants to know about an operation.
pub struct Watch {
    /// How long, or for ever. A forced termination is enforced then.
    pub timeout: Option<Duration>,
    /// Receives the log lines of the IKE_SA up to `log_level`. Must not block.
    pub log: Option<LogReceiver>,
    /// Level of the lines wanted, −1 for none.
    pub log_level: i8,
    /// Called once, on any thread, with the outcome. Must not block.
    pub done: Box<dyn FnOnce(Completion) + Send>,
}

impl Watch {
    /// Nobody waits.
    pub fn nobody() -> Self {
        Self { timeout: None, log: None, log_level: -1, done: Box::new(|_| ()) }
    }
}

/// Starts operations and follows them.
pub struct Controller {
    manager: Arc<Manager>,
    traps: Arc<Traps>,
    control_log: Arc<ControlLog>,
    /// Operations by the IKE_SA they are on.
    operations: Mutex<HashMap<UniqueId, Vec<Arc<Operation>>>>,
    /// Their number, so that events without audience cost no lock.
    count: AtomicUsize,
}

impl Controller {
    /// A controller that listens on `bus`.
    pub fn new(manager: Arc<Manager>, traps: Arc<Traps>, control_log: Arc<ControlLog>, bus: &Bus) -> Arc<Self> {
        let controller =
            Arc::new(Self { manager, traps, control_log, operations: Mutex::default(), count: AtomicUsize::new(0) });
        bus.add(Arc::<Self>::clone(&controller));
        controller
    }

    /// The IKE_SA manager.
    pub fn manager(&self) -> &Arc<Manager> {
        &self.manager
    }

    /// Trap and shunt policies.
    pub fn traps(&self) -> &Arc<Traps> {
        &self.traps
    }

    /// Establishes a CHILD_SA, or an IKE_SA alone. With `limits` the limits for new IKE_SAs apply.
    pub fn initiate(
        self: &Arc<Self>,
        config: Arc<PeerConfig>,
        child: Option<Arc<ChildConfig>>,
        limits: bool,
        watch: Watch,
    ) {
        let goal = if child.is_some() { Goal::ChildInstalled } else { Goal::IkeEstablished };
        self.begin(config, child, limits, Operation::new(goal, watch));
    }

    /// As [`initiate`](Self::initiate), but is complete as soon as an IKE_SA has taken it over.
    pub fn start(
        self: &Arc<Self>,
        config: Arc<PeerConfig>,
        child: Option<Arc<ChildConfig>>,
        limits: bool,
        watch: Watch,
    ) {
        self.begin(config, child, limits, Operation::new(Goal::Started, watch));
    }

    fn begin(
        self: &Arc<Self>,
        config: Arc<PeerConfig>,
        child: Option<Arc<ChildConfig>>,
        limits: bool,
        operation: Arc<Operation>,
    ) {
        let child = child.map(InitiateChild::new);
        let on_start = Some(self.on_start(Arc::clone(&operation)));
        let controller = Arc::clone(self);
        // On a worker: the caller may be the one thread that serves all clients.
        self.manager.processor().queue(job(Priority::Medium, move || {
            // A start action that waited for a worker while its connection was unloaded has nothing to start any more.
            let loaded = Loaded { config: Arc::clone(&config), child: child.as_ref().map(|c| Arc::clone(&c.config)) };
            let bound = operation.goal == Goal::Started;
            if bound && !loaded.is_current(&controller.manager) {
                operation.complete(Completion::Failed(None));
                return;
            }
            let request = Initiated { config, child, limits, fresh: false, hosts: None, on_start };
            if let Err(error) = controller.manager.initiate(request) {
                log!(IKE, 1, "initiation failed: {error}");
                operation.complete(match error {
                    InitiateError::Limits => Completion::Limits,
                    InitiateError::ShuttingDown => Completion::Failed(None),
                });
            } else if bound && !loaded.exists(&controller.manager) {
                // Unloaded while it was initiated: whoever unloaded it may not have seen the IKE_SA.
                let children = loaded.child.map(|child| Arc::clone(&child.name));
                controller.withdraw(&loaded.config.name, children.as_slice(), true);
            }
        }));
    }

    /// Closes an IKE_SA. With `force` the peer's answer is not waited for, or, if there is a timeout, not longer than that.
    /// `false` if it does not exist.
    pub fn terminate_ike(self: &Arc<Self>, id: UniqueId, force: bool, watch: Option<Watch>) -> bool {
        let patient = watch.as_ref().is_some_and(|watch| watch.timeout.is_some());
        let goal = if force && patient { Goal::IkeGoneForced } else { Goal::IkeGone };
        let input = Input::TerminateIke { force: force && !patient };
        let found = self.operate(id, input, goal, watch);
        if !found {
            log!(DMN, 1, "unable to terminate IKE_SA: ID {id} not found");
        }
        found
    }

    /// Closes a CHILD_SA. `false` if it does not exist.
    pub fn terminate_child(self: &Arc<Self>, child: UniqueId, watch: Option<Watch>) -> bool {
        let Some(id) = self.manager.ike_sa_of_child(child) else {
            log!(DMN, 1, "unable to terminate, CHILD_SA with ID {child} not found");
            if let Some(watch) = watch {
                (watch.done)(Completion::Failed(None));
            }
            return false;
        };
        self.operate(id, Input::TerminateChild { child }, Goal::ChildGone(child), watch)
    }

    /// Closes the CHILD_SAs of these names that a connection has, stops creating them, and with `close_ike` closes its
    /// IKE_SAs that nobody else needs.
    pub fn withdraw(&self, connection: &str, children: &[Arc<str>], close_ike: bool) {
        for id in self.manager.ike_sas_named(connection) {
            self.later(id, Input::Withdraw { children: children.to_vec(), close_ike });
        }
    }

    /// Rekeys an IKE_SA, or reauthenticates its peers. `false` if it does not exist.
    pub fn rekey_ike(&self, id: UniqueId, reauth: bool) -> bool {
        self.later(id, if reauth { Input::ReauthIke } else { Input::RekeyIke })
    }

    /// Rekeys a CHILD_SA. `false` if it does not exist.
    pub fn rekey_child(&self, child: UniqueId) -> bool {
        let ike_sa = self.manager.ike_sa_of_child(child);
        ike_sa.is_some_and(|id| self.later(id, Input::RekeyChild { child }))
    }

    fn later(&self, id: UniqueId, input: Input) -> bool {
        if !self.manager.exists(id) {
            return false;
        }
        let manager = Arc::clone(&self.manager);
        self.manager.processor().queue(job(Priority::Medium, move || {
            manager.input(id, input);
        }));
        true
    }

    /// Brings an input to an IKE_SA and follows what comes of it. `false` if there is no such IKE_SA.
    fn operate(self: &Arc<Self>, id: UniqueId, input: Input, goal: Goal, watch: Option<Watch>) -> bool {
        let operation = watch.map(|watch| Operation::new(goal, watch));
        if !self.manager.exists(id) {
            if let Some(operation) = operation {
                operation.complete(Completion::Failed(None));
            }
            return false;
        }
        let controller = Arc::clone(self);
        self.manager.processor().queue(job(Priority::Medium, move || match operation {
            None => {
                controller.manager.input(id, input);
            }
            Some(operation) => {
                let first = controller.on_start(Arc::clone(&operation));
                if !controller.manager.input_watched(id, input, first) {
                    operation.complete(Completion::Failed(None));
                }
            }
        }));
        true
    }

    /// Starts to follow an operation on the IKE_SA it is called with.
    fn on_start(self: &Arc<Self>, operation: Arc<Operation>) -> Box<dyn FnOnce(&IkeSa) + Send> {
        let controller = Arc::clone(self);
        Box::new(move |sa| {
            let already = operation.goal == Goal::IkeEstablished && sa.state().is_authenticated();
            if already || operation.goal == Goal::Started {
                operation.complete(Completion::Success);
                return;
            }
            controller.follow(sa.unique_id(), operation);
        })
    }

    fn follow(self: &Arc<Self>, id: UniqueId, operation: Arc<Operation>) {
        operation.listen(&self.control_log, id.get());
        if let Some(timeout) = operation.timeout {
            let (controller, operation) = (Arc::clone(self), Arc::downgrade(&operation));
            self.manager.processor().schedule_after(
                timeout,
                job(Priority::Medium, move || {
                    if let Some(operation) = operation.upgrade() {
                        controller.timed_out(&operation);
                    }
                }),
            );
        }
        operation.moved_to(id);
        self.operations.lock().entry(id).or_default().push(operation);
        self.count.fetch_add(1, Ordering::Release);
    }

    fn timed_out(self: &Arc<Self>, operation: &Arc<Operation>) {
        let Some(id) = operation.ike_sa() else { return };
        if operation.goal == Goal::IkeGoneForced && !operation.is_complete() {
            self.manager.input(id, Input::TerminateIke { force: true });
            return;
        }
        operation.complete(Completion::Timeout);
        self.sweep(id);
    }

    /// Forgets the operations on an IKE_SA that are complete.
    fn sweep(&self, id: UniqueId) {
        let mut operations = self.operations.lock();
        let Some(list) = operations.get_mut(&id) else { return };
        let before = list.len();
        list.retain(|operation| !operation.is_complete());
        let removed = before.saturating_sub(list.len());
        if list.is_empty() {
            operations.remove(&id);
        }
        self.count.fetch_sub(removed, Ordering::Release);
    }

    /// Shows an event to the operations on an IKE_SA; `judge` says how it ends one, if it does.
    fn judge(&self, id: UniqueId, judge: impl Fn(Goal) -> Option<Completion>) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let ended: Vec<_> = {
            let operations = self.operations.lock();
            let Some(list) = operations.get(&id) else { return };
            list.iter().filter_map(|operation| Some((Arc::clone(operation), judge(operation.goal)?))).collect()
        };
        // Not under the lock: an outcome may start another operation.
        let any = !ended.is_empty();
        for (operation, completion) in ended {
            operation.complete(completion);
        }
        if any {
            self.sweep(id);
        }
    }

    /// Keeps the reason for a failure that is about to be reported.
    fn explain(&self, id: UniqueId, explanation: &Arc<Explanation>) {
        if self.count.load(Ordering::Acquire) == 0 || explanation.is_of_peer() {
            return;
        }
        if let Some(operations) = self.operations.lock().get(&id) {
            operations.iter().for_each(|operation| operation.explain(explanation));
        }
    }

    /// Operations that establish something go on on the successor of an IKE_SA.
    fn succeed(&self, old: UniqueId, new: UniqueId) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut operations = self.operations.lock();
        let Some(list) = operations.remove(&old) else { return };
        let (moving, staying): (Vec<_>, _) = list.into_iter().partition(|operation| operation.goal.moves());
        if !staying.is_empty() {
            operations.insert(old, staying);
        }
        for operation in moving {
            operation.moved_to(new);
            operation.listen(&self.control_log, new.get());
            operations.entry(new).or_default().push(operation);
        }
    }
}

/// What a start action starts, to be compared with what is loaded.
struct Loaded {
    config: Arc<PeerConfig>,
    child: Option<Arc<ChildConfig>>,
}

impl Loaded {
    /// Whether it is loaded just so.
    fn is_current(&self, manager: &Manager) -> bool {
        manager.loaded(&self.config.name).is_some_and(|now| {
            let child = self.child.as_ref().is_none_or(|child| now.child(&child.name) == Some(child));
            child && now.equals_with_ike(&self.config)
        })
    }

    /// Whether anything of its name is loaded.
    fn exists(&self, manager: &Manager) -> bool {
        let child = |now: &PeerConfig| self.child.as_ref().is_none_or(|child| now.child(&child.name).is_some());
        manager.loaded(&self.config.name).is_some_and(|now| child(&now))
    }
}

impl Listener for Controller {
    fn event(&self, ike_sa: &IkeSa, event: &Event) {
        use Completion::Success;
        let failed = || Completion::Failed(None);
        let ike_sa = ike_sa.unique_id();
        match event {
            Event::IkeStateChange { new, .. } => match new {
                IkeSaState::Established => {
                    self.judge(ike_sa, |goal| (goal == Goal::IkeEstablished).then_some(Success));
                }
                IkeSaState::Destroying => {
                    self.judge(ike_sa, |goal| goal.establishes().then(failed));
                }
                IkeSaState::Created
                | IkeSaState::Connecting
                | IkeSaState::Passive
                | IkeSaState::Rekeying
                | IkeSaState::Rekeyed
                | IkeSaState::Deleting => {}
            },
            Event::ChildStateChange { child, old, new } => match (old, new) {
                (_, ChildSaState::Installed) => {
                    self.judge(ike_sa, |goal| (goal == Goal::ChildInstalled).then_some(Success));
                }
                (old, ChildSaState::Destroying) => self.judge(ike_sa, |goal| match goal {
                    Goal::ChildGone(wanted) if wanted == *child => {
                        let properly = matches!(old, ChildSaState::Deleting | ChildSaState::Deleted);
                        Some(if properly { Success } else { failed() })
                    }
                    _ => None,
                }),
                _ => {}
            },
            Event::ChildFailed { .. } => {
                self.judge(ike_sa, |goal| (goal == Goal::ChildInstalled).then(failed));
            }
            Event::Explained(explanation) => self.explain(ike_sa, explanation),
            Event::IkeRekey { old, new } => self.succeed(old.unique_id, new.unique_id),
            Event::IkeRedirect { successor } => self.succeed(ike_sa, *successor),
            Event::IkeUpDown { .. }
            | Event::IkeUpdate { .. }
            | Event::Message { .. }
            | Event::ChildUpDown { .. }
            | Event::ChildRekey { .. }
            | Event::ChildUsed { .. }
            | Event::Alert(_) => {}
        }
    }

    fn destroyed(&self, ike_sa: UniqueId) {
        self.judge(ike_sa, |goal| {
            Some(if matches!(goal, Goal::IkeGone | Goal::IkeGoneForced) {
                Completion::Success
            } else {
                Completion::Failed(None)
            })
        });
    }
}
