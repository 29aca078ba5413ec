//! What random scripts found, each reduced to the messages and events it takes.

use std::sync::Arc;
use std::time::Duration;

use ike::config::{Action, IkeLifetimes, PeerConfig, UniquePolicy};
use ike::ids::Spi;
use ike::kernel::Direction;
use ike::wire::{Nonce, Notify, NotifyType, Payload, Sa, Ts};
use ike::{Event, IkeSaState, Input};
use strongswan::selectors::TrafficSelector;

use crate::sim::kernel::{Expired, Failures};
use crate::sim::net::Fate;
use crate::sim::{A, B, Sim};

/// A pair whose initiator restarts what it loses.
fn restarting() -> Sim {
    let mut sim = Sim::pair();
    sim.configure_host(A, |peer| {
        peer.dpd_delay = Duration::from_secs(30);
        Arc::make_mut(&mut peer.children[0]).dpd_action = Action::START;
    });
    sim
}

/// The peer disappears for as long as it takes to notice.
fn lose_the_peer(sim: &mut Sim) {
    sim.net.script(|_| Fate::Drop);
    sim.run_for(Duration::from_secs(30 + 166));
    sim.net.unscript();
}

fn ts(text: &str) -> Vec<TrafficSelector> {
    vec![TrafficSelector::parse(text).unwrap()]
}

fn all(sim: &Sim, host: usize) -> usize {
    sim.hosts[host].snapshots().iter().map(|ike| ike.children.len()).sum()
}

#[test]
fn a_child_under_rekeying_is_restarted_once() {
    // Both sides have rekeyed it, and the initiator still has the old and the new one when the peer is gone.
    let mut sim = restarting();
    sim.establish();
    let b = sim.hosts[B].address;
    sim.net.script(move |d| if d.to.ip() == b { Fate::Drop } else { Fate::Pass });
    sim.rekey_child(A);
    sim.rekey_child(B);
    sim.run_for(Duration::from_secs(1));
    assert_eq!(all(&sim, A), 2);
    lose_the_peer(&mut sim);
    sim.run_for(Duration::from_secs(60));
    sim.assert_established(1, 1);
}

#[test]
fn what_is_restarted_and_asked_for_is_created_once() {
    let mut sim = restarting();
    sim.configure_host(A, |peer: &mut PeerConfig| peer.keyingtries = 3);
    sim.establish();
    sim.net.script(|_| Fate::Drop);
    // a liveness check is in the air, so this has to wait
    sim.run_for(Duration::from_secs(40));
    sim.initiate(A);
    sim.run_for(Duration::from_secs(30 + 166 + 166));
    sim.net.unscript();
    sim.run_for(Duration::from_secs(60));
    sim.assert_established(1, 1);
}

#[test]
fn another_keying_try_keeps_the_order_of_what_is_asked_for() {
    let mut sim = restarting();
    sim.configure(|peer| {
        peer.keyingtries = 3;
        let mut second = peer.children[0].as_ref().clone();
        second.name = "second".into();
        second.local_ts = second.local_ts.iter().map(|ts| ts.with_address([10, 9, 0, 1].into())).collect();
        second.remote_ts = second.remote_ts.iter().map(|ts| ts.with_address([10, 9, 0, 1].into())).collect();
        peer.children.push(Arc::new(second));
    });
    sim.net.script(|_| Fate::Drop);
    sim.initiate(A);
    sim.run_for(Duration::from_secs(1));
    let second = Arc::clone(&sim.hosts[A].connections.0[0].children[1]);
    sim.input(A, Input::Initiate(Some(ike::InitiateChild::new(second))));
    sim.run_for(Duration::from_secs(170));
    sim.net.unscript();
    sim.run_for(Duration::from_secs(60));
    let names: Vec<_> =
        sim.hosts[A].snapshots()[0].children.iter().map(|child| child.config.name.to_string()).collect();
    assert_eq!(names, ["net", "second"]);
}

#[test]
fn a_responder_that_got_nowhere_ends() {
    // An initial request with another message ID, or without the initiator's flag, is no reason to keep anything.
    for (at, value) in [(23, 1), (19, 0)] {
        let mut sim = Sim::pair();
        sim.initiate(A);
        let mut first = sim.sent[0].clone();
        sim.net.clear();
        first.data[at] = value;
        sim.deliver(first);
        assert!(sim.hosts[B].sas.is_empty());
    }
}

