//! Numbers that name SAs, each its own type.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;

/// Security parameters index. Values below 256 are reserved (RFC 4303 §2.1) and cannot be constructed.
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
}

impl fmt::Display for Spi {
    /// Eight hex digits, as in logs and listings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Links policies to the SAs that protect their packets, across rekeying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reqid(pub NonZeroU32);

impl fmt::Display for Reqid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What identifies an SA of this data plane. Inbound SPIs are ours and therefore unique; outbound ones are chosen by the
/// peers, two of which may choose the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SaKey {
    /// From a peer to us.
    Inbound(Spi),
    /// From us to the peer with this address at the time of installation.
    Outbound(Spi, IpAddr),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_spis_do_not_exist() {
        assert_eq!(Spi::new(0), None);
        assert_eq!(Spi::new(255), None);
        assert_eq!(Spi::new(256).unwrap().to_string(), "00000100");
    }
}
