//! RADIUS packets (RFC 2865 §3), and what proves them genuine: the authenticators of requests and responses, and the
//! Message-Authenticator (RFC 3579 §3.2), without which nothing about authentication is believed: the MD5 over a response
//! alone can be forged by whoever may choose part of it.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     Code      |  Identifier   |            Length             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                         Authenticator                         |
//! |                           (16 octets)                         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Attributes ...
//! ```

use std::net::IpAddr;

use strongswan::crypto::hash::md5;
use strongswan::crypto::{Prf, PrfAlgorithm, Secret};
use subtle::ConstantTimeEq;

use super::attribute::{Attribute, AttributeType, Attributes, Code, MAX_VALUE};

/// Longest packet (RFC 2865 §3).
pub const MAX_LEN: usize = 4096;
const HEADER_LEN: usize = 20;

/// The field that makes a response belong to its request.
pub type Authenticator = [u8; 16];

/// Why a packet is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Its length, or that of an attribute, is wrong.
    #[error("malformed packet")]
    Malformed,
    /// Its authenticator does not fit.
    #[error("invalid authenticator")]
    Authenticator,
    /// Its Message-Authenticator is missing, or there are several.
    #[error("no Message-Authenticator")]
    MissingMessageAuthenticator,
    /// Its Message-Authenticator does not fit.
    #[error("invalid Message-Authenticator")]
    MessageAuthenticator,
    /// It answers another request.
    #[error("response to another request")]
    OtherRequest,
    /// It has more in it than fits.
    #[error("packet too large")]
    TooLarge,
}

/// A packet without what proves it genuine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// What it is.
    pub code: Code,
    attributes: Vec<Attribute>,
}

impl Packet {
    /// An empty packet.
    pub fn new(code: Code) -> Self {
        Self { code, attributes: Vec::new() }
    }

    /// All attributes, in their order.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// Adds an attribute. A value that is too long is cut: the names and numbers that go through here are for people.
    pub fn push(&mut self, kind: AttributeType, value: &[u8]) -> &mut Self {
        let cut = value.get(..MAX_VALUE).unwrap_or(value);
        self.attributes.extend(Attribute::new(kind, cut));
        self
    }

    /// Adds an attribute that is a number.
    pub fn push_number(&mut self, kind: AttributeType, value: u32) -> &mut Self {
        self.push(kind, &value.to_be_bytes())
    }

    /// Adds an address, in the attribute for its family.
    pub fn push_address(&mut self, v4: AttributeType, v6: AttributeType, address: IpAddr) -> &mut Self {
        match address {
            IpAddr::V4(address) => self.push(v4, &address.octets()),
            IpAddr::V6(address) => self.push(v6, &address.octets()),
        }
    }

    /// Adds a value in as many attributes as it takes (RFC 3579 §3.1); an empty one in one.
    pub fn push_split(&mut self, kind: AttributeType, value: &[u8]) -> &mut Self {
        if value.is_empty() {
            return self.push(kind, &[]);
        }
        for part in value.chunks(MAX_VALUE) {
            self.push(kind, part);
        }
        self
    }

    /// The attributes of a type.
    pub fn all(&self, kind: AttributeType) -> impl Iterator<Item = &Attribute> {
        self.attributes.iter().filter(move |attribute| attribute.kind == kind)
    }

    /// The first attribute of a type.
    pub fn get(&self, kind: AttributeType) -> Option<&Attribute> {
        self.all(kind).next()
    }

    /// The first attribute of a type, as a number.
    pub fn number(&self, kind: AttributeType) -> Option<u32> {
        self.get(kind).and_then(Attribute::number)
    }

    /// The values of all attributes of a type, one after the other (RFC 3579 §3.1).
    pub fn joined(&self, kind: AttributeType) -> Vec<u8> {
        self.all(kind).flat_map(Attribute::value).copied().collect()
    }

