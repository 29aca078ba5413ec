//! Entry points for fuzzing and for tests of hostile packets: both ends of a conversation, fed with anything.

use strongswan::clock::UnixTime;
use strongswan::credentials::{EapMethod, SecretKind, SharedSecret, Store};
use strongswan::crypto::{Rng, Secret};
use strongswan::identity::Identity;

use super::{Authenticator, Context, EapSettings, Reply, Supplicant, Turn};
use crate::config::AuthRound;
use crate::wire::Eap;

/// Always the same number.
struct Fixed;

impl Rng for Fixed {
    fn fill(&mut self, buf: &mut [u8]) {
        buf.fill(7);
    }
}

/// The packets in `data`, each with a length of two bytes in front.
fn packets(mut data: &[u8]) -> Vec<Eap> {
    let mut list = Vec::new();
    while let Some((len, rest)) = data.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len)).min(rest.len());
        let (packet, rest) = rest.split_at(len);
        // a length field that is wrong never gets as far as this
        let mut packet = packet.to_vec();
        if let (Ok(len), Some(field)) = (u16::try_from(packet.len()), packet.get_mut(2..4)) {
            field.copy_from_slice(&len.to_be_bytes());
        }
        list.extend(Eap::new(packet));
        data = rest;
    }
    list
}

pub(super) fn with_context(step: impl FnOnce(&mut Context<'_>)) {
    let credentials = Store::new();
    let owners = vec![Identity::parse("alice")];
    credentials.add_secret(SharedSecret::new(SecretKind::Eap, Secret::from(&b"secret"[..]), owners));
    let settings = EapSettings::for_tests();
    let (server, peer) = (Identity::parse("moon"), Identity::parse("alice"));
    let round = AuthRound::default();
    step(&mut Context {
        rng: &mut Fixed,
        wall: UnixTime(1_700_000_000),
        credentials: &credentials,
        settings: &settings,
        server: &server,
        peer: &peer,
        local: &round,
        remote: &round,
    });
}

fn method(kind: u8) -> EapMethod {
    match kind {
        0 => EapMethod::Dynamic,
        kind => EapMethod::Type { kind: kind.into(), vendor: 0 },
    }
}

/// A server that runs a method with a client that sends anything.
pub fn server(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    with_context(|context| {
        let mut authenticator = Authenticator::new(0);
        let mut reply = authenticator.start(context, method(*kind));
        for packet in packets(data) {
            reply = match reply {
                Reply::Request(_) => authenticator.process(context, &packet),
                Reply::Wait(_) => authenticator.answered(context, super::Answer::Elapsed),
                Reply::Identity(_) | Reply::Success(..) | Reply::Failure(_) => return,
            };
        }
    });
}

/// A client of a server that sends anything.
pub fn client(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    with_context(|context| {
        let mut supplicant = Supplicant::new(if *kind == 0 { EapMethod::Any } else { method(*kind) }, false);
        for packet in packets(data) {
            match supplicant.process(context, &packet) {
                Turn::Response(_) => {}
                Turn::Success(_) | Turn::Refused | Turn::Failed => return,
            }
        }
    });
}

/// What comes within TLS, and how TLS comes in packets. The first byte says which.
pub fn tls(data: &[u8]) {
    let Some((which, data)) = data.split_first() else { return };
    match which % 4 {
        0 => super::tunnel::fuzz_avp(data),
        1 => super::tunnel::fuzz_peap(data),
        _ => super::tls::fuzz_framing(which % 4 == 3, data),
    }
}
