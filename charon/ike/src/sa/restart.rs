//! IKE_SAs that take another one's place: after a failure, and to reauthenticate (spec §7.5, §9.4).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use strongswan::log;
use strongswan::selectors::TrafficSelector;

use super::lifecycle::retry_delay;
use super::{ChildSaState, Conditions, IkeSa, IkeSaState, Redirects, Role, Timer};
use crate::config::ChildConfig;
use crate::env::{Duplicate, Env};
use crate::input::{InitiateChild, Input, PreviousChild};
use crate::output::Output;
use crate::v2::tasks;

/// Where the successor of an IKE_SA goes.
enum Place {
    /// To whom its connection names, once there is nobody else.
    Configured,
    /// To the same peer, and then takes its predecessor's place.
    Same,
    /// To another gateway, and then takes its predecessor's place.
    Redirected(Box<Redirects>),
}

impl IkeSa {
    /// Restores what the CHILD_SAs' close or DPD actions ask for, as this IKE_SA is about to end, unless that is done
    /// already. All of them, if it was about to be closed in order to come back.
    pub(crate) fn reestablish(&mut self, env: &mut Env<'_>) {
        let all = self.conditions.contains(Conditions::REAUTHENTICATING);
        let closed = self.state == IkeSaState::Deleting;
        let unwanted = self.exchanges.is_delete_queued() && !closed && !all;
        if unwanted || self.conditions.contains(Conditions::HAS_SUCCESSOR) {
            return;
        }
        let others = match (closed, self.identities()) {
            (true, Some((me, other))) => env.peers.closing(self.unique_id, me, other, self.remote.is_ipv6()),
            _ => Vec::new(),
        };
        let mut restart = Vec::new();
        let mut trap: Vec<Arc<ChildConfig>> = Vec::new();
        for child in &self.children {
            if matches!(child.state(), ChildSaState::Rekeyed | ChildSaState::Deleted) {
                continue;
            }
            let action = if closed { child.config.close_action } else { child.config.dpd_action };
            if child.config.close_action.start && self.is_elsewhere(&others, &child.config) {
                log!(IKE, 1, "not restarting CHILD_SA {}, another IKE_SA has it", child.config.name);
                continue;
            }
            if all || action.start {
                let previous = all.then(|| Box::new(self.previous(child)));
                request(&mut restart, InitiateChild { previous, ..InitiateChild::new(Arc::clone(&child.config)) });
            }
            if !all && action.trap {
                trap.push(Arc::clone(&child.config));
            }
        }
        for config in trap {
            self.push(Output::Trap(config));
        }
        // what was asked for and not done yet is still wanted
        let tasks = self.exchanges.active.iter().chain(self.exchanges.queued.iter().map(|queued| &queued.task));
        tasks.filter_map(|task| task.initiation()).for_each(|initiation| request(&mut restart, initiation));
        if restart.is_empty() {
            return;
        }
        if self.is_asymmetric() {
            log!(IKE, 1, "unable to reestablish IKE_SA due to asymmetric setup");
            return;
        }
        self.create_successor(env, restart, Place::Configured);
    }

    /// An IKE_SA that takes its place is on its way.
    fn is_being_replaced(&self) -> bool {
        self.conditions.intersects(Conditions::REAUTHENTICATING | Conditions::REDIRECTED) || self.is_redirect_pending()
    }

    /// Only the peer can initiate an IKE_SA like this one: it got its address from us, or we cannot prove ourselves the way it
    /// did.
    pub(super) fn is_asymmetric(&self) -> bool {
        !self.conditions.contains(Conditions::ORIGINAL_INITIATOR)
            && (!self.remote_vips().is_empty() || self.remote_eap_id.is_some())
    }

    /// Creates and initiates an IKE_SA with the gateway that we are redirected to.
    pub(super) fn create_redirected(
        &mut self,
        env: &mut Env<'_>,
        children: Vec<InitiateChild>,
        redirects: Box<Redirects>,
    ) {
        self.create_successor(env, children, Place::Redirected(redirects));
    }