    /// Reads a packet from a datagram; returns it with its identifier, its authenticator and the bytes that it is made of.
    ///
    /// # Errors
    /// [`PacketError::Malformed`].
    pub fn parse(datagram: &[u8]) -> Result<Parsed<'_>, PacketError> {
        let (header, _) = datagram.split_first_chunk::<HEADER_LEN>().ok_or(PacketError::Malformed)?;
        let [code, identifier, len_high, len_low, authenticator @ ..] = *header;
        let len = usize::from(u16::from_be_bytes([len_high, len_low]));
        if len > MAX_LEN {
            return Err(PacketError::Malformed);
        }
        // what comes after the length is padding, and a shorter datagram is dropped (RFC 2865 §3)
        let bytes = datagram.get(..len).ok_or(PacketError::Malformed)?;
        let rest = bytes.get(HEADER_LEN..).ok_or(PacketError::Malformed)?;
        let mut attributes = Vec::new();
        for attribute in (Attributes { rest }) {
            let (kind, value) = attribute.map_err(|_| PacketError::Malformed)?;
            attributes.extend(Attribute::new(kind.into(), value));
        }
        Ok(Parsed { packet: Self { code: code.into(), attributes }, identifier, authenticator, bytes })
    }

    /// The bytes of the packet.
    fn emit(&self, identifier: u8, authenticator: &Authenticator) -> Result<Vec<u8>, PacketError> {
        let len: usize = self.attributes.iter().map(|attribute| attribute.value().len().saturating_add(2)).sum();
        let len = len.saturating_add(HEADER_LEN);
        let field = u16::try_from(len).ok().filter(|_| len <= MAX_LEN).ok_or(PacketError::TooLarge)?;
        let mut bytes = Vec::with_capacity(len);
        bytes.extend([u8::from(self.code), identifier]);
        bytes.extend(field.to_be_bytes());
        bytes.extend(authenticator);
        for attribute in &self.attributes {
            let len = u8::try_from(attribute.value().len().saturating_add(2)).map_err(|_| PacketError::TooLarge)?;
            bytes.extend([u8::from(attribute.kind), len]);
            bytes.extend(attribute.value());
        }
        Ok(bytes)
    }

    /// With a Message-Authenticator in front of all other attributes, where it protects best, computed as if
    /// `authenticator` were that of the packet.
    fn authenticated(
        &self,
        identifier: u8,
        authenticator: &Authenticator,
        secret: &Secret,
    ) -> Result<Self, PacketError> {
        let with = |tag: &[u8]| {
            let kept = self.attributes.iter().filter(|other| other.kind != AttributeType::MessageAuthenticator);
            let tag = Attribute::new(AttributeType::MessageAuthenticator, tag);
            Self { code: self.code, attributes: tag.into_iter().chain(kept.cloned()).collect() }
        };
        let tag = hmac(secret, &with(&[0; 16]).emit(identifier, authenticator)?)?;
        Ok(with(tag.as_bytes()))
    }

    /// Makes an Access-Request; `authenticator` is random.
    ///
    /// # Errors
    /// [`PacketError::TooLarge`].
    pub fn seal_access(
        &self,
        identifier: u8,
        authenticator: Authenticator,
        secret: &Secret,
    ) -> Result<Sealed, PacketError> {
        let bytes = self.authenticated(identifier, &authenticator, secret)?.emit(identifier, &authenticator)?;
        Ok(Sealed { code: self.code, identifier, authenticator, bytes })
    }

    /// Makes an Accounting-Request (RFC 2866 §3), or another request that an MD5 over all of it proves genuine
    /// (RFC 5176 §2.3).
    ///
    /// # Errors
    /// [`PacketError::TooLarge`].
    pub fn seal_accounting(&self, identifier: u8, secret: &Secret) -> Result<Sealed, PacketError> {
        let mut bytes = self.emit(identifier, &[0; 16])?;
        let authenticator = md5(&[&bytes, secret.as_bytes()]);
        set_authenticator(&mut bytes, &authenticator);
        Ok(Sealed { code: self.code, identifier, authenticator, bytes })
    }

    /// Makes the response to a request.
    ///
    /// # Errors
    /// [`PacketError::TooLarge`].
    pub fn seal_response(
        &self,
        identifier: u8,
        request: &Authenticator,
        secret: &Secret,
    ) -> Result<Vec<u8>, PacketError> {
        let mut bytes = self.authenticated(identifier, request, secret)?.emit(identifier, request)?;
        let authenticator = md5(&[&bytes, secret.as_bytes()]);
        set_authenticator(&mut bytes, &authenticator);
        Ok(bytes)
    }
}

/// Puts the authenticator into the header.
fn set_authenticator(bytes: &mut [u8], authenticator: &Authenticator) {
    if let Some(field) = bytes.get_mut(4..HEADER_LEN) {
        field.copy_from_slice(authenticator);
    }
}

