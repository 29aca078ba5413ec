//! Every timer of an IKE_SA in one small table; the caller sees only the earliest.

use strongswan::clock::MonoTime;

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The request in the air is sent again.
    Retransmit,
    /// A responder gives up on an unauthenticated peer.
    HalfOpen,
    /// The IKE_SA is rekeyed.
    Rekey,
    /// The peers reauthenticate.
    Reauth,
    /// The IKE_SA's hard lifetime.
    Lifetime,
    /// The authentication counts no longer (RFC 4478), which no rekeying changes.
    AuthLifetime,
    /// The IKE_SA is closed for another reason.
    Delete,
    /// The peer's liveness is checked.
    Dpd,
    /// A NAT keepalive is due.
    Keepalive,
    /// A negotiation is not waited for any longer that the peer left half done.
    FollowUp,
    /// A queued task may start.
    Queue,
    /// The peer's name is resolved again.
    Resolve,
    /// A request that was made to wait is answered.
    Resume,
}

impl Timer {
    const ALL: [Self; 13] = [
        Self::Retransmit,
        Self::HalfOpen,
        Self::Rekey,
        Self::Reauth,
        Self::Lifetime,
        Self::AuthLifetime,
        Self::Delete,
        Self::Dpd,
        Self::Keepalive,
        Self::FollowUp,
        Self::Queue,
        Self::Resolve,
        Self::Resume,
    ];
}

/// The table. A slot holds the last representable moment while its timer is off, which saves an `Option` a slot.
#[derive(Debug)]
pub(crate) struct Timers([MonoTime; Timer::ALL.len()]);

/// A moment that never comes.
fn never() -> MonoTime {
    MonoTime::from_duration(std::time::Duration::MAX)
}

impl Default for Timers {
    fn default() -> Self {
        Self([never(); Timer::ALL.len()])
    }
}

impl Timers {
    fn slots(&self) -> impl Iterator<Item = (Timer, MonoTime)> {
        Timer::ALL.into_iter().zip(self.0)
    }

    fn slot(&mut self, timer: Timer) -> Option<&mut MonoTime> {
        Timer::ALL.into_iter().zip(&mut self.0).find(|(t, _)| *t == timer).map(|(_, slot)| slot)
    }

    /// When a timer is due, if it is on.
    pub(crate) fn get(&self, timer: Timer) -> Option<MonoTime> {
        self.slots().find(|(t, _)| *t == timer).map(|(_, due)| due).filter(|due| *due != never())
    }

    /// Turns a timer on, or moves it.
    pub(crate) fn set(&mut self, timer: Timer, due: MonoTime) {
        if let Some(slot) = self.slot(timer) {
            *slot = due;
        }
    }

    /// Turns a timer on unless it is due earlier already.
    pub(crate) fn set_earlier(&mut self, timer: Timer, due: MonoTime) {
        if let Some(slot) = self.slot(timer) {
            *slot = due.min(*slot);
        }
    }

    /// Turns a timer off.
    pub(crate) fn stop(&mut self, timer: Timer) {
        self.set(timer, never());
    }

    /// When the earliest timer is due.
    pub(crate) fn earliest(&self) -> Option<MonoTime> {
        self.0.into_iter().min().filter(|due| *due != never())
    }

    /// Takes the earliest timer that is due.
    pub(crate) fn take_due(&mut self, now: MonoTime) -> Option<Timer> {
        let (timer, due) = self.slots().min_by_key(|(_, due)| *due)?;
        (due <= now && due != never()).then(|| {
            self.stop(timer);
            timer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timers_come_in_order_and_once() {
        let at = |s| MonoTime::from_duration(Duration::from_secs(s));
        let mut timers = Timers::default();
        assert_eq!((timers.earliest(), timers.take_due(at(1_000_000))), (None, None));
        timers.set(Timer::Rekey, at(9));
        timers.set(Timer::Dpd, at(3));
        timers.set_earlier(Timer::Dpd, at(5));
        assert_eq!(timers.get(Timer::Dpd), Some(at(3)));
        assert_eq!(timers.earliest(), Some(at(3)));
        assert_eq!(timers.take_due(at(2)), None);
        assert_eq!(timers.take_due(at(9)), Some(Timer::Dpd));
        assert_eq!(timers.take_due(at(9)), Some(Timer::Rekey));
        assert_eq!(timers.take_due(at(9)), None);
    }
}
