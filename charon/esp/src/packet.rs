//! The ESP packet on the wire (RFC 4303 §2).
//!
//! ```text
//!  0                   1                   2                   3
//! +---------------------------------------------------------------+
//! |               Security Parameters Index (SPI)                 |
//! +---------------------------------------------------------------+
//! |                      Sequence Number                          |
//! +---------------------------------------------------------------+
//! |  IV, payload, padding, pad length, next header, ICV ...
//! ```

use strongswan::host::Family;

use crate::ids::Spi;

/// Length of SPI and sequence number.
pub const ESP_HEADER_LEN: usize = 8;

/// Length of pad length and next header.
pub(crate) const TRAILER_LEN: usize = 2;

/// Longest IV: a block of AES.
pub(crate) const MAX_IV_LEN: usize = 16;

/// Longest ICV: HMAC-SHA2-512 without truncation.
pub(crate) const MAX_ICV_LEN: usize = 64;

/// Longest padding to whole blocks of 16.
pub(crate) const MAX_PAD_LEN: usize = 15;

/// Next header of packets that only hide the absence of traffic (RFC 4303 §2.6).
pub(crate) const NO_NEXT_HEADER: u8 = 59;

/// Next header of a tunnel mode packet that carries this family.
pub(crate) fn next_header(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 4,
        Family::Ipv6 => 41,
    }
}

/// A view of an ESP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EspPacket<'a> {
    header: &'a [u8; ESP_HEADER_LEN],
}

impl<'a> EspPacket<'a> {
    /// The packet in `bytes`, if they hold a header.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        bytes.first_chunk().map(|header| Self { header })
    }

    /// SPI, `None` if it has a reserved value.
    pub fn spi(&self) -> Option<Spi> {
        Spi::new(self.raw_spi())
    }

    /// SPI, whatever its value.
    pub fn raw_spi(&self) -> u32 {
        let [a, b, c, d, ..] = *self.header;
        u32::from_be_bytes([a, b, c, d])
    }

    /// Sequence number, or its lower half.
    pub fn sequence(&self) -> u32 {
        let [.., a, b, c, d] = *self.header;
        u32::from_be_bytes([a, b, c, d])
    }
}

/// Up to N bytes without allocation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Short<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> AsRef<[u8]> for Short<N> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// What is authenticated besides the ciphertext: the bytes before it, and those after it.
///
/// With extended sequence numbers an AEAD gets the upper half between SPI and the lower half (RFC 4106 §5), a MAC
/// at the very end (RFC 4303 §2.2.1). It is never sent.
pub(crate) fn associated_data(
    header: &[u8; ESP_HEADER_LEN],
    sequence: u64,
    esn: bool,
    aead: bool,
) -> (Short<12>, Short<4>) {
    let [i3, i2, i1, i0, s3, s2, s1, s0] = *header;
    let [h3, h2, h1, h0, ..] = sequence.to_be_bytes();
    let tail = Short { bytes: [h3, h2, h1, h0], len: if esn && !aead { 4 } else { 0 } };
    if esn && aead {
        (Short { bytes: [i3, i2, i1, i0, h3, h2, h1, h0, s3, s2, s1, s0], len: 12 }, tail)
    } else {
        (Short { bytes: [i3, i2, i1, i0, s3, s2, s1, s0, 0, 0, 0, 0], len: 8 }, tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_view_reads_the_header() {
        let packet = [0xfb, 0x51, 0x28, 0xa6, 0, 0, 0, 2, 0x5d];
        let view = EspPacket::new(&packet).unwrap();
        assert_eq!((view.spi(), view.sequence()), (Spi::new(0xfb51_28a6), 2));
        assert_eq!(EspPacket::new(&packet[..7]), None);
        assert_eq!(EspPacket::new(&[0, 0, 0, 255, 0, 0, 0, 1]).unwrap().spi(), None);
    }

    #[test]
    fn the_upper_half_is_authenticated_where_the_algorithm_wants_it() {
        let header = [1, 2, 3, 4, 9, 10, 11, 12];
        let seq = 0x0506_0708_090a_0b0c;
        let of = |esn, aead| {
            let (aad, tail) = associated_data(&header, seq, esn, aead);
            (aad.as_ref().to_vec(), tail.as_ref().to_vec())
        };
        assert_eq!(of(true, true), ((1..=12).collect(), vec![]));
        assert_eq!(of(true, false), (header.to_vec(), vec![5, 6, 7, 8]));
        assert_eq!(of(false, true), (header.to_vec(), vec![]));
        assert_eq!(of(false, false), (header.to_vec(), vec![]));
    }
}
