//! Trap and shunt policies.
//!
//! A *trap* covers the traffic of a CHILD_SA that does not exist yet; the first packet makes the data plane report an
//! acquire, which initiates it. A *shunt* lets traffic pass unprotected, or drops it.

mod place;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Weak};

use ike::config::{ChildConfig, IfIdConfig, MarkConfig, MarkValue, Mode, PeerConfig};
use ike::ids::{IfId, Mark, Reqid, UniqueId};
use ike::kernel::{Direction, Kernel, KernelError, PolicyAction, PolicyClass, PolicyParams};
use ike::{ChildSaState, Event, IkeSa, InitiateChild, ReqidKey, UniqueIds};
use parking_lot::Mutex;
use strongswan::crypto::Protocol;
use strongswan::log;
use strongswan::selectors::{self, TrafficSelector};

use crate::bus::Listener;
use crate::manager::{Initiated, Manager, Numbers};
use place::Place;

/// Why a policy was not installed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrapError {
    /// Nobody knows whom to ask for the CHILD_SA.
    #[error("installing trap failed, remote address unknown")]
    RemoteUnknown,
    /// As above, and the selectors depend on it.
    #[error("installing trap failed, remote address unknown with dynamic traffic selector")]
    RemoteUnknownDynamic,
    /// No reqid is left.
    #[error("no reqid left")]
    NoReqid,
    /// A shunt of that name is installed.
    #[error("shunt {0:?} policy '{1}' already installed")]
    Exists(Mode, Arc<str>),
    /// A trap of that name is being installed.
    #[error("CHILD_SA '{0}' is already being routed")]
    Busy(Arc<str>),
    /// The data plane refused.
    #[error("installing policy failed: {0}")]
    Kernel(#[from] KernelError),
}

/// What kind of policy is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyKind {
    /// A trap with its reqid.
    Trap(Reqid),
    /// A shunt that lets traffic pass.
    Pass,
    /// A shunt that drops traffic.
    Drop,
}

/// An installed trap or shunt.
#[derive(Debug, Clone)]
pub struct Installed {
    /// What it is.
    pub kind: PolicyKind,
    /// The connection.
    pub connection: Arc<PeerConfig>,
    /// The child.
    pub child: Arc<ChildConfig>,
    /// Selectors of our side.
    pub local_ts: Vec<TrafficSelector>,
    /// Selectors of the other side.
    pub remote_ts: Vec<TrafficSelector>,
    local: IpAddr,
    remote: IpAddr,
    marks: [Mark; 2],
    if_ids: [IfId; 2],
    /// The peer is whoever the packet goes to.
    wildcard: bool,
}

#[cfg(test)]
impl Installed {
    /// A policy as listings see it.
    pub(crate) fn for_test(
        kind: PolicyKind,
        connection: Arc<PeerConfig>,
        child: Arc<ChildConfig>,
        local_ts: Vec<TrafficSelector>,
    ) -> Self {
        let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let (marks, if_ids) = ([Mark::NONE; 2], [IfId::NONE; 2]);
        Self {
            kind,
            connection,
            child,
            local_ts,
            remote_ts: vec![],
            local: nowhere,
            remote: nowhere,
            marks,
            if_ids,
            wildcard: false,
        }
    }
}

/// Acquires that may be under way: a trap for anybody must not make us remember everybody.
const MAX_PENDING: usize = 4096;

#[derive(Default)]
struct State {
    traps: Vec<Arc<Installed>>,
    shunts: Vec<Arc<Installed>>,
    /// Acquires under way, and the IKE_SA that serves each once that is known.
    pending: HashMap<Pending, Option<UniqueId>>,
    /// Traps whose peer's name is being looked up, by connection and child, each with a number of its own.
    looking_up: HashMap<(Arc<str>, Arc<str>), u64>,
    lookups: u64,
    flushed: bool,
}

/// An acquire: the trap that was hit, and the peer if the trap is for many.
type Pending = (Reqid, Option<IpAddr>);

/// Installs, lists and serves traps and shunts.
pub struct Traps {
    kernel: Arc<dyn Kernel>,
    numbers: Arc<Numbers>,
    manager: Weak<Manager>,
    state: Mutex<State>,
}

impl Traps {
    /// Nothing is installed. Acquires are initiated through `manager`.
    pub fn new(manager: &Arc<Manager>) -> Arc<Self> {
        Arc::new(Self {
            kernel: Arc::clone(manager.kernel()),
            numbers: Arc::clone(manager.numbers()),
            manager: Arc::downgrade(manager),
            state: Mutex::default(),
        })
    }

