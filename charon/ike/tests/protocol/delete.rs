//! Ends: deletion of IKE_SAs, liveness checks, peers that vanish.

use std::time::Duration;

use ike::wire::ExchangeType;
use ike::{Event, Input};

use crate::sim::net::Fate;
use crate::sim::{A, B, Sim};

fn down(sim: &Sim, host: usize) -> (usize, usize) {
    (
        sim.events(host, |event| matches!(event, Event::IkeUpDown { up: false, .. })),
        sim.events(host, |event| matches!(event, Event::ChildUpDown { up: false, .. })),
    )
}

#[test]
fn from_either_side() {
    for host in [A, B] {
        let mut sim = Sim::pair();
        sim.establish();
        sim.input(host, Input::TerminateIke { force: false });
        sim.settle();
        sim.assert_nothing_left();
        assert_eq!((down(&sim, A), down(&sim, B)), ((1, 1), (1, 1)));
        assert_eq!(sim.sent.len(), 6);
        sim.assert(sim.trace.contains("deleting IKE_SA gw[1] between"), "log");
        sim.assert(sim.trace.contains("received DELETE for IKE_SA gw[1]"), "log");
        sim.assert(sim.trace.contains("IKE_SA deleted"), "log");
    }
}

#[test]
fn both_at_once() {
    let mut sim = Sim::pair();
    sim.establish();
    sim.input(A, Input::TerminateIke { force: false });
    sim.input(B, Input::TerminateIke { force: false });
    sim.settle();
    sim.assert_nothing_left();
}

#[test]
fn forced_does_not_wait() {
    let mut sim = Sim::pair();
    sim.establish();
    sim.input(A, Input::TerminateIke { force: true });
    assert!(sim.hosts[A].sas.is_empty());
    sim.settle();
    sim.assert_nothing_left();
}

#[test]
fn shutdown_tells_the_peer() {
    let mut sim = Sim::pair();
    sim.establish();
    sim.input(A, Input::Shutdown);
    sim.settle();
    sim.assert_nothing_left();
}

#[test]
fn at_any_moment_of_a_handshake() {
    for milliseconds in 0..60 {
        for host in [A, B] {
            let mut sim = Sim::pair();
            // A half that is left finds out that it is alone.
            sim.configure(|peer| peer.dpd_delay = Duration::from_secs(30));
            sim.initiate(A);
            sim.run_for(Duration::from_millis(milliseconds));
            if sim.ike(host).is_some() {
                sim.input(host, Input::TerminateIke { force: false });
            }
            sim.run_for(Duration::from_secs(240));
            sim.assert_agreement();
        }
    }
}

#[test]
fn an_unanswered_delete_ends_too() {
    let mut sim = Sim::pair();
    sim.establish();
    sim.net.script(|_| Fate::Drop);
    sim.input(A, Input::TerminateIke { force: false });
    sim.run_for(Duration::from_secs(170));
    assert!(sim.hosts[A].sas.is_empty() && sim.hosts[A].kernel.is_empty());
    sim.assert(sim.trace.contains("proper IKE_SA delete failed, peer not responding"), "log");
}

#[test]
fn liveness_checks_while_idle() {
    let mut sim = Sim::pair();
    sim.configure(|peer| peer.dpd_delay = Duration::from_secs(30));
    sim.establish();
    let before = sim.sent.len();
    sim.run_for(Duration::from_secs(100));
    let checks = &sim.sent[before..];
    assert!(checks.len() >= 6, "{}", checks.len());
    assert!(checks.iter().all(|d| d.header().is_some_and(|h| h.exchange == ExchangeType::Informational)));
    sim.assert_established(1, 1);
    sim.assert(sim.trace.contains("sending DPD request"), "log");
}

#[test]
fn a_vanished_peer_is_noticed() {
    let mut sim = Sim::pair();
    sim.configure(|peer| peer.dpd_delay = Duration::from_secs(30));
    sim.establish();
    sim.forget(B);
    sim.run_for(Duration::from_secs(230));
    assert!(sim.hosts[A].sas.is_empty() && sim.hosts[A].kernel.is_empty());
    assert_eq!(down(&sim, A), (1, 1));
}

#[test]
fn maximum_lifetime_ends_an_ike_sa_that_cannot_be_rekeyed() {
    let mut sim = Sim::pair();
    sim.establish();
    sim.net.script(|d| match d.header() {
        Some(header) if header.exchange == ExchangeType::CreateChildSa => Fate::Drop,
        _ => Fate::Pass,
    });
    sim.run_for(Duration::from_secs(40_000));
    sim.assert_nothing_left();
}
