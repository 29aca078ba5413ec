//! Clients that gateways send elsewhere (RFC 5685): in IKE_SA_INIT, in IKE_AUTH and later, and what they do not believe.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ike::config::PeerConfig;
use ike::wire::{
    ExchangeType, Gateway, Header, HeaderFlags, Message, MessageId, Notify, NotifyType, Payload, PayloadType, Received,
};
use ike::{Event, IkeSaState, Input};
use strongswan::credentials::{SecretKind, SharedSecret};
use strongswan::crypto::Secret;
use strongswan::identity::Identity;

use crate::sim::config::{End, MOON, SUN, connection};
use crate::sim::host::Host;
use crate::sim::net::{Conditions, Datagram};
use crate::sim::{A, B, Sim, seed_of_environment};

/// The other gateway: another host with sun's identity and network.
const C: usize = 2;
const MARS: End = End { address: "192.0.2.3", ..SUN };

/// Moon is the client of sun and of mars.
fn trio(seed: u64, traced: bool) -> Sim {
    let mut sim = Sim::with_seed(seed, traced);
    let rng = sim.rng.fork();
    let mut mars = Host::new("mars", MARS.address, 0xcccc_0001, rng, sim.trace.clone());
    mars.connections.0.push(Arc::new(connection(&MARS, &MOON)));
    mars.credentials.add_secret(SharedSecret::new(
        SecretKind::Ike,
        Secret::from(&b"a secret between moon and sun"[..]),
        vec![Identity::parse(MOON.id), Identity::parse(SUN.id)],
    ));
    sim.hosts.push(mars);
    sim.hosts[A].names.push(("mars.example.org", MARS.address.parse().unwrap()));
    sim
}

fn sim() -> Sim {
    trio(1, true)
}

fn gateway(text: &str) -> Gateway {
    Gateway::parse(text).unwrap()
}

/// A has one IKE_SA with one CHILD_SA, at C; B has none.
#[track_caller]
fn assert_moved(sim: &Sim) {
    let ikes = sim.hosts[A].snapshots();
    let there = matches!(ikes.as_slice(), [ike] if ike.state == IkeSaState::Established
        && ike.remote.ip() == MARS.address.parse::<IpAddr>().unwrap() && ike.children.len() == 1);
    let arrived = sim.hosts[C].snapshots();
    let arrived =
        matches!(arrived.as_slice(), [ike] if ike.state == IkeSaState::Established && ike.children.len() == 1);
    if !there || !arrived || !sim.hosts[B].sas.is_empty() {
        sim.fail("not moved");
    }
    assert!(sim.hosts[B].kernel.is_empty(), "{}", sim.describe(B));
    assert_eq!(sim.hosts[A].kernel.sas().len(), 2);
    assert_eq!(sim.hosts[A].kernel.reserved_spis(), 0);
    assert!(sim.hosts[A].kernel.violations().is_empty());
}

/// Stops when the `index`th message has been sent, and takes it off the wire.
fn intercept(sim: &mut Sim, index: usize) -> Datagram {
    assert!(sim.run_until(Duration::from_secs(1), |sim| sim.sent.len() == index + 1));
    sim.net.clear();
    sim.sent[index].clone()
}

/// Answers an IKE_SA_INIT request of A's with REDIRECT; `nonce` changes the nonce in it.
fn redirect_init(sim: &mut Sim, request: &Datagram, to: &Gateway, nonce: impl FnOnce(&mut Vec<u8>)) {
    let Ok(Received::Plain(message)) = ike::wire::parse(&request.data) else { panic!("not IKE_SA_INIT") };
    let mut bytes = message.nonce().unwrap().as_bytes().to_vec();
    nonce(&mut bytes);
    let mut answer = Message::new(message.header.reply());
    answer.push(Notify::redirect(to, &bytes));
    let data = answer.encode_plain().unwrap();
    sim.deliver(Datagram { from: request.to, to: request.from, data });
}

