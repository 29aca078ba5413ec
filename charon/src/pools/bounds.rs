//! Which addresses a pool has: `addrs` of `load-pool`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use strongswan::host::{AddressRange, Family};
use strongswan::log;

/// Host bits of the largest subnet that is used in full.
const MAX_HOST_BITS: u8 = 31;

/// The addresses of a pool: consecutive ones, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    base: IpAddr,
    size: u64,
}

/// Why text names no addresses for a pool.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BoundsError {
    /// Neither an address, nor a subnet, nor a range.
    #[error("'{0}' is no address, subnet or range")]
    Syntax(String),
    /// The ends of a range are too far apart.
    #[error("IP address range too large: {0}-{1}")]
    TooLarge(IpAddr, IpAddr),
    /// Network and broadcast address are all there is.
    #[error("virtual IP pool {0}/{1} is empty")]
    Empty(IpAddr, u8),
}

impl Bounds {
    /// Reads `net/bits`, an address, or `from-to`.
    ///
    /// Of a subnet with more than two addresses the first and the last are left out, and what lies before the given
    /// address if that is not the network's.
    ///
    /// # Errors
    /// See [`BoundsError`].
    pub fn parse(text: &str) -> Result<Self, BoundsError> {
        let syntax = || BoundsError::Syntax(text.to_owned());
        if text.contains('-') {
            let range = AddressRange::parse(text).ok_or_else(syntax)?;
            return Self::range(range.start(), range.end());
        }
        match text.split_once('/') {
            None => Ok(Self { base: text.parse().map_err(|_| syntax())?, size: 1 }),
            Some((address, bits)) => {
                let address: IpAddr = address.parse().map_err(|_| syntax())?;
                let bits: u8 = bits.parse().map_err(|_| syntax())?;
                if bits > Family::of(address).bits() {
                    return Err(syntax());
                }
                Self::subnet(address, bits)
            }
        }
    }

    fn range(from: IpAddr, to: IpAddr) -> Result<Self, BoundsError> {
        let distance = u32::try_from(number(to).wrapping_sub(number(from)));
        match distance {
            Ok(distance) => Ok(Self { base: from, size: u64::from(distance).saturating_add(1) }),
            Err(_) => Err(BoundsError::TooLarge(from, to)),
        }
    }

    fn subnet(address: IpAddr, bits: u8) -> Result<Self, BoundsError> {
        let width = Family::of(address).bits();
        let mut bits = bits;
        if width.saturating_sub(bits) > MAX_HOST_BITS {
            bits = width.saturating_sub(MAX_HOST_BITS);
            log!(CFG, 1, "virtual IP pool too large, limiting to {address}/{bits}");
        }
        let network = AddressRange::subnet(address, bits).start();
        let total = 1u64 << width.saturating_sub(bits);
        // at most 2^31
        let skipped = u64::try_from(number(address).wrapping_sub(number(network))).unwrap_or(u64::MAX);
        let (first, left_out) = if total > 2 { (skipped.max(1), 1) } else { (skipped, 0) };
        match total.saturating_sub(first).saturating_sub(left_out) {
            0 => Err(BoundsError::Empty(address, bits)),
            size => Ok(Self { base: add(network, first), size }),
        }
    }

    /// The first address.
    pub fn base(&self) -> IpAddr {
        self.base
    }

    /// Number of addresses.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The address at an offset from the base.
    pub(super) fn address(&self, offset: u64) -> Option<IpAddr> {
        (offset < self.size).then(|| add(self.base, offset))
    }

    /// The offset of an address from the base, if it is one of these.
    pub(super) fn offset(&self, address: IpAddr) -> Option<u64> {
        if Family::of(address) != Family::of(self.base) {
            return None;
        }
        let offset = number(address).checked_sub(number(self.base))?;
        u64::try_from(offset).ok().filter(|offset| *offset < self.size)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address so much further; callers stay within the family.
fn add(address: IpAddr, offset: u64) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let offset = u32::try_from(offset).unwrap_or(u32::MAX);
            Ipv4Addr::from_bits(v4.to_bits().saturating_add(offset)).into()
        }
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().saturating_add(offset.into())).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn subnets_and_ranges() {
        for (text, base, size) in [
            ("10.0.0.0/24", "10.0.0.1", 254),
            ("10.0.0.5/24", "10.0.0.5", 250),
            ("10.0.0.1/24", "10.0.0.1", 254),
            ("10.0.0.0/30", "10.0.0.1", 2),
            ("10.0.0.0/31", "10.0.0.0", 2),
            ("10.0.0.1/31", "10.0.0.1", 1),
            ("10.0.0.7/32", "10.0.0.7", 1),
            ("10.0.0.7", "10.0.0.7", 1),
            ("fd00::/64", "fd00::1", 2_147_483_646),
            ("fd00::5/64", "fd00::5", 2_147_483_642),
            ("fd00::/127", "fd00::", 2),
            ("fd00::1", "fd00::1", 1),
            ("0.0.0.0/0", "0.0.0.1", 2_147_483_646),
            ("10.0.0.10-10.0.1.9", "10.0.0.10", 256),
            ("fd00::1-fd00::1", "fd00::1", 1),
            ("0.0.0.0-255.255.255.255", "0.0.0.0", 1 << 32),
        ] {
            assert_eq!(Bounds::parse(text), Ok(Bounds { base: ip(base), size }), "{text}");
        }
    }

    #[test]
    fn what_has_no_addresses_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0.0/x", "10.0.0.9-10.0.0.1", "10.0.0.1-fd00::1", "host", "%config"] {
            assert_eq!(Bounds::parse(text), Err(BoundsError::Syntax(text.to_owned())), "{text}");
        }
        assert_eq!(Bounds::parse("10.0.0.255/24"), Err(BoundsError::Empty(ip("10.0.0.255"), 24)));
        assert!(matches!(Bounds::parse("fd00::-fd01::"), Err(BoundsError::TooLarge(..))));
    }

    #[test]
    fn offsets_and_addresses_are_inverse() {
        let bounds = Bounds::parse("10.0.0.0/24").unwrap();
        for offset in [0, 1, 253] {
            assert_eq!(bounds.offset(bounds.address(offset).unwrap()), Some(offset));
        }
        assert_eq!(bounds.address(254), None);
        for outside in ["10.0.0.0", "10.0.0.255", "fd00::1"] {
            assert_eq!(bounds.offset(ip(outside)), None);
        }
    }
}
