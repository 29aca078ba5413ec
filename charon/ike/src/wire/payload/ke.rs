//! Key Exchange (RFC 7296 §3.4).
//!
//! ```text
//!  |   Key Exchange Method Num     |           RESERVED            |
//!  ~                       Key Exchange Data                       ~
//! ```

use strongswan::crypto::transform::KeyExchangeMethod;

use crate::wire::error::Malformed;
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

/// A public value of a key exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ke {
    /// The method it belongs to.
    pub method: KeyExchangeMethod,
    /// The public value; its length is checked by the method.
    pub data: Vec<u8>,
}

impl Ke {
    pub(super) fn parse(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let method = r.u16()?.into();
        r.u16()?;
        Ok(Self { method, data: r.rest().to_vec() })
    }

    pub(super) fn emit(&self, w: &mut Writer) {
        w.u16(self.method.into());
        w.u16(0);
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
        let ke = Ke { method: KeyExchangeMethod::from(31), data: vec![0xaa, 0xbb] };
        check_payload(Payload::Ke(ke), &[0, 31, 0, 0, 0xaa, 0xbb]);
        assert_eq!(parse_error(PayloadType::Ke, &[0, 31, 0]), Malformed::Truncated);
    }
}
