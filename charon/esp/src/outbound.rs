//! An outbound SA: makes ESP packets of IP packets, in place (RFC 4303 §3.3).
//!
//! ```text
//!            packet.start                packet.end
//!                 v                           v
//!  | headroom     | IP packet                 |  tailroom                      |
//!       | SPI seq | IV  ...
//!       |   8     |iv_len| payload | TFC pad | pad | pad len | next hdr | ICV |
//!       ^ range.start                                                  range.end ^
//! ```

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use strongswan::clock::MonoTime;
use strongswan::crypto::CryptoError;
use strongswan::crypto::Rng;
use strongswan::crypto::cipher::Cipher;
use strongswan::host::Family;
use strongswan::sync::RwLock;
use thiserror::Error;

use crate::ecn::Copying;
use crate::ids::{Reqid, SaKey, Spi};
use crate::ip::Header;
use crate::lifetime::{Expiry, Lifetime, Limit, Meter, Usage};
use crate::packet::{self, ESP_HEADER_LEN, MAX_IV_LEN, TRAILER_LEN, associated_data};

/// Where the ESP packets of an SA go, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// Our address, and port if encapsulated.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// Inside UDP (RFC 3948), else directly over IP.
    pub udp: bool,
}

/// Why a packet was not encapsulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EncapError {
    /// The hard lifetime was reached.
    #[error("the SA expired")]
    Expired,
    /// A further packet would repeat a sequence number (RFC 4303 §3.3.3). With AEADs it would repeat a nonce.
    #[error("sequence numbers cycled")]
    SequenceExhausted,
    /// The buffer leaves too little room before or after the packet: a mistake of the caller.
    #[error("no room for ESP header or trailer")]
    NoRoom,
    /// The cipher failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// A packet ready to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encapsulated {
    /// Where in the buffer it is.
    pub range: Range<usize>,
    /// DSCP and ECN for the outer header.
    pub traffic_class: u8,
    /// A limit that this packet reached.
    pub expiry: Option<Expiry>,
}

/// What an outbound SA is made of.
#[derive(Debug)]
pub struct OutboundParams {
    /// Its SPI, chosen by the peer.
    pub spi: Spi,
    /// Policies with this reqid use it.
    pub reqid: Reqid,
    /// The keyed cipher.
    pub cipher: Cipher,
    /// Extended sequence numbers were negotiated.
    pub esn: bool,
    /// Where its packets go.
    pub path: Path,
    /// Traffic class handling.
    pub copying: Copying,
    /// Inner packets are padded to this length (RFC 4303 §2.7); 0 for none.
    pub tfc: u16,
    /// Limits.
    pub lifetime: Lifetime,
}

/// An outbound SA. Any number of threads encapsulate at once.
#[derive(Debug)]
pub struct Outbound {
    key: SaKey,
    spi: Spi,
    reqid: Reqid,
    cipher: Cipher,
    iv: IvSource,
    esn: bool,
    copying: Copying,
    tfc: usize,
    lifetime: Lifetime,
    /// Last sequence number used.
    sequence: AtomicU64,
    meter: Meter,
    /// Held only while it is copied.
    path: RwLock<Path>,
}

/// How initialization vectors are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IvSource {
    /// The 64-bit sequence number: unique under one key, all that counter modes need (RFC 4106 §3.1, RFC 3686 §3.1).
    Counter,
    /// Unpredictable, as CBC needs it (RFC 3602 §3).
    Random,
}

impl Outbound {
    /// An SA that has sent nothing yet.
    pub fn new(params: OutboundParams) -> Self {
        let OutboundParams { spi, reqid, cipher, esn, path, copying, tfc, mut lifetime } = params;
        if !esn {
            // Ask for a replacement in time, whatever the configuration says.
            const LAST: u64 = 0xffff_ffff;
            const SPARE: u64 = 1 << 26;
            let packets = lifetime.packets;
            lifetime.packets = Limit {
                soft: Some(packets.soft.unwrap_or(LAST).min(LAST - SPARE)),
                hard: Some(packets.hard.unwrap_or(LAST).min(LAST)),
            };
        }
        let iv = if cipher.is_aead() || cipher.block_len() == 1 { IvSource::Counter } else { IvSource::Random };
        Self {
            key: SaKey::Outbound(spi, path.remote.ip()),
            spi,
            reqid,
            iv,
            cipher,
            esn,
            copying,
            tfc: tfc.into(),
            meter: Meter::new(lifetime.bytes, lifetime.packets),
            lifetime,
            sequence: AtomicU64::new(0),
            path: RwLock::new(path),
        }
    }

    /// What identifies it, also after [`set_path`](Self::set_path).
    pub fn key(&self) -> SaKey {
        self.key
    }

    /// Its SPI.
    pub fn spi(&self) -> Spi {
        self.spi
    }

    /// Policies with this reqid use it.
    pub fn reqid(&self) -> Reqid {
        self.reqid
    }

    /// Where its packets go.
    pub fn path(&self) -> Path {
        *self.path.read()
    }

