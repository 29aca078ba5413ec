//! `terminate`: close IKE_SAs or CHILD_SAs, with log lines as `control-log` events.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use vici::{Message, Request, Responder};

use super::log::watch;
use super::operations::Wait;
use super::selector::{Selector, Target};
use super::{Control, answer};
use crate::controller::Completion;

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    let selector = Selector::from_message(&request.message);
    if selector.is_empty() {
        return answer(responder, Err("missing terminate selector".to_owned()));
    }
    let force = request.message.bool("force").unwrap_or(false);
    let wait = Wait::from_millis(request.message.int("timeout").unwrap_or(0));
    let targets = selector.targets(&*control.operations);
    let emitter = responder.emitter();
    let tally = Tally::new(targets.len(), responder);
    // All at once rather than one after the other: dead peers among many shall not add their timeouts up.
    for target in targets {
        let counted = Arc::clone(&tally);
        let done = move |completion| counted.count(completion == Completion::Success);
        let watch = (wait != Wait::No).then(|| watch(&request.message, wait, emitter.clone(), done));
        let found = match target {
            Target::Ike(id) => control.operations.terminate_ike(id, force, watch),
            Target::Child(id) => control.operations.terminate_child(id, watch),
        };
        if wait == Wait::No {
            tally.count(found);
        }
    }
}

/// Counts what is done and answers when everything is.
struct Tally {
    matches: usize,
    pending: AtomicUsize,
    closed: AtomicUsize,
    responder: Mutex<Option<Responder>>,
}

impl Tally {
    fn new(matches: usize, responder: Responder) -> Arc<Self> {
        let tally = Self {
            matches,
            pending: AtomicUsize::new(matches),
            closed: AtomicUsize::new(0),
            responder: Mutex::new(Some(responder)),
        };
        if matches == 0 {
            tally.answer();
        }
        Arc::new(tally)
    }

    fn count(&self, closed: bool) {
        self.closed.fetch_add(usize::from(closed), Ordering::AcqRel);
        if self.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.answer();
        }
    }

    fn answer(&self) {
        let Some(responder) = self.responder.lock().take() else { return };
        let closed = self.closed.load(Ordering::Acquire);
        let errmsg = match (self.matches, closed) {
            (0, _) => Some("no matching SAs to terminate found"),
            (matches, closed) if matches == closed => None,
            (1, _) => Some("terminating SA failed"),
            _ => Some("not all matching SAs could be terminated"),
        };
        let mut message = Message::new();
        message.push("success", errmsg.is_none()).push("matches", self.matches).push("terminated", closed);
        message.push_some("errmsg", errmsg);
        responder.reply(&message);
    }
}
