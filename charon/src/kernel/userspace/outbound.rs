//! From the TUN device through the plane to the sockets.

use std::io::{self, IoSlice, PipeReader};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use esp::ip::Flow;
use esp::plane::{Departure, OutboundDrop};
use esp::{HEADROOM, TAILROOM};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use smallvec::SmallVec;
use strongswan::crypto::SystemRng;
use strongswan::log;
use strongswan::processing::monotonic;
use strongswan::selectors::TrafficSelector;

use super::Shared;
use super::sender::{MAX_BATCH_BYTES, MAX_SEGMENTS};
use super::tun::{MTU, PacketBatch};
use crate::kernel::KernelEvent;

/// How long to leave the device alone after an error. One that somebody deleted is readable for ever, and fails.
const RETRY_MILLISECONDS: u16 = 1000;

/// Waits until one of the descriptors is readable or the pipe's other end is closed. Returns whether to go on.
pub(super) fn wait<const N: usize>(stop: &PipeReader, readable: [BorrowedFd<'_>; N]) -> bool {
    wait_for(stop, readable, PollTimeout::NONE)
}

fn wait_for<const N: usize>(stop: &PipeReader, readable: [BorrowedFd<'_>; N], timeout: PollTimeout) -> bool {
    let mut fds: SmallVec<[PollFd<'_>; 4]> = SmallVec::new();
    fds.push(PollFd::new(stop.as_fd(), PollFlags::POLLIN));
    fds.extend(readable.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
    match poll(&mut fds, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {
            fds.first().and_then(PollFd::revents).is_none_or(|events| events.is_empty())
        }
        Err(error) => {
            log!(KNL, 1, "data plane stops, poll failed: {error}");
            false
        }
    }
}

/// Runs until the pipe is closed.
pub(super) fn run(shared: &Shared, stop: &PipeReader) {
    // TFC padding may fill a short packet up to the MTU.
    let mut batch = PacketBatch::new(HEADROOM, usize::from(MTU) + TAILROOM);
    let mut departures = Vec::new();
    let mut failing = false;
    while wait(stop, [shared.tun.as_fd()]) {
        match shared.drain(&mut batch, &mut departures) {
            Ok(()) => failing = false,
            Err(error) => {
                if !failing {
                    log!(KNL, 1, "reading from TUN device {} failed: {error}", shared.tun.name());
                }
                failing = true;
                if !wait_for(stop, [], PollTimeout::from(RETRY_MILLISECONDS)) {
                    return;
                }
            }
        }
    }
}

impl Shared {
    /// Encapsulates what there is to read from the device.
    fn drain(&self, batch: &mut PacketBatch, departures: &mut Vec<Option<Departure>>) -> io::Result<()> {
        loop {
            match batch.read(&self.tun) {
                Ok(count) => self.encap_batch(batch, count, departures),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Encapsulates the first `count` packets of `batch` and sends them. `departures` is scratch space.
    fn encap_batch(&self, batch: &mut PacketBatch, count: usize, departures: &mut Vec<Option<Departure>>) {
        let now = monotonic();
        departures.clear();
        for (buffer, packet) in batch.packets(count) {
            departures.push(match self.plane.encap(buffer, packet, now, &mut SystemRng) {
                Ok(departure) => Some(departure),
                Err(reason) => {
                    self.dropped(&reason);
                    None
                }
            });
        }
        let mut rest = departures.iter().zip(batch.buffers()).filter_map(|(d, buffer)| Some((d.as_ref()?, buffer)));
        let mut next = rest.next();
        while let Some((first, buffer)) = next {
            let mut packets: SmallVec<[IoSlice<'_>; MAX_SEGMENTS]> = SmallVec::new();
            packets.push(IoSlice::new(buffer.get(first.range.clone()).unwrap_or_default()));
            let (segment, mut bytes) = (first.range.len(), first.range.len());
            loop {
                next = rest.next();
                let Some((departure, buffer)) = next else { break };
                let len = departure.range.len();
                let same = departure.path == first.path && departure.traffic_class == first.traffic_class;
                if !same || len > segment || bytes + len > MAX_BATCH_BYTES || packets.len() == MAX_SEGMENTS {
                    break;
                }
                packets.push(IoSlice::new(buffer.get(departure.range.clone()).unwrap_or_default()));
                bytes += len;
                if len < segment {
                    // A shorter segment is the last of its batch.
                    next = rest.next();
                    break;
                }
            }
            if let Err(error) = self.sender.send(&first.path, first.traffic_class, &packets) {
                log!(KNL, 2, "sending ESP to {} failed: {error}", first.path.remote);
            }
        }
        for expired in departures.iter().flatten().filter_map(|departure| departure.expired.as_ref()) {
            self.report_expired(expired);
        }
    }

    fn dropped(&self, reason: &OutboundDrop) {
        match reason {
            OutboundDrop::NoSa { reqid, flow, ask: true } => {
                log!(
                    ESP,
                    1,
                    "could not find an outbound IPsec SA for reqid {{{reqid}}}, dropping packet and triggering acquire"
                );
                let selectors = selector(flow.source, flow, false).zip(selector(flow.destination, flow, true));
                if let Some((source, destination)) = selectors {
                    self.report(KernelEvent::Acquire { reqid: *reqid, source, destination });
                }
            }
            OutboundDrop::NoSa { .. } => {}
            OutboundDrop::NoPolicy(flow) | OutboundDrop::Discard(flow) => {
                let Flow { source, destination, protocol, .. } = flow;
                log!(ESP, 2, "discarding outbound IP packet {source} == {destination} [{protocol}] due to policy");
            }
            OutboundDrop::Loop => log!(ESP, 1, "discarding our own packet, routed into the tunnel that it belongs to"),
            OutboundDrop::Ip(error) => log!(ESP, 2, "discarding outbound packet: {error}"),
            OutboundDrop::Encap(error) => log!(ESP, 1, "ESP encapsulation failed: {error}"),
        }
    }
}

/// The selector for one end of a packet.
fn selector(address: IpAddr, flow: &Flow, destination: bool) -> Option<TrafficSelector> {
    let port = flow.ports.map(|ports| if destination { ports.1 } else { ports.0 });
    let (start, end) = port.map_or((0, u16::MAX), |port| (port, port));
    TrafficSelector::new(flow.protocol, address, address, start, end).ok()
}
