//! Rekeying of CHILD_SAs and IKE_SAs, alone, from both sides at once, and against deletions (RFC 7296 §2.8, §2.25).

use std::time::Duration;

use ike::wire::ExchangeType;
use ike::{Event, IkeSaState, Input};

use crate::sim::net::Fate;
use crate::sim::{A, B, Sim};

fn pair() -> Sim {
    let mut sim = Sim::pair();
    sim.establish();
    sim
}

/// Runs step by step and checks after each that whatever is sent by ESP is understood.
fn settle_under_traffic(sim: &mut Sim) {
    let end = sim.now + Duration::from_secs(40);
    sim.assert_traffic();
    while sim.step(end) {
        sim.assert_traffic();
    }
    sim.now = end;
}

#[test]
fn child_from_either_side() {
    for host in [A, B] {
        let mut sim = pair();
        let old = sim.children(host);
        sim.rekey_child(host);
        settle_under_traffic(&mut sim);
        sim.assert_established(1, 1);
        assert_ne!(old, sim.children(host));
        for host in [A, B] {
            assert_eq!(sim.events(host, |event| matches!(event, Event::ChildRekey { .. })), 1);
            assert_eq!(sim.events(host, |event| matches!(event, Event::ChildUpDown { up: false, .. })), 0);
        }
    }
}

#[test]
fn child_again_and_again() {
    let mut sim = pair();
    for round in 0..10 {
        sim.rekey_child(round % 2);
        settle_under_traffic(&mut sim);
        sim.assert_established(1, 1);
    }
}

#[test]
fn child_by_soft_expire() {
    let mut sim = pair();
    let inbound = sim.hosts[A].snapshots()[0].children[0].inbound.unwrap();
    sim.input(A, Input::ExpireChild { protocol: inbound.protocol, spi: inbound.spi, hard: false });
    settle_under_traffic(&mut sim);
    sim.assert_established(1, 1);
    assert_eq!(sim.events(A, |event| matches!(event, Event::ChildRekey { .. })), 1);
}

#[test]
fn child_from_both_sides_at_once() {
    // The exchange with the lowest of the four nonces loses; each seed has other nonces.
    let (mut won, mut lost) = (0, 0);
    for seed in 0..20 {
        let mut sim = Sim::with_seed(seed, true);
        sim.establish();
        sim.rekey_child(A);
        sim.rekey_child(B);
        settle_under_traffic(&mut sim);
        sim.assert_established(1, 1);
        won += sim.trace.count("CHILD_SA rekey collision won");
        lost += sim.trace.count("CHILD_SA rekey collision lost");
    }
    assert!(won > 0 && won == lost, "{won} won, {lost} lost");
}

#[test]
fn child_collisions_with_any_overlap() {
    // One side starts later, and one direction is slower: deletes overtake responses in all ways that can be.
    for seed in 0..200 {
        let mut sim = Sim::with_seed(seed, true);
        sim.establish();
        let lead = Duration::from_millis(sim.below(60));
        let slow = Duration::from_millis(sim.below(80));
        let slow_host = usize::from(sim.below(2) == 1);
        let slow_host = sim.hosts[slow_host].address;
        sim.net.script(move |d| if d.from.ip() == slow_host { Fate::Delay(slow) } else { Fate::Pass });
        sim.rekey_child(A);
        sim.run_for(lead);
        if sim.child(B).is_some() {
            sim.rekey_child(B);
        }
        settle_under_traffic(&mut sim);
        sim.assert_established(1, 1);
    }
}

#[test]
fn a_lost_response_of_a_child_collision() {
    for lost in 0..8 {
        let mut sim = pair();
        let mut count = 0;
        sim.net.script(move |_| {
            count += 1;
            if count == lost + 1 { Fate::Drop } else { Fate::Pass }
        });
        sim.rekey_child(A);
        sim.rekey_child(B);
        sim.run_for(Duration::from_secs(30));
        sim.assert_established(1, 1);
    }
}

#[test]
fn child_against_its_deletion() {
    // RFC 7296 §2.25.1: TEMPORARY_FAILURE for what is being closed, CHILD_SA_NOT_FOUND for what is gone.
    for milliseconds in 0..40 {
        for (rekeys, deletes) in [(A, B), (B, A)] {
            let mut sim = pair();
            let child = sim.child(deletes).unwrap();
            sim.rekey_child(rekeys);
            sim.run_for(Duration::from_millis(milliseconds));
            if sim.children(deletes).contains(&child) {
                sim.input(deletes, Input::TerminateChild { child });
            }
            sim.run_for(Duration::from_secs(60));
            sim.assert_agreement();
            sim.assert_traffic();
        }
    }
}

