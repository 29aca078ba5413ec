//! What happens when a timer fires.

use std::time::Duration;

use strongswan::log;

use super::{ChildSa, ChildSaState, ChildTimer, Conditions, IkeSa, IkeSaState, Timer, Wants};
use crate::eap::Answer;
use crate::env::Env;
use crate::ids::UniqueId;
use crate::kernel::Direction;
use crate::output::Alert;
use crate::task::TaskType;
use crate::v2::tasks;

impl IkeSa {
    /// Carries out everything that is due.
    pub(super) fn on_timeout(&mut self, env: &mut Env<'_>) {
        while let Some(timer) = self.timers.take_due(env.now) {
            self.fire(env, timer);
            if self.finished {
                return;
            }
        }
        while let Some(child) = self.children.iter().find(|child| child.due().is_some_and(|due| due <= env.now)) {
            let id = child.unique_id;
            self.fire_child(env, id);
            if self.finished {
                return;
            }
        }
    }

    fn fire(&mut self, env: &mut Env<'_>, timer: Timer) {
        match timer {
            Timer::Retransmit => self.retransmit(env),
            Timer::HalfOpen => {
                log!(JOB, 1, "deleting half open IKE_SA {} with {} after timeout", self.label(), self.remote.ip());
                self.alert(Alert::HalfOpenTimeout);
                self.destroy(env);
            }
            Timer::Rekey => self.rekey(env),
            Timer::Reauth => self.reauthenticate(env),
            Timer::Lifetime | Timer::AuthLifetime => {
                if self.state == IkeSaState::Established || self.state == IkeSaState::Rekeying {
                    self.queue_delete(env, true);
                }
            }
            Timer::Delete => self.terminate(env, false),
            Timer::Dpd => self.dpd(env),
            Timer::Keepalive => self.keepalive(env),
            Timer::FollowUp => self.follow_up_overdue(env),
            // the exchange starts when `handle` is done
            Timer::Queue => {}
            Timer::Resolve => self.resolve(),
            Timer::Resume => self.resume(env, Answer::Elapsed),
        }
    }

    /// Checks whether the peer is alive if it has been silent for long enough.
    fn dpd(&mut self, env: &mut Env<'_>) {
        let Some(delay) = self.config().map(|config| config.dpd_delay).filter(|delay| !delay.is_zero()) else { return };
        if !matches!(self.state, IkeSaState::Established | IkeSaState::Rekeying) {
            return;
        }
        let mut idle = env.now.saturating_since(self.last_inbound);
        // behind NATs only, where ESP takes the same way as IKE
        if self.conditions.nat_any() {
            idle = self.idle(env, Direction::In).map_or(idle, |esp| esp.min(idle));
        }
        let left = delay.saturating_sub(idle);
        if left.is_zero() {
            if self.exchanges.request.is_none() {
                log!(IKE, 1, "sending DPD request");
                self.check_liveness(env);
            }
            self.timers.set(Timer::Dpd, env.now + delay);
        } else {
            self.timers.set(Timer::Dpd, env.now + left);
        }
    }

    /// Asks the peer for a sign of life. With MOBIKE the side that decides about paths looks for changes on the way.
    pub(super) fn check_liveness(&mut self, env: &Env<'_>) {
        let pending = [TaskType::IkeDpd, TaskType::IkeMobike];
        if pending.into_iter().any(|kind| self.exchanges.is_queued(kind) || self.exchanges.is_active(kind)) {
            return;
        }
        if self.uses_mobike() && self.conditions.contains(Conditions::ORIGINAL_INITIATOR) {
            let nat = self.conditions.contains(Conditions::NAT_HERE);
            self.want(env, if nat { Wants::NATD } else { Wants::ANSWER });
        } else {
            self.queue(env, Box::new(tasks::DpdInitiator));
        }
    }

    fn fire_child(&mut self, env: &mut Env<'_>, id: UniqueId) {
        let Some(child) = self.child_mut(id) else { return };
        match std::mem::replace(&mut child.timer, ChildTimer::Off) {
            ChildTimer::Off => {}
            ChildTimer::Destroy(_) => self.destroy_child(env, id),
            ChildTimer::Inactivity(_) => self.check_inactivity(env, id),
        }
    }

    /// Starts watching a CHILD_SA for inactivity, if that is configured.
    pub(crate) fn arm_inactivity(&mut self, env: &Env<'_>, id: UniqueId) {
        if let Some(child) = self.child_mut(id) {
            let timeout = child.config.inactivity;
            if !timeout.is_zero() {
                child.timer = ChildTimer::Inactivity(env.now + timeout);
            }
        }
    }

    fn check_inactivity(&mut self, env: &mut Env<'_>, id: UniqueId) {
        let only = self.children.len() == 1;
        let close_ike = only && env.settings.inactivity_close_ike;
        let Some(child) = self.child_mut(id) else { return };
        if !matches!(child.state(), ChildSaState::Installed | ChildSaState::Rekeying) {
            return;
        }
        let timeout = child.config.inactivity;
        let idle = child_idle(child, env);
        if idle < timeout {
            child.timer = ChildTimer::Inactivity(env.now + timeout.saturating_sub(idle));
        } else if close_ike {
            log!(JOB, 1, "deleting IKE_SA after {} seconds of CHILD_SA inactivity", timeout.as_secs());
            self.terminate(env, false);
        } else {
            log!(JOB, 1, "deleting CHILD_SA after {} seconds of inactivity", timeout.as_secs());
            self.terminate_child(env, id);
        }
    }
}

/// Time since a CHILD_SA last carried a packet, or since it was installed.
fn child_idle(child: &ChildSa, env: &Env<'_>) -> Duration {
    let age = child.installed_at().map_or(Duration::ZERO, |at| env.now.saturating_since(at));
    let last =
        [Direction::In, Direction::Out].into_iter().filter_map(|direction| child.usage(env, direction)?.idle).min();
    last.map_or(age, |idle| idle.min(age))
}
