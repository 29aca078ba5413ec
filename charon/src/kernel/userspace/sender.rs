//! ESP packets out: in UDP through the IKE sockets for NAT traversal, since peers expect both from one port, or directly
//! over IP through raw sockets.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use esp::outbound::Path;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{Mark, RcvBufForce};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg, setsockopt};
use smallvec::SmallVec;
use socket2::{Domain, Protocol, Socket, Type};
use strongswan::log;

/// Receive buffer asked for: bursts of a fast peer arrive while a thread waits to be scheduled.
const RECEIVE_BUFFER: usize = 4 << 20;

/// The kernel takes at most this many segments at once (UDP_MAX_SEGMENTS).
pub(super) const MAX_SEGMENTS: usize = 64;

/// Most bytes of one datagram, and so of one batch of segments.
pub(super) const MAX_BATCH_BYTES: usize = 65_000;

/// Sockets that send ESP.
pub(super) struct EspSender {
    udp: Vec<UdpSocket>,
    raw: Vec<Socket>,
    /// The kernel segments UDP for us.
    segmentation: AtomicBool,
}

impl EspSender {
    /// Takes clones of the IKE sockets for NAT traversal and, with `raw`, opens raw ones. All send with `mark`.
    /// Returns whether the mark could be set, too.
    pub(super) fn new(udp: Vec<UdpSocket>, raw: bool, mark: u32) -> (Self, bool) {
        let raw: Vec<_> =
            if raw { [Domain::IPV4, Domain::IPV6].into_iter().filter_map(open_raw).collect() } else { vec![] };
        for socket in udp.iter().map(AsFd::as_fd).chain(raw.iter().map(AsFd::as_fd)) {
            // Where that is not allowed, the default will do.
            let _ = setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER);
        }
        let marked = udp.iter().all(|socket| setsockopt(socket, Mark, &mark).is_ok());
        let raw_marked = raw.iter().all(|socket| setsockopt(socket, Mark, &mark).is_ok());
        let sender = Self { udp, raw, segmentation: AtomicBool::new(true) };
        (sender, marked && raw_marked)
    }

    /// The raw sockets, to receive from.
    pub(super) fn raw(&self) -> &[Socket] {
        &self.raw
    }

    /// Sends ESP packets along a path, all of one length except that the last may be shorter, at most
    /// [`MAX_SEGMENTS`] and [`MAX_BATCH_BYTES`].
    pub(super) fn send(&self, path: &Path, traffic_class: u8, packets: &[IoSlice<'_>]) -> io::Result<()> {
        let socket = self.socket(path).ok_or(io::ErrorKind::AddrNotAvailable)?;
        if let [first, _, ..] = packets
            && path.udp
            && self.segmentation.load(Ordering::Relaxed)
        {
            let segment = u16::try_from(first.len()).unwrap_or(u16::MAX);
            match send_message(socket, path, traffic_class, packets, Some(segment)) {
                // The device cannot checksum, or a segment exceeds the MTU and must be fragmented.
                Err(Errno::EIO) => self.segmentation.store(false, Ordering::Relaxed),
                Err(Errno::EINVAL | Errno::EMSGSIZE) => {}
                result => return result.map_err(Into::into),
            }
        }
        let mut result = Ok(());
        for packet in packets {
            // One that fails does not keep the others back.
            let sent = send_message(socket, path, traffic_class, std::slice::from_ref(packet), None);
            result = result.and(sent);
        }
        result.map_err(Into::into)
    }

    fn socket(&self, path: &Path) -> Option<BorrowedFd<'_>> {
        if path.udp {
            let family = |socket: &&UdpSocket| socket.local_addr().is_ok_and(|a| a.is_ipv6() == path.remote.is_ipv6());
            self.udp.iter().find(family).map(AsFd::as_fd)
        } else {
            let domain = if path.remote.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
            self.raw.iter().find(|socket| socket.domain().is_ok_and(|d| d == domain)).map(AsFd::as_fd)
        }
    }
}

fn open_raw(domain: Domain) -> Option<Socket> {
    let open = || {
        let socket = Socket::new(domain, Type::RAW.cloexec(), Some(Protocol::from(libc::IPPROTO_ESP)))?;
        if domain == Domain::IPV6 {
            socket.set_recv_tclass_v6(true)?;
        }
        Ok::<_, io::Error>(socket)
    };
    open().inspect_err(|error| log!(KNL, 1, "unable to open raw ESP socket: {error}")).ok()
}

fn send_message(
    socket: BorrowedFd<'_>,
    path: &Path,
    traffic_class: u8,
    packets: &[IoSlice<'_>],
    segment: Option<u16>,
) -> Result<(), Errno> {
    let fd: RawFd = socket.as_raw_fd();
    let class = i32::from(traffic_class);
    let (info4, info6);
    let mut control = SmallVec::<[ControlMessage<'_>; 3]>::new();
    match path.local.ip() {
        source if source.is_unspecified() => {}
        IpAddr::V4(source) => {
            info4 = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(source.octets()) },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            control.push(ControlMessage::Ipv4PacketInfo(&info4));
        }
        IpAddr::V6(source) => {
            info6 = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: source.octets() }, ipi6_ifindex: 0 };
            control.push(ControlMessage::Ipv6PacketInfo(&info6));
        }
    }
    if traffic_class != 0 {
        control.push(match path.remote {
            SocketAddr::V4(_) => ControlMessage::Ipv4Tos(&traffic_class),
            SocketAddr::V6(_) => ControlMessage::Ipv6TClass(&class),
        });
    }
    if let Some(segment) = &segment {
        control.push(ControlMessage::UdpGsoSegments(segment));
    }
    let mut remote = path.remote;
    if !path.udp {
        remote.set_port(0);
    }
    sendmsg(fd, packets, &control, MsgFlags::empty(), Some(&SockaddrStorage::from(remote))).map(drop)
}
