//! The life of an IKE_SA as a whole: initiation, establishment, closing, and starting over.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use strongswan::log;

use super::{ChildSa, ChildSaState, Conditions, Extensions, Handshake, IkeSa, IkeSaState, Phase, Timer};
use crate::env::Env;
use crate::input::{DuplicateAction, InitiateChild};
use crate::output::{Alert, Event, Output};
use crate::task::TaskType;
use crate::v2::{AuthVerified, Failure, Queued, explain, tasks};

/// A duplicate that is probably being reauthenticated gets this long to be closed by the peer.
const DUPLICATE_GRACE: Duration = Duration::from_secs(10);
/// Failed rekeyings are tried again after this long, minus a random part of up to [`RETRY_JITTER`] seconds.
const RETRY_INTERVAL: Duration = Duration::from_secs(15);
const RETRY_JITTER: u64 = 10;

/// When to try again what failed for the moment.
pub(crate) fn retry_delay(env: &mut Env<'_>) -> Duration {
    RETRY_INTERVAL.saturating_sub(Duration::from_secs(env.rng.below(RETRY_JITTER)))
}

impl IkeSa {
    /// Changes the state; observers hear of it before it happens.
    pub(crate) fn set_state(&mut self, new: IkeSaState) {
        let old = self.state;
        if old == new {
            return;
        }
        debug_assert!(old.may_become(new), "IKE_SA state {old} => {new}");
        log!(IKE, 2, "IKE_SA {} state change: {old} => {new}", self.label());
        self.event(Event::IkeStateChange { old, new });
        self.state = new;
    }

    /// Establishes the IKE_SA and a CHILD_SA, as far as they are not.
    pub(super) fn initiate(&mut self, env: &mut Env<'_>, child: Option<InitiateChild>) {
        if let Some(child) = child {
            self.queue(env, Box::new(tasks::ChildCreateInitiator::new(child)));
        }
        if self.state != IkeSaState::Created || self.exchanges.is_queued(TaskType::IkeInit) {
            return;
        }
        self.queue_initial(env);
        if self.remote.ip().is_unspecified() {
            self.resolve();
        }
    }

    fn queue_initial(&mut self, env: &Env<'_>) {
        for task in tasks::initial() {
            self.queue(env, task);
        }
    }

    pub(super) fn resolve(&mut self) {
        if let Some(config) = self.ike_config() {
            let config = self.redirected_config(config);
            self.push(Output::Resolve(config));
        }
    }

    /// The peer's name was resolved, or not.
    pub(super) fn resolved(&mut self, env: &mut Env<'_>, hosts: Option<(SocketAddr, SocketAddr)>) {
        if self.state != IkeSaState::Created {
            return;
        }
        let known = self.handshake().and_then(|handshake| handshake.hosts);
        if let Some((local, remote)) = hosts.or(known) {
            self.local = local;
            self.remote = remote;
            return;
        }
        let config = self.ike_config().map(|config| self.redirected_config(config));
        let names = config.as_ref().map(|config| config.remote_addrs.as_slice()).unwrap_or_default();
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let names = if names.is_empty() { "%any".to_owned() } else { names.join(", ") };
        let retry = env.settings.retry_initiate_interval;
        if retry.is_zero() {
            log!(IKE, 1, "unable to resolve {names}, initiate aborted");
            explain::init::unresolved(self, env);
            self.alert(Alert::PeerAddrFailed);
            self.close(env, Failure::Destroy);
        } else {
            log!(IKE, 1, "unable to resolve {names}, retrying in {}s", retry.as_secs());
            self.timers.set(Timer::Resolve, env.now + retry);
        }
    }

    /// Both sides are authenticated: the IKE_SA is up.
    pub(crate) fn establish(&mut self, env: &mut Env<'_>, proof: AuthVerified) {
        self.phase = Phase::Authenticated(proof);
        self.set_state(IkeSaState::Established);
        log!(
            IKE,
            0,
            "IKE_SA {} established between {}[{}]...{}[{}]",
            self.label(),
            self.local.ip(),
            IdText(self.local_id.as_ref()),
            self.remote.ip(),
            IdText(self.remote_id.as_ref())
        );
        self.schedule_lifetimes(env);
        let ike = Arc::new(self.summary());
        self.event(Event::IkeUpDown { up: true, ike });
    }

