//! The log lines of one IKE_SA, streamed to whoever started an operation on it (`control-log` of vici).
//!
//! One sink serves all operations: lines find their subscribers by the IKE_SA's number, so thousands of operations at
//! once cost each line one look-up.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Levels, Loggers, Record, Sink};

/// Receives the lines of an IKE_SA.
type Receiver = Arc<dyn Fn(&Record<'_>) + Send + Sync>;

struct Subscriber {
    number: u64,
    level: i8,
    receiver: Receiver,
}

#[derive(Default)]
struct Subscribers {
    last: u64,
    by_ike_sa: HashMap<u32, Vec<Subscriber>>,
    /// Subscribers per level 0 to 4.
    per_level: [usize; 5],
}

impl Subscribers {
    fn count(&mut self, level: i8) -> Option<&mut usize> {
        self.per_level.get_mut(usize::try_from(level).ok()?)
    }

    fn highest(&self) -> i8 {
        self.per_level.iter().rposition(|count| *count > 0).and_then(|level| i8::try_from(level).ok()).unwrap_or(-1)
    }
}

/// Hands log lines to the subscribers of their IKE_SA.
pub struct ControlLog {
    loggers: Arc<Loggers>,
    subscribers: Mutex<Subscribers>,
}

impl ControlLog {
    /// A sink without subscribers, added to `loggers`.
    pub fn new(loggers: &Arc<Loggers>) -> Arc<Self> {
        let control = Arc::new(Self { loggers: Arc::clone(loggers), subscribers: Mutex::default() });
        loggers.add(Arc::<Self>::clone(&control));
        control
    }

    /// Hands the lines of an IKE_SA up to `level` to `receiver` until the subscription is dropped. The receiver is called
    /// on the thread that writes the line and must neither block nor write log lines.
    pub fn subscribe(
        self: &Arc<Self>,
        ike_sa: u32,
        level: i8,
        receiver: impl Fn(&Record<'_>) + Send + Sync + 'static,
    ) -> LogSubscription {
        let level = level.clamp(-1, 4);
        let mut subscribers = self.subscribers.lock();
        subscribers.last = subscribers.last.wrapping_add(1);
        let number = subscribers.last;
        let before = subscribers.highest();
        if let Some(count) = subscribers.count(level) {
            *count = count.saturating_add(1);
            let receiver: Receiver = Arc::new(receiver);
            subscribers.by_ike_sa.entry(ike_sa).or_default().push(Subscriber { number, level, receiver });
        }
        let changed = subscribers.highest() != before;
        drop(subscribers);
        if changed {
            self.loggers.refresh();
        }
        LogSubscription { control: Arc::clone(self), ike_sa, number }
    }

    fn unsubscribe(&self, ike_sa: u32, number: u64) {
        let mut subscribers = self.subscribers.lock();
        let before = subscribers.highest();
        let mut removed = None;
        if let Some(list) = subscribers.by_ike_sa.get_mut(&ike_sa) {
            if let Some(index) = list.iter().position(|s| s.number == number) {
                removed = Some(list.swap_remove(index));
            }
            if list.is_empty() {
                subscribers.by_ike_sa.remove(&ike_sa);
            }
        }
        if let Some(count) = removed.as_ref().and_then(|s| subscribers.count(s.level)) {
            *count = count.saturating_sub(1);
        }
        let changed = subscribers.highest() != before;
        drop(subscribers);
        if changed {
            self.loggers.refresh();
        }
    }
}

impl Sink for ControlLog {
    fn levels(&self) -> Levels {
        Levels::all(self.subscribers.lock().highest())
    }

    fn write(&self, record: &Record<'_>) {
        let Some(context) = record.context else { return };
        let receivers: Vec<Receiver> = {
            let subscribers = self.subscribers.lock();
            let Some(list) = subscribers.by_ike_sa.get(&context.id) else { return };
            let heard = list.iter().filter(|s| i8::try_from(record.level).is_ok_and(|level| level <= s.level));
            heard.map(|s| Arc::clone(&s.receiver)).collect()
        };
        for receiver in receivers {
            receiver(record);
        }
    }
}

/// Keeps a receiver subscribed.
pub struct LogSubscription {
    control: Arc<ControlLog>,
    ike_sa: u32,
    number: u64,
}

impl Drop for LogSubscription {
    fn drop(&mut self) {
        self.control.unsubscribe(self.ike_sa, self.number);
    }
}

#[cfg(test)]
mod tests {
    use strongswan::log;
    use strongswan::log::{Context, set_context};
    use tracing_subscriber::layer::SubscriberExt;

    use super::super::LogLayer;
    use super::*;

    #[test]
    fn a_subscriber_hears_its_ike_sa_at_its_level_until_it_leaves() {
        let loggers = Loggers::new();
        let control = ControlLog::new(&loggers);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::registry().with(LogLayer(loggers));
        tracing::subscriber::with_default(subscriber, || {
            let line = |id, text: &str| {
                set_context(Some(Context { name: "gw".into(), id }));
                log!(IKE, 1, "{text}");
                log!(IKE, 2, "more on {text}");
                set_context(None);
            };
            let into = Arc::clone(&heard);
            let detailed = control.subscribe(1, 2, |_| ());
            let subscription = control.subscribe(7, 1, move |record| into.lock().push(record.message.to_owned()));
            line(7, "this");
            line(8, "another");
            drop(detailed);
            line(7, "that");
            drop(subscription);
            line(7, "the end");
        });
        assert_eq!(*heard.lock(), ["this", "that"]);
        assert_eq!(control.levels(), Levels::SILENT);
    }
}
