//! How many explanations there may be.

use std::time::Duration;

use strongswan::clock::MonoTime;
use strongswan::sync::Mutex;

/// Explanations in a row.
const BURST: u32 = 20;

/// One more after each of these.
const INTERVAL: Duration = Duration::from_millis(500);

/// A token bucket: [`BURST`] explanations at once, two a second in the long run. An explanation compares some
/// connections and writes some lines, so that even a flood of requests that fail costs next to nothing.
#[derive(Debug)]
pub struct Limiter(Mutex<State>);

#[derive(Debug)]
struct State {
    tokens: u32,
    /// When `tokens` was right.
    at: Option<MonoTime>,
    held_back: u64,
}

impl Default for Limiter {
    fn default() -> Self {
        Self(Mutex::new(State { tokens: BURST, at: None, held_back: 0 }))
    }
}

impl Limiter {
    /// Takes one, if there is one left; returns how many were held back since the last one.
    pub fn take(&self, now: MonoTime) -> Option<u64> {
        let mut state = self.0.lock();
        let at = state.at.unwrap_or(now);
        let passed = now.saturating_since(at).as_millis() / INTERVAL.as_millis();
        let passed = u32::try_from(passed).unwrap_or(BURST);
        state.tokens = state.tokens.saturating_add(passed).min(BURST);
        // what is left of an interval counts later
        state.at = Some(if passed >= BURST { now } else { at + INTERVAL.saturating_mul(passed) });
        match state.tokens.checked_sub(1) {
            Some(left) => {
                state.tokens = left;
                Some(std::mem::take(&mut state.held_back))
            }
            None => {
                state.held_back = state.held_back.saturating_add(1);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_gets_two_a_second() {
        let limiter = Limiter::default();
        let start = MonoTime::from_duration(Duration::from_secs(100));
        let taken = (0..1000).filter(|_| limiter.take(start).is_some()).count();
        assert_eq!(taken, 20);
        let taken = (0..10_000).filter(|n| limiter.take(start + Duration::from_millis(*n)).is_some()).count();
        assert_eq!(taken, 19);
        let later = start + Duration::from_secs(60);
        let held_back = limiter.take(later);
        assert!(held_back.is_some_and(|count| count > 0), "{held_back:?}");
        assert_eq!((0..1000).filter(|_| limiter.take(later).is_some()).count(), 19);
    }
}
