//! Packets: a type byte, for some types a name, for some a message.
//!
//! ```text
//!  +----------+-----------+------------- - - -+----------- - - -
//!  | type (1) | len (1)   | name (len bytes)  | message
//!  +----------+-----------+------------- - - -+----------- - - -
//!              \_____ types 0, 3, 4, 7 _____/  types 0, 1, 7
//! ```

use crate::frame::MAX_PACKET;
use crate::message::encode::put_name;
use crate::message::{EncodeError, Message, is_printable};

/// One packet; names and messages borrow from the received bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Client asks to run a command.
    CommandRequest {
        /// The command.
        name: &'a str,
        /// Its message, still encoded.
        message: &'a [u8],
    },
    /// Server's final answer to a command.
    CommandResponse {
        /// The message, still encoded.
        message: &'a [u8],
    },
    /// Server knows no such command.
    CommandUnknown,
    /// Client subscribes to an event.
    EventRegister {
        /// The event.
        name: &'a str,
    },
    /// Client ends a subscription.
    EventUnregister {
        /// The event.
        name: &'a str,
    },
    /// Server carried a (un)subscription out.
    EventConfirm,
    /// Server knows no such event or subscription.
    EventUnknown,
    /// Server reports an event.
    Event {
        /// The event.
        name: &'a str,
        /// Its message, still encoded.
        message: &'a [u8],
    },
}

/// Why bytes are not a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Not even a type byte.
    #[error("empty packet")]
    Empty,
    /// A packet type that does not exist.
    #[error("unknown packet type {0}")]
    UnknownType(u8),
    /// The name runs past the end.
    #[error("name of packet type {0} is truncated")]
    NameTruncated(u8),
    /// The name holds bytes outside 0x20..=0x7e.
    #[error("name of packet type {0} is not printable")]
    NameNotPrintable(u8),
}

impl<'a> Packet<'a> {
    /// Parses a packet; the message is left encoded.
    ///
    /// # Errors
    /// If the type is unknown or the name malformed.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PacketError> {
        let (&kind, rest) = bytes.split_first().ok_or(PacketError::Empty)?;
        let named = || split_name(kind, rest);
        Ok(match kind {
            0 => {
                let (name, message) = named()?;
                Self::CommandRequest { name, message }
            }
            1 => Self::CommandResponse { message: rest },
            2 => Self::CommandUnknown,
            3 => Self::EventRegister { name: named()?.0 },
            4 => Self::EventUnregister { name: named()?.0 },
            5 => Self::EventConfirm,
            6 => Self::EventUnknown,
            7 => {
                let (name, message) = named()?;
                Self::Event { name, message }
            }
            kind => return Err(PacketError::UnknownType(kind)),
        })
    }

    /// The packet as it goes on the wire, length field included.
    ///
    /// # Errors
    /// If the name or the whole packet is too long, or the name not printable.
    pub fn to_frame(self) -> Result<Vec<u8>, EncodeError> {
        let (kind, name, message) = match self {
            Self::CommandRequest { name, message } => (0, Some(name), message),
            Self::CommandResponse { message } => (1, None, message),
            Self::CommandUnknown => (2, None, [].as_slice()),
            Self::EventRegister { name } => (3, Some(name), [].as_slice()),
            Self::EventUnregister { name } => (4, Some(name), [].as_slice()),
            Self::EventConfirm => (5, None, [].as_slice()),
            Self::EventUnknown => (6, None, [].as_slice()),
            Self::Event { name, message } => (7, Some(name), message),
        };
        frame(kind, name, message.len(), |out| {
            out.extend_from_slice(message);
            Ok(())
        })
    }
}

/// Frame of a command request.
pub(crate) fn request_frame(command: &str, message: &Message) -> Result<Vec<u8>, EncodeError> {
    frame(0, Some(command), message.encoded_len(), |out| message.encode_to(out))
}

/// Frame of a command's answer.
pub(crate) fn response_frame(message: &Message) -> Result<Vec<u8>, EncodeError> {
    frame(1, None, message.encoded_len(), |out| message.encode_to(out))
}

