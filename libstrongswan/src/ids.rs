//! Numbers that IKE, the data planes and what connects them call SAs and policies by: each its own type, so that none is passed
//! for another.

use std::fmt;
use std::num::NonZeroU32;

/// SPI of an ESP or AH SA. Values below 256 are reserved (RFC 4303 §2.1) and cannot be constructed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spi(NonZeroU32);

impl Spi {
    /// Lowest SPI that is not reserved.
    pub const MIN: u32 = 256;

    /// The SPI with this number, unless it is reserved.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) if number.get() >= Self::MIN => Some(Self(number)),
            _ => None,
        }
    }

    /// The number, in host order.
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The four bytes on the wire.
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0.get().to_be_bytes()
    }

    /// The SPI in the four bytes of a payload.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::new(u32::from_be_bytes(bytes.try_into().ok()?))
    }
}

impl fmt::Display for Spi {
    /// Eight hex digits, as in logs and listings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Links policies and SAs of a CHILD_SA across rekeying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reqid(NonZeroU32);

impl Reqid {
    /// The reqid with this number; 0 means "none".
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Reqid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_numbers_do_not_exist() {
        assert_eq!(Spi::new(0), None);
        assert_eq!(Spi::new(255), None);
        assert_eq!(Spi::from_bytes(&[0xc0, 0, 0, 1]).map(Spi::get), Some(0xc000_0001));
        assert_eq!(Spi::from_bytes(&[1, 2, 3]), None);
        assert_eq!(Spi::new(0xabc).unwrap().to_string(), "00000abc");
        assert_eq!(Reqid::new(0), None);
    }
}
