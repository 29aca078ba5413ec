//! One growing buffer for a whole message; length fields are patched once their content is written.
//!
//! Emitting never fails in the middle: a part that outgrows its 16-bit length field is remembered and reported once,
//! by [`Writer::finish`].

use super::error::EncodeError;

/// The message under construction.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    overflow: bool,
}

/// Where a structure with a 16-bit length starts, and where that length is to be written.
#[derive(Debug)]
#[must_use]
pub(crate) struct Mark {
    start: usize,
    length_at: usize,
}

impl Writer {
    /// An empty message with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), overflow: false }
    }

    /// Number of bytes written.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Appends bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Appends a 16-bit number in network order.
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    /// Appends a 32-bit number in network order.
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// Appends a 64-bit number in network order.
    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    /// Appends zeros: padding, or room for what is known later.
    pub(crate) fn zeros(&mut self, count: usize) {
        self.bytes.resize(self.bytes.len().saturating_add(count), 0);
    }

    /// Appends a count or length that the format keeps in one byte.
    pub(crate) fn len8(&mut self, len: usize) {
        let value = u8::try_from(len).unwrap_or_else(|_| {
            self.overflow = true;
            0
        });
        self.u8(value);
    }

    /// Appends a count or length that the format keeps in two bytes.
    pub(crate) fn len16(&mut self, len: usize) {
        let value = u16::try_from(len).unwrap_or_else(|_| {
            self.overflow = true;
            0
        });
        self.u16(value);
    }

    /// Starts a structure whose 16-bit length sits two bytes after its start, as in every IKE payload, proposal and
    /// transform: writes `first`, `second`, and room for the length.
    pub(crate) fn begin(&mut self, first: u8, second: u8) -> Mark {
        let start = self.bytes.len();
        self.bytes(&[first, second, 0, 0]);
        Mark { start, length_at: start.saturating_add(2) }
    }

    /// Ends a structure: its length, header included, goes into the header.
    pub(crate) fn end(&mut self, mark: Mark) {
        match u16::try_from(self.bytes.len().saturating_sub(mark.start)) {
            Ok(len) => self.patch(mark.length_at, &len.to_be_bytes()),
            Err(_) => self.overflow = true,
        }
    }

    /// Overwrites bytes written earlier.
    pub(crate) fn patch(&mut self, at: usize, bytes: &[u8]) {
        match self.bytes.get_mut(at..at.saturating_add(bytes.len())) {
            Some(place) => place.copy_from_slice(bytes),
            None => self.overflow = true,
        }
    }

    /// The message, unless a part of it outgrew its length field.
    pub fn finish(self) -> Result<Vec<u8>, EncodeError> {
        if self.overflow { Err(EncodeError::TooLong) } else { Ok(self.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_patched() {
        let mut w = Writer::default();
        assert!(w.is_empty());
        let outer = w.begin(0xaa, 0xbb);
        let inner = w.begin(0xcc, 0xdd);
        w.u16(0x0102);
        w.end(inner);
        w.u8(9);
        w.end(outer);
        assert_eq!(w.len(), 11);
        assert_eq!(w.finish().unwrap(), [0xaa, 0xbb, 0, 11, 0xcc, 0xdd, 0, 6, 1, 2, 9]);
    }

    #[test]
    fn outgrown_lengths_are_reported_at_the_end() {
        for overflow in [
            |w: &mut Writer| {
                let mark = w.begin(0, 0);
                w.bytes(&[0; 0x1_0000]);
                w.end(mark);
            },
            |w: &mut Writer| w.len8(256),
            |w: &mut Writer| w.len16(0x1_0000),
            |w: &mut Writer| w.patch(1, &[0]),
        ] {
            let mut w = Writer::default();
            overflow(&mut w);
            assert_eq!(w.finish(), Err(EncodeError::TooLong));
        }
    }
}
