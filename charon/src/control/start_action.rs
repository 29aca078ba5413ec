//! What loading and unloading a connection does to SAs and policies: `start_action` of its children, run and undone.

use std::sync::Arc;

use ike::config::{ChildConfig, PeerConfig};
use strongswan::log;

use super::operations::Operations;
use crate::config::{Change, ChangeKind};

/// Undoes the start actions of removed children, then runs those of added ones. Returns without waiting for anything.
pub(super) fn apply(operations: &dyn Operations, change: &Change) {
    let close_ike = match change.kind {
        ChangeKind::Added => false,
        // An IKE_SA that would be closed only to be initiated again is kept. Where nothing has changed nobody is disturbed,
        // not even an IKE_SA without CHILD_SAs, which strongSwan closes.
        ChangeKind::Updated => !change.removed.is_empty() && !change.added.iter().any(|child| starts(child)),
        ChangeKind::Replaced | ChangeKind::Removed => true,
    };
    undo(operations, &change.connection, &change.removed, close_ike);
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
        let _logged = operations.install(connection, child);
    }
    if starts(child) {
        log!(JOB, 1, "start action: {} '{}'", "start", child.name);
        operations.start_action(Arc::clone(connection), Arc::clone(child));
    }
}

fn undo(operations: &dyn Operations, connection: &PeerConfig, children: &[Arc<ChildConfig>], close_ike: bool) {
    let mut started = Vec::new();
    for child in children {
        if child.start_action.trap {
            operations.uninstall(Some(&connection.name), &child.name);
        }
        if starts(child) {
            started.push(Arc::clone(&child.name));
        }
    }
    if close_ike || !started.is_empty() {
        operations.withdraw(&connection.name, started, close_ike);
    }
}
