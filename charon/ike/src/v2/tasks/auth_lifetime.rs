//! AUTH_LIFETIME (RFC 4478): in the last message of IKE_AUTH, and in an INFORMATIONAL exchange when it changes.

use crate::env::Env;
use crate::sa::{IkeSa, IkeSaState};
use crate::task::TaskType;
use crate::v2::task::{Incoming, Outgoing, Progress, Step, Task};
use crate::wire::{ExchangeType, Notify, NotifyType};

/// AUTH_LIFETIME in the first exchanges, either role.
#[derive(Debug)]
pub(crate) struct AuthLifetime;

impl Task for AuthLifetime {
    fn kind(&self) -> TaskType {
        TaskType::IkeAuthLifetime
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        let over = sa.id.role == crate::Role::Responder && sa.state() == IkeSaState::Established;
        if !over {
            return Ok(Progress::More);
        }
        if let Some(lifetime) = sa.auth_lifetime(env) {
            message.push(Notify::auth_lifetime(lifetime));
        }
        Ok(Progress::Done)
    }

    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, incoming: &Incoming) -> Step {
        let message = &incoming.message;
        let initiator = sa.id.role == crate::Role::Initiator;
        if !initiator || message.header.exchange != ExchangeType::IkeAuth || !sa.is_authenticated() {
            return Ok(Progress::More);
        }
        if let Some(lifetime) = message.notify(NotifyType::AuthLifetime).and_then(Notify::lifetime) {
            sa.accept_auth_lifetime(env, lifetime, true);
        }
        Ok(Progress::Done)
    }
}

/// Tells the initiator that it changed.
#[derive(Debug)]
pub(crate) struct AuthLifetimeInitiator;

impl Task for AuthLifetimeInitiator {
    fn kind(&self) -> TaskType {
        TaskType::IkeAuthLifetime
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        match sa.auth_lifetime(env) {
            Some(lifetime) => message.push(Notify::auth_lifetime(lifetime)),
            None => message.cancelled = true,
        }
        Ok(if message.cancelled { Progress::Done } else { Progress::More })
    }

    fn process(&mut self, _sa: &mut IkeSa, _env: &mut Env<'_>, _incoming: &Incoming) -> Step {
        Ok(Progress::Done)
    }
}

/// Is told.
#[derive(Debug)]
pub(crate) struct AuthLifetimeResponder;

impl Task for AuthLifetimeResponder {
    fn kind(&self) -> TaskType {
        TaskType::IkeAuthLifetime
    }

    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, incoming: &Incoming) -> Step {
        let up = matches!(sa.state(), IkeSaState::Established | IkeSaState::Rekeying);
        let lifetime = incoming.message.notify(NotifyType::AuthLifetime).and_then(Notify::lifetime);
        if let Some(lifetime) = lifetime.filter(|_| up) {
            sa.accept_auth_lifetime(env, lifetime, false);
        }
        Ok(Progress::More)
    }

    fn build(&mut self, _sa: &mut IkeSa, _env: &mut Env<'_>, _message: &mut Outgoing) -> Step {
        Ok(Progress::Done)
    }
}
