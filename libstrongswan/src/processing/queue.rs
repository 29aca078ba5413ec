//! The processor's queues and its choice of the next job, without threads.
//!
//! One FIFO per class. A worker visits the classes from the most urgent to the least; threads reserved for the classes
//! visited so far and not yet in use are subtracted from the idle ones, and once none is left the lower classes have
//! to wait. A reservation therefore holds only against lower classes.

use std::collections::VecDeque;

use super::job::{Job, PerPriority, Priority};

/// Queued and running jobs.
#[derive(Default)]
pub(super) struct RunQueue {
    queues: PerPriority<VecDeque<Box<dyn Job>>>,
    working: PerPriority<usize>,
    reserved: PerPriority<usize>,
    queued: usize,
}

/// What a worker finds.
pub(super) enum Next {
    /// A job; the worker counts as working in its class.
    Job(Box<dyn Job>, Priority),
    /// Jobs of this class and below have to leave `idle` threads to more urgent ones.
    Delayed { class: Priority, idle: usize, reserved: usize },
    /// Nothing to do.
    Empty,
}

impl RunQueue {
    pub(super) fn new(reserved: PerPriority<usize>) -> Self {
        Self { reserved, ..Self::default() }
    }

    pub(super) fn push(&mut self, job: Box<dyn Job>) {
        let priority = job.priority();
        self.queues.get_mut(priority).push_back(job);
        self.queued = self.queued.saturating_add(1);
    }

    pub(super) fn push_front(&mut self, job: Box<dyn Job>) {
        let priority = job.priority();
        self.queues.get_mut(priority).push_front(job);
        self.queued = self.queued.saturating_add(1);
    }

    /// The next job for one of `total` workers, which counts as idle while it asks.
    pub(super) fn pop(&mut self, total: usize) -> Next {
        if self.queued == 0 {
            return Next::Empty;
        }
        let idle = total.saturating_sub(self.total_working());
        let mut reserved: usize = 0;
        for priority in Priority::ALL {
            if reserved > 0 && reserved >= idle {
                return Next::Delayed { class: priority, idle, reserved };
            }
            let unused = self.reserved.get(priority).saturating_sub(*self.working.get(priority));
            reserved = reserved.saturating_add(unused);
            if let Some(job) = self.queues.get_mut(priority).pop_front() {
                self.queued = self.queued.saturating_sub(1);
                let working = self.working.get_mut(priority);
                *working = working.saturating_add(1);
                return Next::Job(job, priority);
            }
        }
        Next::Empty
    }

    /// A job of `priority` has ended.
    pub(super) fn done(&mut self, priority: Priority) {
        let working = self.working.get_mut(priority);
        *working = working.saturating_sub(1);
    }

    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    pub(super) fn load(&self) -> PerPriority<usize> {
        PerPriority {
            critical: self.queues.critical.len(),
            high: self.queues.high.len(),
            medium: self.queues.medium.len(),
            low: self.queues.low.len(),
        }
    }

    pub(super) fn working(&self) -> PerPriority<usize> {
        self.working
    }

    pub(super) fn total_working(&self) -> usize {
        Priority::ALL.iter().fold(0, |sum: usize, p| sum.saturating_add(*self.working.get(*p)))
    }

    /// Takes every queued job out, to be dropped outside of the lock.
    pub(super) fn clear(&mut self) -> PerPriority<VecDeque<Box<dyn Job>>> {
        self.queued = 0;
        std::mem::take(&mut self.queues)
    }
}

#[cfg(test)]
mod tests {
    use super::super::job::job;
    use super::*;

    fn add(queue: &mut RunQueue, priority: Priority) {
        queue.push(job(priority, || ()));
    }

    fn take(queue: &mut RunQueue, total: usize) -> Option<Priority> {
        match queue.pop(total) {
            Next::Job(_, priority) => Some(priority),
            Next::Delayed { .. } | Next::Empty => None,
        }
    }

    #[test]
    fn urgent_classes_come_first() {
        let mut queue = RunQueue::default();
        for priority in [Priority::Low, Priority::High, Priority::Medium, Priority::Critical, Priority::High] {
            add(&mut queue, priority);
        }
        let order: Vec<_> = std::iter::from_fn(|| take(&mut queue, 8)).collect();
        assert_eq!(order, [Priority::Critical, Priority::High, Priority::High, Priority::Medium, Priority::Low]);
        assert_eq!(queue.total_working(), 5);
        assert_eq!(queue.queued(), 0);
    }

    #[test]
    fn reserved_threads_are_kept_from_lower_classes_only() {
        let mut queue = RunQueue::new(PerPriority { high: 1, ..PerPriority::default() });
        add(&mut queue, Priority::Low);
        add(&mut queue, Priority::Low);
        assert_eq!(take(&mut queue, 2), Some(Priority::Low));
        // The second of two threads is reserved for class high.
        assert!(matches!(queue.pop(2), Next::Delayed { class: Priority::Medium, idle: 1, reserved: 1 }));
        add(&mut queue, Priority::High);
        assert_eq!(take(&mut queue, 2), Some(Priority::High));
        // The reservation is in use now, it no longer counts.
        queue.done(Priority::Low);
        assert_eq!(take(&mut queue, 2), Some(Priority::Low));
    }

    #[test]
    fn critical_jobs_ignore_reservations_of_lower_classes() {
        let mut queue = RunQueue::new(PerPriority { medium: 4, ..PerPriority::default() });
        add(&mut queue, Priority::High);
        assert_eq!(take(&mut queue, 1), Some(Priority::High));
    }
}
