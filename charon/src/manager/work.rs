//! Working on IKE_SAs: from posted work to the check-in.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ike::ids::{IkeSpi, UniqueId};
use ike::wire::Header;
use ike::{Env, Input};
use strongswan::clock::{MonoTime, UnixTime};
use strongswan::crypto::SystemRng;
use strongswan::log::{set_context, silently};
use strongswan::processing::{Job, Outcome, Priority, monotonic};
use strongswan::{log, log::Context};

use super::half_open::HalfOpenEntry;
use super::outputs::Changes;
use super::resident::{Initiation, OnStart, Resident, Work, is_initial};
use super::table::Posted;
use super::{Manager, index::Indexes};
use crate::bus::DaemonAlert;
use crate::net::{Bracketed, Inbound};

/// What becomes of an IKE_SA after a piece of work.
pub(super) enum Fate {
    Stays,
    Ends,
}

impl Manager {
    /// Delivers a message to its IKE_SA, or makes one for it.
    pub fn process(self: &Arc<Self>, inbound: Inbound) {
        let Inbound { header, local, remote, data, half_open } = inbound;
        if is_initial(&header) {
            self.respond(header.initiator_spi, Input::Datagram { local, remote, data }, half_open);
            return;
        }
        let Some(spi) = header.receiver_spi() else {
            log!(MGR, 2, "message without SPI of ours from {}, ignored", Bracketed(remote));
            return;
        };
        self.post(spi.get(), Work::Input(Input::Datagram { local, remote, data }));
    }

    /// Brings an input to an IKE_SA. `false` if it does not exist.
    pub fn input(self: &Arc<Self>, id: UniqueId, input: Input) -> bool {
        self.bring(id, Work::Input(input))
    }

    /// Brings an input to an IKE_SA, with `first` called on the thread that works on it before it takes effect. `false` if it
    /// does not exist.
    pub fn input_watched(self: &Arc<Self>, id: UniqueId, input: Input, first: OnStart) -> bool {
        self.bring(id, Work::Watched { input, first })
    }

    /// Brings work to the IKE_SA of that number, whatever its SPI is.
    fn bring(self: &Arc<Self>, id: UniqueId, mut work: Work) -> bool {
        while let Some(key) = self.indexes.key(id) {
            match self.table.post(key, work) {
                // it got another SPI in between
                Posted::Gone(back) if self.indexes.key(id).is_some_and(|now| now != key) => work = back,
                posted => return self.posted(posted),
            }
        }
        false
    }

    /// Brings work to an IKE_SA: does it, or leaves it to whoever works on the IKE_SA. `false` if there is no such IKE_SA.
    pub(super) fn post(self: &Arc<Self>, key: u64, work: Work) -> bool {
        self.posted(self.table.post(key, work))
    }

    fn posted(self: &Arc<Self>, posted: Posted<Resident, Work>) -> bool {
        match posted {
            Posted::Yours(resident, work) => {
                self.work(resident, work);
                true
            }
            Posted::Queued => true,
            Posted::Repeated(work) => {
                if let Work::Input(Input::Datagram { data, .. }) = work
                    && let Ok((header, _)) = Header::parse(&data)
                    && header.is_request()
                {
                    log!(MGR, 1, "ignoring request with ID {}, already processing", header.message_id.0);
                }
                true
            }
            Posted::Full => {
                log!(MGR, 1, "ignoring message, too many are waiting for their IKE_SA");
                true
            }
            Posted::Gone(work) => {
                self.nobody_home(work);
                false
            }
        }
    }

    fn nobody_home(&self, work: Work) {
        match work {
            Work::Input(Input::Datagram { remote, .. }) => {
                log!(MGR, 2, "no IKE_SA for message from {}, ignored", Bracketed(remote));
                self.around.bus.alert(&DaemonAlert::InvalidIkeSpi);
            }
            Work::Initiate(Initiation { child, on_start, otherwise }) => otherwise(child, on_start),
            Work::Input(_) | Work::Watched { .. } | Work::Look(_) => {}
        }
    }

