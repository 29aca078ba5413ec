//! EAP (RFC 7296 §3.16): an opaque EAP packet with a view of its header (RFC 3748 §4).
//!
//! ```text
//!  |     Code      | Identifier    |           Length              |
//!  |     Type      | Type-Data ...
//! ```

use crate::wire::error::Malformed;
use crate::wire::reader::Reader;
use crate::wire::registry::{EapCode, EapType};
use crate::wire::writer::Writer;

/// An EAP packet whose length field is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eap(Vec<u8>);

impl Eap {
    /// The packet with these bytes, if it has a header whose length field agrees.
    pub fn new(packet: Vec<u8>) -> Option<Self> {
        let length = u16::from_be_bytes(*packet.get(2..4)?.first_chunk()?);
        (usize::from(length) == packet.len()).then_some(Self(packet))
    }

    /// The whole packet.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Request, response, success or failure.
    pub fn code(&self) -> EapCode {
        self.0.first().copied().unwrap_or_default().into()
    }

    /// Matches responses to requests.
    pub fn identifier(&self) -> u8 {
        self.0.get(1).copied().unwrap_or_default()
    }

    /// The method; success and failure have none.
    pub fn method(&self) -> Option<EapType> {
        match self.code() {
            EapCode::Request | EapCode::Response => self.0.get(4).copied().map(EapType::from),
            EapCode::Success | EapCode::Failure | EapCode::Unknown(_) => None,
        }
    }

    pub(super) fn parse(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let bytes = r.rest();
        if bytes.len() < 4 {
            return Err(Malformed::Truncated);
        }
        Self::new(bytes.to_vec()).ok_or(Malformed::InvalidLength)
    }

    pub(super) fn emit(&self, w: &mut Writer) {
        w.bytes(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_payload, parse_error};
    use super::*;
    use crate::wire::{Payload, PayloadType};

    #[test]
    fn bytes() {
        let bytes = [1, 7, 0, 6, 4, 0xaa];
        let eap = Eap::new(bytes.to_vec()).unwrap();
        assert_eq!((eap.code(), eap.identifier(), eap.method()), (EapCode::Request, 7, Some(EapType::Md5)));
        check_payload(Payload::Eap(eap), &bytes);
        let success = Eap::new(vec![3, 1, 0, 4]).unwrap();
        assert_eq!((success.code(), success.method()), (EapCode::Success, None));
        assert_eq!(parse_error(PayloadType::Eap, &[1, 7, 0]), Malformed::Truncated);
        assert_eq!(parse_error(PayloadType::Eap, &[1, 7, 0, 5]), Malformed::InvalidLength);
    }
}
