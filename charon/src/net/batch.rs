//! Datagrams received many at a time.

use std::io::IoSliceMut;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage, recvmmsg};
use strongswan::log;

use super::sockets::IkeSocket;

/// Datagrams per system call.
const BATCH: usize = 32;

/// Reusable buffers for the datagrams of one socket. The headers keep what the kernel wrote of sizes, so they must not be
/// shared between sockets of different families.
pub(crate) struct Batch {
    headers: MultiHeaders<SockaddrStorage>,
    buffers: Vec<Vec<u8>>,
}

/// Where a datagram came from and went to.
pub(crate) struct Meta {
    length: usize,
    /// Our address and port.
    pub(crate) local: SocketAddr,
    /// The sender.
    pub(crate) remote: SocketAddr,
    /// DSCP and ECN.
    pub(crate) traffic_class: Option<u8>,
}

impl Batch {
    /// Buffers for datagrams of up to `max_packet` bytes.
    pub(crate) fn new(max_packet: usize) -> Self {
        let control = nix::cmsg_space!(libc::in6_pktinfo, libc::in_pktinfo, i32);
        Self {
            headers: MultiHeaders::preallocate(BATCH, Some(control)),
            // One byte more tells a datagram that is too large.
            buffers: vec![vec![0; max_packet.saturating_add(1)]; BATCH],
        }
    }

    /// Receives what is there, without waiting, and hands each datagram with what is known of it to `each`.
    /// Returns whether there may be more.
    pub(crate) fn receive(&mut self, socket: &IkeSocket, mut each: impl FnMut(&Meta, &mut [u8])) -> bool {
        let metas = {
            let mut slices: Vec<_> = self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
            let fd = socket.socket.as_raw_fd();
            match recvmmsg(fd, &mut self.headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
                Ok(received) => received.map(|datagram| meta(&datagram, socket.port)).collect::<Vec<_>>(),
                // ECONNREFUSED and the like report an ICMP error for something sent earlier.
                Err(Errno::EAGAIN) => return false,
                Err(error) => {
                    log!(NET, 2, "error reading from socket: {error}");
                    return error == Errno::EINTR;
                }
            }
        };
        let full = metas.len() == BATCH;
        for (meta, buffer) in metas.into_iter().zip(&mut self.buffers) {
            let Some(meta) = meta else { continue };
            if meta.length >= buffer.len() {
                log!(NET, 1, "receive buffer too small, packet discarded");
                continue;
            }
            if let Some(datagram) = buffer.get_mut(..meta.length) {
                each(&meta, datagram);
            }
        }
        full
    }
}

fn meta(datagram: &RecvMsg<'_, '_, SockaddrStorage>, port: u16) -> Option<Meta> {
    let remote = socket_addr(datagram.address?)?;
    let (mut local, mut traffic_class) = (None, None);
    for control in datagram.cmsgs().ok()? {
        match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                local = Some(SocketAddr::from((Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()), port)));
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                let scope = if ip.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
                local = Some(SocketAddrV6::new(ip, port, 0, scope).into());
            }
            ControlMessageOwned::Ipv4Tos(class) => traffic_class = Some(class),
            ControlMessageOwned::Ipv6TClass(class) => traffic_class = u8::try_from(class).ok(),
            _ => {}
        }
    }
    Some(Meta { length: datagram.bytes, local: local?, remote, traffic_class })
}

fn socket_addr(address: SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|a| SocketAddrV4::from(*a).into());
    v4.or_else(|| {
        let a = SocketAddrV6::from(*address.as_sockaddr_in6()?);
        // Of a global address the scope is of no meaning and would make it differ from a configured one.
        let scope = if a.ip().is_unicast_link_local() { a.scope_id() } else { 0 };
        Some(SocketAddrV6::new(*a.ip(), a.port(), 0, scope).into())
    })
}
