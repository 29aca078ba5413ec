//! Messages as IntAuth covers them (RFC 9242 §3.3.2): in the clear and as if they had not been fragmented, whatever they
//! looked like on the way, so that both sides see the same bytes.
//!
//! ```text
//!  | IKE header, whose length is that of the whole                  |  A
//!  ~ payloads in front of the encrypted one, if any                 ~
//!  | Next Payload  |C|  RESERVED   |  4 + length of the content     |
//!  ~ content: payloads inside of the encrypted one                  ~  P
//! ```

use super::error::EncodeError;
use super::header::{Header, LENGTH_AT};
use super::message::{GENERIC_LEN, Message, chain_type, emit_chain};
use super::registry::PayloadType;
use super::writer::Writer;

/// A received message; `prefix` is what [`Protected::prefix`](super::Protected::prefix) returned for its first datagram.
pub(crate) fn covered(mut prefix: Vec<u8>, content: &[u8]) -> Vec<u8> {
    let total = u32::try_from(prefix.len().saturating_add(content.len())).unwrap_or(u32::MAX);
    if let Some(field) = prefix.get_mut(LENGTH_AT..).and_then(<[u8]>::first_chunk_mut) {
        *field = total.to_be_bytes();
    }
    let payload = u16::try_from(content.len().saturating_add(GENERIC_LEN)).unwrap_or(u16::MAX);
    if let Some(field) = prefix.last_chunk_mut() {
        *field = payload.to_be_bytes();
    }
    prefix.extend_from_slice(content);
    prefix
}

/// A message of ours.
///
/// # Errors
/// If a payload outgrows its length field.
pub(crate) fn covered_by_us(message: &Message) -> Result<Vec<u8>, EncodeError> {
    let mut w = Writer::with_capacity(512);
    message.header.emit(PayloadType::Encrypted, &mut w);
    let mark = w.begin(chain_type(message.payloads.first()).number(), 0);
    emit_chain(&message.payloads, &mut w);
    w.end(mark);
    let len = w.len();
    Header::set_length(&mut w, len);
    w.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::{CountingRng, header};
    use crate::wire::{Direction, ExchangeType, IvSource, Ke, Received, Sealer, fuzzing, parse};
    use strongswan::crypto::KeyExchangeMethod;

    fn intermediate() -> Message {
        let mut message = Message::new(header(ExchangeType::IkeIntermediate, Direction::Request));
        message.push(Ke { method: KeyExchangeMethod::MlKem768, data: vec![7; 1184] });
        message
    }

    /// What the receiver of these datagrams makes of them.
    fn received(datagrams: &[Vec<u8>]) -> Vec<u8> {
        let (mut prefix, mut content) = (Vec::new(), Vec::new());
        for datagram in datagrams {
            let Ok(Received::Protected(protected)) = parse(datagram) else { panic!("not protected") };
            if prefix.is_empty() {
                prefix = protected.prefix(datagram);
            }
            content.extend_from_slice(protected.open(&fuzzing::ciphers()[0], &mut datagram.clone()).unwrap());
        }
        covered(prefix, &content)
    }

    #[test]
    fn both_sides_see_the_same_however_it_is_sent() {
        let message = intermediate();
        let ([cipher, _], mut ivs, mut rng) = (fuzzing::ciphers(), IvSource::default(), CountingRng(0));
        let ours = covered_by_us(&message).unwrap();
        assert_eq!(ours.len(), 28 + 4 + 8 + 1184);
        assert_eq!(ours[16], PayloadType::Encrypted.number());
        assert_eq!(ours[24..36], [0, 0, 0x04, 0xc8, PayloadType::Ke.number(), 0, 0x04, 0xac, 0, 0, 0x04, 0xa8]);
        for limit in [usize::MAX, 1200, 500] {
            let mut sealer = Sealer { cipher: &cipher, ivs: &mut ivs, rng: &mut rng };
            let datagrams = sealer.protect_fragmented(&message, limit).unwrap();
            assert_eq!(datagrams.len() > 1, limit != usize::MAX);
            assert_eq!(received(&datagrams), ours);
        }
    }

    #[test]
    fn payloads_outside_of_the_encrypted_one_are_covered() {
        // Nobody sends such today, but where they are they are covered: an unknown payload in front of a fragment.
        let message = intermediate();
        let ([cipher, _], mut ivs, mut rng) = (fuzzing::ciphers(), IvSource::default(), CountingRng(0));
        let mut sealer = Sealer { cipher: &cipher, ivs: &mut ivs, rng: &mut rng };
        let datagram = sealer.protect_fragmented(&message, 500).unwrap().remove(0);
        let mut changed = datagram.clone();
        changed.splice(28..28, [PayloadType::EncryptedFragment.number(), 0, 0, 6, 1, 2]);
        changed[16] = 200;
        let len = u32::try_from(changed.len()).unwrap();
        changed[24..28].copy_from_slice(&len.to_be_bytes());
        let Ok(Received::Protected(protected)) = parse(&changed) else { panic!("not protected") };
        let covered = covered(protected.prefix(&changed), b"content");
        assert_eq!(covered[16], 200);
        assert_eq!(covered[24..28], [0, 0, 0, 28 + 6 + 4 + 7]);
        assert_eq!(covered[28..34], [PayloadType::Encrypted.number(), 0, 0, 6, 1, 2]);
        assert_eq!(covered[34..], [&[PayloadType::Ke.number(), 0, 0, 11][..], b"content"].concat());
    }
}
