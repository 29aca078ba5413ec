//! Artificial delay of messages, for tests: `receive_delay`, `send_delay` and what limits them.

use std::time::Duration;

use ike::wire::Header;

/// Which messages are delayed and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelaySettings {
    /// `*_delay`, zero for none.
    pub delay: Duration,
    /// `*_delay_type`: only this exchange type, 0 for all.
    pub exchange: u8,
    /// `*_delay_request`
    pub requests: bool,
    /// `*_delay_response`
    pub responses: bool,
}

impl Default for DelaySettings {
    fn default() -> Self {
        Self { delay: Duration::ZERO, exchange: 0, requests: true, responses: true }
    }
}

impl DelaySettings {
    /// The delay of a message, if it has one.
    pub(crate) fn of(&self, header: &Header) -> Option<Duration> {
        let wanted = if header.is_request() { self.requests } else { self.responses };
        let type_matches = self.exchange == 0 || self.exchange == header.exchange.number();
        (!self.delay.is_zero() && wanted && type_matches).then_some(self.delay)
    }
}