    /// Installs the trap, or for mode pass and drop the shunt, of a child. A trap of that name is replaced. Where the
    /// addresses of the peer or of ours are names, the trap is installed once these are looked up.
    ///
    /// # Errors
    /// See [`TrapError`].
    pub fn install(self: &Arc<Self>, connection: &Arc<PeerConfig>, child: &Arc<ChildConfig>) -> Result<(), TrapError> {
        match child.mode {
            Mode::Pass | Mode::Drop => self.install_shunt(connection, child),
            Mode::Tunnel | Mode::Transport | Mode::TransportProxy | Mode::Beet | Mode::Iptfs => {
                self.route(connection, child)
            }
        }
    }

    /// Installs a trap, looking names up first where there are any: that takes as long as it takes, on a thread for it.
    fn route(self: &Arc<Self>, connection: &Arc<PeerConfig>, child: &Arc<ChildConfig>) -> Result<(), TrapError> {
        let key = (Arc::clone(&connection.name), Arc::clone(&child.name));
        let Some(manager) = self.manager.upgrade().filter(|_| place::has_names(connection)) else {
            if self.state.lock().looking_up.contains_key(&key) {
                return Err(TrapError::Busy(Arc::clone(&child.name)));
            }
            let place = Place::find(&*self.kernel, connection, child)?;
            return self.install_trap(connection, child, place);
        };
        let number = {
            let mut state = self.state.lock();
            if state.looking_up.contains_key(&key) {
                return Err(TrapError::Busy(Arc::clone(&child.name)));
            }
            state.lookups = state.lookups.wrapping_add(1);
            let number = state.lookups;
            state.looking_up.insert(key.clone(), number);
            number
        };
        let (traps, connection, child) = (Arc::downgrade(self), Arc::clone(connection), Arc::clone(child));
        manager.resolver().run(move || {
            let Some(traps) = traps.upgrade() else { return };
            let place = Place::find(&*traps.kernel, &connection, &child);
            {
                let mut state = traps.state.lock();
                // Uninstalled meanwhile, and perhaps asked for again.
                if state.looking_up.get(&key) != Some(&number) {
                    return;
                }
                state.looking_up.remove(&key);
            }
            let installed = place.and_then(|place| traps.install_trap(&connection, &child, place));
            if let Err(error) = installed {
                log!(CFG, 1, "{error}");
            }
        });
        Ok(())
    }

    /// Removes the shunt or trap of a child, of a connection if one is named. `false` if there is none.
    pub fn uninstall(&self, connection: Option<&str>, child: &str) -> bool {
        let matches = |policy: &Arc<Installed>| {
            &*policy.child.name == child && connection.is_none_or(|name| &*policy.connection.name == name)
        };
        let mut state = self.state.lock();
        let before = state.looking_up.len();
        state.looking_up.retain(|(of, name), _| &**name != child || connection.is_some_and(|name| **of != *name));
        let awaited = state.looking_up.len() < before;
        let found = if let Some(index) = state.shunts.iter().position(matches) {
            Some(state.shunts.remove(index))
        } else {
            state.traps.iter().position(matches).map(|index| state.traps.remove(index))
        };
        drop(state);
        found.map(|policy| self.remove(&policy)).is_some() || awaited
    }

    /// Installed traps, the most recent first.
    pub fn traps(&self) -> Vec<Arc<Installed>> {
        self.state.lock().traps.iter().rev().map(Arc::clone).collect()
    }

    /// Installed shunts in the order of installation.
    pub fn shunts(&self) -> Vec<Arc<Installed>> {
        self.state.lock().shunts.clone()
    }

    /// Removes everything and installs nothing any more.
    pub fn flush(&self) {
        let (traps, shunts) = {
            let mut state = self.state.lock();
            state.flushed = true;
            state.looking_up.clear();
            (std::mem::take(&mut state.traps), std::mem::take(&mut state.shunts))
        };
        traps.iter().chain(&shunts).for_each(|policy| self.remove(policy));
    }

