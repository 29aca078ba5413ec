//! EAP-TTLS (RFC 5281) and EAP-PEAP version 0 (draft-kamath-pppext-peapv0): the server has a certificate, and the client
//! proves itself with another EAP method within TLS.
//!
//! The two differ in how packets look within TLS ([`avp`], [`peap`]), in who begins there, and in whether the result is
//! said there too. A method within is like any other, but no tunnel: nesting them proves nothing more.

mod avp;
mod client;
mod peap;
mod server;

pub(super) use client::{peap as peap_client, ttls as ttls_client};
pub(super) use server::{peap as peap_server, ttls as ttls_server};

use super::method::Context;
use super::settings::EapSettings;
use super::tls::Flavor;
use super::tls::settings::TunnelSettings;
use crate::wire::{Eap, EapCode, EapType};
use strongswan::identity::Identity;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ttls,
    Peap,
}

/// What there is within TLS.
#[derive(Debug, PartialEq, Eq)]
enum Inside {
    /// A packet of the method within.
    Packet(Eap),
    /// The server's verdict, or the client's answer to it.
    Result { success: bool },
}

impl Kind {
    fn flavor(self) -> Flavor {
        match self {
            Self::Ttls => Flavor { kind: EapType::Ttls, label: b"ttls keying material" },
            // RFC 9427 §2.3: that of EAP-TLS
            Self::Peap => Flavor { kind: EapType::Peap, label: b"client EAP encryption" },
        }
    }

    fn settings(self, settings: &EapSettings) -> &TunnelSettings {
        match self {
            Self::Ttls => &settings.ttls,
            Self::Peap => &settings.peap,
        }
    }

    fn encode(self, packet: &Eap) -> Vec<u8> {
        match self {
            Self::Ttls => avp::encode(packet.as_bytes()),
            Self::Peap => peap::encode(packet),
        }
    }

    /// What came through TLS. PEAP leaves out the header, which is made up again with `code` and `identifier`.
    fn decode(self, data: &[u8], code: EapCode, identifier: u8) -> Option<Inside> {
        match self {
            Self::Ttls => avp::decode(data).ok().and_then(Eap::new).map(Inside::Packet),
            Self::Peap => peap::decode(data, code, identifier),
        }
    }
}

/// Settings for what runs within.
fn within(settings: &EapSettings) -> EapSettings {
    let mut settings = settings.clone();
    settings.disabled.extend(["eap-ttls", "eap-peap"].map(str::to_owned));
    settings
}

/// The surroundings of what runs within: the same, but for settings and who the client says it is.
fn inner<'a>(context: &'a mut Context<'_>, settings: &'a EapSettings, peer: &'a Identity) -> Context<'a> {
    Context {
        rng: &mut *context.rng,
        wall: context.wall,
        credentials: context.credentials,
        settings,
        server: context.server,
        peer,
        local: context.local,
        remote: context.remote,
    }
}

/// For fuzzing: what is made of attributes can be written and read again.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz_avp(data: &[u8]) {
    if let Ok(packet) = avp::decode(data) {
        assert_eq!(avp::decode(&avp::encode(&packet)), Ok(packet));
    }
}

/// For fuzzing: a packet that is found is written as it came.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz_peap(data: &[u8]) {
    for code in [EapCode::Request, EapCode::Response] {
        if let Some(Inside::Packet(packet)) = peap::decode(data, code, 7) {
            assert_eq!(peap::encode(&packet), data);
        }
    }
}
