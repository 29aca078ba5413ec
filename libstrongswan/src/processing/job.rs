//! What a worker runs.

use std::fmt;
use std::time::Duration;

use crate::clock::MonoTime;

/// Class of a job. Workers serve the classes in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// What everything else depends on.
    Critical,
    /// Short and sensitive to latency: INFORMATIONAL exchanges, retransmissions, liveness checks.
    High,
    /// The default.
    Medium,
    /// May take long or can wait: IKE_AUTH, queries.
    Low,
}

impl Priority {
    /// Every class, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Medium, Self::Low];

    /// Name in configuration and statistics.
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.keyword())
    }
}

/// One value for each [`Priority`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PerPriority<T> {
    /// Value of [`Priority::Critical`].
    pub critical: T,
    /// Value of [`Priority::High`].
    pub high: T,
    /// Value of [`Priority::Medium`].
    pub medium: T,
    /// Value of [`Priority::Low`].
    pub low: T,
}

impl<T> PerPriority<T> {
    /// The value of `priority`.
    pub const fn get(&self, priority: Priority) -> &T {
        match priority {
            Priority::Critical => &self.critical,
            Priority::High => &self.high,
            Priority::Medium => &self.medium,
            Priority::Low => &self.low,
        }
    }

    /// The value of `priority`, to be changed.
    pub const fn get_mut(&mut self, priority: Priority) -> &mut T {
        match priority {
            Priority::Critical => &mut self.critical,
            Priority::High => &mut self.high,
            Priority::Medium => &mut self.medium,
            Priority::Low => &mut self.low,
        }
    }
}

/// What becomes of a job that has run.
pub enum Outcome {
    /// It is done.
    Done,
    /// It goes to the end of its class's queue.
    Again(Box<dyn Job>),
    /// It is queued again after some time.
    After(Duration, Box<dyn Job>),
    /// It is queued again at some time.
    At(MonoTime, Box<dyn Job>),
}

/// A piece of work for a worker.
pub trait Job: Send {
    /// The class it is queued in.
    fn priority(&self) -> Priority {
        Priority::Medium
    }

    /// Does the work. A panic is caught by the worker and logged; it loses the job and nothing else.
    fn execute(self: Box<Self>) -> Outcome;
}

struct Closure<F> {
    priority: Priority,
    run: F,
}

impl<F: FnOnce() + Send> Job for Closure<F> {
    fn priority(&self) -> Priority {
        self.priority
    }

    fn execute(self: Box<Self>) -> Outcome {
        (self.run)();
        Outcome::Done
    }
}

/// A job that calls `run` once.
pub fn job(priority: Priority, run: impl FnOnce() + Send + 'static) -> Box<dyn Job> {
    Box::new(Closure { priority, run })
}
