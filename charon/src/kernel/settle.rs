//! Changes of addresses and routes come in swarms. They are reported once, when the first of them has had time to settle.

use std::time::Duration;

use strongswan::clock::MonoTime;

/// Changes are reported this long after the first of them.
const SETTLE: Duration = Duration::from_millis(100);

/// What a change is about; the greater one is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    Route,
    Address,
}

/// A change that is not reported yet, and when it will be.
#[derive(Debug, Default)]
pub(super) struct Settling(Option<(Change, MonoTime)>);

impl Settling {
    /// Notes a change.
    pub(super) fn note(&mut self, change: Change, now: MonoTime) {
        let (before, due) = self.0.unwrap_or_else(|| (change, now + SETTLE));
        self.0 = Some((before.max(change), due));
    }

    /// How long until there is something to report.
    pub(super) fn wait(&self, now: MonoTime) -> Option<Duration> {
        self.0.map(|(_, due)| due.saturating_since(now))
    }

    /// What is to be reported now.
    pub(super) fn take(&mut self, now: MonoTime) -> Option<Change> {
        self.0.take_if(|(_, due)| *due <= now).map(|(change, _)| change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swarm_is_one_change() {
        let at = |millis| MonoTime::from_duration(Duration::from_millis(millis));
        let mut settling = Settling::default();
        assert_eq!((settling.wait(at(0)), settling.take(at(0))), (None, None));
        settling.note(Change::Route, at(10));
        settling.note(Change::Address, at(50));
        settling.note(Change::Route, at(109));
        assert_eq!((settling.wait(at(60)), settling.take(at(109))), (Some(Duration::from_millis(50)), None));
        assert_eq!(settling.take(at(110)), Some(Change::Address));
        assert_eq!(settling.take(at(300)), None);
    }
}