#[test]
fn a_failed_reauthentication_is_tried_again_and_does_not_hinder_rekeying() {
    let mut sim = Sim::pair();
    sim.configure_host(A, |peer| {
        peer.lifetimes = IkeLifetimes {
            reauth: Duration::from_secs(200),
            over: Duration::from_secs(3000),
            rekey: Duration::ZERO,
            rand: Duration::ZERO,
        };
    });
    sim.establish();
    let old = sim.ike(A).unwrap();
    sim.net.script(|_| Fate::Drop);
    sim.run_for(Duration::from_secs(195 + 166));
    sim.net.unscript();
    sim.input_to(A, old, Input::RekeyIke);
    sim.run_for(Duration::from_secs(5));
    assert_ne!(sim.ike(A), Some(old), "it is rekeyed");
    sim.run_for(Duration::from_secs(60));
    let up = sim.events(A, |event| matches!(event, Event::IkeUpDown { up: true, .. }));
    assert_eq!(up, 2, "and reauthenticated");
    sim.assert_established(1, 1);
}

#[test]
fn what_is_closed_while_it_is_reauthenticated_stays_closed() {
    let mut sim = Sim::pair();
    sim.establish();
    let old = sim.ike(A).unwrap();
    sim.input(A, Input::ReauthIke);
    let new = sim.hosts[A].sas.iter().map(ike::IkeSa::unique_id).find(|id| *id != old).unwrap();
    for id in [new, old] {
        sim.input_to(A, id, Input::TerminateIke { force: false });
    }
    sim.run_for(Duration::from_secs(60));
    sim.assert_nothing_left();
}

#[test]
fn a_duplicate_is_closed_even_if_it_is_rekeyed_meanwhile() {
    let mut sim = Sim::pair();
    sim.configure_host(B, |peer| peer.unique = UniquePolicy::Replace);
    sim.establish();
    let old = sim.ike(A).unwrap();
    sim.configure_host(A, |_| {});
    sim.initiate(A);
    sim.run_for(Duration::from_secs(2));
    sim.input_to(A, old, Input::RekeyIke);
    sim.run_for(Duration::from_secs(20));
    sim.assert_established(1, 1);
}

#[test]
fn traffic_moves_over_when_the_rekeyed_sa_expires() {
    // The peer has rekeyed it, and its DELETE is not there yet when our outbound SA's time is over.
    let mut sim = Sim::pair();
    sim.establish();
    let spi = sim.hosts[A].snapshots()[0].children[0].outbound.unwrap();
    sim.rekey_child(B);
    sim.run_for(Duration::from_millis(15));
    assert_eq!(sim.hosts[A].snapshots()[0].children.len(), 2);
    let expired = Expired { protocol: spi.protocol, spi: spi.spi, direction: Direction::Out, hard: true };
    sim.hosts[A].kernel.drop_sa(&expired);
    sim.expired(A, expired);
    sim.settle();
    sim.assert_established(1, 1);
    sim.hosts[A].check_kernel().unwrap();
}

#[test]
fn a_replacement_without_outbound_sa_is_created_anew() {
    let mut sim = Sim::pair();
    sim.establish();
    sim.rekey_child(B);
    sim.run_for(Duration::from_millis(15));
    // the inbound half is there; the other one follows when B deletes the old one
    sim.hosts[A].kernel.fail(Failures { add_sa: true, ..Failures::default() });
    sim.run_for(Duration::from_millis(15));
    sim.hosts[A].kernel.fail(Failures::default());
    sim.settle();
    sim.assert_established(1, 1);
    for host in [A, B] {
        sim.hosts[host].check_kernel().unwrap();
    }
}

#[test]
fn nothing_is_rekeyed_twice_while_our_own_rekeying_is_unanswered() {
    // A's request is on its way when B rekeys the same CHILD_SA, and B does it again with the next message ID.
    let mut sim = Sim::pair();
    sim.establish();
    let b = sim.hosts[B].address;
    sim.net.script(move |d| if d.to.ip() == b { Fate::Drop } else { Fate::Pass });
    sim.rekey_child(A);
    sim.rekey_child(B);
    sim.run_for(Duration::from_millis(15));
    let request = sim.sent.iter().rfind(|d| d.from.ip() == b).unwrap().clone();
    // what B asked for once more, under its keys
    let mut header = request.header().unwrap();
    header.message_id = header.message_id.next();
    let old = sim.hosts[B].snapshots()[0].children[0].inbound.unwrap();
    let mut payloads = vec![Notify::about_child(NotifyType::RekeySa, old.protocol, old.spi).into()];
    let offer = sim.hosts[A].connections.0[0].children[0].proposals.clone();
    payloads.push(Sa::offer(offer, Spi::new(0xbbbb_7777).unwrap().into()).into());
    payloads.push(Nonce::generate(&mut sim.rng).into());
    let (local, remote) = (ts("10.2.0.0/16"), ts("10.1.0.0/16"));
    payloads.extend([Payload::TsI(Ts::new(local)), Payload::TsR(Ts::new(remote))]);
    assert_eq!(sim.deliver_instead(request, header, &payloads).len(), 1);
    sim.assert(sim.trace.contains("the peer rekeyed it before"), "log");
    assert_eq!(sim.hosts[A].snapshots()[0].children.len(), 2);
    assert_eq!(sim.hosts[A].snapshots()[0].state, IkeSaState::Established);
}
