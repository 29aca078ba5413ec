//! Log sinks. Lines are written with [`strongswan::log!`]; here they are formatted once and handed to every sink that hears
//! their group and level.
//!
//! [`LogLayer`] is the `tracing` layer in front of [`Loggers`]. It answers for each call site whether anybody listens;
//! `tracing` remembers the answer, so a line that nobody hears costs one load. The answers are asked for again whenever a
//! sink comes, goes or changes its levels.

mod control;
mod levels;
mod line;
mod stream;
mod syslog;
mod time;

pub mod config;

use std::cell::RefCell;
use std::fmt::{Debug, Write};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use strongswan::log::{Context, Group, level_number, with_context};
use strongswan::processing::thread_number;
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{self, Layer};

pub use control::{ControlLog, LogSubscription};
pub use levels::Levels;
pub use line::{LineFormat, TimePrecision};
pub use stream::{Stream, StreamLogger};
pub use syslog::{Facility, SyslogLogger};

/// The present local time, as texts for people show it.
pub(crate) fn local_time() -> String {
    time::local_now("%b %d %H:%M:%S %Y")
}

/// A log line, formatted.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its group.
    pub group: Group,
    /// Its level, 0 to 4.
    pub level: u8,
    /// Number of the thread that wrote it.
    pub thread: u32,
    /// The IKE_SA it is about.
    pub context: Option<&'a Context>,
    /// The text; may contain line breaks.
    pub message: &'a str,
}

/// Where log lines go.
pub trait Sink: Send + Sync {
    /// What it hears.
    fn levels(&self) -> Levels;

    /// Takes a line it hears. Must not write log lines itself.
    fn write(&self, record: &Record<'_>);

    /// Writes out what it holds back.
    fn flush(&self) {}
}

#[derive(Default)]
struct Sinks {
    /// From the configuration: replaced as a whole when that changes.
    configured: Vec<Arc<dyn Sink>>,
    /// Of other parts of the daemon.
    others: Vec<Arc<dyn Sink>>,
}

/// Who hears what, read for every line.
struct Audience {
    sinks: Vec<(Levels, Arc<dyn Sink>)>,
    highest: Levels,
}

/// All sinks of the daemon.
pub struct Loggers {
    sinks: Mutex<Sinks>,
    audience: ArcSwap<Audience>,
}

impl Default for Loggers {
    fn default() -> Self {
        Self {
            sinks: Mutex::default(),
            audience: ArcSwap::from_pointee(Audience { sinks: Vec::new(), highest: Levels::SILENT }),
        }
    }
}

impl Loggers {
    /// No sinks.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Adds a sink.
    pub fn add(&self, sink: Arc<dyn Sink>) {
        let mut sinks = self.sinks.lock();
        sinks.others.push(sink);
        self.publish(&sinks);
    }

    /// Removes a sink that was added.
    pub fn remove(&self, sink: &Arc<dyn Sink>) {
        let mut sinks = self.sinks.lock();
        sinks.others.retain(|other| !Arc::ptr_eq(other, sink));
        self.publish(&sinks);
    }

    /// Takes the levels of all sinks anew.
    pub fn refresh(&self) {
        self.publish(&self.sinks.lock());
    }

    /// Writes out what sinks hold back.
    pub fn flush(&self) {
        for (_, sink) in &self.audience.load().sinks {
            sink.flush();
        }
    }

    fn replace_configured(&self, configured: Vec<Arc<dyn Sink>>) {
        let mut sinks = self.sinks.lock();
        let _closed = std::mem::replace(&mut sinks.configured, configured);
        self.publish(&sinks);
    }

    fn publish(&self, sinks: &Sinks) {
        let listening: Vec<_> =
            sinks.configured.iter().chain(&sinks.others).map(|sink| (sink.levels(), Arc::clone(sink))).collect();
        let highest = listening.iter().fold(Levels::SILENT, |highest, (levels, _)| highest.max(*levels));
        let before = self.audience.swap(Arc::new(Audience { sinks: listening, highest }));
        if before.highest != highest {
            // What call sites remember is out of date. Most changes come and go below what is heard anyway.
            tracing::callsite::rebuild_interest_cache();
        }
    }

    fn hears(&self, metadata: &Metadata<'_>) -> bool {
        Group::from_target(metadata.target())
            .is_some_and(|group| self.audience.load().highest.hears(group, level_number(metadata.level())))
    }

    fn write(&self, group: Group, event: &Event<'_>) {
        let audience = self.audience.load();
        let level = level_number(event.metadata().level());
        if !audience.highest.hears(group, level) {
            return;
        }
        // Taken, not borrowed: formatting a line may write one.
        let mut message = MESSAGE.with(RefCell::take);
        event.record(&mut Message(&mut message));
        with_context(|context| {
            let record = Record { group, level, thread: thread_number(), context, message: &message };
            for (levels, sink) in &audience.sinks {
                if levels.hears(group, level) {
                    sink.write(&record);
                }
            }
        });
        message.clear();
        if message.capacity() <= KEPT_CAPACITY {
            MESSAGE.with(|kept| kept.replace(message));
        }
    }
}

/// A thread keeps its buffer for messages up to this size; hex dumps of large packets exceed it.
const KEPT_CAPACITY: usize = 4096;

thread_local! {
    static MESSAGE: RefCell<String> = const { RefCell::new(String::new()) };
}

struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            // Writing to a string does not fail; a `Display` that does leaves the line short.
            let _short = write!(self.0, "{value:?}");
        }
    }
}

/// The `tracing` layer that feeds [`Loggers`].
pub struct LogLayer(pub Arc<Loggers>);

impl<S: Subscriber> Layer<S> for LogLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.is_event() && self.0.hears(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _context: layer::Context<'_, S>) -> bool {
        metadata.is_event() && self.0.hears(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _context: layer::Context<'_, S>) {
        if let Some(group) = Group::from_target(event.metadata().target()) {
            self.0.write(group, event);
        }
    }
}

#[cfg(test)]
mod tests {
    use strongswan::log;
    use strongswan::log::set_context;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Default)]
    struct Recorder(Mutex<Vec<String>>);

    impl Sink for Recorder {
        fn levels(&self) -> Levels {
            let mut levels = Levels::all(1);
            levels.set(Group::Enc, 2);
            levels
        }

        fn write(&self, record: &Record<'_>) {
            let sa = record.context.map(|c| format!(" {}[{}]", c.name, c.id)).unwrap_or_default();
            self.0.lock().push(format!("{}{}{sa} {}", record.group, record.level, record.message));
        }
    }

    #[test]
    fn lines_reach_the_sinks_that_hear_them() {
        let loggers = Loggers::new();
        let subscriber = tracing_subscriber::registry().with(LogLayer(Arc::clone(&loggers)));
        tracing::subscriber::with_default(subscriber, || {
            let (recorder, value) = (Arc::new(Recorder::default()), 7);
            let sink: Arc<dyn Sink> = recorder.clone();
            let line = |text: &str| {
                log!(IKE, 1, "{text} {value}");
                log!(IKE, 2, "unheard {text}");
                log!(ENC, 2, "{text}");
            };
            line("nobody listens");
            loggers.add(Arc::clone(&sink));
            line("heard");
            set_context(Some(Context { name: "gw".into(), id: 3 }));
            line("known");
            set_context(None);
            loggers.remove(&sink);
            line("gone");
            assert_eq!(*recorder.0.lock(), ["IKE1 heard 7", "ENC2 heard", "IKE1 gw[3] known 7", "ENC2 gw[3] known"]);
        });
    }
}
