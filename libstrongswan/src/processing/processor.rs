//! The pool of workers.
//!
//! All queues are under one short lock. Waking a thread costs more than most of what is done under it, so at most one worker is
//! on its way at any time: whoever queues a job while another worker is about to look wakes nobody, and a worker that
//! finds a job and sees more wakes the next. A worker that has finished looks again before it sleeps. The one that fell
//! asleep last is woken first: what it needs is still in its caches, and the others stay out of the way.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::job::{Job, Outcome, PerPriority};
use super::queue::{Next, RunQueue};
use super::scheduler::{Scheduler, monotonic};
use super::{panics, thread};
use crate::clock::MonoTime;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::thread::JoinHandle;
use crate::sync::{Arc, Condvar, Mutex, MutexGuard};

/// Settings of the pool.
#[derive(Debug, Clone, Copy)]
pub struct ProcessorSettings {
    /// Number of workers.
    pub threads: usize,
    /// Workers kept for a class and those above it.
    pub reserved: PerPriority<usize>,
}

/// What the pool is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessorStats {
    /// Number of workers.
    pub total: usize,
    /// Workers without a job.
    pub idle: usize,
    /// Workers by class of their job.
    pub active: PerPriority<usize>,
    /// Queued jobs.
    pub queued: PerPriority<usize>,
    /// Jobs the scheduler holds.
    pub scheduled: usize,
}

struct State {
    queue: RunQueue,
    /// Workers that exist.
    total: usize,
    /// Workers asleep and not notified, in the order in which they fell asleep.
    sleeping: Vec<Arc<Sleeper>>,
    /// Whether a worker was notified that has not looked at the queues yet.
    waking: bool,
    accepting: bool,
    stopping: bool,
}

/// Where one worker sleeps.
#[derive(Default)]
struct Sleeper {
    wake: Condvar,
    /// Set under the lock of [`State`].
    woken: AtomicBool,
}

struct Shared {
    state: Mutex<State>,
    /// Waited on by `drain`.
    quiet: Condvar,
    scheduler: Scheduler,
}

/// Runs jobs on a pool of workers.
pub struct Processor {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Default for Processor {
    fn default() -> Self {
        let state = State {
            queue: RunQueue::default(),
            total: 0,
            sleeping: Vec::new(),
            waking: false,
            accepting: true,
            stopping: false,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                quiet: Condvar::new(),
                scheduler: Scheduler::default(),
            }),
            threads: Mutex::new(Vec::new()),
        }
    }
}

impl Processor {
    /// A pool without workers: jobs queue up until [`start`](Self::start).
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts the scheduler and the workers.
    ///
    /// # Errors
    /// If the system has no threads left; those already started stay until [`shutdown`](Self::shutdown).
    pub fn start(&self, settings: ProcessorSettings) -> std::io::Result<()> {
        crate::log!(JOB, 1, "spawning {} worker threads", settings.threads);
        let mut threads = self.threads.lock();
        {
            let mut state = self.shared.state.lock();
            let waiting = state.queue.clear();
            state.queue = RunQueue::new(settings.reserved);
            for mut queue in [waiting.critical, waiting.high, waiting.medium, waiting.low] {
                queue.drain(..).for_each(|job| state.queue.push(job));
            }
        }
        for _ in 0..settings.threads {
            let shared = Arc::clone(&self.shared);
            // Counted before it runs, so that reservations see the whole pool from the first job on.
            shared.state.lock().total += 1;
            match thread::spawn("worker", move || shared.work()) {
                Ok(handle) => threads.push(handle),
                Err(error) => {
                    self.shared.state.lock().total -= 1;
                    return Err(error);
                }
            }
        }
        let shared = Arc::clone(&self.shared);
        threads.push(thread::spawn("scheduler", move || shared.scheduler.run(|due| shared.queue_all(due)))?);
        Ok(())
    }

    /// Queues a job. After [`shutdown`](Self::shutdown) it is dropped.
    pub fn queue(&self, job: Box<dyn Job>) {
        self.shared.queue(job);
    }

    /// Queues several jobs with one look at the pool, emptying `jobs`.
    pub fn queue_all(&self, jobs: &mut Vec<Box<dyn Job>>) {
        self.shared.queue_all(jobs);
    }

    /// Runs a job as soon as possible: before others of its class if a worker is idle, else on the calling thread.
    pub fn execute(&self, job: Box<dyn Job>) {
        let mut state = self.shared.state.lock();
        if state.accepting && state.queue.total_working() < state.total {
            state.queue.push_front(job);
            self.shared.wake(&mut state);
            return;
        }
        drop(state);
        self.shared.run(job);
    }

    /// Holds jobs for later.
    pub fn scheduler(&self) -> &Scheduler {
        &self.shared.scheduler
    }

    /// Queues `job` at `at`.
    pub fn schedule(&self, at: MonoTime, job: Box<dyn Job>) {
        let _timer = self.shared.scheduler.schedule(at, job);
    }

