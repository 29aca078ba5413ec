//! What must hold for any input at all. The unit tests feed these samples and random bytes, `testsuite/fuzz` the rest.

use strongswan::crypto::cipher::Cipher;
use strongswan::crypto::transform::{EncryptionAlgorithm, IntegrityAlgorithm};

use super::error::Reaction;
use super::message::{Message, Received, emit_chain, parse, parse_chain};
use super::payload::Payload;
use super::registry::PayloadType;
use super::writer::Writer;

/// A datagram off the wire: whatever is accepted reads the same after writing it again.
///
/// # Panics
/// If that is not so.
pub fn message(datagram: &[u8]) {
    match parse(datagram) {
        Ok(Received::Plain(message)) => {
            let encoded = message.encode_plain().expect("what was read fits its length fields");
            assert_eq!(parse(&encoded), Ok(Received::Plain(message)));
        }
        Ok(Received::Protected(protected)) => {
            for cipher in ciphers() {
                // Only what these very ciphers sealed can be opened, such as a seed.
                let _ = protected.unprotect(&cipher, &mut datagram.to_vec());
            }
        }
        Err(error) => {
            if let Reaction::Reply(notify) | Reaction::Stateless(notify) = error.reaction() {
                assert!(notify.kind.is_error());
            }
        }
    }
}

/// The body of a payload of the type in its first byte.
///
/// # Panics
/// If what is accepted does not read the same after writing it again.
pub fn payload(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    let Ok(payload) = Payload::parse(PayloadType::from(*kind), body) else { return };
    let mut w = Writer::default();
    payload.emit(&mut w);
    // CERT, AUTH and the like may be longer than a payload can be only if the input was.
    let Ok(emitted) = w.finish() else { return };
    assert_eq!(Payload::parse(payload.kind(), &emitted), Ok(payload));
}

/// The decrypted content of a message, whose first payload type is the first byte.
///
/// # Panics
/// If what is accepted does not read the same after writing it again.
pub fn chain(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let Ok(payloads) = parse_chain(PayloadType::from(*first), rest) else { return };
    let mut w = Writer::default();
    emit_chain(&payloads, &mut w);
    let emitted = w.finish().expect("what was read fits its length fields");
    let first = payloads.first().map_or(PayloadType::NoNext, Payload::kind);
    assert_eq!(parse_chain(first, &emitted).as_ref(), Ok(&payloads));
    let header = sample_header();
    // Its notation and its sorted form are used on every message.
    let mut message = Message { header, payloads };
    message.sort();
    let _ = message.notation().to_string();
}

fn sample_header() -> super::Header {
    super::Header {
        initiator_spi: crate::ids::IkeSpi::new([1; 8]).expect("not zero"),
        responder_spi: crate::ids::IkeSpi::new([2; 8]),
        exchange: super::ExchangeType::IkeAuth,
        flags: super::HeaderFlags::INITIATOR,
        message_id: super::MessageId(1),
    }
}

/// One cipher of each shape, with fixed keys.
pub(crate) fn ciphers() -> [Cipher; 2] {
    [(EncryptionAlgorithm::AesGcm16, None), (EncryptionAlgorithm::AesCbc, Some(IntegrityAlgorithm::HmacSha2_256_128))]
        .map(|(encryption, integrity)| {
            let encryption = (encryption, Some(128));
            let lengths = Cipher::key_lengths(encryption, integrity).expect("supported");
            Cipher::new(encryption, integrity, &vec![1; lengths.encryption], &vec![2; lengths.integrity])
                .expect("keys of the right length")
        })
}
