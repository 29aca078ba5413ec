//! The IKE header (RFC 7296 §3.1) and the newtypes of its fields.
//!
//! ```text
//!  0                   1                   2                   3
//!  |                       IKE SA Initiator's SPI                  |
//!  |                       IKE SA Responder's SPI                  |
//!  |  Next Payload | MjVer | MnVer | Exchange Type |     Flags     |
//!  |                          Message ID                           |
//!  |                            Length                             |
//! ```

use std::fmt;

use crate::ids::IkeSpi;

use super::error::{HeaderError, Malformed};
use super::reader::Reader;
use super::registry::{ExchangeType, PayloadType};
use super::writer::Writer;

/// Bytes of an IKE header.
pub const HEADER_LEN: usize = 28;

/// Where the length field sits.
pub(super) const LENGTH_AT: usize = 24;

/// Where the type of the first payload sits in the header.
pub(super) const FIRST_PAYLOAD_AT: usize = 16;

/// Version 2.0, as we send it.
const VERSION_2: u8 = 0x20;

/// A message ID (RFC 7296 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MessageId(pub u32);

impl MessageId {
    /// The message ID of IKE_SA_INIT.
    pub const ZERO: Self = Self(0);

    /// The next message ID. It saturates: an IKE_SA must be closed before its message IDs run out (RFC 7296 §2.2),
    /// and a saturated one can never be answered.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The previous message ID, if there is one.
    pub const fn previous(self) -> Option<Self> {
        match self.0.checked_sub(1) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Whether a message asks or answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// A request.
    Request,
    /// A response.
    Response,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::Response => "response",
        })
    }
}

bitflags::bitflags! {
    /// Header flags; unknown bits are ignored on receipt and cleared on sending (RFC 7296 §3.1).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct HeaderFlags: u8 {
        /// The sender is the original initiator of this IKE_SA.
        const INITIATOR = 0x08;
        /// The sender could speak a higher major version.
        const HIGHER_VERSION = 0x10;
        /// This is a response.
        const RESPONSE = 0x20;
    }
}

/// What a header says about a message; length and first payload follow from the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// SPI chosen by the original initiator.
    pub initiator_spi: IkeSpi,
    /// SPI chosen by the original responder; none in the first message.
    pub responder_spi: Option<IkeSpi>,
    /// Exchange type.
    pub exchange: ExchangeType,
    /// Flags.
    pub flags: HeaderFlags,
    /// Message ID.
    pub message_id: MessageId,
}

impl Header {
    /// Reads and checks the header of a whole datagram (without non-ESP marker) and returns it with the type of the
    /// first payload.
    ///
    /// # Errors
    /// Every violation of spec §3.1; see [`HeaderError`].
    pub fn parse(datagram: &[u8]) -> Result<(Self, PayloadType), HeaderError> {
        let mut r = Reader::new(datagram);
        let raw = RawHeader::read(&mut r).map_err(|_| HeaderError::Length)?;
        let (major, minor) = (raw.version >> 4, raw.version & 0x0f);
        let initiator_spi = IkeSpi::new(raw.initiator_spi).ok_or(HeaderError::ZeroInitiatorSpi)?;
        let header = Self {
            initiator_spi,
            responder_spi: IkeSpi::new(raw.responder_spi),
            exchange: raw.exchange.into(),
            flags: HeaderFlags::from_bits_truncate(raw.flags),
            message_id: MessageId(raw.message_id),
        };
        if major != VERSION_2 >> 4 {
            return Err(HeaderError::MajorVersion { major, minor, header });
        }
        if usize::try_from(raw.length) != Ok(datagram.len()) {
            return Err(HeaderError::Length);
        }
        if let ExchangeType::Unknown(number) = header.exchange {
            return Err(HeaderError::UnknownExchange(number));
        }
        Ok((header, raw.first.into()))
    }

    /// Writes the header in front of a message; the length is filled in by [`Header::finish`].
    pub(crate) fn emit(&self, first: PayloadType, w: &mut Writer) {
        w.bytes(&self.initiator_spi.to_bytes());
        w.bytes(&self.responder_spi.map_or([0; 8], IkeSpi::to_bytes));
        w.u8(first.number());
        w.u8(VERSION_2);
        w.u8(self.exchange.number());
        w.u8(self.flags.bits());
        w.u32(self.message_id.0);
        w.u32(0);
    }

    /// Writes the length of the whole message into its header.
    pub(crate) fn set_length(w: &mut Writer, length: usize) {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        w.patch(LENGTH_AT, &length.to_be_bytes());
    }

    /// Request or response.
    pub const fn direction(&self) -> Direction {
        if self.flags.contains(HeaderFlags::RESPONSE) { Direction::Response } else { Direction::Request }
    }