    /// Creates and initiates an IKE_SA for the same connection.
    fn create_successor(&mut self, env: &mut Env<'_>, children: Vec<InitiateChild>, place: Place) {
        let Some(config) = self.config().map(|config| env.config.latest(config)) else { return };
        let spi = env.ids.ike_spi(env.rng, None);
        let mut successor = Self::initiator(env.ids.ike_sa_id(), spi, config, env.now);
        let replaces = !matches!(place, Place::Configured);
        match place {
            Place::Configured => {}
            Place::Same => {
                successor.local = self.local;
                successor.remote = self.remote;
            }
            Place::Redirected(redirects) => {
                successor.redirects = Some(redirects);
                self.report_redirect(successor.unique_id);
            }
        }
        if replaces {
            successor.queue(env, Box::new(tasks::ReauthComplete::new(self.unique_id)));
        } else {
            successor.look_again(env, self.local.ip(), self.remote.ip());
        }
        let vips = self.local_vips();
        if !vips.is_empty() {
            // they stay installed, and are asked for again
            successor.set_local_vips(env, &vips);
        }
        for child in children {
            log!(IKE, 1, "restarting CHILD_SA {}", child.config.name);
            successor.queue(env, Box::new(tasks::ChildCreateInitiator::new(child)));
        }
        successor.handle(Input::Initiate(None), env);
        self.push(Output::Adopt(Box::new(successor)));
    }

    /// Has the peers authenticate each other again.
    pub(crate) fn reauthenticate(&mut self, env: &mut Env<'_>) {
        if self.is_being_replaced() {
            return;
        }
        match self.state {
            IkeSaState::Established if self.is_asymmetric() => {
                let left = self.timers.get(Timer::Lifetime).map_or(Duration::ZERO, |at| at.saturating_since(env.now));
                let label = self.label();
                log!(
                    IKE,
                    1,
                    "initiator did not reauthenticate as requested, IKE_SA {label} will timeout in {}",
                    InUnits(left)
                );
                return;
            }
            IkeSaState::Established => {}
            IkeSaState::Connecting if self.id.role == Role::Initiator => {
                log!(IKE, 0, "reinitiating IKE_SA {}", self.label());
                return self.try_again(env);
            }
            other => {
                let delay = retry_delay(env);
                log!(IKE, 1, "unable to reauthenticate in {other} state, delaying for {}s", delay.as_secs());
                self.timers.set(Timer::Reauth, env.now + delay);
                return;
            }
        }
        let settled = |state| matches!(state, ChildSaState::Installed | ChildSaState::Rekeyed | ChildSaState::Deleted);
        if let Some(state) = self.children.iter().map(super::ChildSa::state).find(|state| !settled(*state)) {
            let delay = retry_delay(env);
            log!(IKE, 1, "unable to reauthenticate in CHILD_SA {state} state, delaying for {}s", delay.as_secs());
            self.timers.set(Timer::Reauth, env.now + delay);
            return;
        }
        log!(IKE, 0, "reauthenticating IKE_SA {}", self.label());
        self.conditions |= Conditions::REAUTHENTICATING;
        if !env.settings.make_before_break {
            return self.queue_delete(env, false);
        }
        if self.is_redundant(env) {
            // what the other one has lost by the time this one is gone is created anew then
            log!(IKE, 1, "closing IKE_SA {} instead, another one has its CHILD_SAs", self.label());
            return self.queue_delete(env, false);
        }
        let live = self.children.iter().filter(|child| child.state() == ChildSaState::Installed);
        let mut children = Vec::new();
        for child in live {
            let previous = Some(Box::new(self.previous(child)));
            request(&mut children, InitiateChild { previous, ..InitiateChild::new(Arc::clone(&child.config)) });
        }
        if children.is_empty() && self.conditions.contains(Conditions::DISPLACED) {
            return self.close_displaced(env);
        }
        if children.is_empty() {
            log!(IKE, 1, "unable to reauthenticate IKE_SA, no CHILD_SA to recreate");
            self.conditions -= Conditions::REAUTHENTICATING;
            return;
        }
        self.conditions |= Conditions::HAS_SUCCESSOR;
        self.create_successor(env, children, Place::Same);
    }

    /// Nothing can be made before this one breaks: what it has, and is asked for meanwhile, is created when it is closed.
    fn close_displaced(&mut self, env: &Env<'_>) {
        log!(IKE, 1, "closing IKE_SA {}, the peer does not know our address", self.label());
        self.conditions |= Conditions::REAUTHENTICATING;
        self.queue_delete(env, false);
    }

    /// Another IKE_SA of this connection has a CHILD_SA of this configuration. Without that look the two ends would restart
    /// for each other what one of them reauthenticates, or closes as a duplicate, and there would be ever more of them.
    fn is_elsewhere(&self, others: &[Duplicate], child: &ChildConfig) -> bool {
        let alive = |state| matches!(state, IkeSaState::Established | IkeSaState::Rekeying);
        let connection = self.config().map(|config| &config.name);
        others.iter().any(|other| {
            alive(other.state) && Some(&other.config.name) == connection && other.children.contains(&child.name)
        })
    }

