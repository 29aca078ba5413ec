//! Jobs for later.
//!
//! The scheduler holds jobs until their time has come and then delivers them, all that are due at once. It waits in
//! [`Scheduler::run`], on a thread the processor gives it, and is only woken by a timer that is earlier than all others.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::job::Job;
pub use super::timers::TimerId;
use super::timers::Timers;
use crate::clock::MonoTime;
use crate::sync::{Condvar, Mutex, wait_for};

/// Longest uninterrupted wait. Only a guard against clocks that do not count while the machine sleeps.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Reads the monotonic clock. Its origin is the first call in this process.
pub fn monotonic() -> MonoTime {
    static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    // One second ahead, so that no time is the clock's origin.
    MonoTime::from_duration(ORIGIN.elapsed() + Duration::from_secs(1))
}

struct State {
    timers: Timers<Box<dyn Job>>,
    /// The deadline `run` waits for; `None` while it does not wait.
    waiting_for: Option<MonoTime>,
    stopped: bool,
}

/// Holds jobs until they are due.
pub struct Scheduler {
    state: Mutex<State>,
    earlier: Condvar,
}

impl Default for Scheduler {
    fn default() -> Self {
        Self {
            state: Mutex::new(State { timers: Timers::new(), waiting_for: None, stopped: false }),
            earlier: Condvar::new(),
        }
    }
}

impl Scheduler {
    /// Keeps `job` until `at`. `None`, and the job is dropped, if the scheduler has stopped.
    pub fn schedule(&self, at: MonoTime, job: Box<dyn Job>) -> Option<TimerId> {
        let mut state = self.state.lock();
        if state.stopped {
            drop(state);
            return None;
        }
        let id = state.timers.insert(at, job);
        self.wake_if_earlier(&mut state, at);
        drop(state);
        id.ok()
    }

    /// Keeps `job` for `delay`.
    pub fn schedule_after(&self, delay: Duration, job: Box<dyn Job>) -> Option<TimerId> {
        self.schedule(monotonic() + delay, job)
    }

    /// Takes a pending job back; `None` if it was delivered or cancelled before.
    pub fn cancel(&self, id: TimerId) -> Option<Box<dyn Job>> {
        self.state.lock().timers.cancel(id)
    }

    /// Gives a pending job another time; `false` if it was delivered or cancelled before.
    pub fn reschedule(&self, id: TimerId, at: MonoTime) -> bool {
        let mut state = self.state.lock();
        let pending = state.timers.reschedule(id, at);
        if pending {
            self.wake_if_earlier(&mut state, at);
        }
        pending
    }

    /// Number of jobs that wait.
    pub fn len(&self) -> usize {
        self.state.lock().timers.len()
    }

    /// Whether no job waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Delivers jobs as they become due, until [`stop`](Self::stop) is called.
    pub(super) fn run(&self, mut deliver: impl FnMut(&mut Vec<Box<dyn Job>>)) {
        let mut due = Vec::new();
        let mut state = self.state.lock();
        while !state.stopped {
            let now = monotonic();
            while let Some(job) = state.timers.pop_due(now) {
                due.push(job);
            }
            if due.is_empty() {
                let deadline = state.timers.earliest().map_or(now + LONGEST_WAIT, |at| at.min(now + LONGEST_WAIT));
                state.waiting_for = Some(deadline);
                wait_for(&self.earlier, &mut state, deadline.saturating_since(now));
                state.waiting_for = None;
            } else {
                drop(state);
                deliver(&mut due);
                due.clear();
                state = self.state.lock();
            }
        }
    }

    /// Ends [`run`](Self::run) and drops what waits.
    pub(super) fn stop(&self) {
        let mut state = self.state.lock();
        state.stopped = true;
        let dropped = state.timers.clear();
        self.earlier.notify_all();
        drop(state);
        // A job's drop may take other locks.
        drop(dropped);
    }

    fn wake_if_earlier(&self, state: &mut State, at: MonoTime) {
        if state.waiting_for.is_some_and(|deadline| at < deadline) {
            // Once is enough: the waiter is on its way.
            state.waiting_for = None;
            self.earlier.notify_one();
        }
    }
}