    /// Whether this is a request.
    pub const fn is_request(&self) -> bool {
        !self.is_response()
    }

    /// Whether this is a response.
    pub const fn is_response(&self) -> bool {
        self.flags.contains(HeaderFlags::RESPONSE)
    }

    /// Whether the sender is the original initiator of the IKE_SA.
    pub const fn from_initiator(&self) -> bool {
        self.flags.contains(HeaderFlags::INITIATOR)
    }

    /// The SPI the receiver of this message chose (none in the first message to a responder).
    pub const fn receiver_spi(&self) -> Option<IkeSpi> {
        if self.from_initiator() { self.responder_spi } else { Some(self.initiator_spi) }
    }

    /// The SPI the sender of this message chose (none if a responder refuses to set up state).
    pub const fn sender_spi(&self) -> Option<IkeSpi> {
        if self.from_initiator() { Some(self.initiator_spi) } else { self.responder_spi }
    }

    /// The header of a response to this request.
    #[must_use]
    pub fn reply(&self) -> Self {
        let flags =
            if self.from_initiator() { HeaderFlags::RESPONSE } else { HeaderFlags::RESPONSE | HeaderFlags::INITIATOR };
        Self { flags, ..*self }
    }
}

/// The fields as they are on the wire.
struct RawHeader {
    initiator_spi: [u8; 8],
    responder_spi: [u8; 8],
    first: u8,
    version: u8,
    exchange: u8,
    flags: u8,
    message_id: u32,
    length: u32,
}

impl RawHeader {
    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            initiator_spi: r.array()?,
            responder_spi: r.array()?,
            first: r.u8()?,
            version: r.u8()?,
            exchange: r.u8()?,
            flags: r.u8()?,
            message_id: r.u32()?,
            length: r.u32()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; HEADER_LEN] = [
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 46, 0x20, 35,
        0x08, 0, 0, 0, 1, 0, 0, 0, 28,
    ];

    fn header() -> Header {
        Header {
            initiator_spi: IkeSpi::new([1, 2, 3, 4, 5, 6, 7, 8]).unwrap(),
            responder_spi: IkeSpi::new([0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]),
            exchange: ExchangeType::IkeAuth,
            flags: HeaderFlags::INITIATOR,
            message_id: MessageId(1),
        }
    }

    fn changed(at: usize, value: u8) -> Result<(Header, PayloadType), HeaderError> {
        let mut bytes = BYTES;
        bytes[at] = value;
        Header::parse(&bytes)
    }

    #[test]
    fn parses_and_emits_the_same_bytes() {
        assert_eq!(Header::parse(&BYTES), Ok((header(), PayloadType::Encrypted)));
        let mut w = Writer::default();
        header().emit(PayloadType::Encrypted, &mut w);
        Header::set_length(&mut w, HEADER_LEN);
        assert_eq!(w.finish().unwrap(), BYTES);
    }

    #[test]
    fn names_the_violated_rule() {
        assert_eq!(Header::parse(&BYTES[..27]), Err(HeaderError::Length));
        assert_eq!(changed(27, 29), Err(HeaderError::Length));
        assert_eq!(changed(18, 99), Err(HeaderError::UnknownExchange(99)));
        assert_eq!(changed(17, 0x31), Err(HeaderError::MajorVersion { major: 3, minor: 1, header: header() }));
        let mut bytes = BYTES;
        bytes[..8].fill(0);
        assert_eq!(Header::parse(&bytes), Err(HeaderError::ZeroInitiatorSpi));
    }

    #[test]
    fn a_higher_minor_version_and_unknown_flags_are_accepted() {
        // RFC 7296 §2.5: the minor version is ignored on receipt.
        assert!(changed(17, 0x2f).is_ok());
        assert_eq!(changed(19, 0xcf).unwrap().0.flags, HeaderFlags::INITIATOR);
    }

    #[test]
    fn roles_follow_the_flags() {
        let request = header();
        assert!(request.is_request() && request.from_initiator());
        assert_eq!(request.receiver_spi(), request.responder_spi);
        assert_eq!(request.sender_spi(), Some(request.initiator_spi));
        let response = request.reply();
        assert!(response.is_response() && !response.from_initiator());
        assert_eq!(response.receiver_spi(), Some(request.initiator_spi));
        assert_eq!(response.reply().flags, HeaderFlags::RESPONSE | HeaderFlags::INITIATOR);
    }

    #[test]
    fn message_ids_saturate() {
        assert_eq!(MessageId(u32::MAX).next(), MessageId(u32::MAX));
        assert_eq!(MessageId::ZERO.previous(), None);
        assert_eq!(MessageId(2).previous(), Some(MessageId(1)));
    }
}
