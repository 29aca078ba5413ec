//! What random scripts found, each reduced to the messages and events it takes.

use std::sync::Arc;
use std::time::Duration;

use ike::Input;
use ike::config::{Action, PeerConfig};

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
