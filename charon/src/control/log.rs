//! Log lines as events: `log` for everybody, `control-log` for whoever runs an operation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use vici::{Broadcaster, Emitter, Message};

use super::operations::Wait;
use crate::bus::log::{Levels, Loggers, Record, Sink};
use crate::controller::{Completion, LogReceiver, Watch};

/// The highest level that `log` events have.
pub const VICI_LOG_LEVEL: i8 = 1;

/// The sink that raises `log` events. It hears nothing while nobody has subscribed.
pub(super) struct LogSink {
    loggers: Arc<Loggers>,
    wanted: AtomicBool,
    /// Known once the server has been started.
    events: RwLock<Option<Broadcaster>>,
}

impl LogSink {
    pub(super) fn new(loggers: &Arc<Loggers>) -> Arc<Self> {
        let sink =
            Arc::new(Self { loggers: Arc::clone(loggers), wanted: AtomicBool::new(false), events: RwLock::new(None) });
        loggers.add(Arc::<Self>::clone(&sink));
        sink
    }

    pub(super) fn raise_with(&self, events: Broadcaster) {
        *self.events.write() = Some(events);
    }

    pub(super) fn set_wanted(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::Relaxed);
        self.loggers.refresh();
    }
}

impl Sink for LogSink {
    fn levels(&self) -> Levels {
        Levels::all(if self.wanted.load(Ordering::Relaxed) { VICI_LOG_LEVEL } else { -1 })
    }

    fn write(&self, record: &Record<'_>) {
        let events = self.events.read().clone();
        if let Some(events) = events {
            events.emit("log", || message(record, true));
        }
    }
}

/// The keys of `log` and `control-log`, which differ in `thread`.
fn message(record: &Record<'_>, with_thread: bool) -> Message {
    let mut message = Message::new();
    message.push("group", record.group.name()).push("level", record.level);
    if with_thread {
        message.push("thread", record.thread);
    }
    if let Some(context) = record.context {
        message.push("ikesa-name", &*context.name).push("ikesa-uniqueid", context.id);
    }
    message.push("msg", record.message);
    message
}

/// Watches an operation for the client that asked for it; `done` answers. Log lines go to the client up to the level it
/// wants, if it waits and has subscribed to them.
pub(super) fn watch(
    request: &Message,
    wait: Wait,
    emitter: Emitter,
    done: impl FnOnce(Completion) + Send + 'static,
) -> Watch {
    let timeout = match wait {
        Wait::No | Wait::Forever => None,
        Wait::Up(timeout) => Some(timeout),
    };
    let level = request.int("loglevel").unwrap_or(1).clamp(-1, 4);
    let log_level = i8::try_from(level).unwrap_or(1);
    let wanted = wait != Wait::No && emitter.is_wanted("control-log");
    let log = wanted
        .then(|| -> LogReceiver { Arc::new(move |record| emitter.emit("control-log", || message(record, false))) });
    Watch { timeout, log, log_level, done: Box::new(done) }
}
