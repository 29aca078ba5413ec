//! Whole messages, good and bad.

use super::*;
use crate::ids::IkeSpi;

/// A header with message ID 1.
pub(crate) fn header(exchange: ExchangeType, direction: Direction) -> Header {
    let flags = match direction {
        Direction::Request => HeaderFlags::INITIATOR,
        Direction::Response => HeaderFlags::RESPONSE,
    };
    Header {
        initiator_spi: IkeSpi::new([1; 8]).unwrap(),
        responder_spi: IkeSpi::new([2; 8]),
        exchange,
        flags,
        message_id: MessageId(1),
    }
}
