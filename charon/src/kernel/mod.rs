//! The data planes of the daemon, behind [`ike::kernel::Kernel`]: what an IKE_SA asks for is done at once in the calling
//! thread; what happens by itself is reported as a [`KernelEvent`].
//!
//! - [`userspace`]: our own ESP over a TUN device, for machines whose kernel has no ESP or gives us no rights to it.
//! - [`fake`]: keeps books and moves nothing, for load tests.
//! - [`netlink`]: routes, rules and addresses of the kernel, which every data plane needs.

pub mod fake;
pub mod netlink;
mod select;
mod settle;
pub mod userspace;

pub use select::{DataPlane, DataPlaneError};

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ike::ids::{Reqid, Spi};
use nix::net::if_::if_indextoname;
use strongswan::crypto::Protocol;
use strongswan::log;
use strongswan::selectors::TrafficSelector;

use netlink::Network;

/// The interface that has an address of ours.
pub fn interface_of(address: IpAddr) -> Option<String> {
    let addresses = Network::open().and_then(|network| network.addresses());
    let addresses = addresses.map_err(|error| log!(KNL, 1, "unable to list addresses: {error}")).ok()?;
    let index = addresses.iter().find(|local| local.address == address)?.interface;
    if_indextoname(index).ok()?.into_string().ok()
}

/// Something the data plane noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelEvent {
    /// A packet matched a policy for which there is no SA. Repeated at most every 10 seconds for a policy.
    Acquire {
        /// The policy's.
        reqid: Reqid,
        /// Local end of the packet.
        source: TrafficSelector,
        /// Remote end of the packet.
        destination: TrafficSelector,
    },
    /// An SA reached a limit; each is reported once.
    Expire {
        /// ESP.
        protocol: Protocol,
        /// Its SPI.
        spi: Spi,
        /// Receiver of its outer packets at the time of installation.
        destination: IpAddr,
        /// It is gone, not only to be replaced.
        hard: bool,
    },
    /// Packets of an inbound SA, encapsulated in UDP, come from elsewhere: a NAT changed its mapping.
    Mapping {
        /// ESP.
        protocol: Protocol,
        /// Its SPI.
        spi: Spi,
        /// Our address.
        destination: IpAddr,
        /// Where its packets come from now.
        remote: SocketAddr,
    },
    /// Addresses of this machine, or the ways to others, changed; at most once in 100 ms.
    Roam {
        /// Addresses or interfaces, not routes alone.
        address: bool,
    },
}

/// Takes events. Called from the data plane's threads, without locks held: it queues a job and returns.
pub type EventSink = Arc<dyn Fn(KernelEvent) + Send + Sync>;
