//! What happened, in order: datagrams, inputs, outputs and the log lines of the code under test. Printed when a test
//! fails.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Metadata, Subscriber};

/// The trace of one simulation.
#[derive(Debug, Clone)]
pub struct Trace(Option<Arc<Mutex<Lines>>>);

#[derive(Debug, Default)]
struct Lines {
    prefix: String,
    lines: Vec<String>,
}

/// Lines kept; the last ones matter.
const MAX_LINES: usize = 4000;

impl Trace {
    /// An empty trace.
    pub fn recording() -> Self {
        Self(Some(Arc::default()))
    }

    /// A trace that forgets everything: long runs have no time for it.
    pub fn off() -> Self {
        Self(None)
    }

    /// Whether it keeps what it is told.
    pub fn is_recording(&self) -> bool {
        self.0.is_some()
    }

    fn lines(&self) -> Option<MutexGuard<'_, Lines>> {
        self.0.as_ref().map(|lines| lines.lock().unwrap())
    }

    /// Sets what precedes each following line: time and host.
    pub fn at(&self, prefix: impl FnOnce() -> String) {
        if let Some(mut lines) = self.lines() {
            lines.prefix = prefix();
        }
    }

    /// Adds a line.
    pub fn line(&self, text: impl fmt::Display) {
        if let Some(mut lines) = self.lines() {
            let line = format!("{} {text}", lines.prefix);
            lines.lines.push(line);
            if lines.lines.len() > MAX_LINES {
                lines.lines.drain(..MAX_LINES / 2);
            }
        }
    }

    /// Everything so far.
    pub fn text(&self) -> String {
        self.lines().map(|lines| lines.lines.join("\n")).unwrap_or_default()
    }

    /// Whether some line contains `text`.
    pub fn contains(&self, text: &str) -> bool {
        self.count(text) > 0
    }

    /// How many lines contain `text`.
    pub fn count(&self, text: &str) -> usize {
        self.lines().map_or(0, |lines| lines.lines.iter().filter(|line| line.contains(text)).count())
    }

    /// Collects the log lines of the calling thread until the guard is dropped.
    pub fn capture_log(&self) -> Option<DefaultGuard> {
        self.0.is_some().then(|| tracing::subscriber::set_default(Collector(self.clone())))
    }
}

/// Log lines above this level (3, raw data) are left out.
const LEVEL: tracing::Level = tracing::Level::INFO;

struct Collector(Trace);

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= LEVEL
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.line(format_args!("[{}] {}", event.metadata().target(), message.0));
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, _field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, "{value:?}");
    }
}
