//! Numbers that identify things: each its own type, so that none is passed for another.

use std::fmt;
use std::num::NonZeroU32;

/// SPI of an ESP or AH SA. Values below 256 are reserved (RFC 4303 §2.1) and cannot be constructed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spi(NonZeroU32);

impl Spi {
    /// The SPI with this number, unless it is reserved.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) if number.get() > 255 => Some(Self(number)),
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

/// SPI of an IKE_SA: 8 bytes, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IkeSpi([u8; 8]);

impl IkeSpi {
    /// The SPI, unless it is zero, which means "not yet known" on the wire.
    pub const fn new(bytes: [u8; 8]) -> Option<Self> {
        if u64::from_be_bytes(bytes) == 0 { None } else { Some(Self(bytes)) }
    }

    /// The SPI in the bytes of a header or payload.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::new(bytes.try_into().ok()?)
    }

    /// The bytes on the wire.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0
    }

    /// The bytes as a number, for hashing into tables.
    pub const fn get(self) -> u64 {
        u64::from_be_bytes(self.0)
    }
}

impl fmt::Display for IkeSpi {
    /// Sixteen hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.get())
    }
}

/// Process-wide number of an IKE_SA or a CHILD_SA (two separate spaces), as in `gw[3]` and `net{5}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UniqueId(NonZeroU32);

impl UniqueId {
    /// The id with this number; 0 is never handed out.
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

impl fmt::Display for UniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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

/// A packet mark with the bits that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Mark {
    /// The value.
    pub value: u32,
    /// The bits of it that are compared or set.
    pub mask: u32,
}

impl Mark {
    /// No mark.
    pub const NONE: Self = Self { value: 0, mask: 0 };

    /// Whether nothing is marked.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// XFRM interface id; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct IfId(pub u32);

impl IfId {
    /// No interface.
    pub const NONE: Self = Self(0);

    /// Whether there is no interface.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_spis_do_not_exist() {
        assert_eq!(Spi::new(0), None);
        assert_eq!(Spi::new(255), None);
        assert_eq!(Spi::from_bytes(&[0xc0, 0, 0, 1]).map(Spi::get), Some(0xc000_0001));
        assert_eq!(Spi::from_bytes(&[1, 2, 3]), None);
        assert_eq!(Spi::new(0xabc).unwrap().to_string(), "00000abc");
        assert_eq!(IkeSpi::from_bytes(&[0; 8]), None);
        assert_eq!(IkeSpi::new([0, 0, 0, 0, 0, 0, 1, 2]).unwrap().to_string(), "0000000000000102");
        assert_eq!(UniqueId::new(0), None);
        assert_eq!(Reqid::new(0), None);
    }
}
