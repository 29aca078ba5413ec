//! IKE fragmentation (RFC 7383): large protected messages travel as several protected datagrams.

use std::net::IpAddr;

use strongswan::log;

use super::error::{EncodeError, FragmentError};
use super::header::{Header, MessageId};
use super::message::{Message, chain_type, emit_chain};
use super::registry::PayloadType;
use super::sk::{FragmentNumber, Sealer};
use super::writer::Writer;

/// Fragments of one message that are reassembled: enough for 64 KiB at the smallest useful size.
pub const MAX_FRAGMENTS: u16 = 255;

/// Default bound of a reassembled message (`charon.max_packet`).
pub const DEFAULT_MAX_PACKET: usize = 10_000;

/// Sizes of what surrounds an IKE message in an IP datagram.
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;
const NON_ESP_MARKER: usize = 4;

/// How large an IKE message may be, so that the IP datagram around it has at most `datagram` bytes. A `datagram` of 0
/// stands for the minimum that every host of the family must accept.
pub fn message_limit(datagram: usize, remote: IpAddr, non_esp_marker: bool) -> usize {
    let (minimum, header) = match remote {
        IpAddr::V4(_) => (576, IPV4_HEADER),
        IpAddr::V6(_) => (1280, IPV6_HEADER),
    };
    let datagram = if datagram == 0 { minimum } else { datagram };
    let marker = if non_esp_marker { NON_ESP_MARKER } else { 0 };
    datagram.saturating_sub(header).saturating_sub(UDP_HEADER).saturating_sub(marker)
}

impl Sealer<'_> {
    /// Encodes and protects a message, in fragments if it would exceed `limit` bytes (see [`message_limit`]).
    ///
    /// # Errors
    /// If a payload outgrows its length field, the cipher fails, or `limit` leaves no room for content.
    pub fn protect_fragmented(&mut self, message: &Message, limit: usize) -> Result<Vec<Vec<u8>>, EncodeError> {
        let Message { header, payloads } = message;
        let first = chain_type(payloads.first());
        let mut w = Writer::with_capacity(512);
        emit_chain(payloads, &mut w);
        let content = w.finish()?;
        let whole = content.len().saturating_add(self.overhead(content.len(), false));
        if whole <= limit {
            return Ok(vec![self.seal(header, first, None, whole, |w| w.bytes(&content))?]);
        }
        let room = self.fragment_room(limit).ok_or(EncodeError::FragmentSize)?;
        let total = u16::try_from(content.len().div_ceil(room)).map_err(|_| EncodeError::FragmentSize)?;
        log!(ENC, 1, "splitting IKE message ({whole} bytes) into {total} fragments");
        let mut fragments = Vec::with_capacity(total.into());
        for (number, part) in (1..=total).zip(content.chunks(room)) {
            // RFC 7383 §2.5: only the first fragment names the first payload inside.
            let first = if number == 1 { first } else { PayloadType::NoNext };
            let place = Some(FragmentNumber { number, total });
            let capacity = part.len().saturating_add(self.overhead(part.len(), true));
            fragments.push(self.seal(header, first, place, capacity, |w| w.bytes(part))?);
        }
        Ok(fragments)
    }
}

/// What became of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Others are missing.
    Waiting,
    /// The message is complete: type of its first payload, and its payloads.
    Complete(PayloadType, Vec<u8>),
}

/// Collects the fragments of one message at a time, for one direction of an IKE_SA. Fragments are authenticated before they
/// get here, so what is kept is the peer's doing, and it is bounded.
#[derive(Debug)]
pub struct Reassembler {
    max_packet: usize,
    current: Option<Collected>,
}

#[derive(Debug)]
struct Collected {
    message_id: MessageId,
    first: PayloadType,
    bytes: usize,
    missing: usize,
    parts: Vec<Option<Box<[u8]>>>,
}

impl Collected {
    fn new(message_id: MessageId, total: u16) -> Self {
        let total = usize::from(total);
        let mut parts = Vec::new();
        parts.resize_with(total, || None);
        Self { message_id, first: PayloadType::NoNext, bytes: 0, missing: total, parts }
    }
}