    /// Starts the timers of an established IKE_SA (spec §1.1).
    pub(crate) fn schedule_lifetimes(&mut self, env: &mut Env<'_>) {
        self.established_at = Some(env.now);
        self.timers.stop(Timer::HalfOpen);
        let Some(config) = self.config().cloned() else { return };
        let times = config.lifetimes;
        if !times.rekey.is_zero() {
            let rekey = times.jittered(times.rekey, env.rng);
            self.timers.set_earlier(Timer::Rekey, env.now + rekey);
            log!(IKE, 1, "scheduling rekeying in {}s", rekey.as_secs());
        }
        if !times.reauth.is_zero() {
            let reauth = times.jittered(times.reauth, env.rng);
            if let Some(earlier) = self.timers.get(Timer::Reauth).filter(|at| *at <= env.now + reauth) {
                let left = earlier.saturating_since(env.now).as_secs();
                log!(IKE, 1, "reauthentication already scheduled in {left}s");
            } else {
                self.timers.set(Timer::Reauth, env.now + reauth);
                log!(IKE, 1, "scheduling reauthentication in {}s", reauth.as_secs());
            }
        }
        let soft = [Timer::Rekey, Timer::Reauth].into_iter().filter_map(|timer| self.timers.get(timer)).min();
        if let Some(soft) = soft {
            let hard = soft + times.over;
            self.timers.set_earlier(Timer::Lifetime, hard);
            log!(IKE, 1, "maximum IKE_SA lifetime {}s", hard.saturating_since(env.now).as_secs());
        }
        if !config.dpd_delay.is_zero() {
            self.last_inbound = env.now;
            self.timers.set(Timer::Dpd, env.now + config.dpd_delay);
        }
    }

    /// Closes the IKE_SA because a task said so.
    pub(crate) fn close(&mut self, env: &mut Env<'_>, failure: Failure) {
        match failure {
            Failure::Failed => self.destroy_with_event(env),
            Failure::Destroy => self.destroy(env),
        }
    }

    /// Tells observers that the IKE_SA and its CHILD_SAs are down, and ends.
    pub(crate) fn destroy_with_event(&mut self, env: &mut Env<'_>) {
        if !self.finished {
            self.report_down();
            self.destroy(env);
        }
    }

    /// Tells observers that the IKE_SA and its CHILD_SAs are down.
    pub(crate) fn report_down(&mut self) {
        let ike = Arc::new(self.summary());
        self.event(Event::IkeUpDown { up: false, ike: Arc::clone(&ike) });
        let gone = |child: &&ChildSa| match child.state() {
            ChildSaState::Rekeyed | ChildSaState::Deleted => false,
            ChildSaState::Deleting => child.outbound_installed(),
            _ => true,
        };
        let children: Vec<_> = self.children.iter().filter(gone).map(ChildSa::snapshot).collect();
        for child in children {
            self.event(Event::ChildUpDown { up: false, ike: Arc::clone(&ike), child });
        }
    }

    /// Ends: everything is given back and the caller is told to drop the IKE_SA.
    pub(crate) fn destroy(&mut self, env: &mut Env<'_>) {
        if self.finished {
            return;
        }
        self.finished = true;
        self.set_state(IkeSaState::Destroying);
        let exchanges = std::mem::take(&mut self.exchanges);
        let queued = exchanges.queued.into_iter().map(|queued| queued.task);
        for mut task in queued.chain(exchanges.active).chain(exchanges.passive) {
            task.abandon(self, env);
        }
        for child in std::mem::take(&mut self.children) {
            self.uninstall(env, child);
        }
        // after the CHILD_SAs, which use the addresses
        self.assigned = None;
        self.push(Output::Destroy);
    }

