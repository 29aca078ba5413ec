//! Liveness: an empty INFORMATIONAL exchange (RFC 7296 §2.4). Whether the peer is dead is retransmission's verdict.

use crate::env::Env;
use crate::sa::IkeSa;
use crate::task::TaskType;
use crate::v2::task::{Incoming, Outgoing, Progress, Step, Task};

/// Asks for a sign of life.
#[derive(Debug)]
pub(crate) struct DpdInitiator;

impl Task for DpdInitiator {
    fn kind(&self) -> TaskType {
        TaskType::IkeDpd
    }

    fn build(&mut self, _sa: &mut IkeSa, _env: &mut Env<'_>, _message: &mut Outgoing) -> Step {
        Ok(Progress::More)
    }

    fn process(&mut self, _sa: &mut IkeSa, _env: &mut Env<'_>, _incoming: &Incoming) -> Step {
        Ok(Progress::Done)
    }
}

/// Gives one.
#[derive(Debug)]
pub(crate) struct DpdResponder;

impl Task for DpdResponder {
    fn kind(&self) -> TaskType {
        TaskType::IkeDpd
    }

    fn process(&mut self, _sa: &mut IkeSa, _env: &mut Env<'_>, _incoming: &Incoming) -> Step {
        Ok(Progress::More)
    }

    fn build(&mut self, _sa: &mut IkeSa, _env: &mut Env<'_>, _message: &mut Outgoing) -> Step {
        Ok(Progress::Done)
    }
}