    /// Works on a checked-out IKE_SA until nothing waits for it.
    pub(super) fn work(self: &Arc<Self>, resident: Box<Resident>, work: Work) {
        let mut checkout = Checkout { manager: self, resident: Some(resident), before: None };
        checkout.before = set_context(checkout.resident.as_ref().map(|r| r.context.clone()));
        let mut next = Some(work);
        while let (Some(work), Some(resident)) = (next.take(), &mut checkout.resident) {
            match self.perform_for(resident, work) {
                Fate::Ends => {
                    checkout.destroy();
                    return;
                }
                Fate::Stays => next = checkout.check_in(),
            }
        }
    }

    /// Carries out outputs that an IKE_SA has without having been given work, and checks it in.
    pub(super) fn settle(self: &Arc<Self>, resident: Box<Resident>) {
        self.work(resident, Work::Look(Box::new(|_| ())));
    }

    /// Does a piece of work, in silence if somebody unknown has made enough of a noise.
    fn perform_for(self: &Arc<Self>, resident: &mut Resident, work: Work) -> Fate {
        let stranger = resident.half_open.as_ref().and_then(HalfOpenEntry::stranger);
        let Some(ip) = stranger else { return self.perform(resident, work) };
        let fate = if self.strangers.tell(ip, monotonic()) {
            self.perform(resident, work)
        } else {
            let fate = silently(|| self.perform(resident, work));
            let sa = &resident.sa;
            // nobody gets in unnoticed
            if let Some((me, other)) = sa.identities() {
                let (local, remote) = (sa.local().ip(), sa.remote().ip());
                log!(
                    IKE,
                    0,
                    "IKE_SA {}[{}] established between {local}[{me}]...{remote}[{other}]",
                    sa.name(),
                    sa.unique_id()
                );
            }
            fate
        };
        if matches!(fate, Fate::Ends) && resident.sa.identities().is_none() {
            self.strangers.failed(ip, monotonic());
        }
        fate
    }

    fn perform(self: &Arc<Self>, resident: &mut Resident, work: Work) -> Fate {
        let now = monotonic();
        match work {
            Work::Input(Input::Timeout) if resident.sa.next_timeout().is_none_or(|at| at > now) => {
                // What happened since the timer was due has moved it.
            }
            Work::Input(input) => {
                if let Input::Datagram { local, remote, data } = &input {
                    log!(
                        NET,
                        1,
                        "received packet: from {} to {} ({} bytes)",
                        Bracketed(*remote),
                        Bracketed(*local),
                        data.len()
                    );
                }
                self.handle(resident, input, now);
            }
            Work::Watched { input, first } => {
                first(&resident.sa);
                self.handle(resident, input, now);
            }
            Work::Initiate(Initiation { child, on_start, otherwise }) => {
                if resident.sa.is_reusable() {
                    if let Some(first) = on_start {
                        first(&resident.sa);
                    }
                    self.handle(resident, Input::Initiate(child), now);
                } else {
                    otherwise(child, on_start);
                }
            }
            Work::Look(look) => look(&resident.sa),
        }
        // before its first message under a new SPI can be answered
        self.follow_spi(resident);
        let mut changes = Changes::default();
        let fate = self.carry_out(resident, &mut changes);
        if matches!(fate, Fate::Stays) {
            resident.update(changes.children, &self.around.half_open);
            self.set_timer(resident);
        }
        fate
    }

    /// An initiator that starts over has a new SPI, by which answers and others have to find it.
    fn follow_spi(&self, resident: &mut Resident) {
        let Some(spi) = resident.sa.id().local() else { return };
        let (old, new) = (resident.registration.key(), key_of(spi));
        if old == new {
            return;
        }
        if !self.table.reserve(new) {
            // random bits enough to make this a broken generator
            log!(MGR, 0, "SPI {spi} of an IKE_SA that starts over is in use");
            return;
        }
        resident.registration.set_key(new);
        for work in self.table.remove(old) {
            // into the mailbox of what is checked out
            let _queued = self.table.post(new, work);
        }
    }

    pub(super) fn handle(&self, resident: &mut Resident, input: Input, now: MonoTime) {
        let settings = self.around.ike_settings.load();
        let mut env = Env {
            now,
            wall: wall_clock(),
            rng: &mut SystemRng,
            settings: &settings,
            config: &*self.around.config,
            credentials: &self.around.credentials,
            kernel: &*self.around.kernel,
            ids: &*self.around.numbers,
            peers: &*self.indexes,
            pools: &*self.around.pools,
            handlers: &*self.around.handlers,
        };
        resident.sa.handle(input, &mut env);
    }

