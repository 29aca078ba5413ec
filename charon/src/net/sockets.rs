//! The UDP sockets of IKE: IPv4 and IPv6, each on the regular port and on that for NAT traversal.
//!
//! Source and destination address of a datagram travel as packet information, so one socket serves all addresses of its
//! family. Datagrams between ports of which neither is 500 carry a non-ESP marker, four zero bytes, since they share
//! their ports with ESP in UDP (RFC 7296 §2.23, RFC 3948 §2.2).

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use super::Transmit;
use nix::sys::socket::sockopt::{IpRecvTos, Ipv4PacketInfo, Ipv6RecvPacketInfo, Ipv6RecvTClass, Mark};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg, setsockopt};
use socket2::{Domain, Protocol, Socket, Type};
use strongswan::log;

/// The registered port of IKE.
const IKE_PORT: u16 = 500;

/// Precedes IKE messages on ports that are shared with ESP.
pub(crate) const NON_ESP_MARKER: [u8; 4] = [0; 4];

/// Settings of the sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketSettings {
    /// `port`, 0 for any.
    pub port: u16,
    /// `port_nat_t`, 0 for any.
    pub port_nat_t: u16,
    /// `socket-default.use_ipv4`
    pub use_ipv4: bool,
    /// `socket-default.use_ipv6`
    pub use_ipv6: bool,
    /// `socket-default.set_source`: send from the address the IKE_SA uses.
    pub set_source: bool,
    /// `socket-default.set_sourceif`: send on the interface of a link-local address.
    pub set_sourceif: bool,
    /// `socket-default.fwmark`
    pub fwmark: Option<u32>,
}

impl Default for SocketSettings {
    fn default() -> Self {
        Self {
            port: IKE_PORT,
            port_nat_t: 4500,
            use_ipv4: true,
            use_ipv6: true,
            set_source: true,
            set_sourceif: false,
            fwmark: None,
        }
    }
}

/// No socket at all could be opened.
#[derive(Debug, thiserror::Error)]
#[error("could not create any sockets")]
pub struct NoSockets;

/// One socket and the port it is bound to.
#[derive(Debug)]
pub(crate) struct IkeSocket {
    pub(crate) socket: UdpSocket,
    pub(crate) port: u16,
    ipv6: bool,
    nat_t: bool,
}

/// Handles of the sockets for a data plane, which sends ESP through some of them, or has the kernel treat them apart.
#[derive(Debug, Default)]
pub struct IkeSockets {
    /// Those on the regular port.
    pub plain: Vec<UdpSocket>,
    /// Those for NAT traversal.
    pub nat_t: Vec<UdpSocket>,
}

impl IkeSockets {
    /// Further handles of the same sockets.
    ///
    /// # Errors
    /// If there are no file descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        let clones = |sockets: &[UdpSocket]| sockets.iter().map(UdpSocket::try_clone).collect::<io::Result<_>>();
        Ok(Self { plain: clones(&self.plain)?, nat_t: clones(&self.nat_t)? })
    }
}

/// All sockets of the daemon.
#[derive(Debug)]
pub struct Sockets {
    sockets: Vec<IkeSocket>,
    set_source: bool,
    set_sourceif: bool,
}

impl Sockets {
    /// Opens the sockets. What fails is logged; one is enough.
    ///
    /// # Errors
    /// If none could be opened.
    pub fn open(settings: &SocketSettings) -> Result<Self, NoSockets> {
        // Equal ports would make two sockets compete for the same datagrams.
        let port_nat_t = if settings.port_nat_t == settings.port { 0 } else { settings.port_nat_t };
        let (mut port, mut port_nat_t) = (settings.port, port_nat_t);
        let mut sockets = Vec::new();
        for ipv6 in [true, false] {
            if !(if ipv6 { settings.use_ipv6 } else { settings.use_ipv4 }) {
                continue;
            }
            for nat_t in [false, true] {
                let wanted = if nat_t { &mut port_nat_t } else { &mut port };
                match bind(ipv6, *wanted, settings.fwmark) {
                    Ok((socket, bound)) => {
                        // A random port is the same for both families.
                        *wanted = bound;
                        sockets.push(IkeSocket { socket, port: bound, ipv6, nat_t });
                    }
                    Err(error) => {
                        let family = if ipv6 { "IPv6" } else { "IPv4" };
                        log!(NET, 1, "unable to bind socket: {error} ({family} port {})", *wanted);
                    }
                }
            }
        }
        if sockets.is_empty() {
            return Err(NoSockets);
        }
        Ok(Self { sockets, set_source: settings.set_source, set_sourceif: settings.set_sourceif })
    }

    /// The port of the regular sockets, or of those for NAT traversal.
    pub fn port(&self, nat_t: bool) -> Option<u16> {
        self.sockets.iter().find(|socket| socket.nat_t == nat_t).map(|socket| socket.port)
    }

