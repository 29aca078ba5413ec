//! Closing an IKE_SA (RFC 7296 §1.4.1).

use strongswan::log;

use crate::env::Env;
use crate::output::Alert;
use crate::sa::{Conditions, IdText, IkeSa, IkeSaState};
use crate::task::TaskType;
use crate::v2::explain;
use crate::v2::task::{Collision, Failure, Incoming, Outgoing, Progress, Step, Task, Verdict};
use crate::wire::{Delete, NotifyType};

fn log_deleting(sa: &IkeSa) {
    log!(
        IKE,
        0,
        "deleting IKE_SA {} between {}[{}]...{}[{}]",
        sa.label(),
        sa.local.ip(),
        IdText(sa.local_id.as_ref()),
        sa.remote.ip(),
        IdText(sa.remote_id.as_ref())
    );
}

/// Asks the peer to close it.
#[derive(Debug, Default)]
pub(crate) struct IkeDeleteInitiator {
    /// It was replaced: observers do not care about its end.
    silent: bool,
}

impl Task for IkeDeleteInitiator {
    fn kind(&self) -> TaskType {
        TaskType::IkeDelete
    }

    fn build(&mut self, sa: &mut IkeSa, _env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        log_deleting(sa);
        log!(IKE, 1, "sending DELETE for IKE_SA {}", sa.label());
        message.push(Delete::Ike);
        self.silent = sa.state() == IkeSaState::Rekeyed;
        sa.set_state(IkeSaState::Deleting);
        Ok(Progress::More)
    }

    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, _incoming: &Incoming) -> Step {
        log!(IKE, 0, "IKE_SA deleted");
        if sa.conditions.contains(Conditions::REAUTHENTICATING) {
            sa.reestablish(env);
        }
        Err(if self.silent { Failure::Destroy } else { Failure::Failed })
    }
}

/// The peer closes it.
#[derive(Debug, Default)]
pub(crate) struct IkeDeleteResponder {
    silent: bool,
    /// Both sides delete at once: the answer to ours is not worth waiting for.
    simultaneous: bool,
}

impl Task for IkeDeleteResponder {
    fn kind(&self) -> TaskType {
        TaskType::IkeDelete
    }

    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, incoming: &Incoming) -> Step {
        let error = incoming
            .message
            .notifies()
            .find(|notify| matches!(notify.kind, NotifyType::InvalidSyntax | NotifyType::AuthenticationFailed));
        match error {
            Some(notify) => {
                log!(IKE, 1, "received {} notify error, destroying IKE_SA", notify.kind);
                if notify.kind == NotifyType::AuthenticationFailed {
                    explain::auth::closed(sa, env);
                    sa.alert(Alert::LocalAuthFailed);
                }
            }
            None => log!(IKE, 1, "received DELETE for IKE_SA {}", sa.label()),
        }
        log_deleting(sa);
        let taken = matches!(sa.collide(env, Collision::IkeDeleted), Verdict::Taken);
        self.silent = taken || sa.state() == IkeSaState::Rekeyed;
        self.simultaneous = sa.state() == IkeSaState::Deleting;
        if !matches!(sa.state(), IkeSaState::Deleting | IkeSaState::Connecting) {
            sa.set_state(IkeSaState::Deleting);
            if !self.silent && error.is_none() {
                sa.reestablish(env);
            }
        }
        Ok(Progress::More)
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, _message: &mut Outgoing) -> Step {
        if self.simultaneous && sa.conditions.contains(Conditions::REAUTHENTICATING) {
            sa.reestablish(env);
        }
        log!(IKE, 0, "IKE_SA deleted");
        Err(if self.silent { Failure::Destroy } else { Failure::Failed })
    }
}
