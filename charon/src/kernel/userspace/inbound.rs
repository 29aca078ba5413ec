//! From the sockets through the plane to the TUN device.

use std::io::{self, IoSliceMut, PipeReader};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use esp::inbound::{Arrival, DecapError};
use esp::ip::{Flow, Header};
use esp::plane::InboundDrop;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use socket2::Socket;
use strongswan::crypto::Protocol;
use strongswan::log;
use strongswan::processing::monotonic;

use super::Shared;
use super::outbound::wait;
use crate::kernel::KernelEvent;

/// Longest packet that IP can carry.
const MAX_PACKET: usize = 0xffff;

/// Receives raw ESP until the pipe is closed.
pub(super) fn run(shared: &Shared, stop: &PipeReader) {
    let mut buffer = vec![0; MAX_PACKET];
    let sockets = shared.sender.raw();
    loop {
        let go_on = match sockets {
            [one] => wait(stop, [one.as_fd()]),
            [one, two, ..] => wait(stop, [one.as_fd(), two.as_fd()]),
            [] => false,
        };
        if !go_on {
            return;
        }
        for socket in sockets {
            while shared.receive_raw(socket, &mut buffer) {}
        }
    }
}

impl Shared {
    /// Receives one raw ESP packet, if there is one.
    fn receive_raw(&self, socket: &Socket, buffer: &mut [u8]) -> bool {
        let mut control = nix::cmsg_space!(i32);
        let (length, remote, class) = {
            let mut slices = [IoSliceMut::new(buffer)];
            let flags = MsgFlags::MSG_DONTWAIT;
            match recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags) {
                Ok(message) => {
                    let class = message.cmsgs().ok().and_then(|mut control| {
                        control.find_map(|message| match message {
                            ControlMessageOwned::Ipv6TClass(class) => u8::try_from(class).ok(),
                            _ => None,
                        })
                    });
                    (message.bytes, message.address.and_then(|address| address_of(&address)), class)
                }
                Err(Errno::EAGAIN) => return false,
                Err(error) => {
                    log!(KNL, 2, "error reading raw ESP: {error}");
                    return error == Errno::EINTR;
                }
            }
        };
        let Some(remote) = remote else { return true };
        let packet = buffer.get_mut(..length).unwrap_or_default();
        if remote.is_ipv6() {
            self.receive(remote, class, packet);
        } else if let Some((header_len, class)) = v4_header(packet) {
            // Unlike those of IPv6, raw IPv4 sockets deliver the IP header, too.
            self.receive(remote, Some(class), packet.get_mut(header_len..).unwrap_or_default());
        }
        true
    }

    /// Decapsulates a packet and hands what is in it to the kernel.
    pub(super) fn receive(&self, remote: SocketAddr, traffic_class: Option<u8>, packet: &mut [u8]) {
        let arrival = Arrival { remote, traffic_class };
        let delivery = match self.plane.decap(packet, &arrival, monotonic()) {
            Ok(delivery) => delivery,
            Err(reason) => return refused(&reason, remote),
        };
        let decapsulated = delivery.decapsulated;
        if let Some(range) = decapsulated.packet
            && let Some(inner) = packet.get(range)
            && let Err(error) = self.tun.write(inner)
            && error.kind() != io::ErrorKind::WouldBlock
        {
            log!(KNL, 2, "writing to TUN device {} failed: {error}", self.tun.name());
        }
        if let Some(expired) = delivery.expired {
            self.report_expired(&expired);
        }
        if let Some(remote) = decapsulated.moved
            && let Some(sa) = self.plane.sad.inbound(delivery.spi)
        {
            let (spi, destination) = (delivery.spi, sa.path().local.ip());
            self.report(KernelEvent::Mapping { protocol: Protocol::Esp, spi, destination, remote });
        }
    }
}

fn refused(reason: &InboundDrop, remote: SocketAddr) {
    match reason {
        InboundDrop::Decap(_, DecapError::Policy(flow)) => {
            let Flow { source, destination, protocol, .. } = flow;
            log!(ESP, 1, "discarding inbound IP packet {source} == {destination} [{protocol}] due to policy");
        }
        reason => log!(ESP, 2, "discarding ESP packet from {remote}: {reason}"),
    }
}

/// Length of the IPv4 header in front of an ESP packet, and its traffic class.
fn v4_header(packet: &[u8]) -> Option<(usize, u8)> {
    let header = Header::parse(packet).ok()?;
    let header_len = usize::from(packet.first()? & 0x0f) * 4;
    Some((header_len, header.traffic_class))
}

fn address_of(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|address| SocketAddr::from((address.ip(), 0)));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddr::from((address.ip(), 0))))
}