    /// Forgets everything the peer said: IKE_SA_INIT starts again.
    pub(crate) fn forget_peer(&mut self) {
        self.id.responder = None;
        self.keys = None;
        self.algorithms = None;
        self.extensions = Extensions::empty();
        self.conditions -=
            Conditions::NAT_HERE | Conditions::NAT_THERE | Conditions::NAT_FAKE | Conditions::CERTREQ_SEEN;
        self.conditions -= Conditions::PPK;
        self.timers.stop(Timer::Keepalive);
        self.phase = Phase::Handshake(Box::<Handshake>::default());
        self.set_state(IkeSaState::Created);
    }

    /// Closes the IKE_SA because someone asked for it.
    pub(super) fn terminate(&mut self, env: &mut Env<'_>, force: bool) {
        // whoever closes an IKE_SA does not want another one in its place
        self.conditions -= Conditions::REAUTHENTICATING;
        match self.state {
            IkeSaState::Established | IkeSaState::Rekeying | IkeSaState::Rekeyed if force => self.shutdown(env),
            IkeSaState::Established | IkeSaState::Rekeying | IkeSaState::Rekeyed => self.queue_delete(env, false),
            IkeSaState::Created | IkeSaState::Passive => {
                log!(IKE, 1, "deleting unestablished IKE_SA");
                self.destroy(env);
            }
            IkeSaState::Connecting | IkeSaState::Deleting | IkeSaState::Destroying => {
                log!(IKE, 1, "destroying IKE_SA in state {} without notification", self.state);
                self.destroy_with_event(env);
            }
        }
    }

    /// Closes the IKE_SA at a later time.
    pub(crate) fn delete_at(&mut self, at: strongswan::clock::MonoTime) {
        self.timers.set_earlier(Timer::Delete, at);
    }

    /// An initiated CHILD_SA did not come to be; whoever waits for it is told.
    pub(crate) fn report_child_failed(&mut self, config: &Arc<crate::config::ChildConfig>) {
        let child = Arc::clone(&config.name);
        self.event(Event::ChildFailed { child });
    }

    /// Queues the deletion of the IKE_SA, once.
    pub(crate) fn queue_delete(&mut self, env: &Env<'_>, expired: bool) {
        if !self.exchanges.is_delete_queued() {
            if expired {
                self.alert(Alert::IkeSaExpired);
            }
            self.queue(env, Box::new(tasks::IkeDeleteInitiator::default()));
        }
    }

    /// Sends a DELETE and ends at once, whether or not the peer answers.
    pub(super) fn shutdown(&mut self, env: &mut Env<'_>) {
        let notify = matches!(self.state, IkeSaState::Established | IkeSaState::Rekeying | IkeSaState::Rekeyed);
        let silent = self.state == IkeSaState::Rekeyed;
        if notify {
            // whatever is in the air will not be answered any more; its message ID is used
            if self.exchanges.request.take().is_some() {
                self.exchanges.next_id = self.exchanges.next_id.next();
            }
            for mut task in std::mem::take(&mut self.exchanges.active) {
                task.abandon(self, env);
            }
            if self.state == IkeSaState::Rekeying {
                self.set_state(IkeSaState::Established);
            }
            self.exchanges.queued.retain(|queued| queued.task.kind() != TaskType::IkeDelete);
            self.exchanges.active.push(Box::new(tasks::IkeDeleteInitiator::default()));
            self.start_exchange(env);
        }
        if silent { self.destroy(env) } else { self.destroy_with_event(env) }
    }

    /// A newer IKE_SA with the same peer replaces this one.
    pub(super) fn replaced(&mut self, env: &mut Env<'_>, action: DuplicateAction) {
        let peer = self.peer_id().cloned();
        let peer = IdText(peer.as_ref());
        if !matches!(action, DuplicateAction::Superseded | DuplicateAction::NotSuperseded) {
            self.alert(Alert::UniqueReplace);
        }
        match action {
            DuplicateAction::Superseded => {
                // its successor is there: nothing has to be restored when it is gone
                self.conditions -= Conditions::REAUTHENTICATING;
                self.terminate(env, false);
            }
            DuplicateAction::NotSuperseded => self.reauthentication_failed(env),
            DuplicateAction::Destroy => {
                log!(IKE, 1, "destroying duplicate IKE_SA for peer '{peer}', received INITIAL_CONTACT");
                self.destroy_with_event(env);
            }
            DuplicateAction::Delete => {
                log!(IKE, 1, "deleting duplicate IKE_SA for peer '{peer}' due to uniqueness policy");
                self.terminate(env, false);
            }
            DuplicateAction::DeleteLater => {
                log!(
                    IKE,
                    1,
                    "schedule delete of duplicate IKE_SA for peer '{peer}' due to uniqueness policy and suspected \
                     reauthentication"
                );
                self.timers.set_earlier(Timer::Delete, env.now + DUPLICATE_GRACE);
            }
        }
    }

