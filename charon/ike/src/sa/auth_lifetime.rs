//! How long an authentication counts (RFC 4478): a responder that could not reauthenticate the peers itself tells the
//! initiator by when to do so.

use std::time::Duration;

use strongswan::log;

use super::{IkeSa, Timer};
use crate::env::Env;
use crate::v2::tasks;

/// However little time the peer leaves us, reauthentication gets this much of it.
const MIN_TIME_LEFT: Duration = Duration::from_secs(10);

impl IkeSa {
    /// The peer lets the authentication count for this long. With `fresh` it has only just taken place.
    pub(crate) fn accept_auth_lifetime(&mut self, env: &Env<'_>, lifetime: Duration, fresh: bool) {
        let over = self.config().map(|config| config.lifetimes.over).unwrap_or_default();
        let (seconds, usable) = (lifetime.as_secs(), lifetime.max(MIN_TIME_LEFT));
        self.timers.set_earlier(Timer::AuthLifetime, env.now + usable);
        let soft = match lifetime.checked_sub(over) {
            Some(soft) => soft,
            // whoever has this policy has it next time, too: starting over at once would never end
            None if fresh => usable.saturating_sub(usable / 10),
            None => {
                log!(IKE, 1, "received AUTH_LIFETIME of {seconds}s, starting reauthentication");
                self.timers.set(Timer::Reauth, env.now);
                return;
            }
        };
        match self.timers.get(Timer::Reauth).filter(|at| *at <= env.now + soft) {
            Some(at) => {
                let left = at.saturating_since(env.now).as_secs();
                log!(IKE, 1, "received AUTH_LIFETIME of {seconds}s, reauthentication already scheduled in {left}s");
            }
            None => {
                let left = soft.as_secs();
                log!(IKE, 1, "received AUTH_LIFETIME of {seconds}s, scheduling reauthentication in {left}s");
                self.timers.set(Timer::Reauth, env.now + soft);
            }
        }
    }

    /// What to tell the initiator, if only it can reauthenticate and has to.
    pub(crate) fn auth_lifetime(&self, env: &Env<'_>) -> Option<Duration> {
        let due = self.timers.get(Timer::Reauth).filter(|_| self.is_asymmetric())?;
        Some(due.saturating_since(env.now))
    }

    /// The authentication counts for this long from now on, whoever decided that.
    pub(super) fn set_auth_lifetime(&mut self, env: &Env<'_>, lifetime: Duration) {
        if !self.is_asymmetric() {
            return self.accept_auth_lifetime(env, lifetime, false);
        }
        let over = self.config().map(|config| config.lifetimes.over).unwrap_or_default();
        self.timers.set(Timer::Reauth, env.now + lifetime);
        self.timers.set(Timer::AuthLifetime, env.now + lifetime.saturating_add(over).max(MIN_TIME_LEFT));
        self.queue(env, Box::new(tasks::AuthLifetimeInitiator));
    }
}
