//! The table of things that one worker at a time may work on: sharded, with checkout and mailboxes. It knows no IKE, so that its
//! interleavings can be explored on their own.
//!
//! A value is either *resting* in the table or *busy*: checked out, and owned by whoever works on it. [`Table::post`]
//! brings work for a key: if the value rests, the caller gets both and does the work; if it is busy, the work goes into its mailbox and
//! the caller goes on with something else. Whoever checks a value in gets the next piece of work from the mailbox,
//! until there is none. So nobody ever waits, and no work is lost.
//!
//! Lock order: the lock of a shard comes before those of indexes and the scheduler, and no two shards are locked at once.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use strongswan::sync::Mutex;

/// Keys are random numbers of ours, so one multiplication spreads them (a peer can look keys up, not choose them).
#[derive(Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // 2^64 divided by the golden ratio; the fold brings the well mixed upper half down to where tables look.
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

/// A map by such keys.
pub(crate) type KeyMap<V> = HashMap<u64, V, BuildHasherDefault<KeyHasher>>;

/// Work for a value.
pub(crate) trait Work {
    /// What two pieces of work have in common of which only one needs to be done.
    type Token: Copy + PartialEq;

    /// This work's token; work without one is always done.
    fn token(&self) -> Option<Self::Token>;

    /// Whether it may be thrown away if too much is waiting.
    fn is_droppable(&self) -> bool;
}

/// Droppable work that waits for one value. More than a window of requests, their retransmits and all fragments of a
/// message never comes from a peer that follows the protocol.
const MAILBOX_LIMIT: usize = 64;

enum Entry<V, W: Work> {
    Resting(Box<V>),
    Busy {
        /// Token of the work being done.
        doing: Option<W::Token>,
        mailbox: VecDeque<W>,
    },
}

type Shard<V, W> = Mutex<KeyMap<Entry<V, W>>>;

/// What became of posted work.
pub(crate) enum Posted<V, W> {
    /// The caller has to do it; the value is checked out.
    Yours(Box<V>, W),
    /// Another worker will do it.
    Queued,
    /// The same is being done or waiting already.
    Repeated(W),
    /// Too much is waiting.
    Full,
    /// There is no such value.
    Gone(W),
}

/// What a look at a value found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look<R> {
    /// It rests; this is what the look returned.
    Resting(R),
    /// It is being worked on.
    Busy,
    /// There is no such value.
    Gone,
}

/// A sharded table of values by key.
pub(crate) struct Table<V, W: Work> {
    shards: Box<[Shard<V, W>]>,
}

impl<V, W: Work> Table<V, W> {
    /// A table of at least `shards` shards, each of which grows by itself.
    pub(crate) fn new(shards: usize) -> Self {
        let shards = shards.clamp(1, 1 << 16).next_power_of_two();
        Self { shards: std::iter::repeat_with(|| Mutex::new(KeyMap::default())).take(shards).collect() }
    }

    /// Adds a value that is checked out by the caller, who will [check it in](Self::check_in). `false` if the key is taken.
    pub(crate) fn reserve(&self, key: u64) -> bool {
        self.with_shard(key, |shard| {
            if shard.contains_key(&key) {
                return false;
            }
            shard.insert(key, Entry::Busy { doing: None, mailbox: VecDeque::new() });
            true
        })
    }

    /// Brings work for a value.
    pub(crate) fn post(&self, key: u64, work: W) -> Posted<V, W> {
        self.with_shard(key, |shard| {
            let Some(entry) = shard.get_mut(&key) else { return Posted::Gone(work) };
            let token = work.token();
            match entry {
                Entry::Busy { doing, mailbox } => {
                    let repeats =
                        token.is_some() && (*doing == token || mailbox.iter().any(|waiting| waiting.token() == token));
                    if repeats {
                        Posted::Repeated(work)
                    } else if work.is_droppable() && mailbox.len() >= MAILBOX_LIMIT {
                        Posted::Full
                    } else {
                        mailbox.push_back(work);
                        Posted::Queued
                    }
                }
                Entry::Resting(_) => {
                    let busy = Entry::Busy { doing: token, mailbox: VecDeque::new() };
                    match std::mem::replace(entry, busy) {
                        Entry::Resting(value) => Posted::Yours(value, work),
                        // It was resting a line ago, under the same lock.
                        Entry::Busy { .. } => Posted::Queued,
                    }
                }
            }
        })
    }

    /// Gives a value back. If work is waiting both come back to the caller, who goes on.
    pub(crate) fn check_in(&self, key: u64, value: Box<V>) -> Option<(Box<V>, W)> {
        self.with_shard(key, |shard| {
            let entry = shard.get_mut(&key)?;
            if let Entry::Busy { doing, mailbox } = entry
                && let Some(work) = mailbox.pop_front()
            {
                *doing = work.token();
                return Some((value, work));
            }
            *entry = Entry::Resting(value);
            None
        })
    }

    /// Removes the entry of a value that is checked out and returns the work nobody did.
    pub(crate) fn remove(&self, key: u64) -> VecDeque<W> {
        match self.with_shard(key, |shard| shard.remove(&key)) {
            Some(Entry::Busy { mailbox, .. }) => mailbox,
            Some(Entry::Resting(_)) | None => VecDeque::new(),
        }
    }

    /// Looks at a value in place. `look` runs under the shard's lock: it has to be short.
    pub(crate) fn look<R>(&self, key: u64, look: impl FnOnce(&V) -> R) -> Look<R> {
        self.with_shard(key, |shard| match shard.get(&key) {
            Some(Entry::Resting(value)) => Look::Resting(look(value)),
            Some(Entry::Busy { .. }) => Look::Busy,
            None => Look::Gone,
        })
    }

