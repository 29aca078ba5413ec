//! Numbers that identify things: each its own type, so that none is passed for another.

use std::fmt;
use std::num::NonZeroU32;

pub use strongswan::ids::{Reqid, Spi};

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
    fn numbers_that_mean_none_do_not_exist() {
        assert_eq!(IkeSpi::from_bytes(&[0; 8]), None);
        assert_eq!(IkeSpi::new([0, 0, 0, 0, 0, 0, 1, 2]).unwrap().to_string(), "0000000000000102");
        assert_eq!(UniqueId::new(0), None);
    }
}
