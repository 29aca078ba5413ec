//! CREATE_CHILD_SA for further CHILD_SAs, and their deletion.

use std::sync::Arc;
use std::time::Duration;

use ike::wire::ExchangeType;
use ike::{Event, Input};

use crate::sim::config::{End, MOON, SUN, child, esp_proposals};
use crate::sim::net::Fate;
use crate::sim::{A, B, Sim};

const MOON2: End = End { subnet: "10.3.0.0/16", ..MOON };
const SUN2: End = End { subnet: "10.4.0.0/16", ..SUN };

/// A pair with a second child `net2`.
fn pair() -> Sim {
    let mut sim = Sim::pair();
    sim.configure_host(A, |peer| peer.children.push(Arc::new(child("net2", &MOON2, &SUN2))));
    sim.configure_host(B, |peer| peer.children.push(Arc::new(child("net2", &SUN2, &MOON2))));
    sim.establish();
    sim
}

#[test]
fn a_further_child_from_either_side() {
    for host in [A, B] {
        let mut sim = pair();
        let before = sim.sent.len();
        // The responder has learned its connection, so it uses the same IKE_SA.
        let peer = sim.hosts[host].sas[0].config().cloned().unwrap();
        sim.hosts[host].connections.0[0] = peer;
        sim.initiate_child(host, "net2");
        sim.settle();
        sim.assert_established(1, 2);
        assert_eq!(sim.sent.len() - before, 2);
    }
}

#[test]
fn both_create_the_same_child() {
    let mut sim = pair();
    for host in [A, B] {
        let peer = sim.hosts[host].sas[0].config().cloned().unwrap();
        sim.hosts[host].connections.0[0] = peer;
    }
    sim.initiate_child(A, "net2");
    sim.initiate_child(B, "net2");
    sim.settle();
    sim.assert_agreement();
    sim.assert_traffic();
}

#[test]
fn a_wrong_ke_method_is_corrected() {
    let mut sim = pair();
    sim.configure_host(A, |peer| {
        Arc::make_mut(&mut peer.children[1]).proposals = esp_proposals("aes128gcm16-modp3072-ecp256-x25519");
    });
    // Both must use the changed configuration, so establish anew.
    let mut changed = Sim::pair();
    for host in [A, B] {
        changed.hosts[host].connections.0[0] = Arc::clone(&sim.hosts[host].connections.0[0]);
    }
    changed.establish();
    changed.initiate_child(A, "net2");
    changed.settle();
    changed.assert_established(1, 2);
    changed.assert(changed.trace.contains("INVAL_KE"), "INVALID_KE_PAYLOAD");
}

#[test]
fn delete_from_either_side() {
    for host in [A, B] {
        let mut sim = pair();
        let child = sim.child(host).unwrap();
        sim.input(host, Input::TerminateChild { child });
        sim.settle();
        sim.assert_established(1, 0);
        for host in [A, B] {
            assert_eq!(sim.events(host, |event| matches!(event, Event::ChildUpDown { up: false, .. })), 1);
        }
    }
}

#[test]
fn both_delete_at_once() {
    let mut sim = pair();
    for host in [A, B] {
        let child = sim.child(host).unwrap();
        sim.input(host, Input::TerminateChild { child });
    }
    sim.settle();
    sim.assert_established(1, 0);
}

#[test]
fn a_lost_delete_is_sent_again() {
    let mut sim = pair();
    let mut dropped = false;
    sim.net.script(move |_| if std::mem::replace(&mut dropped, true) { Fate::Pass } else { Fate::Drop });
    let child = sim.child(A).unwrap();
    sim.input(A, Input::TerminateChild { child });
    sim.run_for(Duration::from_secs(15));
    sim.assert_established(1, 0);
}

#[test]
fn an_expired_child_is_closed_at_both_ends() {
    let mut sim = pair();
    let inbound = sim.hosts[B].snapshots()[0].children[0].inbound.unwrap();
    sim.input(B, Input::ExpireChild { protocol: inbound.protocol, spi: inbound.spi, hard: true });
    sim.settle();
    sim.assert_agreement();
    sim.assert(sim.trace.contains("closing expired CHILD_SA"), "log");
}

#[test]
fn exchanges_wait_for_each_other() {
    // RFC 7296 §2.3: a window of one. Two requests of the same host never overlap.
    let mut sim = pair();
    sim.rekey_child(A);
    sim.initiate_child(A, "net2");
    sim.input(A, Input::RekeyIke);
    sim.run_for(Duration::from_secs(60));
    sim.assert_agreement();
    sim.assert_traffic();
    let mut open = std::collections::BTreeSet::new();
    for datagram in &sim.sent {
        let header = datagram.header().unwrap();
        if header.exchange == ExchangeType::IkeSaInit {
            continue;
        }
        let key = (header.initiator_spi, datagram.from.ip());
        if header.is_request() {
            open.insert((key, header.message_id));
            assert!(open.iter().filter(|(k, _)| *k == key).count() <= 1, "overlapping requests");
        } else {
            open.remove(&((header.initiator_spi, datagram.to.ip()), header.message_id));
        }
    }
}
