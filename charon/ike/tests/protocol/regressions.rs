//! What random scripts found, each reduced to the messages and events it takes.

use std::sync::Arc;
use std::time::Duration;

use ike::config::{Action, IkeConfig, IkeLifetimes, PeerConfig, UniquePolicy};
use ike::ids::Spi;
use ike::kernel::Direction;
use ike::wire::{Gateway, Nonce, Notify, NotifyType, Payload, Sa, Ts};
use ike::{ChildSaState, Event, IkeSaState, Input};
use strongswan::selectors::TrafficSelector;

use crate::mobility;
use crate::sim::config::{MOON, SUN, esp_proposals};
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

#[test]
fn what_is_closed_without_a_way_to_the_peer_goes_all_the_same() {
    for rekeyed in [false, true] {
        let mut sim = mobility::pair();
        if rekeyed {
            // the old IKE_SA waits for the peer's DELETE
            let b = sim.hosts[B].address;
            sim.input(B, Input::RekeyIke);
            sim.run_for(Duration::from_millis(15));
            assert_eq!(sim.hosts[A].snapshots()[0].state, IkeSaState::Rekeyed);
            sim.net.script(move |d| if d.from.ip() == b { Fate::Drop } else { Fate::Pass });
        }
        sim.move_to(A, &[]);
        if !rekeyed {
            sim.input(A, Input::TerminateIke { force: false });
        }
        sim.run_for(Duration::from_secs(300));
        let old = sim.hosts[A].snapshots().into_iter().find(|ike| ike.state != IkeSaState::Established);
        sim.assert(old.is_none(), "it does not wait for a route");
    }
}

#[test]
fn a_client_sent_away_while_both_sides_rekey_takes_its_child_sa_once() {
    let mut sim = Sim::pair();
    sim.hosts[B].kernel.set_addresses(&["192.0.2.2".parse().unwrap(), "192.0.2.21".parse().unwrap()]);
    sim.establish();
    // B's answer to A's rekeying gets lost, so that A has a CHILD_SA under rekeying and the one B made of it
    let b = sim.hosts[B].address;
    let mut first = true;
    sim.net.script(move |d| {
        let answer = d.from.ip() == b && d.header().is_some_and(|header| !header.is_request());
        if answer && std::mem::take(&mut first) { Fate::Drop } else { Fate::Pass }
    });
    sim.rekey_child(A);
    sim.rekey_child(B);
    sim.run_for(Duration::from_millis(15));
    assert_eq!(all(&sim, A), 2);
    sim.input(B, Input::Redirect(Gateway::parse("192.0.2.21").unwrap()));
    sim.run_for(Duration::from_secs(60));
    sim.assert_established(1, 1);
    assert_eq!(sim.hosts[A].snapshots()[0].remote.ip().to_string(), "192.0.2.21");
}

/// Without MOBIKE, with addresses that may change, and a peer that keeps the IKE_SA it has.
fn without_mobike() -> Sim {
    let mut sim = Sim::pair();
    sim.configure_host(A, |peer| {
        peer.ike = Arc::new(IkeConfig { local_addrs: Vec::new(), ..IkeConfig::clone(&peer.ike) });
    });
    sim.configure_host(B, |peer| peer.unique = UniquePolicy::Keep);
    sim
}

#[test]
fn a_peer_that_refuses_a_second_ike_sa_gets_another_one_after_a_move() {
    let mut sim = without_mobike();
    sim.establish();
    sim.move_to(A, &["192.0.2.7"]);
    sim.run_for(Duration::from_secs(60));
    sim.assert_established(1, 1);
    let sources: Vec<_> = sim.hosts[B].kernel.sas().iter().map(|sa| sa.id.src.to_string()).collect();
    assert!(sources.contains(&"192.0.2.7".to_owned()), "{sources:?}");
}

#[test]
fn a_child_sa_that_is_created_during_a_move_is_created_where_we_are() {
    let mut sim = without_mobike();
    sim.establish();
    let child = sim.child(A).unwrap();
    sim.input(A, Input::TerminateChild { child });
    sim.settle();
    sim.initiate(A);
    sim.move_to(A, &["192.0.2.7"]);
    sim.run_for(Duration::from_secs(60));
    sim.assert_established(1, 1);
    assert!(sim.hosts[B].kernel.sas().iter().any(|sa| sa.id.src.to_string() == "192.0.2.7"));
}

#[test]
fn news_of_the_peers_address_are_newer_than_an_answer_under_way() {
    let mut sim = mobility::pair();
    // A moves; the answer to its update takes a while
    let b = sim.hosts[B].address;
    sim.net.script(move |d| {
        let answer =
            d.from.ip() == b && d.header().is_some_and(|header| !header.is_request() && header.message_id.0 > 2);
        if answer { Fate::Delay(Duration::from_millis(500)) } else { Fate::Pass }
    });
    sim.move_to(A, &["192.0.2.7"]);
    let update = |sim: &Sim| sim.trace.contains("UPD_SA_ADDR");
    assert!(sim.run_until(Duration::from_secs(5), update));
    sim.run_for(Duration::from_millis(15));
    // meanwhile B moves, and A has no way to tell which address works
    let sun: [std::net::IpAddr; 2] = ["192.0.2.2".parse().unwrap(), "192.0.2.22".parse().unwrap()];
    for address in sun {
        sim.hosts[A].kernel.set_reachable(address, false);
    }
    sim.move_to(B, &["192.0.2.22"]);
    sim.run_for(Duration::from_secs(10));
    for address in sun {
        sim.hosts[A].kernel.set_reachable(address, true);
    }
    sim.roam(A, false);
    sim.run_for(Duration::from_secs(60));
    mobility::assert_path(&sim, "192.0.2.7", "192.0.2.22");
}

