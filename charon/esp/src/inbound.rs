//! An inbound SA: makes IP packets of ESP packets, in place (RFC 4303 §3.4).
//!
//! The order is that of the RFC: sequence number against the window, integrity and decryption, window update, padding,
//! and then what is inside: it must be a whole IP packet that this SA's selectors allow (RFC 4301 §5.2, step 4).
//! Anything else is dropped.

use std::net::SocketAddr;
use std::ops::Range;

use strongswan::clock::MonoTime;
use strongswan::crypto::CryptoError;
use strongswan::crypto::cipher::Cipher;
use strongswan::sync::Mutex;
use thiserror::Error;

use crate::ecn::Copying;
use crate::ids::{Reqid, Spi};
use crate::ip::{Flow, Header, IpError, set_traffic_class};
use crate::lifetime::{Expiry, Lifetime, Meter, Usage};
use crate::outbound::Path;
use crate::packet::{self, ESP_HEADER_LEN, EspPacket, NO_NEXT_HEADER, TRAILER_LEN, associated_data};
use crate::replay::{ReplayError, ReplayWindow};
use crate::selector::Selectors;

/// Why a packet was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecapError {
    /// Shorter than an empty packet, or no whole number of cipher blocks.
    #[error("ESP packet has an impossible length")]
    Length,
    /// The hard lifetime was reached.
    #[error("the SA expired")]
    Expired,
    /// The sequence number is not acceptable.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The packet is not authentic, or the cipher failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// Padding is not 1, 2, 3, ... or longer than the packet.
    #[error("ESP packet has invalid padding")]
    Padding,
    /// The content is not what tunnel mode carries.
    #[error("ESP packet has unsupported next header {0}")]
    NextHeader(u8),
    /// The content is no well-formed IP packet.
    #[error(transparent)]
    Ip(#[from] IpError),
    /// The SA was not negotiated for this packet.
    #[error("packet does not match the SA's selectors")]
    Policy(Flow),
    /// Congestion was met on the way and the inner sender does not know ECN (RFC 6040 §4.2).
    #[error("packet met congestion and does not support ECN")]
    Congestion,
}

/// How a packet reached us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Sender of the outer packet; port 0 if it was not encapsulated in UDP.
    pub remote: SocketAddr,
    /// DSCP and ECN of the outer header, where the socket tells.
    pub traffic_class: Option<u8>,
}

/// An authentic packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decapsulated {
    /// Where in the buffer the IP packet is; `None` if there is none: a dummy packet (RFC 4303 §2.6).
    pub packet: Option<Range<usize>>,
    /// A limit that this packet reached.
    pub expiry: Option<Expiry>,
    /// The peer's new address or port, told once: a NAT between us changed its mapping.
    pub moved: Option<SocketAddr>,
}

/// What an inbound SA is made of.
#[derive(Debug)]
pub struct InboundParams {
    /// Its SPI, chosen by us.
    pub spi: Spi,
    /// The CHILD_SA's reqid.
    pub reqid: Reqid,
    /// The keyed cipher.
    pub cipher: Cipher,
    /// Extended sequence numbers were negotiated.
    pub esn: bool,
    /// Replay window in packets, 0 for no protection.
    pub replay_window: u32,
    /// What it may carry.
    pub selectors: Selectors,
    /// Where its packets come from, and whether inside UDP.
    pub path: Path,
    /// Traffic class handling.
    pub copying: Copying,
    /// Limits.
    pub lifetime: Lifetime,
}

/// An inbound SA. Any number of threads decapsulate at once; they meet in the window only.
#[derive(Debug)]
pub struct Inbound {
    spi: Spi,
    reqid: Reqid,
    cipher: Cipher,
    esn: bool,
    selectors: Selectors,
    copying: Copying,
    lifetime: Lifetime,
    meter: Meter,
    /// Never held across cryptography.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    window: ReplayWindow,
    path: Path,
    /// Sender of the last authentic packet.
    sender: SocketAddr,
}

impl Inbound {
    /// An SA that has received nothing yet.
    pub fn new(params: InboundParams) -> Self {
        let InboundParams { spi, reqid, cipher, esn, replay_window, selectors, path, copying, lifetime } = params;
        Self {
            spi,
            reqid,
            cipher,
            esn,
            selectors,
            copying,
            meter: Meter::new(lifetime.bytes, lifetime.packets),
            lifetime,
            state: Mutex::new(State { window: ReplayWindow::new(replay_window), path, sender: path.remote }),
        }
    }

    /// Its SPI.
    pub fn spi(&self) -> Spi {
        self.spi
    }

    /// The CHILD_SA's reqid.
    pub fn reqid(&self) -> Reqid {
        self.reqid
    }

    /// Where its packets come from.
    pub fn path(&self) -> Path {
        self.state.lock().path
    }

    /// Expects its packets from elsewhere from now on.
    pub fn set_path(&self, path: Path) {
        let mut state = self.state.lock();
        state.path = path;
        state.sender = path.remote;
    }

    /// What it has carried.
    pub fn usage(&self) -> Usage {
        self.meter.usage()
    }