fn hmac(secret: &Secret, bytes: &[u8]) -> Result<Secret, PacketError> {
    let prf = Prf::new(PrfAlgorithm::HmacMd5, secret.as_bytes()).map_err(|_| PacketError::MessageAuthenticator)?;
    Ok(prf.compute(&[bytes]))
}

/// A packet that was received, not yet known to be genuine.
#[derive(Debug)]
pub struct Parsed<'a> {
    packet: Packet,
    /// Which exchange it belongs to.
    pub identifier: u8,
    /// Its authenticator.
    pub authenticator: Authenticator,
    bytes: &'a [u8],
}

impl Parsed<'_> {
    /// What it is, as it says.
    pub fn code(&self) -> Code {
        self.packet.code
    }

    /// What it says, whoever says it.
    #[cfg(any(test, fuzzing))]
    pub(super) fn packet_unverified(&self) -> Packet {
        self.packet.clone()
    }

    /// The bytes with another authenticator.
    fn with_authenticator(&self, authenticator: &Authenticator) -> Vec<u8> {
        let mut bytes = self.bytes.to_vec();
        set_authenticator(&mut bytes, authenticator);
        bytes
    }

    /// The packet, if it is a request with the authenticator of RFC 2866 §3; a Message-Authenticator need not be there.
    ///
    /// # Errors
    /// Why it is not.
    pub fn open_request(self, secret: &Secret) -> Result<Packet, PacketError> {
        let zeroed = self.with_authenticator(&[0; 16]);
        if !bool::from(md5(&[&zeroed, secret.as_bytes()]).ct_eq(&self.authenticator)) {
            return Err(PacketError::Authenticator);
        }
        if self.packet.get(AttributeType::MessageAuthenticator).is_some() {
            self.check_message_authenticator(zeroed, secret)?;
        }
        Ok(self.packet)
    }

    fn open_response(self, request: &Sealed, secret: &Secret) -> Result<Packet, PacketError> {
        let expected: &[Code] = match request.code {
            Code::AccessRequest => &[Code::AccessAccept, Code::AccessReject, Code::AccessChallenge],
            Code::AccountingRequest => &[Code::AccountingResponse],
            _ => &[],
        };
        if self.identifier != request.identifier || !expected.contains(&self.packet.code) {
            return Err(PacketError::OtherRequest);
        }
        let as_computed = self.with_authenticator(&request.authenticator);
        if !bool::from(md5(&[&as_computed, secret.as_bytes()]).ct_eq(&self.authenticator)) {
            return Err(PacketError::Authenticator);
        }
        if request.code == Code::AccessRequest || self.packet.get(AttributeType::MessageAuthenticator).is_some() {
            self.check_message_authenticator(as_computed, secret)?;
        }
        Ok(self.packet)
    }

    /// `bytes` is what the Message-Authenticator was computed over, but for its own value.
    fn check_message_authenticator(&self, mut bytes: Vec<u8>, secret: &Secret) -> Result<(), PacketError> {
        let mut offset = HEADER_LEN;
        let mut found = None;
        for attribute in &self.packet.attributes {
            if attribute.kind == AttributeType::MessageAuthenticator {
                // two would leave open which one counts
                if found.replace((offset, attribute.value())).is_some() {
                    return Err(PacketError::MissingMessageAuthenticator);
                }
            }
            offset = offset.saturating_add(attribute.value().len()).saturating_add(2);
        }
        let (offset, value) = found.ok_or(PacketError::MissingMessageAuthenticator)?;
        let start = offset.saturating_add(2);
        if value.len() != 16 {
            return Err(PacketError::MessageAuthenticator);
        }
        bytes.get_mut(start..start.saturating_add(16)).ok_or(PacketError::Malformed)?.fill(0);
        if hmac(secret, &bytes)? == Secret::from(value) { Ok(()) } else { Err(PacketError::MessageAuthenticator) }
    }
}

/// A request as it is sent.
#[derive(Debug, Clone)]
pub struct Sealed {
    code: Code,
    identifier: u8,
    authenticator: Authenticator,
    bytes: Vec<u8>,
}

