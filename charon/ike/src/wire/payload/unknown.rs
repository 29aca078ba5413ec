//! A payload of a type we do not know. It is skipped unless its critical bit is set (RFC 7296 §2.5).

use crate::wire::reader::Reader;
use crate::wire::registry::PayloadType;
use crate::wire::writer::Writer;

/// An unknown payload that was not critical.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Its type.
    pub kind: PayloadType,
    /// Its content.
    pub data: Vec<u8>,
}

impl Unknown {
    pub(super) fn parse(kind: PayloadType, r: &mut Reader<'_>) -> Self {
        Self { kind, data: r.rest().to_vec() }
    }

    pub(super) fn emit(&self, w: &mut Writer) {
        w.bytes(&self.data);
    }
}
