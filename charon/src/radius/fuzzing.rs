//! Entry points for fuzzers, kept compiling by unit tests.

use strongswan::crypto::Secret;

use super::attribute::{AttributeType, Code};
use super::packet::Packet;
use super::settings::Options;
use super::{accept, mppe};

/// Reads a datagram as a request and as a response, and whatever is in it as if it were genuine.
pub fn datagram(input: &[u8]) {
    let secret = Secret::new(b"secret".to_vec());
    let Ok(parsed) = Packet::parse(input) else { return };
    let identifier = parsed.identifier;
    let packet = parsed.packet_unverified();
    let joined = packet.joined(AttributeType::EapMessage);
    let mut again = Packet::new(packet.code);
    again.push_split(AttributeType::EapMessage, &joined);
    assert_eq!(again.joined(AttributeType::EapMessage), joined);
    let _none = mppe::msk(&packet, &[0; 16], &secret);
    let _anything = accept::Granted::read(&packet, &Options::default());
    let _forged = Packet::parse(input).map(|parsed| parsed.open_request(&secret));
    if let Ok(request) = Packet::new(Code::AccessRequest).seal_access(identifier, [0; 16], &secret) {
        let _forged = request.open(input, &secret);
    }
}

#[test]
fn a_packet_is_read() {
    let mut packet = Packet::new(Code::AccessAccept);
    packet.push(AttributeType::VendorSpecific, &[0, 0, 1, 55, 16, 4, 1, 2]).push(AttributeType::Class, b"staff");
    let secret = Secret::new(b"another".to_vec());
    datagram(&packet.seal_response(1, &[0; 16], &secret).unwrap());
    datagram(&[]);
}