    /// Whether its hard lifetime was reached.
    pub fn is_expired(&self) -> bool {
        self.meter.is_expired()
    }

    pub(crate) fn lifetime(&self) -> &Lifetime {
        &self.lifetime
    }

    pub(crate) fn expire(&self, expiry: Expiry) -> Option<Expiry> {
        self.meter.expire(expiry)
    }

    /// Decapsulates the ESP packet in `esp`, which begins with its SPI.
    ///
    /// # Errors
    /// If the packet must be dropped. What `esp` then holds is unspecified.
    pub fn decap(&self, esp: &mut [u8], arrival: &Arrival, now: MonoTime) -> Result<Decapsulated, DecapError> {
        if self.meter.is_expired() {
            return Err(DecapError::Expired);
        }
        let low = EspPacket::new(esp).ok_or(DecapError::Length)?.sequence();
        let (head, rest) = esp.split_first_chunk_mut::<ESP_HEADER_LEN>().ok_or(DecapError::Length)?;
        let (iv, rest) = rest.split_at_mut_checked(self.cipher.iv_len()).ok_or(DecapError::Length)?;
        let text_len = rest.len().checked_sub(self.cipher.icv_len()).ok_or(DecapError::Length)?;
        if text_len < TRAILER_LEN || text_len.checked_rem(self.cipher.block_len()).unwrap_or(0) != 0 {
            return Err(DecapError::Length);
        }
        let (text, icv) = rest.split_at_mut_checked(text_len).ok_or(DecapError::Length)?;

        let sequence = self.look_up(low)?;
        let (aad, mac_tail) = associated_data(head, sequence, self.esn, self.cipher.is_aead());
        self.cipher.open(aad.as_ref(), iv, text, mac_tail.as_ref(), icv)?;
        let may_have_moved = self.mark(sequence, arrival.remote)?;

        let offset = ESP_HEADER_LEN.saturating_add(iv.len());
        let unwrapped = self.unwrap_text(text, arrival, now)?;
        let moved = if may_have_moved { self.learn(arrival.remote) } else { None };
        let Some((len, expiry)) = unwrapped else {
            return Ok(Decapsulated { packet: None, expiry: self.meter.count(0, now), moved });
        };
        Ok(Decapsulated { packet: Some(offset..offset.saturating_add(len)), expiry, moved })
    }

    /// The full sequence number of a packet, if it may be new.
    fn look_up(&self, low: u32) -> Result<u64, ReplayError> {
        let state = self.state.lock();
        let sequence = if self.esn { state.window.extend(low)? } else { low.into() };
        state.window.check(sequence)?;
        Ok(sequence)
    }

    /// Records an authentic packet. Returns whether it came from elsewhere than the packets before it.
    fn mark(&self, sequence: u64, remote: SocketAddr) -> Result<bool, ReplayError> {
        let mut state = self.state.lock();
        let newest = sequence > state.window.top();
        state.window.mark(sequence)?;
        // Late packets may still come from the old mapping.
        Ok(state.path.udp && newest && state.sender != remote)
    }

    /// Records the sender of an acceptable packet; returns it if that is news. Not done for packets that get dropped,
    /// which tell nobody.
    fn learn(&self, remote: SocketAddr) -> Option<SocketAddr> {
        let mut state = self.state.lock();
        let news = state.sender != remote;
        state.sender = remote;
        news.then_some(remote)
    }

    /// Checks and counts the IP packet at the start of the decrypted `text`: its length, or `None` for a dummy.
    fn unwrap_text(
        &self,
        text: &mut [u8],
        arrival: &Arrival,
        now: MonoTime,
    ) -> Result<Option<(usize, Option<Expiry>)>, DecapError> {
        let (rest, &mut [pad_len, next_header]) =
            text.split_last_chunk_mut::<TRAILER_LEN>().ok_or(DecapError::Length)?;
        let payload_len = rest.len().checked_sub(pad_len.into()).ok_or(DecapError::Padding)?;
        let (payload, padding) = rest.split_at_mut_checked(payload_len).ok_or(DecapError::Padding)?;
        // RFC 4303 §2.4: the receiver SHOULD inspect the padding.
        if padding.iter().zip(1..).any(|(byte, expected): (&u8, u8)| *byte != expected) {
            return Err(DecapError::Padding);
        }
        if next_header == NO_NEXT_HEADER {
            return Ok(None);
        }
        // What follows the packet's own length is TFC padding.
        let header = Header::parse(payload)?;
        if next_header != packet::next_header(header.family) {
            return Err(DecapError::NextHeader(next_header));
        }
        if !self.selectors.accept_inbound(&header.flow) {
            return Err(DecapError::Policy(header.flow));
        }
        if let Some(outer) = arrival.traffic_class {
            let class = self.copying.inner(header.traffic_class, outer).ok_or(DecapError::Congestion)?;
            if class != header.traffic_class {
                set_traffic_class(payload, class);
            }
        }
        Ok(Some((header.total_len, self.meter.count(header.total_len, now))))
    }
}

#[cfg(test)]
mod tests;
