//! IPsec modes, and the marks and interfaces of CHILD_SAs.

use std::sync::Arc;

use ike::Input;
use ike::config::{IfIdConfig, MarkConfig, MarkValue, Mode};
use ike::ids::IfId;
use strongswan::selectors::{PortRange, TrafficSelector};

use crate::sim::net::Nat;
use crate::sim::{A, B, Sim};

/// A pair whose child protects what the gateways themselves exchange.
fn host_to_host(modes: [Mode; 2]) -> Sim {
    let mut sim = Sim::pair();
    for (host, mode) in [A, B].into_iter().zip(modes) {
        sim.configure_host(host, |peer| {
            let child = Arc::make_mut(&mut peer.children[0]);
            child.mode = mode;
            child.local_ts = vec![TrafficSelector::dynamic(0, PortRange::ANY)];
            child.remote_ts = vec![TrafficSelector::dynamic(0, PortRange::ANY)];
        });
    }
    sim
}

fn modes(sim: &Sim) -> [Mode; 2] {
    [A, B].map(|host| sim.hosts[host].snapshots()[0].children[0].mode)
}

#[test]
fn transport_mode_needs_both_sides() {
    for (configured, negotiated) in [
        ([Mode::Transport, Mode::Transport], Mode::Transport),
        ([Mode::Transport, Mode::Tunnel], Mode::Tunnel),
        ([Mode::Tunnel, Mode::Transport], Mode::Tunnel),
        ([Mode::Beet, Mode::Beet], Mode::Beet),
    ] {
        let mut sim = host_to_host(configured);
        sim.establish();
        assert_eq!(modes(&sim), [negotiated; 2], "{configured:?}");
    }
}

#[test]
fn transport_mode_survives_a_nat() {
    // RFC 7296 §2.23.1: each side sees its own pair of addresses
    let mut sim = host_to_host([Mode::Transport, Mode::Transport]);
    sim.net.nat = Some(Nat::new(sim.hosts[A].address, "203.0.113.1".parse().unwrap()));
    sim.establish();
    assert_eq!(modes(&sim), [Mode::Transport; 2]);
    let ts = |host: usize| {
        let child = &sim.hosts[host].snapshots()[0].children[0];
        (child.local_ts[0].to_string(), child.remote_ts[0].to_string())
    };
    assert_eq!(ts(A), ("192.0.2.1/32".to_owned(), "192.0.2.2/32".to_owned()));
    assert_eq!(ts(B), ("192.0.2.2/32".to_owned(), "203.0.113.1/32".to_owned()));
}

#[test]
fn unique_interfaces_are_those_of_the_ike_sa() {
    let mut sim = Sim::pair();
    sim.configure_host(A, |peer| {
        peer.if_id_in = IfIdConfig::Unique;
        peer.if_id_out = IfIdConfig::Unique;
    });
    sim.establish();
    let interfaces = |sim: &Sim| {
        let snapshot = sim.hosts[A].snapshots().remove(0);
        let child = &snapshot.children[0];
        assert_eq!((snapshot.if_id_in, snapshot.if_id_out), (child.if_id_in, child.if_id_out));
        (child.if_id_in, child.if_id_out)
    };
    let before = interfaces(&sim);
    assert_eq!(before.0, before.1);
    assert_ne!(before.0, IfId::NONE);
    sim.input(A, Input::RekeyIke);
    sim.settle();
    sim.rekey_child(A);
    sim.settle();
    assert_eq!(interfaces(&sim), before);
}

#[test]
fn unique_marks_survive_rekeying() {
    let mut sim = Sim::pair();
    sim.configure_host(B, |peer| {
        let child = Arc::make_mut(&mut peer.children[0]);
        child.mark_in = MarkConfig { value: MarkValue::Unique, mask: u32::MAX };
        child.mark_out = MarkConfig { value: MarkValue::UniqueDir, mask: 0xffff };
    });
    sim.establish();
    let marks = |sim: &Sim| {
        let child = sim.hosts[B].snapshots().remove(0).children.remove(0);
        (child.mark_in, child.mark_out)
    };
    let before = marks(&sim);
    assert_ne!(before.0.value, before.1.value);
    sim.rekey_child(A);
    sim.settle();
    assert_eq!(marks(&sim), before);
}

#[test]
fn reauthentication_keeps_unique_marks_and_narrowed_selectors() {
    for make_before_break in [true, false] {
        let mut sim = Sim::pair();
        sim.hosts[A].settings.make_before_break = make_before_break;
        sim.configure_host(A, |peer| {
            let child = Arc::make_mut(&mut peer.children[0]);
            child.mark_in = MarkConfig { value: MarkValue::Unique, mask: u32::MAX };
            child.mark_out = child.mark_in;
            child.local_ts.push(TrafficSelector::dynamic(0, PortRange::ANY));
        });
        sim.configure_host(B, |peer| {
            let child = Arc::make_mut(&mut peer.children[0]);
            child.remote_ts = vec![TrafficSelector::parse("10.1.7.0/24").unwrap()];
            child.remote_ts.push(TrafficSelector::dynamic(0, PortRange::ANY));
        });
        sim.establish();
        let seen = |sim: &Sim| {
            let child = sim.hosts[A].snapshots().remove(0).children.remove(0);
            (child.mark_in, child.local_ts.clone())
        };
        let before = seen(&sim);
        assert_eq!(before.1.len(), 2, "{:?}", before.1);
        let count = sim.trace.count("10.1.7.0/24");
        sim.input(A, Input::ReauthIke);
        sim.settle();
        sim.assert_established(1, 1);
        assert_eq!(seen(&sim).1, before.1);
        assert_eq!(seen(&sim).0, before.0);
        assert!(sim.trace.count("10.1.7.0/24") > count);
    }
}

#[test]
fn a_child_with_unique_marks_is_no_duplicate_of_another() {
    for (mark, children) in [(MarkValue::Fixed(1), 1), (MarkValue::Unique, 2)] {
        let mut sim = Sim::pair();
        sim.configure_host(A, |peer| {
            let child = Arc::make_mut(&mut peer.children[0]);
            child.mark_in = MarkConfig { value: mark, mask: u32::MAX };
            child.mark_out = child.mark_in;
        });
        sim.establish();
        let peer = sim.hosts[A].sas[0].config().cloned().unwrap();
        sim.hosts[A].connections.0[0] = peer;
        sim.initiate(A);
        sim.settle();
        assert_eq!(sim.children(A).len(), children, "{mark:?}");
        assert_eq!(sim.hosts[A].kernel.reserved_spis(), 0);
    }
}
