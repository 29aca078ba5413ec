//! Configuration (RFC 7296 §3.15): virtual addresses, DNS servers and the like.
//!
//! ```text
//!  |   CFG Type    |                    RESERVED                   |
//!  |R|         Attribute Type      |            Length             |
//!  ~                             Value                             ~
//! ```

use smallvec::SmallVec;

use crate::wire::error::Malformed;
use crate::wire::reader::Reader;
use crate::wire::registry::{CpAttributeType, CpType};
use crate::wire::writer::Writer;

/// One attribute; its value has a length that its type allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpAttribute {
    /// What it is.
    pub kind: CpAttributeType,
    /// Its value, empty in requests that leave the choice open.
    pub value: SmallVec<[u8; 24]>,
}

impl CpAttribute {
    /// An attribute with this value.
    pub fn new(kind: CpAttributeType, value: &[u8]) -> Self {
        Self { kind, value: SmallVec::from_slice(value) }
    }
}

/// A configuration payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cp {
    /// Request, reply, set or acknowledgement.
    pub kind: CpType,
    /// The attributes, in order.
    pub attributes: Vec<CpAttribute>,
}

/// Attributes a payload may hold; far above what any peer sends, and it bounds what a small datagram can make us keep.
const MAX_ATTRIBUTES: usize = 1024;

impl CpAttributeType {
    /// Whether a value of `len` bytes fits the type.
    pub fn length_valid(self, len: usize) -> bool {
        match self {
            Self::InternalIp4Address
            | Self::InternalIp4Netmask
            | Self::InternalIp4Dns
            | Self::InternalIp4Nbns
            | Self::InternalAddressExpiry
            | Self::InternalIp4Dhcp
            | Self::InternalIp4Server => matches!(len, 0 | 4),
            Self::InternalIp4Subnet => matches!(len, 0 | 8),
            Self::InternalIp6Address | Self::InternalIp6Subnet => matches!(len, 0 | 17),
            Self::InternalIp6Netmask
            | Self::InternalIp6Dns
            | Self::InternalIp6Nbns
            | Self::InternalIp6Dhcp
            | Self::InternalIp6Server => matches!(len, 0 | 16),
            Self::SupportedAttributes => len.is_multiple_of(2),
            _ => true,
        }
    }
}

impl Cp {
    pub(super) fn parse(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let kind = r.u8()?.into();
        r.take(3)?;
        let mut attributes = Vec::new();
        while !r.is_empty() {
            // The top bit is reserved and ignored.
            let kind = CpAttributeType::from(r.u16()? & 0x7fff);
            let len = r.u16()?.into();
            let value = r.take(len)?;
            if !kind.length_valid(len) {
                return Err(Malformed::InvalidLength);
            }
            if attributes.len() == MAX_ATTRIBUTES {
                return Err(Malformed::CountMismatch);
            }
            attributes.push(CpAttribute::new(kind, value));
        }
        Ok(Self { kind, attributes })
    }

    pub(super) fn emit(&self, w: &mut Writer) {
        w.bytes(&[self.kind.number(), 0, 0, 0]);
        for attribute in &self.attributes {
            w.u16(attribute.kind.number());
            w.len16(attribute.value.len());
            w.bytes(&attribute.value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_payload, parse_error};
    use super::*;
    use crate::wire::{Payload, PayloadType};

    #[test]
    fn bytes() {
        let attributes = vec![
            CpAttribute::new(CpAttributeType::InternalIp4Address, &[10, 3, 0, 1]),
            CpAttribute::new(CpAttributeType::InternalIp4Dns, &[]),
        ];
        let bytes = [1, 0, 0, 0, 0, 1, 0, 4, 10, 3, 0, 1, 0, 3, 0, 0];
        check_payload(Payload::Cp(Cp { kind: CpType::Request, attributes }), &bytes);
    }

    #[test]
    fn wrong_lengths_are_refused() {
        let error = |bytes: &[u8]| parse_error(PayloadType::Cp, bytes);
        assert_eq!(error(&[1, 0, 0]), Malformed::Truncated);
        assert_eq!(error(&[1, 0, 0, 0, 0, 1]), Malformed::Truncated);
        assert_eq!(error(&[1, 0, 0, 0, 0, 1, 0, 4, 1]), Malformed::Truncated);
        for (kind, len) in [(1, 3), (13, 4), (8, 16), (15, 16), (10, 4), (14, 1)] {
            let mut bytes = vec![1, 0, 0, 0, 0, kind, 0, len];
            bytes.resize(8 + usize::from(len), 0);
            assert_eq!(error(&bytes), Malformed::InvalidLength, "{kind}");
        }
        let many: Vec<u8> = [1, 0, 0, 0].into_iter().chain([0, 3, 0, 0].repeat(MAX_ATTRIBUTES + 1)).collect();
        assert_eq!(error(&many), Malformed::CountMismatch);
    }

    #[test]
    fn the_reserved_bit_is_ignored() {
        let cp = Cp::parse(&mut Reader::new(&[2, 0, 0, 0, 0x80, 3, 0, 0])).unwrap();
        assert_eq!(cp.attributes, [CpAttribute::new(CpAttributeType::InternalIp4Dns, &[])]);
    }
}