/// Frame of an event.
pub(crate) fn event_frame(event: &str, message: &Message) -> Result<Vec<u8>, EncodeError> {
    frame(7, Some(event), message.encoded_len(), |out| message.encode_to(out))
}

/// Length field and type.
const HEADER: usize = 5;

fn frame(
    kind: u8,
    name: Option<&str>,
    length: usize,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<Vec<u8>, EncodeError> {
    // in one piece: growing would leave parts of it, which may be secret, in freed memory
    let mut out = Vec::with_capacity(HEADER + name.map_or(0, |name| 1 + name.len()) + length);
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    if let Some(name) = name {
        put_name(&mut out, name)?;
    }
    body(&mut out)?;
    let length = out.len().saturating_sub(4);
    let field = u32::try_from(length).ok().filter(|_| length <= MAX_PACKET);
    let field = field.ok_or(EncodeError::PacketTooLong(length))?;
    if let Some(prefix) = out.first_chunk_mut::<4>() {
        *prefix = field.to_be_bytes();
    }
    Ok(out)
}

fn split_name(kind: u8, bytes: &[u8]) -> Result<(&str, &[u8]), PacketError> {
    let (&length, rest) = bytes.split_first().ok_or(PacketError::NameTruncated(kind))?;
    let (name, rest) = rest.split_at_checked(usize::from(length)).ok_or(PacketError::NameTruncated(kind))?;
    if !is_printable(name) {
        return Err(PacketError::NameNotPrintable(kind));
    }
    let name = std::str::from_utf8(name).map_err(|_| PacketError::NameNotPrintable(kind))?;
    Ok((name, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_byte_exact() {
        let register = Packet::EventRegister { name: "list-sa" };
        assert_eq!(register.to_frame().unwrap(), b"\0\0\0\x09\x03\x07list-sa");
        assert_eq!(Packet::EventConfirm.to_frame().unwrap(), b"\0\0\0\x01\x05");
        assert_eq!(request_frame("list-sas", &Message::new()).unwrap(), b"\0\0\0\x0a\x00\x08list-sas");
        assert_eq!(response_frame(&Message::new()).unwrap(), b"\0\0\0\x01\x01");
    }

    #[test]
    fn every_type_round_trips() {
        for packet in [
            Packet::CommandRequest { name: "version", message: b"\x03\x01a\x00\x01b" },
            Packet::CommandResponse { message: b"x" },
            Packet::CommandUnknown,
            Packet::EventRegister { name: "log" },
            Packet::EventUnregister { name: "" },
            Packet::EventConfirm,
            Packet::EventUnknown,
            Packet::Event { name: "log", message: b"" },
        ] {
            let frame = packet.to_frame().unwrap();
            assert_eq!(Packet::parse(frame.get(4..).unwrap()), Ok(packet));
        }
    }

    #[test]
    fn malformed_packets_are_told_apart() {
        assert_eq!(Packet::parse(b""), Err(PacketError::Empty));
        assert_eq!(Packet::parse(b"\x08"), Err(PacketError::UnknownType(8)));
        assert_eq!(Packet::parse(b"\x00"), Err(PacketError::NameTruncated(0)));
        assert_eq!(Packet::parse(b"\x03\x04abc"), Err(PacketError::NameTruncated(3)));
        assert_eq!(Packet::parse(b"\x04\x01\x7f"), Err(PacketError::NameNotPrintable(4)));
        assert_eq!(Packet::parse(b"\x03\x03abcrest"), Ok(Packet::EventRegister { name: "abc" }));
    }

    #[test]
    fn a_packet_over_512_kib_is_refused() {
        let body = vec![0; MAX_PACKET];
        assert!(Packet::CommandResponse { message: &body[1..] }.to_frame().is_ok());
        let error = Packet::CommandResponse { message: &body }.to_frame();
        assert_eq!(error, Err(EncodeError::PacketTooLong(MAX_PACKET + 1)));
    }
}
