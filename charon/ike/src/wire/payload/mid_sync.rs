//! IKEV2_MESSAGE_ID_SYNC (RFC 6311 §7): how far each side's exchanges are.
//!
//! ```text
//!  |                          Nonce Data                           |
//!  |                 EXPECTED_SEND_REQ_MESSAGE_ID                  |
//!  |                 EXPECTED_RECV_REQ_MESSAGE_ID                  |
//! ```

use super::notify::Notify;
use crate::wire::header::MessageId;
use crate::wire::notify_type::NotifyType;

/// The message IDs of the sender's next requests in either direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageIdSync {
    /// Ties an answer to a question.
    pub nonce: [u8; 4],
    /// Of the next request it sends.
    pub send: MessageId,
    /// Of the next request it expects.
    pub receive: MessageId,
}

impl Notify {
    /// IKEV2_MESSAGE_ID_SYNC.
    pub fn message_id_sync(sync: &MessageIdSync) -> Self {
        let data = [sync.nonce, sync.send.0.to_be_bytes(), sync.receive.0.to_be_bytes()].concat();
        Self::with_data(NotifyType::Ikev2MessageIdSync, &data)
    }

    /// What IKEV2_MESSAGE_ID_SYNC says.
    pub fn read_message_id_sync(&self) -> Option<MessageIdSync> {
        if self.kind != NotifyType::Ikev2MessageIdSync {
            return None;
        }
        let (nonce, ids) = self.data.split_first_chunk()?;
        let (send, ids) = ids.split_first_chunk()?;
        let receive = ids.try_into().ok()?;
        let id = |bytes| MessageId(u32::from_be_bytes(bytes));
        Some(MessageIdSync { nonce: *nonce, send: id(*send), receive: id(receive) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes() {
        let sync = MessageIdSync { nonce: *b"once", send: MessageId(3), receive: MessageId(0x0102_0304) };
        let notify = Notify::message_id_sync(&sync);
        assert_eq!(notify.data.as_slice(), b"once\0\0\0\x03\x01\x02\x03\x04");
        assert_eq!(notify.read_message_id_sync(), Some(sync));
        for data in [&b""[..], b"once\0\0\0\x03\x01\x02\x03", b"once\0\0\0\x03\x01\x02\x03\x04\x05"] {
            assert_eq!(Notify::with_data(NotifyType::Ikev2MessageIdSync, data).read_message_id_sync(), None);
        }
        assert_eq!(Notify::with_data(NotifyType::Cookie, &notify.data).read_message_id_sync(), None);
    }
}
