//! What connections do by themselves: restart, reauthenticate, close for inactivity, go without a first CHILD_SA.

use std::sync::Arc;
use std::time::Duration;

use ike::config::{Action, ChildConfig, Childless, IkeConfig, IkeLifetimes, PeerConfig};
use ike::{Event, IkeSaState, Input};

use crate::sim::net::Fate;
use crate::sim::{A, B, Sim};

/// Changes the child `net` of a connection.
fn change_child(peer: &mut PeerConfig, change: impl FnOnce(&mut ChildConfig)) {
    change(Arc::make_mut(&mut peer.children[0]));
}

fn childless(sim: &mut Sim, host: usize, childless: Childless) {
    sim.configure_host(host, |peer| {
        peer.ike = Arc::new(IkeConfig { childless, ..IkeConfig::clone(&peer.ike) });
    });
}

#[test]
fn the_dpd_action_restarts_the_connection() {
    let mut sim = Sim::pair();
    sim.configure_host(A, |peer| {
        peer.dpd_delay = Duration::from_secs(30);
        change_child(peer, |child| child.dpd_action = Action::START);
    });
    sim.establish();
    let first = sim.ike(A);
    sim.net.script(|_| Fate::Drop);
    sim.run_for(Duration::from_secs(30 + 166));
    assert_ne!(sim.ike(A), first);
    sim.net.unscript();
    sim.run_for(Duration::from_secs(20));
    // B had not noticed that the first one was gone, but INITIAL_CONTACT says so.
    sim.assert_established(1, 1);
}

#[test]
fn the_close_action_restarts_a_child_or_the_whole_connection() {
    let mut sim = Sim::pair();
    sim.configure_host(A, |peer| change_child(peer, |child| child.close_action = Action::START));
    sim.establish();
    let child = sim.child(B).unwrap();
    sim.input(B, Input::TerminateChild { child });
    sim.settle();
    sim.assert_established(1, 1);
    let ike = sim.ike(B);
    sim.input(B, Input::TerminateIke { force: false });
    sim.settle();
    sim.assert_established(1, 1);
    assert_ne!(sim.ike(B), ike);
}

#[test]
fn close_and_dpd_actions_may_be_traps() {
    let mut sim = Sim::pair();
    sim.configure_host(A, |peer| change_child(peer, |child| child.close_action = Action::TRAP));
    sim.establish();
    sim.input(B, Input::TerminateIke { force: false });
    sim.settle();
    sim.assert_nothing_left();
    assert_eq!(sim.hosts[A].traps.len(), 1);
}

#[test]
fn a_hard_expire_recreates_the_child() {
    let mut sim = Sim::pair();
    sim.establish();
    let inbound = sim.hosts[A].snapshots()[0].children[0].inbound.unwrap();
    sim.input(A, Input::ExpireChild { protocol: inbound.protocol, spi: inbound.spi, hard: true });
    sim.settle();
    sim.assert_established(1, 1);
    assert_ne!(sim.hosts[A].snapshots()[0].children[0].inbound, Some(inbound));
}

#[test]
fn inactivity_closes_a_child() {
    let mut sim = Sim::pair();
    sim.configure_host(A, |peer| change_child(peer, |child| child.inactivity = Duration::from_secs(60)));
    sim.establish();
    sim.run_for(Duration::from_secs(70));
    sim.assert_established(1, 0);
}

#[test]
fn inactivity_may_close_the_ike_sa() {
    let mut sim = Sim::pair();
    sim.configure_host(A, |peer| change_child(peer, |child| child.inactivity = Duration::from_secs(60)));
    sim.hosts[A].settings.inactivity_close_ike = true;
    sim.establish();
    sim.run_for(Duration::from_secs(70));
    sim.assert_nothing_left();
}

#[test]
fn reauthentication_makes_before_it_breaks_or_not() {
    for host in [A, B] {
        for make_before_break in [true, false] {
            let mut sim = Sim::pair();
            sim.hosts[host].settings.make_before_break = make_before_break;
            sim.establish();
            let first = sim.ike(host);
            sim.input(host, Input::ReauthIke);
            sim.run_for(Duration::from_secs(30));
            assert_ne!(sim.ike(host), first, "{make_before_break}");
            sim.assert_established(1, 1);
        }
    }
}

#[test]
fn an_ike_sa_without_child() {
    let mut sim = Sim::pair();
    childless(&mut sim, A, Childless::Prefer);
    childless(&mut sim, B, Childless::Force);
    sim.establish();
    // The child came in an exchange of its own, with a key exchange of its own.
    assert!(sim.hosts[A].snapshots()[0].children[0].algorithms.key_exchange.is_some());
}

#[test]
fn childless_policies_are_enforced() {
    for (a, b) in [(Childless::Allow, Childless::Force), (Childless::Force, Childless::Never)] {
        let mut sim = Sim::pair();
        childless(&mut sim, A, a);
        childless(&mut sim, B, b);
        sim.initiate(A);
        // A responder that is left alone gives up after a while.
        sim.run_for(Duration::from_secs(40));
        sim.assert_nothing_left();
    }
}

#[test]
fn lifetimes_end_in_rekeying_and_in_closing() {
    let mut sim = Sim::pair();
    let seconds = Duration::from_secs;
    sim.configure(|peer| {
        peer.lifetimes = IkeLifetimes::from_config(Some(seconds(600)), None, Some(seconds(60)), Some(Duration::ZERO));
    });
    sim.establish();
    let first = sim.ike(A);
    sim.run_for(seconds(640));
    assert_ne!(sim.ike(A), first);
    sim.run_for(seconds(30));
    sim.assert_established(1, 1);
    // Without answers the hard lifetime closes it.
    sim.net.script(|_| Fate::Drop);
    sim.run_for(seconds(1000));
    sim.assert_nothing_left();
}

#[test]
fn reauthentication_by_lifetime() {
    let mut sim = Sim::pair();
    let seconds = Duration::from_secs;
    sim.configure_host(A, |peer| {
        peer.lifetimes = IkeLifetimes::from_config(None, Some(seconds(600)), Some(seconds(60)), Some(Duration::ZERO));
    });
    sim.establish();
    sim.run_for(seconds(640));
    sim.assert_established(1, 1);
    assert_eq!(sim.hosts[A].sas[0].state(), IkeSaState::Established);
    assert!(sim.events(A, |event| matches!(event, Event::IkeUpDown { up: true, .. })) == 2);
}
