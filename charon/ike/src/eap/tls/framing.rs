//! TLS messages in EAP packets (RFC 5216 §2.1.5, §3.1): flags, a length, fragments and their acknowledgement.
//!
//! ```text
//!  |L M S R R Ver |  TLS Message Length (if L)    ...
//!  |  TLS Data ...
//! ```
//!
//! TTLS and PEAP have a version in the last bits. There is only version 0 of TTLS, and 0 is what we answer whatever
//! version of PEAP a server begins with (draft-josefsson-pppext-eap-tls-eap §3.1: the client may choose a lower one).

use strongswan::log;
use thiserror::Error;

use super::settings::FramingSettings;
use crate::wire::EapType;

const LENGTH: u8 = 0x80;
const MORE: u8 = 0x40;
const START: u8 = 0x20;

/// Longest TLS message, which is a flight of a handshake with its certificates.
const MAX_MESSAGE: usize = 65_536;

/// Code, identifier, length, type and flags of a packet.
const OVERHEAD: usize = 6;

/// Length of the length field.
const LENGTH_FIELD: usize = 4;

/// Smallest packets that are worth sending: with less, a chain of certificates never gets through.
const MIN_PACKET: usize = 64;

/// What is wrong with a packet.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub(in crate::eap) enum FramingError {
    /// There are no flags, or no length where there should be one.
    #[error("packet too short")]
    Short,
    /// A start where there has been one.
    #[error("unexpected start")]
    Start,
    /// Something else than a start at the beginning.
    #[error("start expected")]
    NoStart,
    /// A message is longer than it said, or than any may be.
    #[error("TLS message too long")]
    Long,
    /// It is shorter than it said, or its length changes on the way.
    #[error("TLS message length does not match")]
    Length,
    /// A fragment without content.
    #[error("empty fragment")]
    Empty,
    /// Data while an acknowledgement is due.
    #[error("acknowledgement of a fragment expected")]
    NotAcknowledged,
    /// Enough is enough.
    #[error("packet count exceeded")]
    TooMany,
}

/// What a packet was.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::eap) enum Frame {
    /// The server begins.
    Start,
    /// Nothing: the other side has everything and waits.
    Empty,
    /// A whole message.
    Message(Vec<u8>),
    /// A fragment of either direction: send this.
    Reply(Vec<u8>),
}

/// A message that is being received.
#[derive(Debug)]
struct Incoming {
    total: Option<usize>,
    data: Vec<u8>,
}

/// Cuts and joins.
#[derive(Debug)]
pub(in crate::eap) struct Framing {
    kind: EapType,
    settings: FramingSettings,
    /// The server's first packet is due.
    starting: bool,
    packets: u32,
    incoming: Option<Incoming>,
    outgoing: Vec<u8>,
    /// Where the rest of `outgoing` begins.
    sent: usize,
}

impl Framing {
    /// That of a server.
    pub(super) fn server(kind: EapType, settings: FramingSettings) -> Self {
        Self { kind, settings, starting: false, packets: 0, incoming: None, outgoing: Vec::new(), sent: 0 }
    }

    /// That of a client.
    pub(super) fn client(kind: EapType, settings: FramingSettings) -> Self {
        Self { starting: true, ..Self::server(kind, settings) }
    }

    /// The first packet of a server.
    pub(super) fn start() -> Vec<u8> {
        vec![START]
    }

    /// A packet without content.
    pub(super) fn empty() -> Vec<u8> {
        vec![0]
    }