    /// Further handles of the sockets, for a data plane.
    ///
    /// # Errors
    /// If there is no file descriptor left.
    pub fn clones(&self) -> io::Result<IkeSockets> {
        let clones = |nat_t: bool| -> io::Result<Vec<UdpSocket>> {
            self.sockets.iter().filter(|socket| socket.nat_t == nat_t).map(|socket| socket.socket.try_clone()).collect()
        };
        Ok(IkeSockets { plain: clones(false)?, nat_t: clones(true)? })
    }

    /// The sockets, to receive from.
    pub(crate) fn all(&self) -> &[IkeSocket] {
        &self.sockets
    }

    /// Sends an IKE message or a NAT keepalive. An error is logged.
    pub fn send(&self, datagram: &Transmit) {
        let Transmit { local, remote, data, keepalive, dscp } = datagram;
        let marker = !keepalive && needs_marker(*local, *remote);
        let sent = if marker {
            let message = [IoSlice::new(&NON_ESP_MARKER), IoSlice::new(data)];
            self.send_to(*local, *remote, &message, *dscp)
        } else {
            self.send_to(*local, *remote, &[IoSlice::new(data)], *dscp)
        };
        if let Err(error) = sent {
            log!(NET, 1, "error writing to socket: {error}");
        }
    }

    /// Sends an ESP packet in UDP.
    ///
    /// # Errors
    /// As the system reports them; there is no socket for the address family or port ([`io::ErrorKind::AddrNotAvailable`]).
    pub fn send_esp(&self, local: SocketAddr, remote: SocketAddr, packet: &[u8]) -> io::Result<()> {
        self.send_to(local, remote, &[IoSlice::new(packet)], 0)
    }

    fn send_to(&self, local: SocketAddr, remote: SocketAddr, data: &[IoSlice<'_>], dscp: u8) -> io::Result<()> {
        let Some(socket) = self.socket_for(local, remote) else {
            let family = if remote.is_ipv6() { 6 } else { 4 };
            log!(NET, 1, "no socket found to send IPv{family} packet from port {}", local.port());
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        let fd = socket.socket.as_raw_fd();
        let source = if self.set_source && !local.ip().is_unspecified() { Some(local) } else { None };
        let tos = dscp << 2;
        match source {
            Some(SocketAddr::V4(source)) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(source.ip().octets()) },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                send_message(fd, remote, data, Some(ControlMessage::Ipv4PacketInfo(&info)), tos)
            }
            Some(SocketAddr::V6(source)) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: source.ip().octets() },
                    ipi6_ifindex: if self.set_sourceif { source.scope_id() } else { 0 },
                };
                send_message(fd, remote, data, Some(ControlMessage::Ipv6PacketInfo(&info)), tos)
            }
            None => send_message(fd, remote, data, None, tos),
        }
    }

    fn socket_for(&self, local: SocketAddr, remote: SocketAddr) -> Option<&IkeSocket> {
        let port = local.port();
        let family = || self.sockets.iter().filter(|socket| socket.ipv6 == remote.is_ipv6());
        family().find(|socket| socket.port == port || (port == 0 && !socket.nat_t))
    }
}

/// Whether IKE messages between these ports carry a non-ESP marker.
pub(crate) fn needs_marker(local: SocketAddr, remote: SocketAddr) -> bool {
    local.port() != IKE_PORT && remote.port() != IKE_PORT
}

fn send_message(
    fd: RawFd,
    remote: SocketAddr,
    data: &[IoSlice<'_>],
    source: Option<ControlMessage<'_>>,
    tos: u8,
) -> io::Result<()> {
    let class = i32::from(tos);
    let mut control = smallvec::SmallVec::<[ControlMessage<'_>; 2]>::new();
    control.extend(source);
    if tos != 0 {
        control.push(if remote.is_ipv6() { ControlMessage::Ipv6TClass(&class) } else { ControlMessage::Ipv4Tos(&tos) });
    }
    sendmsg(fd, data, &control, MsgFlags::empty(), Some(&SockaddrStorage::from(remote)))?;
    Ok(())
}

fn bind(ipv6: bool, port: u16, fwmark: Option<u32>) -> io::Result<(UdpSocket, u16)> {
    let (domain, any): (_, IpAddr) =
        if ipv6 { (Domain::IPV6, Ipv6Addr::UNSPECIFIED.into()) } else { (Domain::IPV4, Ipv4Addr::UNSPECIFIED.into()) };
    let socket = Socket::new(domain, Type::DGRAM.cloexec(), Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    // Before binding: no datagram may arrive without its addresses.
    if ipv6 {
        socket.set_only_v6(true)?;
        setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
        setsockopt(&socket, Ipv6RecvTClass, &true)?;
    } else {
        setsockopt(&socket, Ipv4PacketInfo, &true)?;
        setsockopt(&socket, IpRecvTos, &true)?;
    }
    if let Some(mark) = fwmark {
        setsockopt(&socket, Mark, &mark)?;
    }
    socket.bind(&SocketAddr::new(any, port).into())?;
    let socket: UdpSocket = socket.into();
    let port = socket.local_addr()?.port();
    Ok((socket, port))
}