#[test]
fn ike_from_either_side() {
    for host in [A, B] {
        let mut sim = pair();
        let old = sim.ike(host);
        sim.input(host, Input::RekeyIke);
        settle_under_traffic(&mut sim);
        sim.assert_established(1, 1);
        assert_ne!(old, sim.ike(host));
        for host in [A, B] {
            assert_eq!(sim.events(host, |event| matches!(event, Event::IkeRekey { .. })), 1);
            assert_eq!(sim.events(host, |event| matches!(event, Event::IkeUpDown { up: false, .. })), 0);
        }
        // The new IKE_SA works for the CHILD_SA it took over, from both sides.
        for host in [A, B] {
            sim.rekey_child(host);
            settle_under_traffic(&mut sim);
            sim.assert_established(1, 1);
        }
    }
}

#[test]
fn ike_again_and_again() {
    let mut sim = pair();
    for round in 0..10 {
        sim.input(round % 2, Input::RekeyIke);
        settle_under_traffic(&mut sim);
        sim.assert_established(1, 1);
    }
}

#[test]
fn ike_from_both_sides_at_once() {
    for seed in 0..20 {
        let mut sim = Sim::with_seed(seed, true);
        sim.establish();
        sim.input(A, Input::RekeyIke);
        sim.input(B, Input::RekeyIke);
        sim.run_for(Duration::from_secs(120));
        sim.assert_established(1, 1);
        assert_eq!(sim.trace.count("IKE_SA rekey collision won"), 1);
        assert_eq!(sim.trace.count("IKE_SA rekey collision lost"), 1);
    }
}

#[test]
fn ike_collisions_with_any_overlap() {
    for seed in 0..200 {
        let mut sim = Sim::with_seed(seed, true);
        sim.establish();
        let lead = Duration::from_millis(sim.below(60));
        let slow = Duration::from_millis(sim.below(80));
        let slow_host = usize::from(sim.below(2) == 1);
        let slow_host = sim.hosts[slow_host].address;
        sim.net.script(move |d| if d.from.ip() == slow_host { Fate::Delay(slow) } else { Fate::Pass });
        sim.input(A, Input::RekeyIke);
        sim.run_for(lead);
        sim.input(B, Input::RekeyIke);
        sim.run_for(Duration::from_secs(150));
        sim.assert_established(1, 1);
    }
}

#[test]
fn ike_against_child() {
    // RFC 7296 §2.25.2: TEMPORARY_FAILURE for a rekeying of the IKE_SA while a CHILD_SA is half open, and the other way round.
    for milliseconds in 0..40 {
        for (ike, child) in [(A, B), (B, A), (A, A)] {
            let mut sim = pair();
            sim.rekey_child(child);
            sim.run_for(Duration::from_millis(milliseconds));
            sim.input(ike, Input::RekeyIke);
            sim.run_for(Duration::from_secs(90));
            sim.assert_established(1, 1);
        }
    }
}

#[test]
fn ike_against_its_deletion() {
    for milliseconds in 0..40 {
        for (rekeys, deletes) in [(A, B), (B, A)] {
            let mut sim = pair();
            let old = sim.ike(deletes).unwrap();
            sim.input(rekeys, Input::RekeyIke);
            sim.run_for(Duration::from_millis(milliseconds));
            sim.input_to(deletes, old, Input::TerminateIke { force: false });
            sim.run_for(Duration::from_secs(120));
            sim.assert_agreement();
            sim.assert_traffic();
        }
    }
}

#[test]
fn a_temporary_failure_is_tried_again() {
    let mut sim = pair();
    // B is busy rekeying its child for a while, as A's responses do not arrive.
    let a = sim.hosts[A].address;
    sim.net.script(move |d| match d.header() {
        Some(header) if d.from.ip() == a && header.is_response() => Fate::Drop,
        _ => Fate::Pass,
    });
    sim.rekey_child(B);
    sim.run_for(Duration::from_secs(1));
    sim.input(A, Input::RekeyIke);
    sim.run_for(Duration::from_secs(1));
    sim.assert(sim.trace.contains("IKE_SA rekeying failed, trying again in"), "log");
    sim.net.unscript();
    sim.run_for(Duration::from_secs(60));
    sim.assert_established(1, 1);
    assert!(sim.events(A, |event| matches!(event, Event::IkeRekey { .. })) >= 1);
}

