//! Redirection of an established IKE_SA (RFC 5685 §4): an INFORMATIONAL exchange that the gateway starts.

use strongswan::log;

use crate::env::Env;
use crate::sa::{Conditions, IkeSa};
use crate::task::TaskType;
use crate::v2::task::{Incoming, Outgoing, Progress, Step, Task};
use crate::wire::{Gateway, Notify, NotifyType};

/// Sends the client away.
#[derive(Debug)]
pub(crate) struct RedirectInitiator {
    gateway: Gateway,
}

impl RedirectInitiator {
    pub(crate) fn new(gateway: Gateway) -> Self {
        Self { gateway }
    }
}

impl Task for RedirectInitiator {
    fn kind(&self) -> TaskType {
        TaskType::IkeRedirect
    }

    fn build(&mut self, sa: &mut IkeSa, _env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        log!(IKE, 1, "redirecting peer to {}", self.gateway);
        sa.conditions |= Conditions::REDIRECTED;
        message.push(Notify::redirect(&self.gateway, &[]));
        Ok(Progress::More)
    }

    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, _incoming: &Incoming) -> Step {
        // a client that goes elsewhere deletes this one; any other has had its time
        sa.delete_at(env.now + env.settings.half_open_timeout);
        Ok(Progress::Done)
    }
}

/// Is sent away.
#[derive(Debug)]
pub(crate) struct RedirectResponder;

impl Task for RedirectResponder {
    fn kind(&self) -> TaskType {
        TaskType::IkeRedirect
    }

    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, incoming: &Incoming) -> Step {
        accept(sa, env, incoming);
        Ok(Progress::More)
    }

    fn build(&mut self, _sa: &mut IkeSa, _env: &mut Env<'_>, _message: &mut Outgoing) -> Step {
        Ok(Progress::Done)
    }
}

/// Follows the REDIRECT in a message of an authenticated peer, if there is one, we are its client, and said so.
pub(super) fn accept(sa: &mut IkeSa, env: &Env<'_>, incoming: &Incoming) {
    let Some(notify) = incoming.message.notify(NotifyType::Redirect) else { return };
    let client = sa.conditions.contains(Conditions::ORIGINAL_INITIATOR);
    if !client || !env.settings.follow_redirects {
        log!(IKE, 1, "ignoring REDIRECT, which we did not announce");
        return;
    }
    if sa.conditions.contains(Conditions::REDIRECTED) || sa.is_redirect_pending() {
        log!(IKE, 1, "ignoring REDIRECT, we are on our way already");
        return;
    }
    match notify.gateway() {
        // where the limit is hit we stay for as long as the gateway lets us
        Some((gateway, _)) => drop(sa.redirect_to(env, gateway)),
        None => log!(IKE, 1, "received REDIRECT to a gateway of unknown kind, ignored"),
    }
}
