//! Counters of IKEv2 events: rekeyings, messages that are no good, and messages by exchange, direction and kind; in all and
//! per connection.
//!
//! A connection appears once something was counted for it. Messages before a connection is selected count in all only.

use std::collections::BTreeMap;
use std::sync::Arc;

use ike::ids::UniqueId;
use ike::wire::ExchangeType;
use ike::{Alert, Event, IkeSa};
use parking_lot::Mutex;

use super::{DaemonAlert, Listener};

/// The names of the counters, as vici has them, in order.
pub const NAMES: [&str; 21] = [
    "ike-rekey-init",
    "ike-rekey-resp",
    "child-rekey",
    "invalid",
    "invalid-spi",
    "ike-init-in-req",
    "ike-init-in-resp",
    "ike-init-out-req",
    "ike-init-out-resp",
    "ike-auth-in-req",
    "ike-auth-in-resp",
    "ike-auth-out-req",
    "ike-auth-out-resp",
    "create-child-in-req",
    "create-child-in-resp",
    "create-child-out-req",
    "create-child-out-resp",
    "info-in-req",
    "info-in-resp",
    "info-out-req",
    "info-out-resp",
];

const IKE_REKEY_INIT: usize = 0;
const IKE_REKEY_RESP: usize = 1;
const CHILD_REKEY: usize = 2;
const INVALID: usize = 3;
const INVALID_SPI: usize = 4;
/// The first of four for each exchange.
const MESSAGES: usize = 5;

/// A value for each of [`NAMES`].
pub type Values = [u64; NAMES.len()];

#[derive(Default)]
struct State {
    all: Values,
    /// As many as connections have been loaded, at most.
    connections: BTreeMap<Arc<str>, Values>,
}

/// Counts.
#[derive(Default)]
pub struct Counters {
    /// Held for an increment, or a copy.
    state: Mutex<State>,
}

impl Counters {
    /// All of it together.
    pub fn global(&self) -> Values {
        self.state.lock().all
    }

    /// That of a connection, if there is anything.
    pub fn of(&self, connection: &str) -> Option<Values> {
        self.state.lock().connections.get(connection).copied()
    }

    /// Every connection, ordered by name.
    pub fn connections(&self) -> Vec<(Arc<str>, Values)> {
        self.state.lock().connections.iter().map(|(name, values)| (Arc::clone(name), *values)).collect()
    }

    /// Begins at zero again, in all.
    pub fn reset_global(&self) {
        self.state.lock().all = Values::default();
    }

    /// Forgets a connection.
    pub fn reset(&self, connection: &str) {
        self.state.lock().connections.remove(connection);
    }

    /// Forgets every connection.
    pub fn reset_connections(&self) {
        self.state.lock().connections.clear();
    }

    fn count(&self, connection: Option<&Arc<str>>, counter: usize) {
        let mut state = self.state.lock();
        increment(&mut state.all, counter);
        if let Some(name) = connection {
            match state.connections.get_mut(name) {
                Some(values) => increment(values, counter),
                None => increment(state.connections.entry(Arc::clone(name)).or_default(), counter),
            }
        }
    }
}

fn increment(values: &mut Values, counter: usize) {
    if let Some(value) = values.get_mut(counter) {
        *value = value.saturating_add(1);
    }
}

/// The counter of a message, if there is one for its exchange.
fn message(exchange: ExchangeType, incoming: bool, request: bool) -> Option<usize> {
    let exchange = match exchange {
        ExchangeType::IkeSaInit => 0,
        ExchangeType::IkeAuth => 1,
        ExchangeType::CreateChildSa => 2,
        ExchangeType::Informational => 3,
        ExchangeType::IkeSessionResume
        | ExchangeType::IkeIntermediate
        | ExchangeType::IkeFollowupKe
        | ExchangeType::Unknown(_) => return None,
    };
    Some(MESSAGES + exchange * 4 + if incoming { 0 } else { 2 } + usize::from(!request))
}

impl Listener for Counters {
    fn event(&self, ike_sa: &IkeSa, event: &Event) {
        let connection = || ike_sa.config().map(|config| &config.name);
        match event {
            Event::Message { connection, exchange, incoming, request } => {
                if let Some(counter) = message(*exchange, *incoming, *request) {
                    self.count(connection.as_ref(), counter);
                }
            }
            Event::IkeRekey { new, .. } => {
                self.count(connection(), if new.initiator { IKE_REKEY_INIT } else { IKE_REKEY_RESP });
            }
            Event::ChildRekey { .. } => self.count(connection(), CHILD_REKEY),
            Event::Alert(Alert::ParseErrorBody) => self.count(connection(), INVALID),
            Event::Alert(_)
            | Event::IkeStateChange { .. }
            | Event::IkeUpDown { .. }
            | Event::IkeRedirect { .. }
            | Event::IkeUpdate { .. }
            | Event::ChildStateChange { .. }
            | Event::ChildUpDown { .. }
            | Event::ChildUsed { .. }
            | Event::ChildFailed { .. }
            | Event::Explained(_) => {}
        }
    }

    fn destroyed(&self, _ike_sa: UniqueId) {}

    fn alert(&self, alert: &DaemonAlert) {
        match alert {
            DaemonAlert::InvalidIkeSpi => self.count(None, INVALID_SPI),
            DaemonAlert::ParseErrorHeader => self.count(None, INVALID),
            DaemonAlert::ShutdownSignal | DaemonAlert::RadiusNotResponding => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_counters_of_their_names() {
        for (exchange, name) in [
            (ExchangeType::IkeSaInit, "ike-init"),
            (ExchangeType::IkeAuth, "ike-auth"),
            (ExchangeType::CreateChildSa, "create-child"),
            (ExchangeType::Informational, "info"),
        ] {
            for (incoming, direction) in [(true, "in"), (false, "out")] {
                for (request, kind) in [(true, "req"), (false, "resp")] {
                    let counter = message(exchange, incoming, request).unwrap();
                    assert_eq!(NAMES[counter], format!("{name}-{direction}-{kind}"));
                }
            }
        }
        assert_eq!(message(ExchangeType::IkeIntermediate, true, true), None);
        for (counter, name) in
            [(IKE_REKEY_INIT, "ike-rekey-init"), (CHILD_REKEY, "child-rekey"), (INVALID_SPI, "invalid-spi")]
        {
            assert_eq!(NAMES[counter], name);
        }
    }

    #[test]
    fn in_all_and_per_connection() {
        let counters = Counters::default();
        let (gw, a): (Arc<str>, Arc<str>) = ("gw".into(), "a".into());
        counters.count(Some(&gw), INVALID);
        counters.count(Some(&gw), INVALID);
        counters.count(Some(&a), CHILD_REKEY);
        counters.alert(&DaemonAlert::InvalidIkeSpi);
        assert_eq!(counters.global()[..6], [0, 0, 1, 2, 1, 0]);
        assert_eq!(counters.of("gw").unwrap()[..4], [0, 0, 0, 2]);
        assert_eq!(counters.of("b"), None);
        let names: Vec<_> = counters.connections().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [a, gw]);
        counters.reset("gw");
        assert_eq!((counters.of("gw"), counters.global()[INVALID]), (None, 2));
        counters.reset_connections();
        assert_eq!(counters.connections(), []);
        counters.reset_global();
        assert_eq!(counters.global(), Values::default());
    }
}
