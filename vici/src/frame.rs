//! Framing: a 32-bit big-endian length, then that many bytes.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

/// Largest packet either side accepts, not counting its length field.
pub const MAX_PACKET: usize = 512 * 1024;

/// Bytes of the length field.
const LENGTH: usize = 4;

/// An empty buffer is kept up to this size; larger packets are rare.
const KEPT_CAPACITY: usize = 64 * 1024;

/// A packet announced more than [`MAX_PACKET`] bytes; the connection is beyond repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("packet of {0} bytes announced, more than 512 KiB")]
pub struct FrameTooLong(pub u32);

/// Cuts a byte stream into packets, however it was fragmented.
///
/// Buffers at most what was fed to it: memory grows with bytes received, never with a length merely announced. Packets may
/// hold secrets, so what was consumed is wiped.
#[derive(Default)]
pub struct Deframer {
    buffer: Zeroizing<Vec<u8>>,
    start: usize,
}

impl fmt::Debug for Deframer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deframer").field("pending", &self.buffer.len().saturating_sub(self.start)).finish()
    }
}

impl Deframer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends received bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.discard();
        let length = self.buffer.len() + bytes.len();
        if length > self.buffer.capacity() {
            // by hand, for growing a vector leaves what it held where it was
            let mut larger = Zeroizing::new(Vec::with_capacity(length.next_power_of_two()));
            larger.extend_from_slice(&self.buffer);
            self.buffer = larger;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Wipes what was consumed.
    fn discard(&mut self) {
        if self.start == 0 {
            return;
        }
        self.buffer.copy_within(self.start.., 0);
        let rest = self.buffer.len().saturating_sub(self.start);
        if let Some(tail) = self.buffer.get_mut(rest..) {
            tail.zeroize();
        }
        self.buffer.truncate(rest);
        self.start = 0;
        if rest == 0 && self.buffer.capacity() > KEPT_CAPACITY {
            self.buffer = Zeroizing::default();
        }
    }

    /// The next complete packet without its length field, or `None` until more is fed.
    ///
    /// # Errors
    /// If the packet announces more than [`MAX_PACKET`] bytes.
    pub fn next_packet(&mut self) -> Result<Option<&[u8]>, FrameTooLong> {
        let pending = self.buffer.get(self.start..).unwrap_or_default();
        let Some((length, rest)) = pending.split_first_chunk::<LENGTH>() else { return Ok(None) };
        let announced = u32::from_be_bytes(*length);
        let length = usize::try_from(announced).unwrap_or(usize::MAX);
        if length > MAX_PACKET {
            return Err(FrameTooLong(announced));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let start = self.start + LENGTH;
        self.start = start + length;
        Ok(self.buffer.get(start..self.start))
    }

    /// Whether a packet has begun but is not complete.
    pub fn is_partial(&self) -> bool {
        self.buffer.len() > self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_survive_any_fragmentation() {
        let stream = [0, 0, 0, 2, 7, 8, 0, 0, 0, 0, 0, 0, 0, 1, 9];
        for step in 1..=stream.len() {
            let mut deframer = Deframer::new();
            let mut packets = Vec::new();
            for part in stream.chunks(step) {
                deframer.feed(part);
                while let Some(packet) = deframer.next_packet().unwrap() {
                    packets.push(packet.to_vec());
                }
            }
            assert_eq!(packets, [vec![7, 8], vec![], vec![9]], "step {step}");
            assert!(!deframer.is_partial());
        }
    }

    #[test]
    fn what_was_consumed_leaves_the_buffer() {
        let mut deframer = Deframer::new();
        deframer.feed(b"\0\0\0\x06secret\0\0\0\x02");
        assert_eq!(deframer.next_packet(), Ok(Some(&b"secret"[..])));
        deframer.feed(b"ab");
        assert_eq!(deframer.buffer.as_slice(), b"\0\0\0\x02ab");
        deframer.feed(&vec![0; KEPT_CAPACITY]);
        while deframer.next_packet().unwrap().is_some() {}
        deframer.feed(&[]);
        assert_eq!(deframer.buffer.capacity(), 0);
    }

    #[test]
    fn the_limit_is_inclusive() {
        let mut deframer = Deframer::new();
        deframer.feed(&u32::try_from(MAX_PACKET).unwrap().to_be_bytes());
        assert_eq!(deframer.next_packet(), Ok(None));
        let mut deframer = Deframer::new();
        deframer.feed(&u32::try_from(MAX_PACKET + 1).unwrap().to_be_bytes());
        assert_eq!(deframer.next_packet(), Err(FrameTooLong(524_289)));
    }
}
