//! Waits for the lifetimes of SAs to end.

use std::time::Duration;

use esp::lifetime::Expiry;
use esp::sad::Expired;
use strongswan::crypto::Protocol;
use strongswan::processing::monotonic;
use strongswan::sync::{Condvar, Mutex, wait_for};

use super::{Shared, convert};
use crate::kernel::KernelEvent;

/// Longest uninterrupted wait while no SA has a limit.
const IDLE: Duration = Duration::from_secs(3600);

/// Wakes the thread when there is an earlier deadline.
#[derive(Debug, Default)]
pub(super) struct Timer {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// An SA was installed since the thread last looked.
    changed: bool,
    stopped: bool,
}

impl Timer {
    pub(super) fn wake(&self) {
        self.state.lock().changed = true;
        self.changed.notify_one();
    }

    pub(super) fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_one();
    }
}

/// Reports expired SAs until stopped.
pub(super) fn run(shared: &Shared) {
    loop {
        while let Some(expired) = shared.plane.sad.expire(monotonic()) {
            shared.report_expired(&expired);
        }
        let wait = shared.plane.sad.next_timeout().map_or(IDLE, |at| at.saturating_since(monotonic()));
        let mut state = shared.timer.state.lock();
        if !state.stopped && !state.changed && !wait.is_zero() {
            wait_for(&shared.timer.changed, &mut state, wait);
        }
        state.changed = false;
        if state.stopped {
            return;
        }
    }
}

impl Shared {
    pub(super) fn report_expired(&self, expired: &Expired) {
        if let Some((spi, destination)) = convert::expired(&self.plane, expired.key) {
            let hard = expired.expiry == Expiry::Hard;
            self.report(KernelEvent::Expire { protocol: Protocol::Esp, spi, destination, hard });
        }
    }
}