    /// What follows the type of a received packet.
    pub(super) fn receive(&mut self, data: &[u8]) -> Result<Frame, FramingError> {
        self.packets = self.packets.saturating_add(1);
        let limit = self.settings.max_message_count;
        if limit != 0 && self.packets > limit {
            log!(TLS, 1, "{} packet count exceeded ({} > {limit})", self.kind, self.packets);
            return Err(FramingError::TooMany);
        }
        let (flags, data) = data.split_first().ok_or(FramingError::Short)?;
        if self.starting {
            self.starting = false;
            return if flags & START == 0 { Err(FramingError::NoStart) } else { Ok(Frame::Start) };
        }
        if flags & START != 0 {
            return Err(FramingError::Start);
        }
        if self.is_sending() {
            // RFC 5216 §2.1.5: nothing but an acknowledgement may come between fragments
            return match data.is_empty() && flags & (LENGTH | MORE) == 0 {
                true => Ok(Frame::Reply(self.next())),
                false => Err(FramingError::NotAcknowledged),
            };
        }
        let (total, data) = match flags & LENGTH {
            0 => (None, data),
            _ => {
                let (total, data) = data.split_first_chunk::<LENGTH_FIELD>().ok_or(FramingError::Short)?;
                let total = usize::try_from(u32::from_be_bytes(*total)).map_err(|_| FramingError::Long)?;
                (Some(total), data)
            }
        };
        self.join(total, data, flags & MORE != 0)
    }

    fn join(&mut self, total: Option<usize>, data: &[u8], more: bool) -> Result<Frame, FramingError> {
        let mut incoming = match self.incoming.take() {
            // some say the length again
            Some(incoming) if total.is_none() || total == incoming.total => incoming,
            Some(_) => return Err(FramingError::Length),
            None if data.is_empty() && !more && total.is_none() => return Ok(Frame::Empty),
            None => Incoming { total, data: Vec::new() },
        };
        if data.is_empty() {
            return Err(FramingError::Empty);
        }
        if incoming.data.len().saturating_add(data.len()) > incoming.total.unwrap_or(MAX_MESSAGE).min(MAX_MESSAGE) {
            return Err(FramingError::Long);
        }
        incoming.data.extend(data);
        if more {
            self.incoming = Some(incoming);
            return Ok(Frame::Reply(Self::empty()));
        }
        match incoming.total {
            Some(total) if total != incoming.data.len() => Err(FramingError::Length),
            _ => Ok(Frame::Message(incoming.data)),
        }
    }

    /// Begins to send a message.
    pub(super) fn send(&mut self, message: Vec<u8>) -> Vec<u8> {
        self.outgoing = message;
        self.sent = 0;
        self.next()
    }

    /// There is more to send than was sent.
    pub(super) fn is_sending(&self) -> bool {
        self.sent < self.outgoing.len()
    }

