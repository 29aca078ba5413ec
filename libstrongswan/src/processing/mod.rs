//! Work that is not done on the spot: jobs, the pool of workers that runs them, and timers that queue them later.
//!
//! A [`Job`] is a short piece of work that looks up what it needs when it runs and holds nothing while it is queued. The
//! [`Processor`] runs jobs of four [`Priority`] classes on a fixed number of workers, some of which can be reserved
//! for the upper classes. The [`Scheduler`] keeps jobs for later; its timers can be cancelled and moved.
//!
//! Nothing here knows IKE. What blocks for long (the daemon's sockets) has a thread of its own, see [`spawn`], and does not
//! occupy a worker.

mod job;
mod panics;
mod processor;
mod queue;
mod scheduler;
mod thread;
mod timers;

pub use job::{Job, Outcome, PerPriority, Priority, job};
pub use panics::log_panics;
pub use processor::{Processor, ProcessorSettings, ProcessorStats};
pub use scheduler::{Scheduler, TimerId, monotonic};
pub use thread::{spawn, thread_number};