    /// A packet hit a trap: initiates its CHILD_SA, unless that is under way.
    pub fn acquire(self: &Arc<Self>, reqid: Reqid, source: TrafficSelector, destination: TrafficSelector) {
        let (trap, pending) = {
            let mut state = self.state.lock();
            let found = state.traps.iter().find(|trap| trap.kind == PolicyKind::Trap(reqid)).map(Arc::clone);
            let Some(trap) = found else {
                drop(state);
                log!(KNL, 1, "trap not found, unable to acquire reqid {reqid}");
                return;
            };
            let pending = (reqid, trap.wildcard.then(|| destination.start()));
            if state.pending.contains_key(&pending) {
                drop(state);
                log!(KNL, 1, "ignoring acquire for reqid {reqid}, connection attempt pending");
                return;
            }
            if state.pending.len() >= MAX_PENDING {
                drop(state);
                log!(KNL, 1, "ignoring acquire for reqid {reqid}, too many connection attempts pending");
                return;
            }
            state.pending.insert(pending, None);
            (trap, pending)
        };
        log!(KNL, 1, "creating acquire job for policy {source} === {destination} with reqid {{{reqid}}}");
        let Some(manager) = self.manager.upgrade() else { return };
        let packet = Some((source, destination));
        let child = InitiateChild { reqid: Some(reqid), packet, ..InitiateChild::new(Arc::clone(&trap.child)) };
        let traps = Arc::clone(self);
        let on_start = Box::new(move |sa: &IkeSa| {
            if let Some(served) = traps.state.lock().pending.get_mut(&pending) {
                *served = Some(sa.unique_id());
            }
        });
        let request = Initiated {
            config: Arc::clone(&trap.connection),
            child: Some(child),
            limits: false,
            fresh: trap.wildcard,
            hosts: trap.wildcard.then(|| (source.start(), destination.start())),
            on_start: Some(on_start),
        };
        if let Err(error) = manager.initiate(request) {
            log!(KNL, 1, "initiating '{}' failed: {error}", trap.child.name);
            self.state.lock().pending.remove(&pending);
        }
    }

    /// The acquires of a trap have ended.
    fn acquired(&self, reqid: Reqid) {
        self.state.lock().pending.retain(|(of, _), _| *of != reqid);
    }

    /// Whatever was acquired on an IKE_SA exists by now, or failed: the next packet tells.
    fn ended_on(&self, ike_sa: UniqueId) {
        let mut state = self.state.lock();
        if !state.pending.is_empty() {
            state.pending.retain(|_, served| *served != Some(ike_sa));
        }
    }

    fn install_trap(
        &self,
        connection: &Arc<PeerConfig>,
        child: &Arc<ChildConfig>,
        place: Place,
    ) -> Result<(), TrapError> {
        let Place { local, remote, local_ts, remote_ts, wildcard } = place;
        let marks = [fixed_mark(child.mark_in), fixed_mark(child.mark_out)];
        let if_ids =
            [fixed_if_id(child.if_id_in, connection.if_id_in), fixed_if_id(child.if_id_out, connection.if_id_out)];
        let reqid = match child.reqid {
            Some(fixed) => fixed,
            None => {
                let [mark_in, mark_out] = marks;
                let [if_id_in, if_id_out] = if_ids;
                let key = ReqidKey {
                    local_ts: local_ts.clone(),
                    remote_ts: remote_ts.clone(),
                    mark_in,
                    mark_out,
                    if_id_in,
                    if_id_out,
                };
                self.numbers.allocate_reqid(&key).ok_or(TrapError::NoReqid)?
            }
        };
        let trap = Arc::new(Installed {
            kind: PolicyKind::Trap(reqid),
            connection: Arc::clone(connection),
            child: Arc::clone(child),
            local_ts,
            remote_ts,
            local,
            remote,
            marks,
            if_ids,
            wildcard,
        });
        // Known before it is installed: a packet may hit it at once, and the kernel will not tell a second time.
        self.state.lock().traps.push(Arc::clone(&trap));
        let added = self.add(&trap);
        let mut state = self.state.lock();
        if let Err(error) = added {
            state.traps.retain(|other| !Arc::ptr_eq(other, &trap));
            drop(state);
            self.numbers.release_reqid(reqid);
            return Err(error.into());
        }
        let same = |other: &Arc<Installed>| {
            other.child.name == trap.child.name
                && other.connection.name == trap.connection.name
                && !Arc::ptr_eq(other, &trap)
        };
        let old = state.traps.iter().position(same).map(|index| state.traps.remove(index));
        let refused = state.flushed;
        if refused {
            state.traps.retain(|other| !Arc::ptr_eq(other, &trap));
        }
        drop(state);
        if let Some(old) = old {
            log!(CFG, 1, "updating already routed CHILD_SA '{}'", child.name);
            self.remove(&old);
        }
        if refused {
            self.remove(&trap);
        }
        Ok(())
    }

