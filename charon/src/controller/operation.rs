//! One operation that somebody watches.

use std::sync::Arc;
use std::time::Duration;

use ike::explain::Explanation;
use ike::ids::UniqueId;
use parking_lot::Mutex;

use super::{Completion, LogReceiver, Watch};
use crate::bus::log::{ControlLog, LogSubscription};

/// What an operation wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// An IKE_SA is on it.
    Started,
    /// The IKE_SA is established.
    IkeEstablished,
    /// A CHILD_SA is installed.
    ChildInstalled,
    /// The IKE_SA is gone.
    IkeGone,
    /// The IKE_SA is gone, by force once the timeout is over.
    IkeGoneForced,
    /// This CHILD_SA is gone.
    ChildGone(UniqueId),
}

impl Goal {
    /// Whether the end of the IKE_SA is a failure.
    pub(super) const fn establishes(self) -> bool {
        matches!(self, Self::IkeEstablished | Self::ChildInstalled)
    }

    /// Whether it goes on on the IKE_SA's successor.
    pub(super) const fn moves(self) -> bool {
        matches!(self, Self::ChildInstalled | Self::ChildGone(_))
    }
}

struct Progress {
    /// `None` once it is complete.
    done: Option<Box<dyn FnOnce(Completion) + Send>>,
    ike_sa: Option<UniqueId>,
    log: Option<LogSubscription>,
    /// Why it will fail.
    explanation: Option<Arc<Explanation>>,
}

/// An operation and who watches it.
pub(super) struct Operation {
    pub(super) goal: Goal,
    pub(super) timeout: Option<Duration>,
    log: Option<LogReceiver>,
    log_level: i8,
    progress: Mutex<Progress>,
}

impl Operation {
    pub(super) fn new(goal: Goal, watch: Watch) -> Arc<Self> {
        let Watch { timeout, log, log_level, done } = watch;
        let progress = Progress { done: Some(done), ike_sa: None, log: None, explanation: None };
        Arc::new(Self { goal, timeout, log, log_level, progress: Mutex::new(progress) })
    }

    /// Hands the log lines of an IKE_SA to the watcher from now on.
    pub(super) fn listen(&self, control_log: &Arc<ControlLog>, ike_sa: u32) {
        let Some(receiver) = self.log.clone().filter(|_| self.log_level >= 0) else { return };
        let subscription = control_log.subscribe(ike_sa, self.log_level, move |record| receiver(record));
        let _previous = self.progress.lock().log.replace(subscription);
    }

    pub(super) fn moved_to(&self, ike_sa: UniqueId) {
        self.progress.lock().ike_sa = Some(ike_sa);
    }

    pub(super) fn ike_sa(&self) -> Option<UniqueId> {
        self.progress.lock().ike_sa
    }

    /// Keeps the reason of the failure that is to come; the last one is that of the failure.
    pub(super) fn explain(&self, explanation: &Arc<Explanation>) {
        self.progress.lock().explanation = Some(Arc::clone(explanation));
    }

    pub(super) fn is_complete(&self) -> bool {
        self.progress.lock().done.is_none()
    }

    /// Tells the watcher, unless that was done before.
    pub(super) fn complete(&self, completion: Completion) {
        let (done, _log, explanation) = {
            let mut progress = self.progress.lock();
            (progress.done.take(), progress.log.take(), progress.explanation.take())
        };
        let completion = match completion {
            Completion::Failed(None) => Completion::Failed(explanation),
            other => other,
        };
        if let Some(done) = done {
            done(completion);
        }
    }
}