    /// Queues `job` after `delay`.
    pub fn schedule_after(&self, delay: Duration, job: Box<dyn Job>) {
        let _timer = self.shared.scheduler.schedule_after(delay, job);
    }

    /// Jobs that are queued, not running, over all classes.
    pub fn load(&self) -> usize {
        self.shared.state.lock().queue.queued()
    }

    /// What the pool is doing.
    pub fn stats(&self) -> ProcessorStats {
        let scheduled = self.shared.scheduler.len();
        let state = self.shared.state.lock();
        let working = state.queue.total_working();
        ProcessorStats {
            total: state.total,
            idle: state.total.saturating_sub(working),
            active: state.queue.working(),
            queued: state.queue.load(),
            scheduled,
        }
    }

    /// Waits until nothing is queued and no worker works.
    pub fn drain(&self) {
        let mut state = self.shared.state.lock();
        while state.total > 0 && (state.queue.queued() > 0 || state.queue.total_working() > 0) {
            self.shared.quiet.wait(&mut state);
        }
    }

    /// Lets running jobs end, drops all others, and ends the workers.
    pub fn shutdown(&self) {
        self.shared.scheduler.stop();
        let dropped = {
            let mut state = self.shared.state.lock();
            state.stopping = true;
            state.accepting = false;
            for sleeper in state.sleeping.drain(..) {
                sleeper.wake();
            }
            state.queue.clear()
        };
        drop(dropped);
        let threads = std::mem::take(&mut *self.threads.lock());
        for handle in threads {
            // Shut down from one of its own jobs: that worker ends when the job does.
            if handle.thread().id() == crate::sync::thread::current().id() {
                continue;
            }
            // Workers catch the panics of their jobs; one that died nevertheless was logged by the panic hook.
            let _died = handle.join();
        }
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Sleeper {
    fn wake(&self) {
        self.woken.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }
}

impl Shared {
    fn queue(&self, job: Box<dyn Job>) {
        let mut state = self.state.lock();
        if state.accepting {
            state.queue.push(job);
            self.wake(&mut state);
        } else {
            drop(state);
            drop(job);
        }
    }

    fn queue_all(&self, jobs: &mut Vec<Box<dyn Job>>) {
        if jobs.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        if state.accepting {
            jobs.drain(..).for_each(|job| state.queue.push(job));
            self.wake(&mut state);
        } else {
            drop(state);
            jobs.clear();
        }
    }

    /// Wakes a worker, unless one is on its way already.
    fn wake(&self, state: &mut State) {
        if !state.waking
            && let Some(sleeper) = state.sleeping.pop()
        {
            state.waking = true;
            sleeper.wake();
        }
    }

    /// A worker's life.
    fn work(&self) {
        let mut state = self.state.lock();
        let mut delayed = None;
        let sleeper = Arc::<Sleeper>::default();
        while !state.stopping {
            let total = state.total;
            match state.queue.pop(total) {
                Next::Job(job, priority) => {
                    if state.queue.queued() > 0 {
                        self.wake(&mut state);
                    }
                    drop(state);
                    self.run(job);
                    state = self.state.lock();
                    state.queue.done(priority);
                    if state.queue.queued() == 0 && state.queue.total_working() == 0 {
                        self.quiet.notify_all();
                    }
                    delayed = None;
                    continue;
                }
                Next::Delayed { class, idle, reserved } if delayed != Some(class) => {
                    delayed = Some(class);
                    drop(state);
                    crate::log!(
                        JOB,
                        2,
                        "delaying {class} priority jobs: {idle} threads idle, but {reserved} reserved for higher priorities"
                    );
                    state = self.state.lock();
                    continue;
                }
                Next::Delayed { .. } | Next::Empty => {}
            }
            Self::sleep(&mut state, &sleeper);
        }
        state.total -= 1;
        self.quiet.notify_all();
    }

    fn sleep(state: &mut MutexGuard<'_, State>, sleeper: &Arc<Sleeper>) {
        state.sleeping.push(Arc::clone(sleeper));
        while !sleeper.woken.swap(false, Ordering::Relaxed) {
            sleeper.wake.wait(state);
        }
        state.waking = false;
    }

    fn run(&self, job: Box<dyn Job>) {
        match catch_unwind(AssertUnwindSafe(|| job.execute())) {
            Ok(Outcome::Done) => {}
            Ok(Outcome::Again(job)) => self.queue(job),
            Ok(Outcome::After(delay, job)) => drop(self.scheduler.schedule(monotonic() + delay, job)),
            Ok(Outcome::At(at, job)) => drop(self.scheduler.schedule(at, job)),
            Err(payload) => crate::log!(JOB, 0, "job lost to a panic: {}", panics::message(&*payload)),
        }
    }
}

#[cfg(test)]
mod tests;