fn init(datagram: &Datagram) -> Message {
    let Ok(Received::Plain(message)) = ike::wire::parse(&datagram.data) else { panic!("not IKE_SA_INIT") };
    message
}

#[test]
fn before_anything_else() {
    for to in ["192.0.2.3", "mars.example.org"] {
        let mut sim = sim();
        sim.initiate(A);
        let request = intercept(&mut sim, 0);
        assert!(init(&request).has_notify(NotifyType::RedirectSupported));
        let spi = sim.hosts[A].sas[0].id().initiator;
        redirect_init(&mut sim, &request, &gateway(to), |_| {});
        sim.settle();
        assert_moved(&sim);
        sim.assert(sim.trace.contains(&format!("redirected to {to}")), "log");
        assert_ne!(sim.hosts[A].sas[0].id().initiator, spi, "a new SPI");
        let second = init(&sim.sent[1]);
        let from = second.notify(NotifyType::RedirectedFrom).and_then(Notify::gateway).unwrap();
        assert_eq!(from.0, gateway("192.0.2.2"));
        assert!(!second.has_notify(NotifyType::RedirectSupported));
        assert_ne!(second.nonce().unwrap(), init(&request).nonce().unwrap(), "nothing is used twice");
        sim.assert(sim.trace.contains("client got redirected from 192.0.2.2"), "the new gateway knows");
    }
}

#[test]
fn who_does_not_know_the_nonce_is_not_the_gateway() {
    let spoil: [fn(&mut Vec<u8>); 4] =
        [|nonce| nonce[5] ^= 1, Vec::clear, |nonce| nonce.push(0), |nonce| nonce.truncate(31)];
    for spoil in spoil {
        let mut sim = sim();
        sim.initiate(A);
        let request = intercept(&mut sim, 0);
        redirect_init(&mut sim, &request, &gateway("192.0.2.3"), spoil);
        sim.assert(sim.trace.contains("ignore response with invalid REDIRECT notify"), "log");
        // The real gateway answers the repeated request.
        sim.settle();
        assert!(sim.hosts[C].sas.is_empty());
        assert_eq!(sim.hosts[A].sas[0].state(), IkeSaState::Established);
    }
}

#[test]
fn without_follow_redirects_nothing_is_announced_or_followed() {
    let mut sim = sim();
    sim.hosts[A].settings.follow_redirects = false;
    sim.initiate(A);
    let request = intercept(&mut sim, 0);
    assert!(!init(&request).has_notify(NotifyType::RedirectSupported));
    redirect_init(&mut sim, &request, &gateway("192.0.2.3"), |_| {});
    sim.settle();
    assert_eq!(sim.hosts[A].sas[0].state(), IkeSaState::Established);
    sim.input(B, Input::Redirect(gateway("192.0.2.3")));
    sim.assert(sim.trace.contains("the client does not support it"), "log");
    assert!(sim.hosts[B].snapshots()[0].tasks_queued.is_empty());
    assert!(sim.hosts[C].sas.is_empty());
}

#[test]
fn circles_are_left() {
    let mut sim = sim();
    sim.initiate(A);
    for round in 0..6 {
        let request = intercept(&mut sim, round);
        let here = request.to.ip().to_string();
        let there = if here == SUN.address { MARS.address } else { SUN.address };
        redirect_init(&mut sim, &request, &gateway(there), |_| {});
    }
    sim.assert(sim.trace.contains("only 5 redirects are allowed within 300 seconds"), "log");
    assert!(sim.hosts[A].sas.is_empty(), "{}", sim.describe(A));
    sim.settle();
    assert_eq!(sim.sent.len(), 6);
}

#[test]
fn redirects_are_forgotten_in_time() {
    let mut sim = sim();
    sim.initiate(A);
    sim.settle();
    for round in 0..12 {
        let (here, there, host) = if round % 2 == 0 { (B, MARS.address, C) } else { (C, SUN.address, B) };
        sim.input(here, Input::Redirect(gateway(there)));
        sim.run_for(Duration::from_secs(61));
        assert_eq!(sim.hosts[host].sas.len(), 1, "round {round}");
        assert_eq!(sim.hosts[here].sas.len(), 0, "round {round}");
    }
}