    fn next(&mut self) -> Vec<u8> {
        let room = self.settings.fragment_size.max(MIN_PACKET).saturating_sub(OVERHEAD);
        let rest = self.outgoing.get(self.sent..).unwrap_or_default();
        let first = self.sent == 0;
        let has_length = first && (self.settings.include_length || rest.len() > room);
        let room = if has_length { room.saturating_sub(LENGTH_FIELD) } else { room };
        let (part, left) = rest.split_at(room.min(rest.len()));
        let mut flags = 0;
        if has_length {
            flags |= LENGTH;
        }
        if !left.is_empty() {
            flags |= MORE;
        }
        let mut packet = vec![flags];
        if has_length {
            // a message of ours never comes near what does not fit
            packet.extend(u32::try_from(self.outgoing.len()).unwrap_or(u32::MAX).to_be_bytes());
        }
        packet.extend(part);
        self.sent = self.sent.saturating_add(part.len());
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(fragment_size: usize, include_length: bool) -> Framing {
        Framing::server(EapType::Tls, FramingSettings { fragment_size, include_length, max_message_count: 0 })
    }

    #[test]
    fn messages_of_all_sizes_pass() {
        for len in [1usize, 2, 53, 54, 57, 58, 59, 116, 117, 500, 4000] {
            for include_length in [false, true] {
                let message: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
                let (mut sender, mut receiver) = (framing(64, include_length), framing(64, false));
                let mut packet = sender.send(message.clone());
                let fragmented = sender.is_sending();
                assert_eq!(packet[0] & LENGTH != 0, include_length || fragmented, "{len}");
                loop {
                    assert!(packet.len() + 5 <= 64);
                    match receiver.receive(&packet).unwrap() {
                        Frame::Reply(ack) => match sender.receive(&ack).unwrap() {
                            Frame::Reply(next) => packet = next,
                            other => panic!("{other:?}"),
                        },
                        Frame::Message(received) => break assert_eq!(received, message),
                        other => panic!("{other:?}"),
                    }
                }
                assert!(!sender.is_sending());
                assert_eq!(sender.receive(&Framing::empty()), Ok(Frame::Empty));
            }
        }
    }

    #[test]
    fn a_client_waits_for_the_start() {
        let mut client = Framing::client(EapType::Tls, FramingSettings::default());
        assert_eq!(client.receive(&Framing::start()), Ok(Frame::Start));
        assert_eq!(client.receive(&Framing::start()), Err(FramingError::Start));
        let mut client = Framing::client(EapType::Tls, FramingSettings::default());
        assert_eq!(client.receive(&[0, 1]), Err(FramingError::NoStart));
        let mut client = Framing::client(EapType::Peap, FramingSettings::default());
        assert_eq!(client.receive(&[START | 1]), Ok(Frame::Start));
    }

    #[test]
    fn hostile_packets() {
        let max = u32::try_from(MAX_MESSAGE).unwrap();
        let long = [&[LENGTH | MORE][..], &(max + 1).to_be_bytes(), &[0; 200]].concat();
        let cases: &[(&[&[u8]], FramingError)] = &[
            (&[&[]], FramingError::Short),
            (&[&[LENGTH]], FramingError::Short),
            (&[&[LENGTH, 0, 0, 0]], FramingError::Short),
            (&[&[LENGTH, 0, 0, 0, 0]], FramingError::Empty),
            (&[&[LENGTH, 0, 0, 0, 1]], FramingError::Empty),
            (&[&[LENGTH, 0, 0, 0, 0, 1]], FramingError::Long),
            (&[&[LENGTH, 0, 0, 0, 1, 1, 2]], FramingError::Long),
            (&[&[LENGTH, 0, 0, 0, 3, 1, 2]], FramingError::Length),
            (&[&[LENGTH, 0xff, 0xff, 0xff, 0xff, 1]], FramingError::Length),
            (&[&[MORE]], FramingError::Empty),
            (&[&[MORE, 1], &[MORE]], FramingError::Empty),
            (&[&[MORE, 1], &[0]], FramingError::Empty),
            (&[&[LENGTH | MORE, 0, 0, 0, 2, 1], &[LENGTH, 0, 0, 0, 3, 1, 1]], FramingError::Length),
            (&[&[MORE, 1], &[LENGTH, 0, 0, 0, 3, 1, 1]], FramingError::Length),
            (&[&[LENGTH | MORE, 0, 0, 0, 2, 1], &[0, 1, 1]], FramingError::Long),
            (&[&[START]], FramingError::Start),
        ];
        for (packets, expected) in cases {
            let mut framing = framing(64, true);
            let last = packets.iter().map(|packet| framing.receive(packet)).last().unwrap();
            assert_eq!(last, Err(*expected), "{packets:?}");
        }
        // what claims to be longer than anything never becomes a message
        let mut receiver = framing(64, true);
        assert_eq!(receiver.receive(&long), Ok(Frame::Reply(vec![0])));
        let mut last = Ok(Frame::Empty);
        for _ in 0..400 {
            last = receiver.receive(&[&[MORE][..], &[0; 200]].concat());
            if last.is_err() {
                break;
            }
        }
        assert_eq!(last, Err(FramingError::Long));
        // data instead of an acknowledgement, and no end
        let mut sender = framing(64, true);
        sender.send(vec![0; 500]);
        assert_eq!(sender.receive(&[0, 1]), Err(FramingError::NotAcknowledged));
        assert_eq!(sender.receive(&[MORE]), Err(FramingError::NotAcknowledged));
        let settings = FramingSettings { max_message_count: 3, ..FramingSettings::default() };
        let mut limited = Framing::server(EapType::Tls, settings);
        for _ in 0..3 {
            assert_eq!(limited.receive(&[0]), Ok(Frame::Empty));
        }
        assert_eq!(limited.receive(&[0]), Err(FramingError::TooMany));
    }
}
