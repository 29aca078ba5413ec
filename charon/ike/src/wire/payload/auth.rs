//! Authentication (RFC 7296 §3.8).
//!
//! ```text
//!  |  Auth Method  |                RESERVED                       |
//!  ~                      Authentication Data                      ~
//! ```

use crate::wire::error::Malformed;
use crate::wire::reader::Reader;
use crate::wire::registry::AuthMethod;
use crate::wire::writer::Writer;

/// A proof of identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// How it was made.
    pub method: AuthMethod,
    /// The MAC or signature.
    pub data: Vec<u8>,
}

impl Auth {
    pub(super) fn parse(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let method = r.u8()?.into();
        r.take(3)?;
        Ok(Self { method, data: r.rest().to_vec() })
    }

    pub(super) fn emit(&self, w: &mut Writer) {
        w.bytes(&[self.method.number(), 0, 0, 0]);
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
        let auth = Auth { method: AuthMethod::SharedKey, data: vec![1, 2, 3] };
        check_payload(Payload::Auth(auth), &[2, 0, 0, 0, 1, 2, 3]);
        assert_eq!(parse_error(PayloadType::Auth, &[2, 0, 0]), Malformed::Truncated);
    }
}