impl Reassembler {
    /// A reassembler for messages of up to `max_packet` bytes.
    pub const fn new(max_packet: usize) -> Self {
        Self { max_packet, current: None }
    }

    /// Forgets what is collected.
    pub fn reset(&mut self) {
        self.current = None;
    }

    /// Takes the opened content of a fragment of the message with `header`; `first` is the payload type its SKF header names.
    ///
    /// # Errors
    /// Why the fragment was not used (RFC 7383 §2.6). What was collected before survives, except where noted.
    pub fn add(
        &mut self,
        header: &Header,
        place: FragmentNumber,
        first: PayloadType,
        content: &[u8],
    ) -> Result<Progress, FragmentError> {
        let FragmentNumber { number, total } = place;
        if number == 0 || number > total {
            return Err(FragmentError::InvalidNumber);
        }
        if total > MAX_FRAGMENTS {
            self.reset();
            return Err(FragmentError::TooMany);
        }
        if number > 1 && first != PayloadType::NoNext {
            return Err(FragmentError::UnexpectedFirstPayload);
        }
        let id = header.message_id;
        let mut current = match self.current.take() {
            Some(current) if current.message_id == id && current.parts.len() == usize::from(total) => current,
            Some(current) if current.message_id == id && current.parts.len() > usize::from(total) => {
                self.current = Some(current);
                return Err(FragmentError::SmallerTotal);
            }
            // Another message, or the peer split the same one again into smaller pieces after it got no answer.
            Some(_) | None => Collected::new(id, total),
        };
        let index = usize::from(number).saturating_sub(1);
        let Some(slot) = current.parts.get_mut(index) else {
            return Err(FragmentError::InvalidNumber);
        };
        if slot.is_some() {
            self.current = Some(current);
            return Err(FragmentError::Duplicate(number));
        }
        let bytes = current.bytes.saturating_add(content.len());
        if bytes > self.max_packet {
            // Whatever follows cannot make it smaller.
            return Err(FragmentError::TooLarge);
        }
        *slot = Some(content.into());
        current.bytes = bytes;
        current.missing = current.missing.saturating_sub(1);
        if number == 1 {
            current.first = first;
        }
        if current.missing > 0 {
            log!(ENC, 1, "received fragment #{number} of {total}, waiting for complete IKE message");
            self.current = Some(current);
            return Ok(Progress::Waiting);
        }
        let mut message = Vec::with_capacity(bytes);
        current.parts.iter().flatten().for_each(|part| message.extend_from_slice(part));
        log!(ENC, 1, "received fragment #{number} of {total}, reassembled fragmented IKE message ({bytes} bytes)");
        Ok(Progress::Complete(current.first, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::{CountingRng, header, ike_auth};
    use crate::wire::{Direction, ExchangeType, IvSource, PayloadType, fuzzing};

    const VENDOR: PayloadType = PayloadType::VendorId;
    const NONE: PayloadType = PayloadType::NoNext;

    fn add(r: &mut Reassembler, number: u16, total: u16, content: &[u8]) -> Result<Progress, FragmentError> {
        let first = if number == 1 { VENDOR } else { NONE };
        let header = header(ExchangeType::IkeAuth, Direction::Request);
        r.add(&header, FragmentNumber { number, total }, first, content)
    }

    #[test]
    fn any_order_and_duplicates() {
        let mut r = Reassembler::new(DEFAULT_MAX_PACKET);
        assert_eq!(add(&mut r, 3, 3, b"c"), Ok(Progress::Waiting));
        assert_eq!(add(&mut r, 1, 3, b"a"), Ok(Progress::Waiting));
        assert_eq!(add(&mut r, 1, 3, b"x"), Err(FragmentError::Duplicate(1)));
        assert_eq!(add(&mut r, 2, 3, b"b"), Ok(Progress::Complete(VENDOR, b"abc".to_vec())));
        // What is left is empty: a late duplicate starts anew.
        assert_eq!(add(&mut r, 2, 3, b"b"), Ok(Progress::Waiting));
        assert_eq!(add(&mut r, 1, 1, b"a"), Err(FragmentError::SmallerTotal));
    }

    #[test]
    fn bounds() {
        let mut r = Reassembler::new(10);
        assert_eq!(add(&mut r, 0, 3, b""), Err(FragmentError::InvalidNumber));
        assert_eq!(add(&mut r, 4, 3, b""), Err(FragmentError::InvalidNumber));
        assert_eq!(add(&mut r, 1, 256, b""), Err(FragmentError::TooMany));
        assert_eq!(add(&mut r, 1, 255, b"123456"), Ok(Progress::Waiting));
        assert_eq!(add(&mut r, 2, 255, b"12345"), Err(FragmentError::TooLarge));
        assert!(r.current.is_none());
    }

    #[test]
    fn the_total_may_only_grow() {
        // RFC 7383 §2.6: a peer that gets no answer tries smaller fragments, hence more of them.
        let mut r = Reassembler::new(DEFAULT_MAX_PACKET);
        assert_eq!(add(&mut r, 1, 3, b"abc"), Ok(Progress::Waiting));
        assert_eq!(add(&mut r, 1, 2, b"abcd"), Err(FragmentError::SmallerTotal));
        assert_eq!(add(&mut r, 1, 4, b"a"), Ok(Progress::Waiting));
        assert_eq!(add(&mut r, 2, 3, b"x"), Err(FragmentError::SmallerTotal));
        assert_eq!(add(&mut r, 2, 4, b"b"), Ok(Progress::Waiting));
        assert_eq!(add(&mut r, 3, 4, b"c"), Ok(Progress::Waiting));
        assert_eq!(add(&mut r, 4, 4, b"d"), Ok(Progress::Complete(VENDOR, b"abcd".to_vec())));
    }

    #[test]
    fn another_message_starts_anew() {
        let mut r = Reassembler::new(DEFAULT_MAX_PACKET);
        let mut header = header(ExchangeType::IkeAuth, Direction::Request);
        let place = |number| FragmentNumber { number, total: 2 };
        assert_eq!(r.add(&header, place(1), VENDOR, b"a"), Ok(Progress::Waiting));
        header.message_id = header.message_id.next();
        assert_eq!(r.add(&header, place(2), NONE, b"b"), Ok(Progress::Waiting));
        assert_eq!(r.add(&header, place(2), VENDOR, b"b"), Err(FragmentError::UnexpectedFirstPayload));
        assert_eq!(r.add(&header, place(1), VENDOR, b"c"), Ok(Progress::Complete(VENDOR, b"cb".to_vec())));
    }

    #[test]
    fn limits_follow_the_address_family() {
        let v4 = "192.0.2.1".parse().unwrap();
        let v6 = "2001:db8::1".parse().unwrap();
        assert_eq!(message_limit(1280, v4, false), 1252);
        assert_eq!(message_limit(1280, v4, true), 1248);
        assert_eq!(message_limit(1280, v6, true), 1228);
        assert_eq!(message_limit(0, v4, false), 548);
        assert_eq!(message_limit(0, v6, false), 1232);
        assert_eq!(message_limit(10, v6, false), 0);
    }

    #[test]
    fn messages_that_fit_stay_whole() {
        for cipher in fuzzing::ciphers() {
            let (mut ivs, mut rng) = (IvSource::default(), CountingRng(0));
            let mut sealer = Sealer { cipher: &cipher, ivs: &mut ivs, rng: &mut rng };
            let message = ike_auth();
            let whole = sealer.protect(&message.header, &message.payloads).unwrap().len();
            assert_eq!(sealer.protect_fragmented(&message, whole).unwrap().len(), 1);
            let parts = sealer.protect_fragmented(&message, whole - 1).unwrap();
            assert_eq!(parts.len(), 2);
            assert!(parts.iter().all(|part| part.len() < whole));
            assert_eq!(sealer.protect_fragmented(&message, 60), Err(EncodeError::FragmentSize));
        }
    }
}
