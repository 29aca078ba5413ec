//! The moment an IKE_SA is up: between the proof that both sides are authenticated and the CHILD_SA that comes along.

use crate::env::Env;
use crate::sa::IkeSa;
use crate::task::TaskType;
use crate::v2::task::{Incoming, Outgoing, Progress, Step, Task};

/// Establishes the IKE_SA as soon as authentication is complete, either role.
#[derive(Debug)]
pub(crate) struct Establish;

impl Establish {
    fn try_establish(sa: &mut IkeSa, env: &mut Env<'_>) -> Step {
        match sa.handshake().and_then(|handshake| handshake.verified.take()) {
            Some(proof) => {
                sa.establish(env, proof);
                Ok(Progress::Done)
            }
            None => Ok(Progress::More),
        }
    }
}

impl Task for Establish {
    fn kind(&self) -> TaskType {
        TaskType::IkeEstablish
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, _message: &mut Outgoing) -> Step {
        match sa.id.role {
            crate::Role::Initiator => Ok(Progress::More),
            crate::Role::Responder => Self::try_establish(sa, env),
        }
    }

    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, _incoming: &Incoming) -> Step {
        match sa.id.role {
            crate::Role::Initiator => Self::try_establish(sa, env),
            crate::Role::Responder => Ok(Progress::More),
        }
    }
}