#[test]
fn a_gateway_that_does_not_answer_is_given_up_for_the_configured_one() {
    let mut sim = sim();
    sim.configure_host(A, |peer| peer.keyingtries = 2);
    sim.initiate(A);
    let request = intercept(&mut sim, 0);
    redirect_init(&mut sim, &request, &gateway("192.0.2.99"), |_| {});
    sim.run_for(Duration::from_secs(200));
    assert_eq!(sim.hosts[A].sas[0].state(), IkeSaState::Established);
    assert_eq!(sim.hosts[A].sas[0].remote().ip().to_string(), SUN.address);
}

#[test]
fn a_name_nobody_knows() {
    let mut sim = sim();
    sim.initiate(A);
    let request = intercept(&mut sim, 0);
    redirect_init(&mut sim, &request, &gateway("nobody.example.org"), |_| {});
    sim.assert(sim.trace.contains("unable to resolve nobody.example.org, initiate aborted"), "log");
    assert!(sim.hosts[A].sas.is_empty());
}

/// Stops the handshake at the final response and delivers it with REDIRECT and without CHILD_SA.
fn redirect_auth(sim: &mut Sim, to: &Gateway, change: impl FnOnce(&mut Vec<Payload>)) {
    sim.initiate(A);
    let response = intercept(sim, 3);
    let mut payloads = sim.payloads(&response);
    payloads.retain(|payload| matches!(payload.kind(), PayloadType::IdR | PayloadType::Auth));
    payloads.push(Payload::Notify(Notify::redirect(to, &[])));
    change(&mut payloads);
    let header = response.header().unwrap();
    sim.deliver_instead(response, header, &payloads);
}

#[test]
fn with_the_last_message_of_authentication() {
    let mut sim = sim();
    redirect_auth(&mut sim, &gateway("192.0.2.3"), |_| {});
    assert_eq!(sim.events(A, |event| matches!(event, Event::IkeRedirect { .. })), 1);
    sim.settle();
    assert_moved(&sim);
    assert_eq!(sim.events(A, |event| matches!(event, Event::ChildFailed { .. })), 0);
}

#[test]
fn only_the_authenticated_gateway_redirects() {
    let mut sim = sim();
    redirect_auth(&mut sim, &gateway("192.0.2.3"), |payloads| {
        for payload in payloads {
            if let Payload::Auth(auth) = payload {
                auth.data[0] ^= 1;
            }
        }
    });
    assert!(sim.hosts[A].sas.is_empty());
    sim.settle();
    assert!(sim.hosts[C].sas.is_empty());
}

#[test]
fn later() {
    for to in ["192.0.2.3", "mars.example.org"] {
        let mut sim = sim();
        sim.initiate(A);
        sim.settle();
        sim.input(B, Input::Redirect(gateway(to)));
        sim.assert(sim.trace.contains(&format!("redirecting peer to {to}")), "log");
        // a gateway sends a client away once
        sim.input(B, Input::Redirect(gateway("192.0.2.99")));
        sim.settle();
        assert_moved(&sim);
        sim.run_for(Duration::from_secs(60));
        assert_moved(&sim);
        assert_eq!(sim.trace.count("redirecting peer"), 1);
    }
}

#[test]
fn a_client_that_stays_is_thrown_out() {
    let mut sim = sim();
    sim.initiate(A);
    sim.settle();
    // The other gateway does not answer.
    sim.input(B, Input::Redirect(gateway("192.0.2.99")));
    sim.run_for(Duration::from_secs(25));
    assert_eq!(sim.hosts[B].sas.len(), 1);
    sim.run_for(Duration::from_secs(10));
    assert!(sim.hosts[B].sas.is_empty());
    sim.run_for(Duration::from_secs(300));
    assert!(sim.hosts[A].sas.is_empty(), "{}", sim.describe(A));
}

