//! What somebody in between can do with genuine messages: nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ike::config::{AuthClass, AuthRound, IkeConfig};
use ike::wire::{ExchangeType, Header, HeaderFlags, MessageId, Notify};
use ike::{IkeSaState, Input};
use strongswan::crypto::KeyExchangeMethod;
use strongswan::identity::Identity;

use crate::sim::config::ike_proposals;
use crate::sim::net::{Datagram, Fate};
use crate::sim::{A, B, Sim};

/// An empty INFORMATIONAL request of a host on its first IKE_SA that has not been delivered.
fn request(sim: &mut Sim, host: usize, id: u32) -> Datagram {
    let flags = if host == A { HeaderFlags::INITIATOR } else { HeaderFlags::empty() };
    let template = sim.sent[if host == A { 2 } else { 3 }].clone();
    let header = template.header().unwrap();
    let header = Header { exchange: ExchangeType::Informational, flags, message_id: MessageId(id), ..header };
    sim.forge(template, header, &[])
}

#[test]
fn without_mobike_or_nat_nobody_moves() {
    // Ports are changed in IKE_AUTH, which has message ID 1. No other message that has it moves anybody.
    for (from, to, ids) in [(B, A, 0..3), (A, B, 2..5)] {
        let mut sim = Sim::pair();
        sim.establish();
        let before = sim.hosts[to].sas[0].remote();
        for id in ids {
            let elsewhere: SocketAddr = "198.51.100.66:4500".parse().unwrap();
            let request = request(&mut sim, from, id);
            let answers = sim.sent.len();
            sim.deliver(Datagram { from: elsewhere, ..request });
            assert_eq!(sim.sent.len(), answers + 1, "{id} is answered");
            assert_eq!(sim.hosts[to].sas[0].remote(), before, "{id}");
        }
    }
}

#[test]
fn an_old_request_does_not_keep_a_dead_peer_alive() {
    let mut sim = Sim::pair();
    sim.configure_host(A, |peer| peer.dpd_delay = Duration::from_secs(30));
    sim.establish();
    let last = request(&mut sim, B, 0);
    sim.deliver(last.clone());
    sim.net.script(|_| Fate::Drop);
    for _ in 0..30 {
        sim.run_for(Duration::from_secs(10));
        sim.deliver(last.clone());
    }
    assert!(sim.hosts[A].sas.is_empty(), "{}", sim.describe(A));
}

#[test]
fn an_old_request_is_not_answered_for_ever() {
    let mut sim = Sim::pair();
    sim.establish();
    let last = sim.sent[2].clone();
    let before = sim.sent.len();
    for _ in 0..2000 {
        sim.deliver(last.clone());
        sim.net.clear();
    }
    let answers = sim.sent.len() - before;
    assert!(answers > 400 && answers < 600, "{answers}");
    // but the next one is
    let next = request(&mut sim, A, 2);
    let before = sim.sent.len();
    sim.deliver(next);
    assert_eq!(sim.sent.len(), before + 1);
}

#[test]
fn authentication_comes_to_an_end() {
    for endless in [A, B] {
        let mut sim = Sim::pair();
        let other = A + B - endless;
        let own = if endless == A { "moon.strongswan.org" } else { "sun.strongswan.org" };
        let round = AuthRound { class: AuthClass::Psk, id: Some(Identity::parse(own)), ..AuthRound::default() };
        sim.configure_host(endless, |peer| peer.local = vec![round; 100]);
        sim.initiate(A);
        sim.run_for(Duration::from_secs(5));
        assert!(sim.hosts[other].sas.is_empty(), "{}", sim.describe(other));
        let successes = sim.trace.count(&format!("authentication of '{own}' with pre-shared key successful"));
        assert!(successes < 20, "{successes}");
        sim.assert(sim.trace.contains("too many authentication rounds"), "log");
    }
}

#[test]
fn a_method_we_cannot_carry_out_does_not_end_rekeying() {
    let mut sim = Sim::pair();
    sim.configure_host(A, |peer| {
        let mut ike = IkeConfig::clone(&peer.ike);
        ike.proposals = ike_proposals("aes128gcm16-prfsha256-x25519-x448");
        peer.ike = Arc::new(ike);
    });
    sim.establish();
    let before = sim.sent.len();
    sim.input(A, Input::RekeyIke);
    sim.net.clear();
    let header = sim.sent[before].header().unwrap().reply();
    let response = sim.sent[3].clone();
    sim.deliver_instead(response, header, &[Notify::invalid_ke(KeyExchangeMethod::Curve448).into()]);
    sim.assert(sim.trace.contains("configured key exchange method CURVE_448 not supported"), "log");
    assert_eq!(sim.hosts[A].sas[0].state(), IkeSaState::Established);
    let retry = sim.trace.count("trying again in");
    assert_eq!(retry, 1);
}
