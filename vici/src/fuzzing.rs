//! Entry points for fuzzers, kept compiling by a unit test.

use crate::frame::Deframer;
use crate::message::Message;
use crate::packet::Packet;

/// Cuts a byte stream into packets and parses each with its message. What was understood can be said again.
pub fn packets(input: &[u8]) {
    let mut deframer = Deframer::new();
    deframer.feed(input);
    while let Ok(Some(bytes)) = deframer.next_packet() {
        let Ok(packet) = Packet::parse(bytes) else { continue };
        let (Packet::CommandRequest { message, .. }
        | Packet::CommandResponse { message }
        | Packet::Event { message, .. }) = packet
        else {
            continue;
        };
        let (message, _) = Message::decode_prefix(message);
        let encoded = message.encode().unwrap_or_default();
        assert_eq!(Message::decode(&encoded), Ok(message));
    }
}

#[test]
fn packets_of_all_kinds_pass() {
    packets(b"\0\0\0\x01\x05\0\0\0\x03\x01\x04l\0\0\0\x02\x03\xff\0\0\0\x0a\x00\x08list-sas\xff");
}