    /// Another IKE_SA of this connection has all that this one would have to restart. Nothing on the wire says which IKE_SA a
    /// new one replaces: where both ends reauthenticate the same one at once, both replacements stay.
    fn is_redundant(&self, env: &Env<'_>) -> bool {
        let Some((me, other)) = self.identities() else { return false };
        let others = env.peers.duplicates(self.unique_id, me, other, self.remote.is_ipv6());
        let redundant =
            |child: &super::ChildSa| child.config.close_action.start && self.is_elsewhere(&others, &child.config);
        let mut live = self.children.iter().filter(|child| child.state() == ChildSaState::Installed).peekable();
        // after a move the other one is as lost as this one
        !self.conditions.contains(Conditions::DISPLACED) && live.peek().is_some() && live.all(redundant)
    }

    /// What a CHILD_SA hands on to the one that is created in its place on another IKE_SA. The addresses that `dynamic`
    /// stands for may be others there.
    fn previous(&self, child: &super::ChildSa) -> PreviousChild {
        let hosts = self.dynamic_hosts();
        let freed = |selectors: &[TrafficSelector], hosts: &[IpAddr]| {
            let was_dynamic = |ts: &TrafficSelector| hosts.iter().any(|host| ts.is_host(Some(*host)));
            selectors.iter().map(|ts| if was_dynamic(ts) { ts.to_dynamic() } else { *ts }).collect()
        };
        PreviousChild {
            mark_in: child.tags.mark_in,
            mark_out: child.tags.mark_out,
            local_ts: freed(&child.local_ts, &hosts.local),
            remote_ts: freed(&child.remote_ts, &hosts.remote),
        }
    }

    /// The IKE_SA that was to take this one's place did not come to be: this one can be rekeyed again, and has its peers
    /// authenticated another time if its lifetime demands it.
    pub(super) fn reauthentication_failed(&mut self, env: &mut Env<'_>) {
        self.conditions -= Conditions::REAUTHENTICATING | Conditions::HAS_SUCCESSOR;
        if self.state == IkeSaState::Established && self.conditions.contains(Conditions::DISPLACED) {
            // the peer may not take a second IKE_SA, and this one is of no use
            return self.close_displaced(env);
        }
        if self.state == IkeSaState::Established && self.config().is_some_and(|c| !c.lifetimes.reauth.is_zero()) {
            let delay = retry_delay(env);
            log!(IKE, 1, "reauthentication failed, trying again in {} seconds", delay.as_secs());
            self.timers.set(Timer::Reauth, env.now + delay);
        }
    }

    /// Replaces the keys of the IKE_SA.
    pub(super) fn rekey(&mut self, env: &mut Env<'_>) {
        if self.state == IkeSaState::Established
            && !self.is_being_replaced()
            && !self.exchanges.is_queued(crate::TaskType::IkeRekey)
            && !self.exchanges.is_active(crate::TaskType::IkeRekey)
        {
            self.queue(env, Box::new(tasks::IkeRekeyInitiator::default()));
        }
    }
}

/// Adds a CHILD_SA to those that are to be created, unless it is one of them: there are two of a configuration while it is
/// rekeyed, and somebody may have asked for what exists. Dynamic reqids went with the CHILD_SAs they belonged to.
fn request(wanted: &mut Vec<InitiateChild>, child: InitiateChild) {
    let same = |other: &InitiateChild| {
        *other.config == *child.config && other.packet == child.packet && other.previous == child.previous
    };
    if !wanted.iter().any(same) {
        wanted.push(child);
    }
}

/// A duration in the largest unit of which it has more than two.
struct InUnits(Duration);

impl std::fmt::Display for InUnits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0.as_secs();
        let units = [(86_400, "day"), (3_600, "hour"), (60, "minute")];
        let (size, unit) = units.into_iter().find(|(size, _)| seconds > size * 2).unwrap_or((1, "second"));
        let count = seconds / size;
        write!(f, "{count} {unit}{}", if count == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_words() {
        let text = |seconds| InUnits(Duration::from_secs(seconds)).to_string();
        assert_eq!([text(0), text(1), text(120), text(121)], ["0 seconds", "1 second", "120 seconds", "2 minutes"]);
        assert_eq!([text(7_201), text(200_000)], ["2 hours", "2 days"]);
    }
}