#[test]
fn a_responder_that_finds_another_path_says_so() {
    let mut sim = mobility::pair();
    sim.move_to(B, &[]);
    sim.run_for(Duration::from_millis(100));
    // both lead to A; the first one answers
    sim.move_to(B, &["192.0.2.22", SUN.address]);
    sim.run_for(Duration::from_secs(30));
    let path = sim.hosts[B].snapshots()[0].local.ip().to_string();
    mobility::assert_path(&sim, MOON.address, &path);
}

#[test]
fn a_responder_that_finds_another_address_of_the_peer_says_so() {
    let mut sim = mobility::pair();
    // A gets another address, and stays where it is
    let addresses = [MOON.address, "192.0.2.11"];
    sim.move_to(A, &addresses);
    sim.run_for(Duration::from_secs(5));
    let set_reachable = |sim: &mut Sim, reachable| {
        for address in addresses {
            sim.hosts[B].kernel.set_reachable(address.parse().unwrap(), reachable);
        }
        sim.roam(B, false);
    };
    set_reachable(&mut sim, false);
    // both lead to A, whose answer from where it is gets lost
    sim.net.script(|d| if d.from.ip().to_string() == MOON.address { Fate::Drop } else { Fate::Pass });
    set_reachable(&mut sim, true);
    let found = |sim: &Sim| sim.trace.contains("remote endpoint changed from 192.0.2.1[4500] to 192.0.2.11[4500]");
    assert!(sim.run_until(Duration::from_secs(1), found));
    sim.net.unscript();
    sim.run_for(Duration::from_secs(30));
    let path = sim.hosts[A].snapshots()[0].local.ip().to_string();
    mobility::assert_path(&sim, &path, SUN.address);
}

#[test]
fn a_key_exchange_refused_by_a_host_that_closes_leaves_no_spi() {
    let mut sim = Sim::pair();
    sim.configure(|peer| {
        Arc::make_mut(&mut peer.children[0]).proposals = esp_proposals("aes128gcm16-x25519-ke1_mlkem512");
    });
    sim.establish();
    let child = sim.child(A).unwrap();
    sim.input(A, Input::TerminateChild { child });
    sim.settle();
    sim.initiate(A);
    sim.run_for(Duration::from_millis(15));
    assert_eq!(sim.hosts[B].kernel.reserved_spis(), 1);
    // A's IKE_FOLLOWUP_KE meets an IKE_SA that is being deleted
    let a = sim.hosts[A].address;
    sim.net.script(move |d| {
        let answer = d.from.ip() == a && d.header().is_some_and(|header| !header.is_request());
        if answer { Fate::Drop } else { Fate::Pass }
    });
    sim.input(B, Input::TerminateIke { force: false });
    sim.run_for(Duration::from_millis(100));
    sim.net.unscript();
    sim.run_for(Duration::from_secs(60));
    // what A was asked for is restarted
    sim.assert_established(1, 1);
    sim.assert_agreement();
}

#[test]
fn the_winner_of_a_collision_whose_result_is_deleted_deletes_the_old_one() {
    // B has answered A's rekeying, and its user closes what came of it before A knows.
    for seed in 0..20 {
        let mut sim = Sim::with_seed(seed, true);
        sim.establish();
        let b = sim.hosts[B].address;
        let mut first = true;
        sim.net.script(move |d| {
            let answer = d.from.ip() == b && d.header().is_some_and(|header| !header.is_request());
            if answer && std::mem::take(&mut first) { Fate::Drop } else { Fate::Pass }
        });
        sim.rekey_child(A);
        sim.rekey_child(B);
        sim.run_for(Duration::from_millis(15));
        let child = sim.child(B).unwrap();
        sim.input(B, Input::TerminateChild { child });
        sim.run_for(Duration::from_secs(60));
        sim.assert_agreement();
        for host in [A, B] {
            let children = sim.hosts[host].snapshots().into_iter().flat_map(|ike| ike.children);
            let rest = children.filter(|child| child.state != ChildSaState::Installed).count();
            sim.assert(rest == 0, "nothing is left half replaced");
        }
    }
}

/// Both ends restart what the other one closes, and reauthenticate all the time.
#[test]
fn close_actions_do_not_multiply_ike_sas() {
    for (make_before_break, unique) in [
        (true, UniquePolicy::No),
        (false, UniquePolicy::No),
        (true, UniquePolicy::Replace),
        (false, UniquePolicy::Replace),
    ] {
        let mut sim = Sim::with_seed(1, false);
        sim.configure(|peer| {
            peer.lifetimes = IkeLifetimes {
                reauth: Duration::from_secs(60),
                rekey: Duration::ZERO,
                over: Duration::from_secs(40),
                rand: Duration::from_secs(20),
            };
            Arc::make_mut(&mut peer.children[0]).close_action = Action::START;
        });
        // if both sides replace, each closes what the other one initiated at the same time, as in strongSwan
        sim.configure_host(B, |peer| peer.unique = unique);
        for host in [A, B] {
            sim.hosts[host].settings.make_before_break = make_before_break;
        }
        sim.initiate(A);
        sim.initiate(B);
        for minute in 0..60 {
            sim.run_for(Duration::from_secs(60));
            let count = sim.hosts[A].sas.len();
            // one of each initiator, and what replaces them
            sim.assert(count <= 4, &format!("{count} IKE_SAs in minute {minute}, {make_before_break}, {unique:?}"));
        }
        assert!(sim.child(A).is_some(), "{make_before_break}, {unique:?}");
    }
}
