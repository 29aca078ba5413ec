//! The end of a make-before-break reauthentication: once the new IKE_SA is up, the old one goes.

use crate::env::Env;
use crate::ids::UniqueId;
use crate::input::DuplicateAction;
use crate::output::Output;
use crate::sa::IkeSa;
use crate::task::TaskType;
use crate::v2::task::{Incoming, Outgoing, Progress, Step, Task};

/// Deletes the IKE_SA that was reauthenticated.
#[derive(Debug)]
pub(crate) struct ReauthComplete {
    old: UniqueId,
}

impl ReauthComplete {
    pub(crate) fn new(old: UniqueId) -> Self {
        Self { old }
    }
}

impl Task for ReauthComplete {
    fn kind(&self) -> TaskType {
        TaskType::IkeReauthComplete
    }

    fn build(&mut self, sa: &mut IkeSa, _env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        sa.push(Output::Duplicate { id: self.old, action: DuplicateAction::Superseded });
        message.cancelled = true;
        Ok(Progress::Done)
    }

    fn abandon(&mut self, sa: &mut IkeSa, _env: &mut Env<'_>) {
        sa.push(Output::Duplicate { id: self.old, action: DuplicateAction::NotSuperseded });
    }

    fn process(&mut self, _sa: &mut IkeSa, _env: &mut Env<'_>, _incoming: &Incoming) -> Step {
        Ok(Progress::Done)
    }
}
