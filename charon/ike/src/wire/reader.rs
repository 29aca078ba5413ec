//! A cursor over received bytes that can only fail, never panic.
//!
//! Every accessor either consumes exactly what it returns or reports [`Malformed::Truncated`]. Nested structures get
//! a bounded reader of their own through [`Reader::sub`], so a length field can never reach past its parent.

use super::error::Malformed;

/// The unread rest of a message or of a bounded part of one.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from their start.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Number of unread bytes.
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether everything was read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    /// A 16-bit number in network order.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// A 32-bit number in network order.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// A 64-bit number in network order.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// Everything unread.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// A reader bounded to the next `len` bytes, which this one skips.
    pub fn sub(&mut self, len: usize) -> Result<Self, Malformed> {
        self.take(len).map(Self::new)
    }

    /// Demands that nothing is left over.
    pub fn expect_end(&self) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(Malformed::TrailingBytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_in_network_order_and_stops_at_the_end() {
        let mut r = Reader::new(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        assert_eq!(r.u8(), Ok(1));
        assert_eq!(r.u16(), Ok(0x0203));
        assert_eq!(r.u32(), Ok(0x0405_0607));
        assert_eq!(r.u64(), Ok(0x0809_0a0b_0c0d_0e0f));
        assert_eq!(r.u16(), Err(Malformed::Truncated));
        assert_eq!(r.expect_end(), Err(Malformed::TrailingBytes));
        assert_eq!(r.rest(), [16]);
        assert_eq!(r.expect_end(), Ok(()));
        assert_eq!(r.u8(), Err(Malformed::Truncated));
    }

    #[test]
    fn a_sub_reader_is_bounded() {
        let mut r = Reader::new(&[1, 2, 3]);
        let mut sub = r.sub(2).unwrap();
        assert_eq!(sub.take(3), Err(Malformed::Truncated));
        assert_eq!(sub.take(2), Ok(&[1, 2][..]));
        assert_eq!(r.rest(), [3]);
        assert!(r.sub(1).is_err());
    }
}
