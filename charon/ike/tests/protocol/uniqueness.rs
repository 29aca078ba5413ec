//! Several IKE_SAs between the same two peers (spec §10).

use std::time::Duration;

use ike::config::UniquePolicy;
use ike::{Alert, Event, IkeSaState, Input};

use crate::sim::net::Fate;
use crate::sim::{A, B, Sim};

/// A pair with this policy on the responder, connected once.
fn pair(policy: UniquePolicy) -> Sim {
    let mut sim = Sim::pair();
    sim.configure_host(B, |peer| peer.unique = policy);
    sim.establish();
    sim
}

/// A connects once more, with or without remembering that it did so before.
fn connect_again(sim: &mut Sim, forget: bool) {
    if forget {
        sim.forget(A);
    }
    // A copy of the connection has no IKE_SA that could be reused.
    sim.configure_host(A, |_| {});
    sim.initiate(A);
    sim.run_for(Duration::from_secs(5));
}

#[test]
fn initial_contact_clears_what_the_peer_has_forgotten() {
    for policy in [UniquePolicy::No, UniquePolicy::Replace, UniquePolicy::Keep] {
        let mut sim = pair(policy);
        connect_again(&mut sim, true);
        sim.settle();
        sim.assert_established(1, 1);
    }
}

#[test]
fn never_means_not_even_by_initial_contact() {
    let mut sim = pair(UniquePolicy::Never);
    connect_again(&mut sim, true);
    assert_eq!(sim.hosts[B].sas.len(), 2);
}

#[test]
fn without_a_policy_both_live_on() {
    let mut sim = pair(UniquePolicy::No);
    connect_again(&mut sim, false);
    sim.settle();
    sim.assert_established(2, 2);
}

#[test]
fn replace_leaves_time_for_a_reauthentication() {
    let mut sim = pair(UniquePolicy::Replace);
    connect_again(&mut sim, false);
    assert_eq!(sim.hosts[B].sas.len(), 2);
    assert_eq!(sim.events(B, |event| matches!(event, Event::Alert(Alert::UniqueReplace))), 1);
    sim.run_for(Duration::from_secs(20));
    sim.assert_established(1, 1);
}

#[test]
fn keep_accepts_the_same_host() {
    let mut sim = pair(UniquePolicy::Keep);
    connect_again(&mut sim, false);
    assert_eq!(sim.hosts[B].sas.len(), 2);
}

#[test]
fn an_ike_sa_that_is_being_deleted_is_no_rival() {
    let mut sim = pair(UniquePolicy::Keep);
    // B wants to be rid of the first one, but cannot tell A, who connects from another port meanwhile.
    let sun = sim.hosts[B].address;
    sim.net.script(move |datagram| match datagram.header() {
        Some(header) if datagram.from.ip() == sun && header.is_request() => Fate::Drop,
        _ => Fate::Pass,
    });
    sim.input(B, Input::TerminateIke { force: false });
    sim.hosts[A].settings.port = 501;
    connect_again(&mut sim, false);
    let states: Vec<_> = sim.hosts[B].sas.iter().map(|sa| sa.state()).collect();
    assert_eq!(states, [IkeSaState::Deleting, IkeSaState::Established]);
}