impl Sealed {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its authenticator, which also hides keys in the response.
    pub fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    /// The packet in a datagram, if it is the genuine response.
    ///
    /// # Errors
    /// Why it is not: the datagram is to be forgotten, whoever sent it.
    pub fn open(&self, datagram: &[u8], secret: &Secret) -> Result<Packet, PacketError> {
        Packet::parse(datagram)?.open_response(self, secret)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret() -> Secret {
        Secret::new(b"xyzzy5461".to_vec())
    }

    fn request() -> Packet {
        let mut packet = Packet::new(Code::AccessRequest);
        packet.push(AttributeType::UserName, b"alice").push_number(AttributeType::NasPort, 7);
        packet.push_split(AttributeType::EapMessage, &[9; 600]);
        packet
    }

    /// RFC 2865 §7.1: the response to the first example, which has no Message-Authenticator.
    #[test]
    fn the_example_of_the_rfc() {
        let bytes = hex::decode("020000268a0e6a2a5f8c2c6a7e9dc9f8b9f3a6dc060600000001").unwrap();
        // its length says more than there is
        assert_eq!(Packet::parse(&bytes).err(), Some(PacketError::Malformed));
        let bytes =
            hex::decode("0200002686fe220e7624ba2a1005f6bf9b55e0b20606000000010f06000000000e06c0a80103").unwrap();
        let parsed = Packet::parse(&bytes).unwrap();
        let request = Sealed {
            code: Code::AccessRequest,
            identifier: 0,
            authenticator: hex::decode("0f403f9473978057bd83d5cb98f4227a").unwrap().try_into().unwrap(),
            bytes: Vec::new(),
        };
        assert_eq!(parsed.open_response(&request, &secret()), Err(PacketError::MissingMessageAuthenticator));
        let mut other = bytes.clone();
        other[25] ^= 1;
        assert_eq!(request.open(&other, &secret()), Err(PacketError::Authenticator));
    }

    /// RFC 2865 §7.1 as a server that knows better would answer.
    #[test]
    fn responses_are_verified() {
        let sealed = request().seal_access(42, [7; 16], &secret()).unwrap();
        let mut accept = Packet::new(Code::AccessAccept);
        accept.push(AttributeType::Class, b"staff");
        let good = accept.seal_response(42, sealed.authenticator(), &secret()).unwrap();
        let opened = sealed.open(&good, &secret()).unwrap();
        assert_eq!(opened.get(AttributeType::Class).unwrap().value(), b"staff");
        // padding after the packet is no part of it
        assert!(sealed.open(&[&good[..], &[1, 2, 3]].concat(), &secret()).is_ok());
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 0x40;
            assert!(sealed.open(&bad, &secret()).is_err(), "byte {index}");
            assert!(sealed.open(&good[..index], &secret()).is_err(), "{index} bytes");
        }
        let other = Secret::new(b"another".to_vec());
        assert_eq!(sealed.open(&good, &other), Err(PacketError::Authenticator));
        let late = accept.seal_response(41, sealed.authenticator(), &secret()).unwrap();
        assert_eq!(sealed.open(&late, &secret()), Err(PacketError::OtherRequest));
        let old = accept.seal_response(42, &[8; 16], &secret()).unwrap();
        assert_eq!(sealed.open(&old, &secret()), Err(PacketError::Authenticator));
        let mut wrong = accept.clone();
        wrong.code = Code::AccountingResponse;
        let wrong = wrong.seal_response(42, sealed.authenticator(), &secret()).unwrap();
        assert_eq!(sealed.open(&wrong, &secret()), Err(PacketError::OtherRequest));
    }

    /// A response with these attributes whose authenticator is right, made without a thought for Message-Authenticators.
    fn signed(sealed: &Sealed, code: Code, attributes: &[(AttributeType, &[u8])]) -> Vec<u8> {
        let mut packet = Packet::new(code);
        for (kind, value) in attributes {
            packet.push(*kind, value);
        }
        let mut bytes = packet.emit(sealed.identifier, &sealed.authenticator).unwrap();
        let authenticator = md5(&[&bytes, secret().as_bytes()]);
        set_authenticator(&mut bytes, &authenticator);
        bytes
    }

