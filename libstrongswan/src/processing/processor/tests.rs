//! The pool with real threads, and under the schedule explorer (`RUSTFLAGS="--cfg shuttle"`).

use super::super::job::{Priority, job};
use super::*;
use crate::sync::atomic::{AtomicUsize, Ordering};

fn settings(threads: usize) -> ProcessorSettings {
    ProcessorSettings { threads, reserved: PerPriority::default() }
}

fn counting(counter: &Arc<AtomicUsize>, priority: Priority) -> Box<dyn Job> {
    let counter = Arc::clone(counter);
    job(priority, move || {
        counter.fetch_add(1, Ordering::SeqCst);
    })
}

/// Several producers, some jobs that queue more: every job runs once, and `drain` sees all of them through.
fn every_job_runs_once(workers: usize, producers: usize, jobs: usize) {
    let processor = Arc::new(Processor::new());
    let ran = Arc::new(AtomicUsize::new(0));
    processor.start(settings(workers)).unwrap();
    let threads: Vec<_> = (0..producers)
        .map(|number| {
            let (processor, ran) = (Arc::clone(&processor), Arc::clone(&ran));
            thread::spawn("producer", move || {
                for n in 0..jobs {
                    let (inner, ran) = (Arc::clone(&processor.shared), Arc::clone(&ran));
                    let priority = Priority::ALL[(n + number) % 4];
                    processor.queue(job(priority, move || {
                        ran.fetch_add(1, Ordering::SeqCst);
                        inner.queue(counting(&ran, Priority::Low));
                    }));
                }
            })
            .unwrap()
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    processor.drain();
    assert_eq!(ran.load(Ordering::SeqCst), producers * jobs * 2);
    processor.shutdown();
    assert_eq!(processor.stats().total, 0);
}

#[cfg(shuttle)]
mod explored {
    use super::*;

    #[test]
    fn no_job_is_lost_in_any_schedule() {
        shuttle::check_random(|| every_job_runs_once(2, 2, 3), 2_000);
    }

    #[test]
    fn shutdown_ends_idle_and_busy_workers() {
        shuttle::check_random(
            || {
                let processor = Processor::new();
                let ran = Arc::new(AtomicUsize::new(0));
                processor.start(settings(2)).unwrap();
                processor.queue(counting(&ran, Priority::Medium));
                processor.shutdown();
                assert_eq!(processor.stats().total, 0);
            },
            2_000,
        );
    }

    #[test]
    fn a_due_timer_is_delivered_while_others_are_added() {
        shuttle::check_random(
            || {
                let processor = Processor::new();
                let ran = Arc::new(AtomicUsize::new(0));
                processor.start(settings(1)).unwrap();
                processor.schedule(MonoTime::ZERO, counting(&ran, Priority::Medium));
                processor.schedule(MonoTime::ZERO, counting(&ran, Priority::Medium));
                while ran.load(Ordering::SeqCst) < 2 {
                    crate::sync::thread::yield_now();
                }
                processor.shutdown();
            },
            500,
        );
    }
}

#[cfg(not(shuttle))]
mod threaded {
    use std::sync::mpsc;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn every_job_runs() {
        every_job_runs_once(4, 4, 500);
    }

    #[test]
    fn jobs_wait_for_the_pool_to_start() {
        let processor = Processor::new();
        let (sender, receiver) = mpsc::channel();
        processor.queue(job(Priority::Medium, move || sender.send(()).unwrap()));
        assert_eq!(processor.load(), 1);
        processor.start(settings(1)).unwrap();
        receiver.recv_timeout(SOON).unwrap();
    }

    #[test]
    fn a_panic_loses_the_job_and_no_worker() {
        let processor = Processor::new();
        processor.start(settings(1)).unwrap();
        let (sender, receiver) = mpsc::channel();
        processor.queue(job(Priority::Medium, || panic!("a bug")));
        processor.queue(job(Priority::Medium, move || sender.send(()).unwrap()));
        receiver.recv_timeout(SOON).unwrap();
        assert_eq!(processor.stats().total, 1);
    }

    struct Steps {
        left: usize,
        done: mpsc::Sender<usize>,
    }

    impl Job for Steps {
        fn execute(mut self: Box<Self>) -> Outcome {
            self.done.send(self.left).unwrap();
            match self.left {
                0 => Outcome::Done,
                left => {
                    self.left = left - 1;
                    if left % 2 == 0 { Outcome::Again(self) } else { Outcome::After(Duration::from_millis(1), self) }
                }
            }
        }
    }

    #[test]
    fn a_job_can_be_queued_again_and_later() {
        let processor = Processor::new();
        processor.start(settings(2)).unwrap();
        let (done, steps) = mpsc::channel();
        processor.queue(Box::new(Steps { left: 3, done }));
        let order: Vec<_> = (0..4).map(|_| steps.recv_timeout(SOON).unwrap()).collect();
        assert_eq!(order, [3, 2, 1, 0]);
    }

    #[test]
    fn timers_become_jobs_and_can_be_cancelled_and_moved() {
        let processor = Processor::new();
        processor.start(settings(1)).unwrap();
        let (sender, receiver) = mpsc::channel();
        let send = |value: u32| {
            let sender = sender.clone();
            job(Priority::Medium, move || sender.send(value).unwrap())
        };
        let scheduler = processor.scheduler();
        let hour = Duration::from_secs(3600);
        let moved = scheduler.schedule_after(hour, send(1)).unwrap();
        let cancelled = scheduler.schedule_after(Duration::from_millis(30), send(2)).unwrap();
        scheduler.schedule_after(Duration::from_millis(60), send(3));
        assert!(scheduler.cancel(cancelled).is_some());
        assert!(scheduler.reschedule(moved, monotonic()));
        assert_eq!(receiver.recv_timeout(SOON), Ok(1));
        assert_eq!(receiver.recv_timeout(SOON), Ok(3));
        assert!(!scheduler.reschedule(moved, monotonic()));
        assert!(scheduler.is_empty());
    }

    #[test]
    fn statistics_show_what_runs_and_what_waits() {
        let processor = Processor::new();
        let (go, wait) = mpsc::channel::<()>();
        let (started, running) = mpsc::channel();
        processor.start(settings(1)).unwrap();
        processor.queue(job(Priority::High, move || {
            started.send(()).unwrap();
            let _ended = wait.recv();
        }));
        running.recv_timeout(SOON).unwrap();
        processor.queue(job(Priority::Low, || ()));
        processor.schedule_after(Duration::from_secs(3600), job(Priority::Low, || ()));
        let stats = processor.stats();
        assert_eq!((stats.total, stats.idle, stats.active.high, stats.queued.low), (1, 0, 1, 1));
        assert_eq!(stats.scheduled, 1);
        drop(go);
        processor.drain();
        assert_eq!(processor.stats().idle, 1);
    }

    #[test]
    fn execute_runs_here_if_no_worker_is_idle() {
        let processor = Processor::new();
        let here = std::thread::current().id();
        let (sender, receiver) = mpsc::channel();
        processor.execute(job(Priority::Medium, move || sender.send(std::thread::current().id()).unwrap()));
        assert_eq!(receiver.recv_timeout(SOON), Ok(here));
    }
}
