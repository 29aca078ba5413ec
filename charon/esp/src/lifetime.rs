//! How long an SA may live, and what it has carried: limits by time, bytes and packets (RFC 4301 §4.4.2.1), each
//! soft ("replace me") or hard ("I am gone"), and the counters they are compared with.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use strongswan::clock::MonoTime;

/// A soft and a hard limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limit<T> {
    /// When a replacement is due.
    pub soft: Option<T>,
    /// When the SA ends.
    pub hard: Option<T>,
}

/// Every limit of an SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lifetime {
    /// Since installation.
    pub time: Limit<Duration>,
    /// Bytes of inner packets.
    pub bytes: Limit<u64>,
    /// Packets.
    pub packets: Limit<u64>,
}

/// A limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expiry {
    /// The SA still works and should be replaced.
    Soft,
    /// The SA no longer works.
    Hard,
}

/// What an SA has carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of inner packets.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// When the last one was.
    pub last: Option<MonoTime>,
}

const SOFT: u8 = 1;
const HARD: u8 = 2;

/// Counters of an SA and the volume limits on them. Any number of threads count at once.
#[derive(Debug)]
pub(crate) struct Meter {
    bytes: AtomicU64,
    packets: AtomicU64,
    /// Microseconds, 0 for never.
    last: AtomicU64,
    reported: AtomicU8,
    byte_limit: Limit<u64>,
    packet_limit: Limit<u64>,
}

impl Meter {
    pub(crate) fn new(bytes: Limit<u64>, packets: Limit<u64>) -> Self {
        Self {
            bytes: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            last: AtomicU64::new(0),
            reported: AtomicU8::new(0),
            byte_limit: bytes,
            packet_limit: packets,
        }
    }

    /// Counts a packet of `len` bytes and tells if that reached a limit. Each limit is told to one caller only.
    pub(crate) fn count(&self, len: usize, now: MonoTime) -> Option<Expiry> {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        let bytes = self.bytes.fetch_add(len, Ordering::Relaxed).saturating_add(len);
        let packets = self.packets.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        self.last.store(now.as_micros().max(1), Ordering::Relaxed);
        let reached = |bound: Option<u64>, value| bound.is_some_and(|bound| value >= bound);
        if reached(self.byte_limit.hard, bytes) || reached(self.packet_limit.hard, packets) {
            self.expire(Expiry::Hard)
        } else if reached(self.byte_limit.soft, bytes) || reached(self.packet_limit.soft, packets) {
            self.expire(Expiry::Soft)
        } else {
            None
        }
    }

    /// Records that a limit was reached, however; returns it unless that was known. A soft limit reached after the
    /// hard one is of no interest.
    pub(crate) fn expire(&self, expiry: Expiry) -> Option<Expiry> {
        // Most calls after the first find the flag set: then do not write to the shared cache line.
        let flags = match expiry {
            Expiry::Soft => SOFT,
            Expiry::Hard => SOFT | HARD,
        };
        if self.reported.load(Ordering::Relaxed) & flags == flags {
            return None;
        }
        let before = self.reported.fetch_or(flags, Ordering::Relaxed);
        (before & flags != flags).then_some(expiry)
    }

    /// Whether the hard limit was reached.
    pub(crate) fn is_expired(&self) -> bool {
        self.reported.load(Ordering::Relaxed) & HARD != 0
    }

    pub(crate) fn usage(&self) -> Usage {
        let last = self.last.load(Ordering::Relaxed);
        Usage {
            bytes: self.bytes.load(Ordering::Relaxed),
            packets: self.packets.load(Ordering::Relaxed),
            last: (last != 0).then(|| MonoTime::from_duration(Duration::from_micros(last))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_told_once() {
        let meter = Meter::new(Limit { soft: Some(100), hard: Some(200) }, Limit { soft: Some(8), hard: None });
        let told: Vec<_> = (0..6).map(|_| meter.count(50, MonoTime::ZERO)).collect();
        assert_eq!(told, [None, Some(Expiry::Soft), None, Some(Expiry::Hard), None, None]);
        assert!(meter.is_expired());
        assert_eq!(meter.expire(Expiry::Soft), None);
        assert_eq!(meter.expire(Expiry::Hard), None);
    }

    #[test]
    fn packets_are_a_limit_of_their_own() {
        let meter = Meter::new(Limit::default(), Limit { soft: Some(2), hard: Some(3) });
        assert_eq!(meter.count(1, MonoTime::ZERO), None);
        assert_eq!(meter.count(1, MonoTime::ZERO), Some(Expiry::Soft));
        assert!(!meter.is_expired());
        assert_eq!(meter.count(1, MonoTime::ZERO), Some(Expiry::Hard));
    }

    #[test]
    fn a_packet_that_passes_both_limits_tells_the_hard_one() {
        let meter = Meter::new(Limit { soft: Some(1), hard: Some(1) }, Limit::default());
        assert_eq!(meter.count(1400, MonoTime::ZERO), Some(Expiry::Hard));
        assert_eq!(meter.count(1400, MonoTime::ZERO), None);
    }

    #[test]
    fn usage_shows_what_was_counted() {
        let meter = Meter::new(Limit::default(), Limit::default());
        assert_eq!(meter.usage(), Usage::default());
        let now = MonoTime::from_duration(Duration::from_secs(9));
        assert_eq!(meter.count(84, now), None);
        assert_eq!(meter.usage(), Usage { bytes: 84, packets: 1, last: Some(now) });
    }
}
