//! Addresses that change: roaming with and without MOBIKE (RFC 4555), NAT mappings, paths that die and come back.

use crate::sim::{A, B, Sim};

/// Without MOBIKE and with an address that is not configured, the initiator starts over from its new address.
#[test]
fn without_mobike_the_initiator_reauthenticates() {
    let mut sim = Sim::pair();
    sim.configure_host(A, |peer| any_address(peer));
    sim.configure_host(B, |peer| any_peer(peer));
    sim.establish();
    let before = sim.ike(A);
    sim.move_to(A, &["192.0.2.7"]);
    sim.settle();
    sim.assert_established(1, 1);
    sim.assert(sim.ike(A) != before, "it is another IKE_SA");
    sim.assert(sim.trace.contains("reauthenticating IKE_SA due to address change"), "it says so");
    let remote = sim.hosts[B].sas[0].remote();
    sim.assert(remote.ip().to_string() == "192.0.2.7", "from the new address");
}

/// A configured address is kept, whatever the routes say.
#[test]
fn without_mobike_a_static_address_stays() {
    let mut sim = Sim::pair();
    sim.establish();
    let before = sim.ike(A);
    sim.roam(A, true);
    sim.settle();
    sim.assert(sim.ike(A) == before, "nothing happens");
    sim.assert(sim.trace.contains("keeping statically configured path 192.0.2.1 - 192.0.2.2"), "it says so");
}

/// The responder can only wait.
#[test]
fn without_mobike_the_responder_waits() {
    let mut sim = Sim::pair();
    for host in [A, B] {
        sim.configure_host(host, |peer| {
            any_address(peer);
            any_peer_if(peer, host == B);
        });
    }
    sim.establish();
    let before = sim.ike(B);
    sim.move_to(B, &["192.0.2.8"]);
    sim.settle();
    sim.assert(sim.ike(B) == before && !sim.trace.contains("reauthenticating"), "nothing happens");
}

/// No route at all: nothing is tried until there is one.
#[test]
fn without_mobike_a_lost_route_is_waited_for() {
    let mut sim = Sim::pair();
    sim.configure_host(A, any_address);
    sim.configure_host(B, any_peer);
    sim.establish();
    let (before, sent) = (sim.ike(A), sim.sent.len());
    let sun = sim.hosts[B].address;
    sim.hosts[A].kernel.set_reachable(sun, false);
    sim.roam(A, false);
    sim.settle();
    sim.assert(sim.trace.contains("no route found to reach 192.0.2.2, MOBIKE update deferred"), "it says so");
    sim.hosts[A].kernel.set_reachable(sun, true);
    sim.roam(A, false);
    sim.settle();
    sim.assert(sim.ike(A) == before && sim.sent.len() == sent, "the way is back, nothing has to be done");
    sim.assert_established(1, 1);
}

/// `check_current_path`: a path that looks usable is checked.
#[test]
fn a_usable_path_is_checked_on_demand() {
    let mut sim = Sim::pair();
    sim.configure_host(A, any_address);
    sim.hosts[A].settings.check_current_path = true;
    sim.establish();
    let sent = sim.sent.len();
    sim.roam(A, false);
    sim.settle();
    sim.assert(sim.trace.contains("checking if current path still works using DPD"), "it says so");
    sim.assert(sim.sent.len() == sent + 2, "with one exchange");
}

/// Our address is whatever leads to the peer.
fn any_address(peer: &mut ike::config::PeerConfig) {
    let mut ike = (*peer.ike).clone();
    ike.local_addrs.clear();
    peer.ike = std::sync::Arc::new(ike);
}

/// The peer comes from anywhere.
fn any_peer(peer: &mut ike::config::PeerConfig) {
    any_peer_if(peer, true);
}

fn any_peer_if(peer: &mut ike::config::PeerConfig, any: bool) {
    if any {
        let mut ike = (*peer.ike).clone();
        ike.remote_addrs.clear();
        peer.ike = std::sync::Arc::new(ike);
    }
}