    fn install_shunt(&self, connection: &Arc<PeerConfig>, child: &Arc<ChildConfig>) -> Result<(), TrapError> {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let hosts = [any, IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED)];
        let shunt = Arc::new(Installed {
            kind: if child.mode == Mode::Pass { PolicyKind::Pass } else { PolicyKind::Drop },
            connection: Arc::clone(connection),
            child: Arc::clone(child),
            local_ts: selectors::resolve(&child.local_ts, &hosts),
            remote_ts: selectors::resolve(&child.remote_ts, &hosts),
            local: any,
            remote: any,
            marks: [fixed_mark(child.mark_in), fixed_mark(child.mark_out)],
            if_ids: [IfId::NONE; 2],
            wildcard: false,
        });
        {
            let mut state = self.state.lock();
            if state.flushed {
                return Ok(());
            }
            let exists = state
                .shunts
                .iter()
                .any(|other| other.child.name == child.name && other.connection.name == connection.name);
            if exists {
                return Err(TrapError::Exists(child.mode, Arc::clone(&child.name)));
            }
            state.shunts.push(Arc::clone(&shunt));
        }
        if let Err(error) = self.add(&shunt) {
            self.state.lock().shunts.retain(|other| !Arc::ptr_eq(other, &shunt));
            return Err(error.into());
        }
        Ok(())
    }

    fn add(&self, policy: &Installed) -> Result<(), KernelError> {
        self.kernel.add_policies(&policy.params(Direction::Out))?;
        let added = self.kernel.add_policies(&policy.params(Direction::In));
        if added.is_err() {
            let _not_there = self.kernel.delete_policies(&policy.params(Direction::Out));
        }
        added
    }

    fn remove(&self, policy: &Installed) {
        for direction in [Direction::In, Direction::Out] {
            if let Err(error) = self.kernel.delete_policies(&policy.params(direction)) {
                log!(KNL, 1, "removing policy of '{}' failed: {error}", policy.child.name);
            }
        }
        if let PolicyKind::Trap(reqid) = policy.kind {
            self.numbers.release_reqid(reqid);
            self.acquired(reqid);
        }
    }
}

impl Listener for Traps {
    /// An acquire ends when its CHILD_SA exists or has failed.
    fn event(&self, ike_sa: &IkeSa, event: &Event) {
        let installed = matches!(event, Event::ChildStateChange { new: ChildSaState::Installed, .. });
        if installed || matches!(event, Event::ChildFailed { .. }) {
            self.ended_on(ike_sa.unique_id());
        }
    }

    fn destroyed(&self, ike_sa: UniqueId) {
        self.ended_on(ike_sa);
    }
}

impl Installed {
    fn params(&self, direction: Direction) -> PolicyParams<'_> {
        let (action, class, reqid) = match self.kind {
            PolicyKind::Trap(reqid) => (PolicyAction::Ipsec, PolicyClass::Routed, Some(reqid)),
            PolicyKind::Pass => (PolicyAction::Pass, PolicyClass::Pass, None),
            PolicyKind::Drop => (PolicyAction::Drop, PolicyClass::Fallback, None),
        };
        let protocol = self.child.proposals.first().map_or(Protocol::Esp, |proposal| proposal.protocol());
        let ([mark_in, mark_out], [if_id_in, if_id_out]) = (self.marks, self.if_ids);
        let (mark, if_id) = match direction {
            Direction::In => (mark_in, if_id_in),
            Direction::Out => (mark_out, if_id_out),
        };
        PolicyParams {
            ipcomp: false,
            direction,
            action,
            class,
            priority: self.child.priority,
            local: self.local,
            remote: self.remote,
            local_ts: &self.local_ts,
            remote_ts: &self.remote_ts,
            reqid,
            spi: None,
            protocol,
            mode: self.child.mode,
            mark,
            if_id,
            interface: self.child.interface.as_deref(),
            fwd_out: self.child.policies_fwd_out,
            hw_offload: self.child.hw_offload,
        }
    }
}

/// Marks that are allocated per CHILD_SA do not exist before it does.
fn fixed_mark(config: MarkConfig) -> Mark {
    match config.value {
        MarkValue::Fixed(value) => Mark { value, mask: config.mask },
        MarkValue::Unique | MarkValue::UniqueDir => Mark::NONE,
    }
}

fn fixed_if_id(child: IfIdConfig, connection: IfIdConfig) -> IfId {
    let config = if child.is_none() { connection } else { child };
    match config {
        IfIdConfig::Fixed(id) => id,
        IfIdConfig::Unique | IfIdConfig::UniqueDir => IfId::NONE,
    }
}
