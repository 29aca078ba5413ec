//! Gateways that send their clients elsewhere as they come (RFC 5685 §3, §6).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ike::settings::{RedirectSettings, RedirectWhen};
use ike::wire::{Gateway, NotifyType, PayloadType, Received};
use ike::{Event, IkeSaState};
use strongswan::credentials::{SecretKind, SharedSecret};
use strongswan::crypto::Secret;
use strongswan::identity::Identity;

use crate::sim::config::{End, MOON, SUN, connection};
use crate::sim::host::Host;
use crate::sim::net::Conditions;
use crate::sim::{A, B, Sim};

/// The other gateway: another host with sun's identity and network.
const C: usize = 2;
const MARS: End = End { address: "192.0.2.3", ..SUN };

fn send_away(sim: &mut Sim, host: usize, to: &str, when: RedirectWhen, connections: &[&str]) {
    let connections = connections.iter().map(ToString::to_string).collect();
    let gateway = Gateway::parse(to).unwrap();
    sim.hosts[host].settings.redirect = Some(RedirectSettings { gateway, when, connections });
}

/// Moon is the client of sun, which sends it to mars.
fn trio(seed: u64, when: RedirectWhen, connections: &[&str]) -> Sim {
    let mut sim = Sim::with_seed(seed, true);
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
    send_away(&mut sim, B, MARS.address, when, connections);
    sim
}

/// A has one IKE_SA with one CHILD_SA, with this host and no other.
#[track_caller]
fn assert_with(sim: &Sim, end: &End) {
    let address: IpAddr = end.address.parse().unwrap();
    let (there, other) = if end.address == MARS.address { (C, B) } else { (B, C) };
    let up = |host: usize| {
        let ikes = sim.hosts[host].snapshots();
        matches!(ikes.as_slice(), [ike] if ike.state == IkeSaState::Established && ike.children.len() == 1)
    };
    let remote = sim.hosts[A].snapshots().iter().all(|ike| ike.remote.ip() == address);
    if !up(A) || !up(there) || !remote || !sim.hosts[other].sas.is_empty() {
        sim.fail("not there");
    }
    assert!(sim.hosts[other].kernel.is_empty(), "{}", sim.describe(other));
    for host in [A, there] {
        assert_eq!(sim.hosts[host].kernel.sas().len(), 2);
        assert_eq!(sim.hosts[host].kernel.reserved_spis(), 0);
    }
}

#[test]
fn in_ike_sa_init_without_state() {
    for to in ["192.0.2.3", "mars.example.org"] {
        let mut sim = trio(1, RedirectWhen::Init, &[]);
        send_away(&mut sim, B, to, RedirectWhen::Init, &[]);
        sim.initiate(A);
        assert!(sim.run_until(Duration::from_secs(1), |sim| sim.sent.len() == 2));
        assert!(sim.hosts[B].sas.is_empty(), "no state is kept");
        let Ok(Received::Plain(request)) = ike::wire::parse(&sim.sent[0].data) else { panic!("not IKE_SA_INIT") };
        let Ok(Received::Plain(answer)) = ike::wire::parse(&sim.sent[1].data) else { panic!("not IKE_SA_INIT") };
        assert_eq!(answer.header.responder_spi, None);
        assert_eq!(answer.payloads.len(), 1);
        let notify = answer.notify(NotifyType::Redirect).unwrap();
        assert_eq!(notify.gateway().unwrap(), (Gateway::parse(to).unwrap(), request.nonce().unwrap().as_bytes()));
        sim.settle();
        assert_with(&sim, &MARS);
        sim.assert(sim.trace.contains(&format!("redirecting peer to {to}")), "log");
        assert_eq!(sim.events(B, |event| matches!(event, Event::IkeUpDown { .. } | Event::Alert(_))), 0);
    }
}

#[test]
fn in_ike_auth_once_the_client_has_proven_who_it_is() {
    let mut sim = trio(2, RedirectWhen::Auth, &[]);
    sim.initiate(A);
    assert!(sim.run_until(Duration::from_secs(1), |sim| sim.sent.len() == 4));
    let last = sim.sent[3].clone();
    let kinds: Vec<_> = sim.payloads(&last).iter().map(ike::wire::Payload::kind).collect();
    assert!(kinds.contains(&PayloadType::Auth), "{kinds:?}");
    for kind in [PayloadType::Sa, PayloadType::TsI, PayloadType::TsR, PayloadType::Cp] {
        assert!(!kinds.contains(&kind), "{kinds:?}");
    }
    assert!(sim.hosts[B].kernel.is_empty());
    sim.settle();
    assert_with(&sim, &MARS);
    assert_eq!(sim.events(B, |event| matches!(event, Event::ChildUpDown { .. })), 0);
}