    /// Brings the IKE_SA's timer in line with its next deadline.
    fn set_timer(self: &Arc<Self>, resident: &mut Resident) {
        let scheduler = self.around.processor.scheduler();
        let next = resident.sa.next_timeout();
        match (resident.timer, next) {
            (Some((_, at)), Some(next)) if at == next => {}
            (Some((timer, _)), Some(next)) if scheduler.reschedule(timer, next) => {
                resident.timer = Some((timer, next));
            }
            (_, Some(next)) => {
                let job = TimeoutJob { manager: Arc::clone(self), id: resident.sa.unique_id() };
                resident.timer = scheduler.schedule(next, Box::new(job)).map(|timer| (timer, next));
            }
            (Some((timer, _)), None) => {
                scheduler.cancel(timer);
                resident.timer = None;
            }
            (None, None) => {}
        }
    }
}

pub(super) fn wall_clock() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// A deadline of an IKE_SA has come.
struct TimeoutJob {
    manager: Arc<Manager>,
    id: UniqueId,
}

impl Job for TimeoutJob {
    fn priority(&self) -> Priority {
        Priority::High
    }

    fn execute(self: Box<Self>) -> Outcome {
        self.manager.input(self.id, Input::Timeout);
        Outcome::Done
    }
}

/// A checked-out IKE_SA. If a panic drops it the IKE_SA is lost, and nothing else.
struct Checkout<'m> {
    manager: &'m Arc<Manager>,
    resident: Option<Box<Resident>>,
    before: Option<Context>,
}

impl Checkout<'_> {
    /// Gives the IKE_SA back, or goes on with what arrived meanwhile.
    fn check_in(&mut self) -> Option<Work> {
        let resident = self.resident.take()?;
        let (resident, work) = self.manager.table.check_in(resident.registration.key(), resident)?;
        set_context(Some(resident.context.clone()));
        self.resident = Some(resident);
        Some(work)
    }

    /// Removes the IKE_SA.
    fn destroy(&mut self) {
        let Some(resident) = self.resident.take() else { return };
        self.manager.forget(resident);
    }
}

impl Drop for Checkout<'_> {
    fn drop(&mut self) {
        if let Some(resident) = self.resident.take() {
            log!(MGR, 0, "IKE_SA {}[{}] lost to a panic", resident.context.name, resident.context.id);
            // Its state cannot be trusted any more, but what it has installed must not outlive it.
            for sa in resident.registration.sas() {
                let _gone_already = self.manager.around.kernel.delete_sa(&sa);
            }
            self.manager.forget(resident);
        }
        set_context(self.before.take());
    }
}

impl Manager {
    /// Drops an IKE_SA that is checked out, and tells whoever waits for it.
    fn forget(&self, resident: Box<Resident>) {
        let (id, key) = (resident.sa.unique_id(), resident.registration.key());
        if let Some((timer, _)) = resident.timer {
            self.around.processor.scheduler().cancel(timer);
        }
        let undone = self.table.remove(key);
        drop(resident);
        self.count.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        self.around.bus.destroyed(id);
        for work in undone {
            // A message that came too late is no alert.
            if !matches!(work, Work::Input(_)) {
                self.nobody_home(work);
            }
        }
    }
}

impl ike::Peers for Indexes {
    fn duplicates(
        &self,
        this: UniqueId,
        me: &strongswan::identity::Identity,
        other: &strongswan::identity::Identity,
        ipv6: bool,
    ) -> Vec<ike::Duplicate> {
        Self::duplicates(self, this, me, other, ipv6)
    }

    fn closing(
        &self,
        this: UniqueId,
        me: &strongswan::identity::Identity,
        other: &strongswan::identity::Identity,
        ipv6: bool,
    ) -> Vec<ike::Duplicate> {
        // first this: of two that are closed at once at least one sees the other one go
        Self::closing(self, this, me, other, ipv6);
        Self::duplicates(self, this, me, other, ipv6)
    }
}

/// The key of an IKE_SA with this local SPI.
pub(super) fn key_of(spi: IkeSpi) -> u64 {
    spi.get()
}
