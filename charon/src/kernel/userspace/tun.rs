//! The TUN device: where IP packets leave and enter the kernel.
//!
//! With virtio-net headers one read returns up to 64 KB of a TCP stream or a burst of UDP, which is cut into packets
//! here; kernels without that get single packets.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

use tun_rs::{DeviceBuilder, IDEAL_BATCH_SIZE, SyncDevice, VIRTIO_NET_HDR_LEN};

/// Room for an Ethernet MTU less the longest ESP, UDP and IPv4 headers, as strongSwan has it.
pub(super) const MTU: u16 = 1400;

/// The kernel puts a number in the place of `%d` that makes the name unique.
const NAME: &str = "ipsec%d";

/// A device that is up. Dropping it removes it and every route through it.
pub(super) struct Tun {
    device: SyncDevice,
    name: String,
    index: u32,
}

/// Packets read at once. Each lies in a buffer of its own with room around it.
pub(super) struct PacketBatch {
    /// What the kernel wrote, before it was cut.
    raw: Vec<u8>,
    buffers: Vec<Vec<u8>>,
    sizes: Vec<usize>,
    headroom: usize,
}

impl PacketBatch {
    /// Buffers with `headroom` bytes before each packet and `tailroom` after the longest.
    pub(super) fn new(headroom: usize, tailroom: usize) -> Self {
        let room = headroom.saturating_add(usize::from(MTU)).saturating_add(tailroom);
        Self {
            raw: vec![0; VIRTIO_NET_HDR_LEN + 0xffff],
            buffers: vec![vec![0; room]; IDEAL_BATCH_SIZE],
            sizes: vec![0; IDEAL_BATCH_SIZE],
            headroom,
        }
    }

    /// Reads from the device without waiting; the number of packets.
    pub(super) fn read(&mut self, tun: &Tun) -> io::Result<usize> {
        tun.device.recv_multiple(&mut self.raw, &mut self.buffers, &mut self.sizes, self.headroom)
    }

    /// The first `count` buffers with the ranges of their packets.
    pub(super) fn packets(&mut self, count: usize) -> impl Iterator<Item = (&mut Vec<u8>, std::ops::Range<usize>)> {
        let headroom = self.headroom;
        let ranges = self.sizes.iter().map(move |size| headroom..headroom.saturating_add(*size));
        self.buffers.iter_mut().zip(ranges).take(count)
    }

    /// The buffers.
    pub(super) fn buffers(&self) -> &[Vec<u8>] {
        &self.buffers
    }
}

impl Tun {
    /// Creates the device and brings it up.
    pub(super) fn open() -> io::Result<Self> {
        let build = |offload| DeviceBuilder::new().name(NAME).mtu(MTU).offload(offload).build_sync();
        let device = build(true).or_else(|_| build(false))?;
        device.set_nonblocking(true)?;
        device.enabled(true)?;
        Ok(Self { name: device.name()?, index: device.if_index()?, device })
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Index of the interface.
    pub(super) fn index(&self) -> u32 {
        self.index
    }

    /// Hands an IP packet to the kernel.
    pub(super) fn write(&self, packet: &[u8]) -> io::Result<()> {
        if self.device.tcp_gso() {
            // All zero: no offload asked for, checksums are in the packet.
            const NO_OFFLOAD: [u8; VIRTIO_NET_HDR_LEN] = [0; VIRTIO_NET_HDR_LEN];
            self.device.send_vectored(&[IoSlice::new(&NO_OFFLOAD), IoSlice::new(packet)])?;
        } else {
            self.device.send(packet)?;
        }
        Ok(())
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}
