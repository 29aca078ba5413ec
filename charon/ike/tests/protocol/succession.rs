//! IKE_SAs that take another one's place, however the other one ends.

use std::time::Duration;

use ike::Input;

use crate::sim::net::Fate;
use crate::sim::{A, B, Sim};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A pair whose A gives its peer up while it is being reauthenticated: a liveness check was under way before.
fn lost_during_reauthentication(make_before_break: bool) -> Sim {
    let mut sim = Sim::pair();
    sim.hosts[A].settings.make_before_break = make_before_break;
    sim.configure_host(A, |peer| {
        peer.dpd_delay = seconds(30);
        // as often as it takes
        peer.keyingtries = 0;
    });
    sim.establish();
    let old = sim.ike(A).unwrap();
    sim.net.script(|_| Fate::Drop);
    sim.run_for(seconds(100));
    sim.input_to(A, old, Input::ReauthIke);
    // The check is given up at 195 s.
    sim.run_for(seconds(100));
    assert!(sim.hosts[A].sas.iter().all(|sa| sa.unique_id() != old), "{}", sim.describe(A));
    sim.forget(B);
    sim.net.unscript();
    sim.run_for(seconds(600));
    sim
}

#[test]
fn what_breaks_before_it_is_broken_comes_back() {
    lost_during_reauthentication(false).assert_established(1, 1);
}

#[test]
fn one_successor_is_enough() {
    lost_during_reauthentication(true).assert_established(1, 1);
}

#[test]
fn a_peer_that_closes_first_does_not_end_a_reauthentication() {
    let mut sim = Sim::pair();
    sim.hosts[A].settings.make_before_break = false;
    sim.configure_host(A, |peer| peer.dpd_delay = seconds(30));
    sim.establish();
    // The DELETE has to wait for the answer to a liveness check.
    let moon = sim.hosts[A].address;
    sim.net.script(move |datagram| {
        let request = datagram.header().is_some_and(|header| header.is_request());
        if request && datagram.from.ip() == moon { Fate::Drop } else { Fate::Pass }
    });
    sim.run_for(seconds(31));
    sim.input(A, Input::ReauthIke);
    sim.input(B, Input::TerminateIke { force: false });
    sim.run_for(seconds(1));
    sim.net.unscript();
    sim.run_for(seconds(30));
    sim.assert_established(1, 1);
}
