//! EAP-TLS (RFC 5216; RFC 9190 with TLS 1.3), and TLS as the other methods that are based on it need it.
//!
//! rustls speaks TLS; what the rest of the daemon knows about credentials decides on certificates. [`framing`] cuts TLS
//! into EAP packets, [`session`] is one TLS connection with a peer that is known to be who it should be, and [`channel`]
//! both of them together.

mod certificates;
mod channel;
mod client;
mod framing;
mod provider;
mod server;
mod session;
pub(super) mod settings;

pub(super) use channel::{Channel, Received};
pub(super) use client::create as client;
pub(super) use server::create as server;

use crate::wire::EapType;

/// What makes a method of those based on TLS.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flavor {
    /// The method.
    pub(super) kind: EapType,
    /// The label of the key with TLS 1.2.
    pub(super) label: &'static [u8],
}

/// EAP-TLS.
const TLS: Flavor = Flavor { kind: EapType::Tls, label: b"client EAP encryption" };

/// For fuzzing: packets, each with its length in front, at either end.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz_framing(client: bool, mut data: &[u8]) {
    let end = if client { framing::Framing::client } else { framing::Framing::server };
    let mut framing = end(TLS.kind, settings::FramingSettings::default());
    while let Some((len, rest)) = data.split_first() {
        let (packet, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        match framing.receive(packet) {
            // an answer of some length, so that acknowledgements have their turn
            Ok(framing::Frame::Message(message)) => drop(framing.send(message.repeat(40))),
            Ok(_) => {}
            Err(_) => return,
        }
        data = rest;
    }
}
