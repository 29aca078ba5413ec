//! The address that packets to a peer are sent from.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use ike::kernel::Kernel;

/// Our address towards `remote`, as the data plane knows it or else as the system's routes say.
pub(crate) fn source_address(kernel: &dyn Kernel, remote: IpAddr) -> Option<IpAddr> {
    kernel.source_address(remote, None).or_else(|| routed(remote))
}

/// What the system would choose; nothing is sent.
fn routed(remote: IpAddr) -> Option<IpAddr> {
    let any: SocketAddr = if remote.is_ipv6() { ([0u16; 8], 0).into() } else { ([0u8; 4], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect((remote, 500)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
