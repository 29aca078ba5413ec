//! Holds back `start_action = start` until the daemon is ready: a start script may load connections, and the next one may
//! flush the kernel's SAs.

use parking_lot::Mutex;

type Action = Box<dyn FnOnce() + Send>;

/// Closed at first.
pub(super) struct StartGate {
    /// `None` once it is open. A leaf lock.
    waiting: Mutex<Option<Vec<Action>>>,
}

impl Default for StartGate {
    fn default() -> Self {
        Self { waiting: Mutex::new(Some(Vec::new())) }
    }
}

impl StartGate {
    /// Runs an action, at once or when the gate opens.
    pub(super) fn pass(&self, action: Action) {
        if let Some(waiting) = &mut *self.waiting.lock() {
            return waiting.push(action);
        }
        action();
    }

    /// Runs what waits, in order, and lets everything through from now on.
    pub(super) fn open(&self) {
        let waiting = self.waiting.lock().take();
        waiting.into_iter().flatten().for_each(|action| action());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn actions_wait_for_the_gate() {
        let (gate, done) = (StartGate::default(), Arc::new(Mutex::new(Vec::new())));
        let action = |number| -> Action {
            let done = Arc::clone(&done);
            Box::new(move || done.lock().push(number))
        };
        gate.pass(action(1));
        gate.pass(action(2));
        assert!(done.lock().is_empty());
        gate.open();
        gate.pass(action(3));
        assert_eq!(*done.lock(), [1, 2, 3]);
    }
}
