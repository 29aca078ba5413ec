//! Identification, IDi and IDr (RFC 7296 §3.5).
//!
//! ```text
//!  |   ID Type     |                 RESERVED                      |
//!  ~                   Identification Data                         ~
//! ```

use strongswan::identity::{IdType, Identity};

use crate::wire::error::Malformed;
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

/// An identity as it was on the wire. The reserved octets are kept because AUTH covers them (RFC 7296 §2.15).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id {
    /// Identity type.
    pub kind: IdType,
    reserved: [u8; 3],
    /// Its encoding.
    pub data: Vec<u8>,
}

impl Id {
    /// The payload for `identity`.
    pub fn new(identity: &Identity) -> Self {
        Self { kind: identity.id_type(), reserved: [0; 3], data: identity.encoding().to_vec() }
    }

    /// The identity in it.
    pub fn identity(&self) -> Identity {
        Identity::from_encoding(self.kind, &self.data)
    }

    /// The payload without its generic header: what AUTH covers as `RestOfInitIDPayload` (RFC 7296 §2.15).
    pub fn auth_octets(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(self.data.len().saturating_add(4));
        octets.push(self.kind.into());
        octets.extend_from_slice(&self.reserved);
        octets.extend_from_slice(&self.data);
        octets
    }

    pub(super) fn parse(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { kind: r.u8()?.into(), reserved: r.array()?, data: r.rest().to_vec() })
    }

    pub(super) fn emit(&self, w: &mut Writer) {
        w.u8(self.kind.into());
        w.bytes(&self.reserved);
        w.bytes(&self.data);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_payload, parse_error};
    use super::*;
    use crate::wire::{Payload, PayloadType};

    #[test]
    fn bytes() {
        let id = Id::new(&Identity::parse("moon.strongswan.org"));
        let bytes = b"\x02\x00\x00\x00moon.strongswan.org";
        assert_eq!(id.auth_octets(), bytes);
        assert_eq!(id.identity().to_string(), "moon.strongswan.org");
        check_payload(Payload::IdI(id.clone()), bytes);
        check_payload(Payload::IdR(id), bytes);
        assert_eq!(parse_error(PayloadType::IdI, &[2, 0, 0]), Malformed::Truncated);
    }

    #[test]
    fn reserved_octets_survive_for_auth() {
        let id = Id::parse(&mut Reader::new(&[2, 7, 8, 9, b'x'])).unwrap();
        assert_eq!(id.auth_octets(), [2, 7, 8, 9, b'x']);
    }
}