#[test]
fn with_several_children_and_one_that_waits() {
    let mut sim = sim();
    for (host, local, remote) in [(A, &MOON, &SUN), (B, &SUN, &MOON), (C, &MARS, &MOON)] {
        sim.configure_host(host, |peer: &mut PeerConfig| {
            for (name, net) in [("dmz", "10.9.0.0/24"), ("lab", "10.9.1.0/24")] {
                let mut child = crate::sim::config::child(name, local, remote);
                let ts = vec![strongswan::selectors::TrafficSelector::parse(net).unwrap()];
                if host == A {
                    child.remote_ts = ts
                } else {
                    child.local_ts = ts
                }
                peer.children.push(Arc::new(child));
            }
        });
    }
    sim.initiate(A);
    sim.settle();
    sim.initiate_child(A, "dmz");
    sim.settle();
    sim.input(B, Input::Redirect(gateway("192.0.2.3")));
    sim.initiate_child(A, "lab");
    sim.settle();
    sim.settle();
    assert_eq!(sim.hosts[C].snapshots()[0].children.len(), 3, "{}", sim.describe(C));
    assert_eq!(sim.hosts[A].sas.len(), 1);
    assert!(sim.hosts[B].sas.is_empty());
}

#[test]
fn while_the_ike_sa_is_being_rekeyed() {
    for rekeyed_by in [A, B] {
        let mut sim = sim();
        sim.initiate(A);
        sim.settle();
        sim.input(rekeyed_by, Input::RekeyIke);
        sim.input(B, Input::Redirect(gateway("192.0.2.3")));
        sim.settle();
        assert_moved(&sim);
    }
}

#[test]
fn gateways_are_not_redirected_by_their_clients() {
    let mut sim = sim();
    sim.initiate(A);
    sim.settle();
    sim.input(A, Input::Redirect(gateway("192.0.2.3")));
    sim.assert(sim.trace.contains("unable to redirect IKE_SA gw[1] as its initiator"), "log");
    // Not even if they try.
    let header = Header {
        exchange: ExchangeType::Informational,
        flags: HeaderFlags::INITIATOR,
        message_id: MessageId(2),
        ..sim.sent[2].header().unwrap()
    };
    let request = sim.sent[2].clone();
    let redirect = Notify::redirect(&gateway("192.0.2.3"), &[]).into();
    assert_eq!(sim.deliver_instead(request, header, &[redirect]).len(), 1);
    sim.assert(sim.trace.contains("ignoring REDIRECT, which we did not announce"), "log");
    sim.settle();
    assert!(sim.hosts[C].sas.is_empty());
}

#[test]
fn an_ike_sa_on_its_way_is_not_used_again() {
    let mut sim = sim();
    sim.initiate(A);
    sim.settle();
    sim.input(B, Input::Redirect(gateway("192.0.2.99")));
    sim.run_for(Duration::from_secs(1));
    assert!(sim.hosts[A].sas.iter().filter(|sa| sa.state() == IkeSaState::Established).all(|sa| !sa.is_reusable()));
}

#[test]
fn over_a_bad_network() {
    let (seeds, traced) = match seed_of_environment() {
        Some(seed) => (seed..seed + 1, true),
        None => (0..100, false),
    };
    for seed in seeds {
        let mut sim = trio(seed, traced);
        sim.configure_host(A, |peer| peer.keyingtries = 0);
        // nobody is given up while the network is bad
        for host in [B, C] {
            sim.hosts[host].settings.half_open_timeout = Duration::from_secs(600);
        }
        sim.initiate(A);
        sim.settle();
        sim.net.conditions = Conditions::BAD;
        if seed % 3 == 0 {
            sim.input(A, Input::RekeyIke);
        }
        sim.input(B, Input::Redirect(gateway("192.0.2.3")));
        sim.run_for(Duration::from_secs(60));
        sim.net.conditions = Conditions::PERFECT;
        sim.run_for(Duration::from_secs(800));
        assert_moved(&sim);
    }
}