    fn with_shard<R>(&self, key: u64, f: impl FnOnce(&mut KeyMap<Entry<V, W>>) -> R) -> R {
        let mut hasher = KeyHasher::default();
        hasher.write_u64(key);
        // The maps use the lowest and the highest bits.
        let [_, _, _, low, high, ..] = hasher.finish().to_le_bytes();
        let shard = usize::from(u16::from_le_bytes([low, high])) & (self.shards.len() - 1);
        #[expect(clippy::indexing_slicing, reason = "masked with the length, which is a power of two")]
        let shard = &self.shards[shard];
        f(&mut shard.lock())
    }
}

#[cfg(test)]
mod tests {
    use strongswan::processing::spawn;
    use strongswan::sync::Arc;
    use strongswan::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Job {
        Add(usize),
        /// Of several that wait only one is done.
        Refresh,
        End,
    }

    impl Work for Job {
        type Token = ();

        fn token(&self) -> Option<()> {
            (*self == Self::Refresh).then_some(())
        }

        fn is_droppable(&self) -> bool {
            *self == Self::Refresh
        }
    }

    /// What a worker does: everything that waits, until the value is checked in or removed.
    fn work(table: &Table<usize, Job>, key: u64, job: Job, lost: &AtomicUsize) {
        let mut next = match table.post(key, job) {
            Posted::Yours(value, job) => Some((value, job)),
            Posted::Gone(Job::Add(n)) => {
                lost.fetch_add(n, Ordering::SeqCst);
                None
            }
            Posted::Queued | Posted::Repeated(_) | Posted::Full | Posted::Gone(_) => None,
        };
        while let Some((mut value, job)) = next {
            match job {
                Job::Add(n) => *value += n,
                Job::Refresh => {}
                Job::End => {
                    lost.fetch_add(*value, Ordering::SeqCst);
                    for left in table.remove(key) {
                        if let Job::Add(n) = left {
                            lost.fetch_add(n, Ordering::SeqCst);
                        }
                    }
                    return;
                }
            }
            next = table.check_in(key, value);
        }
    }

    fn table() -> Arc<Table<usize, Job>> {
        let table = Arc::new(Table::new(4));
        assert!(table.reserve(7));
        assert!(table.check_in(7, Box::new(0)).is_none());
        table
    }

    /// Threads that post to one value at once: all work is done exactly once, by whoever has the value.
    fn nothing_is_lost(threads: usize, jobs: usize) {
        let (table, lost) = (table(), Arc::new(AtomicUsize::new(0)));
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (table, lost) = (Arc::clone(&table), Arc::clone(&lost));
                spawn("worker", move || (0..jobs).for_each(|_| work(&table, 7, Job::Add(1), &lost))).unwrap()
            })
            .collect();
        workers.into_iter().for_each(|w| w.join().unwrap());
        assert_eq!(table.look(7, |value| *value), Look::Resting(threads * jobs));
    }

    /// A value removed while others post: what it had done and what came too late is everything.
    fn removal_loses_nothing() {
        let (table, lost) = (table(), Arc::new(AtomicUsize::new(0)));
        let jobs = [Job::Add(1), Job::End, Job::Add(1), Job::Add(1)];
        let workers: Vec<_> = jobs
            .into_iter()
            .map(|job| {
                let (table, lost) = (Arc::clone(&table), Arc::clone(&lost));
                spawn("worker", move || work(&table, 7, job, &lost)).unwrap()
            })
            .collect();
        workers.into_iter().for_each(|w| w.join().unwrap());
        assert_eq!(lost.load(Ordering::SeqCst), 3);
        assert_eq!(table.look(7, |_| ()), Look::Gone);
    }

    #[cfg(shuttle)]
    #[test]
    fn every_schedule() {
        shuttle::check_random(|| nothing_is_lost(3, 2), 3_000);
        shuttle::check_random(removal_loses_nothing, 3_000);
    }

    #[cfg(not(shuttle))]
    mod threaded {
        use super::*;

        #[test]
        fn all_work_is_done_once() {
            nothing_is_lost(4, 5_000);
            (0..100).for_each(|_| removal_loses_nothing());
        }

        #[test]
        fn work_for_a_busy_value_waits_and_repeats_are_dropped() {
            let table = table();
            let Posted::Yours(value, job) = table.post(7, Job::Refresh) else { panic!("it rests") };
            assert_eq!(job, Job::Refresh);
            assert!(matches!(table.post(7, Job::Refresh), Posted::Repeated(_)));
            assert!(matches!(table.post(7, Job::Add(1)), Posted::Queued));
            assert_eq!(table.look(7, |_| ()), Look::Busy);
            let (value, job) = table.check_in(7, value).unwrap();
            assert_eq!(job, Job::Add(1));
            assert!(matches!(table.post(7, Job::Refresh), Posted::Queued));
            assert!(matches!(table.post(7, Job::Refresh), Posted::Repeated(_)));
            let (value, _) = table.check_in(7, value).unwrap();
            assert!(table.check_in(7, value).is_none());
            assert!(matches!(table.post(8, Job::Add(1)), Posted::Gone(Job::Add(1))));
        }

        #[test]
        fn keys_are_taken_once_and_spread() {
            let table: Table<(), Job> = Table::new(16);
            for key in 0..1000 {
                assert!(table.reserve(key << 32));
                assert!(!table.reserve(key << 32));
            }
            let sizes: Vec<_> = table.shards.iter().map(|shard| shard.lock().len()).collect();
            assert_eq!(sizes.iter().sum::<usize>(), 1000);
            assert!(sizes.iter().all(|size| *size < 125), "{sizes:?}");
        }
    }
}