    /// A request was never answered (spec §2.5).
    pub(crate) fn peer_unresponsive(&mut self, env: &mut Env<'_>) {
        match self.state {
            IkeSaState::Connecting => {
                self.alert(Alert::PeerInitUnreachable);
                let tries = self.config().map_or(1, |config| config.keyingtries);
                self.keying_tries = self.keying_tries.saturating_add(1);
                if tries == 0 || tries > self.keying_tries {
                    let next = self.keying_tries.saturating_add(1);
                    log!(IKE, 1, "peer not responding, trying again ({next}/{tries})");
                    return self.try_again(env);
                }
                log!(IKE, 1, "establishing IKE_SA failed, peer not responding");
                explain::init::silence(self, env);
                return self.destroy(env);
            }
            IkeSaState::Deleting => {
                log!(IKE, 1, "proper IKE_SA delete failed, peer not responding");
                if self.conditions.contains(Conditions::REAUTHENTICATING) {
                    log!(IKE, 1, "delete during reauthentication failed, trying to reestablish IKE_SA anyway");
                    self.reestablish(env);
                }
            }
            IkeSaState::Rekeying => {
                log!(IKE, 1, "rekeying IKE_SA failed, peer not responding");
                self.reestablish(env);
            }
            IkeSaState::Rekeyed => return self.destroy(env),
            _ => self.reestablish(env),
        }
        self.destroy_with_event(env);
    }

    /// Starts the initial exchange again under a new SPI, with the configured peer.
    pub(super) fn try_again(&mut self, env: &mut Env<'_>) {
        self.forget_redirect();
        let (local, remote) = (self.local.ip(), self.remote.ip());
        self.start_over(env);
        self.look_again(env, local, remote);
        self.resolve();
    }

    /// Prepares to start again under a new SPI with whom [`Self::resolve`] finds.
    pub(super) fn start_over(&mut self, env: &mut Env<'_>) {
        self.id.initiator = env.ids.ike_spi(env.rng, Some(self.id.initiator));
        let mut active = std::mem::take(&mut self.exchanges.active);
        active.iter_mut().for_each(|task| task.reset(self, env));
        let keep = active.into_iter().filter(|task| task.kind() == TaskType::ChildCreate);
        let keep: Vec<_> = keep.collect();
        self.exchanges.request = None;
        self.exchanges.next_id = crate::wire::MessageId::ZERO;
        self.exchanges.expected_id = crate::wire::MessageId::ZERO;
        self.forget_peer();
        // what was under way goes first, as before
        let keep = keep.into_iter().map(|task| Queued { task, due: env.now });
        self.exchanges.queued.splice(..0, keep);
        self.queue_initial(env);
        self.timers.stop(Timer::Retransmit);
    }

    /// Forgets the addresses of both ends, but for the case that the configuration leads to none.
    pub(super) fn look_again(&mut self, env: &Env<'_>, local: IpAddr, remote: IpAddr) {
        self.local = SocketAddr::from(([0, 0, 0, 0], 0));
        self.remote = self.local;
        let Some(config) = self.ike_config().filter(|_| !remote.is_unspecified()) else { return };
        let local_port = if config.local_port == 0 { env.settings.port } else { config.local_port };
        let hosts = (SocketAddr::new(local, local_port), SocketAddr::new(remote, config.remote_port));
        if let Some(handshake) = self.handshake() {
            handshake.hosts = Some(hosts);
        }
    }
}

/// An identity in log notation, `%any` while unknown.
pub(crate) struct IdText<'a>(pub(crate) Option<&'a strongswan::identity::Identity>);

impl std::fmt::Display for IdText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(id) => id.fmt(f),
            None => f.write_str("%any"),
        }
    }
}
