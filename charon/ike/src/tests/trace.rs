//! Log lines of a test on its output, which the test runner shows when it fails.

use std::fmt::Write;

use strongswan::log::__tracing as tracing;
use strongswan::log::level_number;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

struct Lines;

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, _: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{value:?}");
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        level_number(metadata.level()) <= 2
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    #[expect(clippy::print_stdout, reason = "the test runner captures it")]
    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        println!("[{}] {}", event.metadata().target(), message.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Shows the lines of this thread until the guard is dropped.
pub(super) fn show() -> tracing::subscriber::DefaultGuard {
    tracing::subscriber::set_default(Lines)
}