#[test]
fn timers_start_rekeying() {
    let mut sim = pair();
    sim.run_for(Duration::from_secs(15_000));
    sim.assert_agreement();
    sim.assert_traffic();
    let rekeys = sim.events(A, |event| matches!(event, Event::IkeRekey { .. }));
    assert!(rekeys >= 1, "{rekeys}");
    assert_eq!(sim.hosts[A].sas.iter().filter(|sa| sa.state() == IkeSaState::Established).count(), 1);
}

#[test]
fn rekeying_uses_the_old_ike_sa_to_the_end() {
    let mut sim = pair();
    let old = sim.sent[2].header().unwrap().initiator_spi;
    let before = sim.sent.len();
    sim.input(A, Input::RekeyIke);
    sim.settle();
    let exchanges: Vec<_> = sim.sent[before..]
        .iter()
        .filter_map(|d| d.header())
        .filter(|header| header.is_request())
        .map(|header| (header.exchange, header.initiator_spi))
        .collect();
    assert_eq!(exchanges, [(ExchangeType::CreateChildSa, old), (ExchangeType::Informational, old)]);
}

/// Loses all responses that `host` sends.
fn lose_responses_of(sim: &mut Sim, host: usize) {
    let address = sim.hosts[host].address;
    sim.net.script(move |d| match d.header() {
        Some(header) if d.from.ip() == address && header.is_response() => Fate::Drop,
        _ => Fate::Pass,
    });
}

#[test]
fn a_replacement_the_peer_does_not_know_yet() {
    // B's rekeying is answered, but the answer is lost: B would not find what A wants to rekey.
    let mut sim = pair();
    lose_responses_of(&mut sim, A);
    sim.rekey_child(B);
    sim.run_for(Duration::from_secs(1));
    sim.rekey_child(A);
    sim.run_for(Duration::from_secs(1));
    sim.assert(sim.trace.contains("peer has not confirmed CHILD_SA"), "log");
    sim.net.unscript();
    sim.run_for(Duration::from_secs(60));
    sim.assert_established(1, 1);
}

#[test]
fn a_further_child_the_peer_does_not_know_yet() {
    for terminate in [false, true] {
        let mut sim = pair();
        let child = sim.child(A).unwrap();
        sim.input(A, Input::TerminateChild { child });
        sim.settle();
        lose_responses_of(&mut sim, B);
        sim.initiate(A);
        sim.run_for(Duration::from_secs(1));
        let child = sim.child(B).unwrap();
        sim.input(B, if terminate { Input::TerminateChild { child } } else { Input::RekeyChild { child } });
        sim.run_for(Duration::from_secs(1));
        sim.net.unscript();
        sim.run_for(Duration::from_secs(60));
        sim.assert_established(1, usize::from(!terminate));
    }
}

#[test]
fn a_collision_that_ends_after_the_next_rekeying() {
    // B learns only then whether its own rekeying counts, when what replaced the CHILD_SA has been replaced as well.
    for seed in 0..10 {
        let mut sim = Sim::with_seed(seed, true);
        sim.establish();
        lose_responses_of(&mut sim, A);
        sim.rekey_child(A);
        sim.rekey_child(B);
        sim.run_for(Duration::from_secs(1));
        sim.rekey_child(A);
        sim.run_for(Duration::from_secs(20));
        sim.net.unscript();
        sim.run_for(Duration::from_secs(60));
        sim.assert_established(1, 1);
    }
}

#[test]
fn a_deletion_overtaken_by_the_peers_rekeying() {
    // A is busy, so its deletion waits; meanwhile B replaces what A wants to delete.
    let mut sim = pair();
    lose_responses_of(&mut sim, B);
    sim.input(A, Input::RekeyIke);
    sim.run_for(Duration::from_millis(1));
    let child = sim.child(A).unwrap();
    sim.input(A, Input::TerminateChild { child });
    sim.run_for(Duration::from_secs(60));
    sim.net.unscript();
    sim.run_for(Duration::from_secs(60));
    sim.assert_agreement();
    sim.assert_traffic();

    let mut sim = pair();
    lose_responses_of(&mut sim, B);
    let inbound = sim.child(A).unwrap();
    sim.hosts[A].settings.retransmit.timeout = Duration::from_secs(1);
    sim.rekey_child(A);
    sim.run_for(Duration::from_secs(1));
    sim.rekey_child(B);
    sim.input(A, Input::TerminateChild { child: inbound });
    sim.run_for(Duration::from_secs(5));
    sim.net.unscript();
    sim.run_for(Duration::from_secs(60));
    sim.assert_agreement();
    sim.assert_traffic();
}
