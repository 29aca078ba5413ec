//! What loading and unloading a connection does to SAs and policies: `start_action` of its children, run and undone.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ike::config::{ChildConfig, PeerConfig};
use ike::{ChildSaState, IkeSaSnapshot, IkeSaState, TaskType};
use strongswan::log;

use super::operations::Operations;
use crate::config::{Change, ChangeKind};
use crate::controller::Watch;

/// How long an IKE_SA that is being worked on is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Undoes the start actions of removed children, then runs those of added ones.
pub(super) fn apply(operations: &dyn Operations, change: &Change) {
    if change.kind != ChangeKind::Added {
        // an IKE_SA that would be closed only to be initiated again is kept
        let close_ike = change.kind != ChangeKind::Updated || !change.added.iter().any(|child| starts(child));
        undo(operations, &change.connection, &change.removed, close_ike);
    }
    for child in &change.added {
        run(operations, &change.connection, child);
    }
}

/// Whether a child is initiated when it is loaded. Policies without IPsec have nothing to initiate.
fn starts(child: &ChildConfig) -> bool {
    child.start_action.start && !(child.mode.is_shunt() && child.start_action.trap)
}

fn run(operations: &dyn Operations, connection: &Arc<PeerConfig>, child: &Arc<ChildConfig>) {
    if child.start_action.trap {
        log!(JOB, 1, "start action: {} '{}'", "trap", child.name);
        operations.install(connection, child);
    }
    if starts(child) {
        log!(JOB, 1, "start action: {} '{}'", "start", child.name);
        operations.start(Arc::clone(connection), Some(Arc::clone(child)), false, unwatched());
    }
}

/// Nobody waits for what a start action leads to.
fn unwatched() -> Watch {
    Watch { timeout: None, log: None, log_level: -1, done: Box::new(|_| ()) }
}

fn undo(operations: &dyn Operations, connection: &PeerConfig, children: &[Arc<ChildConfig>], close_ike: bool) {
    let mut started = HashSet::new();
    for child in children {
        if child.start_action.trap {
            operations.uninstall(&connection.name, &child.name);
        }
        if starts(child) {
            started.insert(&*child.name);
        }
    }
    for id in operations.ike_sas_named(&connection.name) {
        if let Some(ike) = operations.snapshot(id, PATIENCE) {
            close(operations, &ike, &started, close_ike);
        }
    }
}

/// Closes an IKE_SA that serves nobody else, or else the started CHILD_SAs on it. DELETEs are sent, not waited for.
fn close(operations: &dyn Operations, ike: &IkeSaSnapshot, started: &HashSet<&str>, close_ike: bool) {
    if matches!(ike.state, IkeSaState::Deleting | IkeSaState::Destroying | IkeSaState::Rekeyed) {
        return;
    }
    if close_ike && !serves_others(ike, started) {
        operations.terminate_ike(ike.unique_id, false, None);
        return;
    }
    for child in ike.children.iter().filter(|child| started.contains(&*child.config.name)) {
        operations.terminate_child(child.unique_id, None);
    }
}

/// Whether an IKE_SA has, or is about to have, a CHILD_SA that stays.
fn serves_others(ike: &IkeSaSnapshot, started: &HashSet<&str>) -> bool {
    let stays = ike.children.iter().any(|child| {
        !started.contains(&*child.config.name)
            && !matches!(child.state, ChildSaState::Deleting | ChildSaState::Deleted | ChildSaState::Destroying)
    });
    // A snapshot does not say which child is being created. If any of those that stay in the configuration could be it, the
    // IKE_SA is left alone: what must go is closed once it is up and the connection is loaded or unloaded again.
    let creating = ike.tasks_queued.iter().chain(&ike.tasks_active).any(|task| *task == TaskType::ChildCreate);
    stays || (creating && started.is_empty())
}
