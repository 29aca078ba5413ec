//! What SAs and policies of the data plane are called.

use std::net::IpAddr;

pub use strongswan::ids::{Reqid, Spi};

/// What identifies an SA of this data plane. Inbound SPIs are ours and therefore unique; outbound ones are chosen by the
/// peers, two of which may choose the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SaKey {
    /// From a peer to us.
    Inbound(Spi),
    /// From us to the peer with this address at the time of installation.
    Outbound(Spi, IpAddr),
}