    /// Sends its packets elsewhere from now on; keys and sequence numbers go on.
    pub fn set_path(&self, path: Path) {
        *self.path.write() = path;
    }

    /// What it has carried.
    pub fn usage(&self) -> Usage {
        self.meter.usage()
    }

    /// Whether its hard lifetime was reached.
    pub fn is_expired(&self) -> bool {
        self.meter.is_expired()
    }

    /// As if the SA had sent that many packets.
    #[cfg(test)]
    pub(crate) fn skip_to(&self, sequence: u64) {
        self.sequence.store(sequence, Ordering::Relaxed);
    }

    pub(crate) fn lifetime(&self) -> &Lifetime {
        &self.lifetime
    }

    pub(crate) fn expire(&self, expiry: Expiry) -> Option<Expiry> {
        self.meter.expire(expiry)
    }

    /// Encapsulates the IP packet at `packet` in `buf`, whose header is `header`.
    ///
    /// The buffer must leave [`HEADROOM`](crate::HEADROOM) bytes before and [`TAILROOM`](crate::TAILROOM) after it, and
    /// with TFC padding the bytes up to that length.
    ///
    /// # Errors
    /// If the SA ended or the buffer is too small.
    pub fn encap(
        &self,
        buf: &mut [u8],
        packet: Range<usize>,
        header: &Header,
        now: MonoTime,
        rng: &mut impl Rng,
    ) -> Result<Encapsulated, EncapError> {
        if self.meter.is_expired() {
            return Err(EncapError::Expired);
        }
        let layout = self.layout(buf.len(), &packet).ok_or(EncapError::NoRoom)?;
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let [.., s3, s2, s1, s0] = sequence.to_be_bytes();
        if !self.esn && sequence > u64::from(u32::MAX) {
            return Err(EncapError::SequenceExhausted);
        }

        let esp = buf.get_mut(layout.range.clone()).ok_or(EncapError::NoRoom)?;
        let (head, rest) = esp.split_first_chunk_mut::<ESP_HEADER_LEN>().ok_or(EncapError::NoRoom)?;
        let [i3, i2, i1, i0] = self.spi.get().to_be_bytes();
        *head = [i3, i2, i1, i0, s3, s2, s1, s0];
        let (iv, rest) = rest.split_at_mut_checked(self.cipher.iv_len()).ok_or(EncapError::NoRoom)?;
        match self.iv {
            IvSource::Counter => iv.iter_mut().rev().zip(sequence.to_le_bytes()).for_each(|(to, from)| *to = from),
            IvSource::Random if iv.is_empty() => {}
            IvSource::Random => rng.fill(iv),
        }
        let (text, icv) = rest.split_at_mut_checked(layout.text_len).ok_or(EncapError::NoRoom)?;
        let (_, trailer) = text.split_at_mut_checked(packet.len()).ok_or(EncapError::NoRoom)?;
        write_trailer(trailer, layout.pad_len, header.family);

        let (aad, mac_tail) = associated_data(head, sequence, self.esn, self.cipher.is_aead());
        self.cipher.seal(aad.as_ref(), iv, text, mac_tail.as_ref(), icv)?;

        Ok(Encapsulated {
            range: layout.range,
            traffic_class: self.copying.outer(header.traffic_class),
            expiry: self.meter.count(packet.len(), now),
        })
    }

    fn layout(&self, room: usize, packet: &Range<usize>) -> Option<Layout> {
        let start = packet.start.checked_sub(ESP_HEADER_LEN.checked_add(self.cipher.iv_len())?)?;
        // RFC 4303 §2.4: padding fills the cipher's blocks and right-aligns the trailer to 4 bytes.
        let align = self.cipher.block_len().max(4);
        let payload = packet.len().max(self.tfc).checked_add(TRAILER_LEN)?;
        let text_len = payload.checked_next_multiple_of(align)?;
        let end = packet.start.checked_add(text_len)?.checked_add(self.cipher.icv_len())?;
        let pad_len = u8::try_from(text_len - payload).ok()?;
        (end <= room && packet.start <= packet.end).then_some(Layout { range: start..end, text_len, pad_len })
    }
}

struct Layout {
    range: Range<usize>,
    /// Length of what gets encrypted.
    text_len: usize,
    pad_len: u8,
}

/// Fills what follows the inner packet: TFC padding, padding, its length, next header.
fn write_trailer(trailer: &mut [u8], pad_len: u8, family: Family) {
    let Some((rest, [len, next_header])) = trailer.split_last_chunk_mut::<TRAILER_LEN>() else { return };
    (*len, *next_header) = (pad_len, packet::next_header(family));
    let tfc_len = rest.len().saturating_sub(pad_len.into());
    let (tfc, padding) = rest.split_at_mut(tfc_len);
    tfc.fill(0);
    // RFC 4303 §2.4: 1, 2, 3, ...
    padding.iter_mut().zip(1..).for_each(|(byte, value)| *byte = value);
}

const _: () = assert!(crate::HEADROOM >= ESP_HEADER_LEN + MAX_IV_LEN);