    #[test]
    fn the_message_authenticator_is_required_once_and_whole() {
        use AttributeType::{Class, MessageAuthenticator};
        let sealed = request().seal_access(1, [7; 16], &secret()).unwrap();
        let open = |attributes: &[(AttributeType, &[u8])]| {
            sealed.open(&signed(&sealed, Code::AccessReject, attributes), &secret())
        };
        let missing = Err(PacketError::MissingMessageAuthenticator);
        assert_eq!(open(&[]), missing);
        assert_eq!(open(&[(Class, &[0; 16])]), missing);
        assert_eq!(open(&[(MessageAuthenticator, &[0; 16]), (MessageAuthenticator, &[0; 16])]), missing);
        for len in [0, 1, 15, 16, 17, 200] {
            let value = vec![0; len];
            assert_eq!(open(&[(MessageAuthenticator, &value)]), Err(PacketError::MessageAuthenticator), "{len}");
        }
    }

    #[test]
    fn accounting_is_verified() {
        let mut packet = Packet::new(Code::AccountingRequest);
        packet.push_number(AttributeType::AcctStatusType, 1);
        let sealed = packet.seal_accounting(3, &secret()).unwrap();
        assert_eq!(Packet::parse(sealed.bytes()).unwrap().open_request(&secret()), Ok(packet.clone()));
        let mut bad = sealed.bytes().to_vec();
        bad[4] ^= 1;
        assert_eq!(Packet::parse(&bad).unwrap().open_request(&secret()), Err(PacketError::Authenticator));
        assert!(sealed.open(&signed(&sealed, Code::AccountingResponse, &[]), &secret()).is_ok());
        // one that is there has to be right
        let tag = [(AttributeType::MessageAuthenticator, &[0; 16][..])];
        let answer = signed(&sealed, Code::AccountingResponse, &tag);
        assert_eq!(sealed.open(&answer, &secret()), Err(PacketError::MessageAuthenticator));
        let mut forged = packet.clone();
        forged.push(AttributeType::MessageAuthenticator, &[0; 16]);
        let forged = forged.seal_accounting(3, &secret()).unwrap();
        let opened = Packet::parse(forged.bytes()).unwrap().open_request(&secret());
        assert_eq!(opened, Err(PacketError::MessageAuthenticator));
        let tagged = packet.authenticated(3, &[0; 16], &secret()).unwrap().seal_accounting(3, &secret()).unwrap();
        assert!(Packet::parse(tagged.bytes()).unwrap().open_request(&secret()).is_ok());
    }

    #[test]
    fn long_values_are_split_and_joined() {
        let packet = request();
        let lens: Vec<_> = packet.all(AttributeType::EapMessage).map(|a| a.value().len()).collect();
        assert_eq!(lens, [253, 253, 94]);
        assert_eq!(packet.joined(AttributeType::EapMessage), [9; 600]);
        let mut empty = Packet::new(Code::AccessRequest);
        empty.push_split(AttributeType::EapMessage, &[]);
        assert_eq!(empty.all(AttributeType::EapMessage).count(), 1);
        let mut large = Packet::new(Code::AccessRequest);
        large.push_split(AttributeType::EapMessage, &[1; 5000]);
        assert_eq!(large.seal_access(1, [0; 16], &secret()).err(), Some(PacketError::TooLarge));
        let mut cut = Packet::new(Code::AccessRequest);
        cut.push(AttributeType::UserName, &[b'x'; 300]);
        assert_eq!(cut.get(AttributeType::UserName).unwrap().value().len(), 253);
    }

    #[test]
    fn lengths_of_packets_are_bounded() {
        let mut bytes = vec![0; 5000];
        for (len, expected) in [(0_u16, false), (19, false), (20, true), (4097, false), (5000, false)] {
            bytes[2..4].copy_from_slice(&len.to_be_bytes());
            assert_eq!(Packet::parse(&bytes).is_ok(), expected, "{len}");
        }
        bytes[2..4].copy_from_slice(&21_u16.to_be_bytes());
        assert!(Packet::parse(&bytes).is_err(), "an attribute without a length");
    }

    proptest! {
        #[test]
        fn what_is_emitted_is_parsed(attributes in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..=253)), 0..12), code: u8, id: u8) {
            let mut packet = Packet::new(code.into());
            for (kind, value) in &attributes {
                packet.push((*kind).into(), value);
            }
            let bytes = packet.emit(id, &[5; 16]).unwrap();
            let parsed = Packet::parse(&bytes).unwrap();
            prop_assert_eq!(parsed.identifier, id);
            prop_assert_eq!(parsed.packet, packet);
        }

        #[test]
        fn no_datagram_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            super::super::fuzzing::datagram(&bytes);
        }
    }
}
