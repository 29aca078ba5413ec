//! The userspace ESP data plane (RFC 4303, RFC 4301), sans I/O: SAs and policies, the anti-replay window, tunnel mode
//! encapsulation and decapsulation in the caller's buffers.
//!
//! [`plane::Plane`] is the whole: it takes an IP packet and returns an ESP packet with the path to send it on, or
//! takes an ESP packet and returns the IP packet in it. Nothing is allocated for a packet, and the current time and
//! randomness are arguments. Which device and which socket the packets come from and go to, and who negotiated the
//! keys, is the daemon's affair: this crate opens nothing, waits for nothing and starts no thread.
#![forbid(unsafe_code)]

pub mod ecn;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod ids;
pub mod inbound;
pub mod ip;
pub mod lifetime;
pub mod outbound;
pub mod packet;
pub mod plane;
pub mod replay;
pub mod sad;
pub mod selector;
pub mod spd;

/// Bytes that a buffer must have before a packet to encapsulate: ESP header and the longest IV.
pub const HEADROOM: usize = packet::ESP_HEADER_LEN + packet::MAX_IV_LEN;

/// Bytes that a buffer must have after a packet to encapsulate: padding, trailer and the longest ICV.
pub const TAILROOM: usize = packet::MAX_PAD_LEN + packet::TRAILER_LEN + packet::MAX_ICV_LEN;

#[cfg(test)]
mod testing;
