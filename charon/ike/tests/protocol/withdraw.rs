//! CHILD_SAs whose configuration is withdrawn: closed, not created, or deleted once they exist.

use std::sync::Arc;
use std::time::Duration;

use ike::wire::ExchangeType;
use ike::{Event, Input};

use crate::sim::config::{End, MOON, SUN, child};
use crate::sim::net::Fate;
use crate::sim::{A, B, Sim};

const MOON2: End = End { subnet: "10.3.0.0/16", ..MOON };
const SUN2: End = End { subnet: "10.4.0.0/16", ..SUN };

/// A pair with a second child `net2` that is not established.
fn pair() -> Sim {
    let mut sim = Sim::pair();
    sim.configure_host(A, |peer| peer.children.push(Arc::new(child("net2", &MOON2, &SUN2))));
    sim.configure_host(B, |peer| peer.children.push(Arc::new(child("net2", &SUN2, &MOON2))));
    sim
}

fn withdraw(names: &[&str], close_ike: bool) -> Input {
    Input::Withdraw { children: names.iter().map(|name| Arc::from(*name)).collect(), close_ike }
}

#[test]
fn an_ike_sa_that_serves_nobody_else_is_closed() {
    for (names, close_ike, left) in [
        (&["net"][..], true, (1, 1)),
        (&["net", "net2"], true, (0, 0)),
        (&["net", "net2"], false, (1, 0)),
        (&[], true, (1, 2)),
    ] {
        let mut sim = pair();
        sim.establish();
        sim.initiate_child(A, "net2");
        sim.settle();
        sim.input(A, withdraw(names, close_ike));
        sim.settle();
        sim.assert_established(left.0, left.1);
    }
}

#[test]
fn an_ike_sa_without_children_is_closed_if_allowed() {
    let mut sim = pair();
    sim.establish();
    let child = sim.child(A).unwrap();
    sim.input(A, Input::TerminateChild { child });
    sim.settle();
    sim.input(A, withdraw(&[], false));
    sim.settle();
    sim.assert_established(1, 0);
    sim.input(A, withdraw(&[], true));
    sim.settle();
    sim.assert_nothing_left();
}

#[test]
fn one_that_is_being_created_goes_once_it_exists() {
    let mut sim = pair();
    sim.establish();
    sim.initiate_child(A, "net2");
    sim.input(A, withdraw(&["net2"], true));
    sim.settle();
    sim.assert_established(1, 1);
    assert_eq!(sim.events(A, |event| matches!(event, Event::ChildUpDown { up: true, .. })), 2);
}

#[test]
fn one_that_is_being_created_keeps_the_ike_sa_for_others() {
    let mut sim = pair();
    sim.establish();
    let net = sim.child(A).unwrap();
    sim.initiate_child(A, "net2");
    sim.input(A, withdraw(&["net"], true));
    sim.settle();
    sim.assert_established(1, 1);
    assert_ne!(sim.child(A), Some(net));
}

#[test]
fn one_that_waits_for_its_turn_is_never_asked_for() {
    let mut sim = pair();
    sim.establish();
    sim.net.script(|_| Fate::Drop);
    let net = sim.child(A).unwrap();
    sim.input(A, Input::RekeyChild { child: net });
    sim.initiate_child(A, "net2");
    sim.input(A, withdraw(&["net2"], true));
    assert_eq!(sim.events(A, |event| matches!(event, Event::ChildFailed { .. })), 1);
    sim.net.unscript();
    sim.run_for(Duration::from_secs(60));
    sim.settle();
    sim.assert_established(1, 1);
}

#[test]
fn at_any_moment_of_a_handshake() {
    for milliseconds in 0..60 {
        for close_ike in [true, false] {
            let mut sim = pair();
            // A half that is left finds out that it is alone.
            sim.configure(|peer| peer.dpd_delay = Duration::from_secs(30));
            sim.initiate(A);
            sim.run_for(Duration::from_millis(milliseconds));
            if sim.ike(A).is_some() {
                sim.input(A, withdraw(&["net"], close_ike));
            }
            sim.run_for(Duration::from_secs(240));
            sim.assert_agreement();
            assert!(sim.children(A).is_empty() && sim.children(B).is_empty(), "after {milliseconds} ms");
        }
    }
}

#[test]
fn a_temporary_failure_ends_it() {
    let mut sim = pair();
    sim.establish();
    // B rekeys the IKE_SA and A does not hear of it, so B refuses what A asks for.
    sim.net.script(|datagram| {
        let header = datagram.header().unwrap();
        let from_responder = !header.from_initiator();
        if header.exchange == ExchangeType::CreateChildSa && header.is_request() && from_responder {
            Fate::Drop
        } else {
            Fate::Pass
        }
    });
    sim.input(B, Input::RekeyIke);
    sim.initiate_child(A, "net2");
    sim.input(A, withdraw(&["net2"], true));
    sim.run_for(Duration::from_secs(3));
    assert_eq!(sim.events(A, |event| matches!(event, Event::ChildFailed { .. })), 1);
    sim.net.unscript();
    sim.run_for(Duration::from_secs(60));
    sim.assert_established(1, 1);
}