#[test]
fn who_stays_is_thrown_out_in_time() {
    let mut sim = trio(3, RedirectWhen::Auth, &[]);
    // Nobody is there.
    send_away(&mut sim, B, "192.0.2.99", RedirectWhen::Auth, &[]);
    sim.initiate(A);
    sim.run_for(Duration::from_secs(25));
    assert_eq!(sim.hosts[B].sas.len(), 1);
    assert!(sim.hosts[B].kernel.is_empty());
    sim.run_for(Duration::from_secs(10));
    assert!(sim.hosts[B].sas.is_empty());
}

#[test]
fn who_does_not_follow_is_served() {
    for when in [RedirectWhen::Init, RedirectWhen::Auth] {
        let mut sim = trio(4, when, &[]);
        sim.hosts[A].settings.follow_redirects = false;
        sim.initiate(A);
        sim.settle();
        assert_with(&sim, &SUN);
    }
}

/// Two gateways that send clients to each other would do so until the client has had enough.
#[test]
fn who_was_sent_here_is_not_sent_back() {
    for first in [RedirectWhen::Init, RedirectWhen::Auth] {
        for second in [RedirectWhen::Init, RedirectWhen::Auth] {
            let mut sim = trio(5, first, &[]);
            send_away(&mut sim, C, SUN.address, second, &[]);
            sim.initiate(A);
            sim.settle();
            assert_with(&sim, &MARS);
            sim.assert(sim.trace.contains("not redirecting peer to 192.0.2.2, which sent it here"), "log");
        }
    }
}

#[test]
fn nobody_is_sent_to_where_he_is() {
    for when in [RedirectWhen::Init, RedirectWhen::Auth] {
        let mut sim = trio(6, when, &[]);
        send_away(&mut sim, B, SUN.address, when, &[]);
        sim.initiate(A);
        sim.settle();
        assert_with(&sim, &SUN);
    }
}

#[test]
fn only_clients_of_the_connections_named() {
    for when in [RedirectWhen::Init, RedirectWhen::Auth] {
        for (connections, end) in [(&["other"][..], &SUN), (&["other", "gw"], &MARS)] {
            let mut sim = trio(7, when, connections);
            sim.initiate(A);
            sim.settle();
            assert_with(&sim, end);
        }
    }
    // The client may be about either connection.
    for (connections, end) in [(&["gw"][..], &SUN), (&["gw", "second"], &MARS)] {
        let mut sim = trio(8, RedirectWhen::Init, connections);
        let mut second = connection(&SUN, &MOON);
        second.name = "second".into();
        sim.hosts[B].connections.0.push(Arc::new(second));
        sim.initiate(A);
        sim.settle();
        assert_with(&sim, end);
    }
}

#[test]
fn who_may_not_come_is_not_sent_away() {
    let mut sim = trio(9, RedirectWhen::Auth, &[]);
    sim.hosts[A].credentials.clear();
    sim.hosts[A].credentials.add_secret(SharedSecret::new(
        SecretKind::Ike,
        Secret::from(&b"a guess"[..]),
        vec![Identity::parse(MOON.id), Identity::parse(SUN.id)],
    ));
    sim.initiate(A);
    sim.settle();
    sim.assert(!sim.trace.contains("redirecting peer"), "log");
    assert!(sim.hosts[C].sas.is_empty() && sim.hosts[A].sas.is_empty());
}

#[test]
fn over_a_bad_network() {
    for when in [RedirectWhen::Init, RedirectWhen::Auth] {
        for seed in 0..50 {
            let mut sim = trio(seed, when, &[]);
            sim.configure_host(A, |peer| peer.keyingtries = 0);
            sim.net.conditions = Conditions::BAD;
            for host in [B, C] {
                sim.hosts[host].settings.half_open_timeout = Duration::from_secs(600);
            }
            sim.initiate(A);
            sim.run_for(Duration::from_secs(60));
            sim.net.conditions = Conditions::PERFECT;
            sim.run_for(Duration::from_secs(800));
            assert_with(&sim, &MARS);
        }
    }
}
