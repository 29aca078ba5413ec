//! Addresses that change: roaming with and without MOBIKE (RFC 4555), NAT mappings, paths that die and come back.

use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ike::kernel::Direction;
use ike::{Event, Input};

use crate::sim::config::{MOON, SUN};
use crate::sim::kernel::Failures;
use crate::sim::net::{Conditions, Fate, Nat};
use crate::sim::{A, B, Sim, seed_of_environment};

/// Without MOBIKE and with an address that is not configured, the initiator starts over from its new address.
#[test]
fn without_mobike_the_initiator_reauthenticates() {
    let mut sim = Sim::pair();
    sim.configure_host(A, any_address);
    sim.configure_host(B, any_peer);
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

/// Two hosts with MOBIKE; `a` and `b` are the addresses they have.
pub fn mobile(seed: Option<u64>, traced: bool, a: &[&str], b: &[&str]) -> Sim {
    let mut sim = seed.map_or_else(Sim::pair, |seed| Sim::with_seed(seed, traced));
    sim.configure(|peer| peer.mobike = true);
    for (host, addresses) in [(A, a), (B, b)] {
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        sim.hosts[host].kernel.set_addresses(&addresses);
    }
    sim
}

pub fn pair() -> Sim {
    let mut sim = mobile(None, true, &[MOON.address], &[SUN.address]);
    sim.establish();
    sim.assert(sim.trace.count("peer supports MOBIKE") == 2, "both sides use it");
    sim
}

/// Both ends use these addresses, for IKE and for ESP, and the SAs are the ones there were.
#[track_caller]
pub fn assert_path(sim: &Sim, a: &str, b: &str) {
    let (a, b): (IpAddr, IpAddr) = (a.parse().unwrap(), b.parse().unwrap());
    for (host, local, remote) in [(A, a, b), (B, b, a)] {
        for ike in sim.hosts[host].snapshots() {
            if (ike.local.ip(), ike.remote.ip()) != (local, remote) {
                sim.fail(format_args!("{}: {} - {}", sim.hosts[host].name, ike.local, ike.remote));
            }
        }
        for sa in sim.hosts[host].kernel.sas() {
            let (src, dst) = match sa.direction {
                Direction::In => (remote, local),
                Direction::Out => (local, remote),
            };
            sim.assert((sa.id.src, sa.id.dst) == (src, dst), "SAs are between the new addresses");
        }
        for policy in sim.hosts[host].kernel.policies() {
            sim.assert((policy.local, policy.remote) == (local, remote), "and so are policies");
        }
        sim.assert(sim.hosts[host].kernel.violations().is_empty(), "the data plane was used properly");
    }
    sim.assert_established(1, 1);
}

#[test]
fn the_initiator_moves() {
    let mut sim = pair();
    let (ike, child) = (sim.ike(A), sim.child(A));
    sim.move_to(A, &["192.0.2.7"]);
    sim.settle();
    assert_path(&sim, "192.0.2.7", SUN.address);
    sim.assert((sim.ike(A), sim.child(A)) == (ike, child), "nothing was rekeyed");
    for line in [
        "old path is not available anymore, try to find another",
        "requesting address change using MOBIKE",
        "checking path 192.0.2.7[4500] - 192.0.2.2[4500]",
        "local endpoint changed from 192.0.2.1[4500] to 192.0.2.7[4500]",
        "remote endpoint changed from 192.0.2.1[4500] to 192.0.2.7[4500]",
    ] {
        sim.assert(sim.trace.contains(line), line);
    }
    let to = SocketAddr::from(([192, 0, 2, 7], 4500));
    let ours = |event: &Event| matches!(event, Event::IkeUpdate { local, .. } if *local == to);
    let theirs = |event: &Event| matches!(event, Event::IkeUpdate { remote, .. } if *remote == to);
    sim.assert((sim.events(A, ours), sim.events(B, theirs)) == (1, 1), "observers are told");
}

/// The responder cannot move the IKE_SA; it has the initiator do it.
#[test]
fn the_responder_moves() {
    let mut sim = pair();
    let (ike, child) = (sim.ike(A), sim.child(A));
    sim.move_to(B, &["192.0.2.8"]);
    sim.settle();
    assert_path(&sim, MOON.address, "192.0.2.8");
    sim.assert((sim.ike(A), sim.child(A)) == (ike, child), "nothing was rekeyed");
    let line = "sending address list update using MOBIKE, implicitly requesting an address change";
    sim.assert(sim.trace.contains(line), line);
}

/// Neither knows where the other went, but each knows an address that the other had before.
#[test]
fn both_move_at_once() {
    let mut sim = mobile(None, true, &[MOON.address, "192.0.2.7"], &[SUN.address, "192.0.2.8"]);
    sim.establish();
    sim.hosts[A].kernel.set_addresses(&["192.0.2.7".parse().unwrap()]);
    sim.hosts[B].kernel.set_addresses(&["192.0.2.8".parse().unwrap()]);
    sim.roam(A, true);
    sim.roam(B, true);
    sim.run_for(Duration::from_secs(60));
    assert_path(&sim, "192.0.2.7", "192.0.2.8");
}

/// Addresses beyond the first are known to the peer, at most eight, and again when they change.
#[test]
fn addresses_are_announced() {
    let many: Vec<String> = (10..30).map(|n| format!("198.51.100.{n}")).collect();
    let mut all: Vec<&str> = vec![MOON.address];
    all.extend(many.iter().map(String::as_str));
    let mut sim = mobile(None, true, &all, &[SUN.address]);
    sim.establish();
    let request = &sim.trace.text();
    let line = request.lines().find(|line| line.contains("generating IKE_AUTH request")).unwrap();
    assert_eq!(line.matches("N(ADD_4_ADDR)").count(), 8, "{line}");
    sim.assert(sim.trace.contains("N(NO_ADD_ADDR)"), "the other side has none");
    let sent = sim.sent.len();
    sim.roam(A, true);
    sim.settle();
    sim.assert(sim.sent.len() == sent, "nothing new, nothing said");
    sim.move_to(A, &[MOON.address, "198.51.100.99"]);
    sim.settle();
    sim.assert(sim.sent.len() == sent + 2, "one exchange");
    sim.assert(sim.trace.contains("sending address list update using MOBIKE"), "it says so");
    assert_path(&sim, MOON.address, SUN.address);
    // the peer finds us there
    sim.net.script(|datagram| {
        if [datagram.from, datagram.to].iter().any(|end| end.ip().to_string() == MOON.address) {
            Fate::Drop
        } else {
            Fate::Pass
        }
    });
    sim.roam(B, true);
    sim.assert(sim.ike(B).is_some(), "it is still there");
}

/// Answers get lost; the peer has moved all the same.
#[test]
fn lost_messages_do_not_matter() {
    for lose in 0..6 {
        let mut sim = pair();
        let mut count = 0;
        sim.net.script(move |_| {
            count += 1;
            if count - 1 == lose { Fate::Drop } else { Fate::Pass }
        });
        sim.move_to(A, &["192.0.2.7"]);
        sim.run_for(Duration::from_secs(30));
        assert_path(&sim, "192.0.2.7", SUN.address);
    }
}

/// A move while a rekeying waits for its answer: what is in the air finds the new path.
#[test]
fn moves_during_rekeyings() {
    for host in [A, B] {
        for ike in [false, true] {
            for who in [A, B] {
                let mut sim = pair();
                if ike {
                    sim.input(host, Input::RekeyIke);
                } else {
                    sim.rekey_child(host);
                }
                let to = if who == A { "192.0.2.7" } else { "192.0.2.8" };
                sim.move_to(who, &[to]);
                sim.run_for(Duration::from_secs(120));
                let (a, b) = if who == A { (to, SUN.address) } else { (MOON.address, to) };
                assert_path(&sim, a, b);
            }
        }
    }
}

/// No way to the peer: nothing is sent, nothing given up, until there is one.
#[test]
fn a_dead_path_comes_back() {
    let mut sim = pair();
    sim.configure(|peer| peer.dpd_delay = Duration::from_secs(10));
    let (ike, sun) = (sim.ike(A), sim.hosts[B].address);
    sim.rekey_child(A);
    sim.hosts[A].kernel.set_reachable(sun, false);
    sim.net.clear();
    sim.roam(A, false);
    let sent = sim.sent.len();
    sim.run_for(Duration::from_secs(1000));
    sim.assert(sim.ike(A) == ike && sim.sent.len() == sent, "it waits");
    let line = "no route found to reach 192.0.2.2, MOBIKE update deferred";
    sim.assert(sim.trace.contains(line), line);
    sim.hosts[A].kernel.set_reachable(sun, true);
    sim.roam(A, false);
    sim.settle();
    sim.assert(sim.ike(A) == ike, "it is the same one");
    assert_path(&sim, MOON.address, SUN.address);
    // and once more, to come back at another address
    sim.hosts[A].kernel.set_reachable(sun, false);
    sim.roam(A, false);
    sim.run_for(Duration::from_secs(300));
    sim.hosts[A].kernel.set_reachable(sun, true);
    sim.move_to(A, &["192.0.2.7"]);
    sim.settle();
    assert_path(&sim, "192.0.2.7", SUN.address);
}

/// The peer's address fails without a word: the ones it announced are tried, before it is given up.
#[test]
fn additional_addresses_are_tried() {
    let mut sim = mobile(None, true, &[MOON.address], &[SUN.address, "192.0.2.8"]);
    sim.configure(|peer| peer.dpd_delay = Duration::from_secs(10));
    sim.establish();
    let ike = sim.ike(A);
    sim.net.script(|datagram| {
        let dead = [datagram.from, datagram.to].iter().any(|end| end.ip().to_string() == SUN.address);
        if dead { Fate::Drop } else { Fate::Pass }
    });
    sim.run_for(Duration::from_secs(60));
    sim.assert(sim.ike(A) == ike, "it lives");
    assert_path(&sim, MOON.address, "192.0.2.8");
}

/// No path works: after ten rounds the peer is gone.
#[test]
fn probing_ends() {
    let mut sim = pair();
    sim.net.script(|_| Fate::Drop);
    sim.move_to(A, &["192.0.2.7"]);
    sim.run_for(Duration::from_secs(27));
    sim.assert(sim.trace.contains("path probing attempt 10"), "ten times");
    sim.run_for(Duration::from_secs(2));
    sim.assert(sim.trace.contains("giving up after 10 path probings"), "not more");
    sim.assert(sim.hosts[A].sas.is_empty(), "and the IKE_SA is gone");
}

/// `mobike = no` on either side.
#[test]
fn it_can_be_disabled() {
    for disabled in [A, B] {
        let mut sim = mobile(None, true, &[MOON.address], &[SUN.address]);
        sim.configure_host(disabled, |peer| peer.mobike = false);
        sim.establish();
        sim.assert(!sim.trace.contains("peer supports MOBIKE\n"), "neither uses it");
        let refused = sim.trace.contains("peer supports MOBIKE, but disabled in config");
        sim.assert(refused == (disabled == B), "the responder was asked");
        let text = sim.trace.text();
        let answer = text.lines().find(|line| line.contains("generating IKE_AUTH response")).unwrap();
        sim.assert(!answer.contains("MOBIKE_SUP"), "and did not agree");
        sim.move_to(A, &["192.0.2.7"]);
        sim.settle();
        sim.assert(!sim.trace.contains("using MOBIKE"), "so nothing is said");
    }
}

/// A NAT forgets its mapping: the client finds out, and the gateway learns the new one.
#[test]
fn nat_rebinding() {
    let mut sim = mobile(None, true, &[MOON.address], &[SUN.address]);
    sim.configure_host(A, |peer| peer.dpd_delay = Duration::from_secs(30));
    sim.net.nat = Some(Nat::new(sim.hosts[A].address, "203.0.113.1".parse().unwrap()));
    sim.initiate(A);
    sim.run_for(Duration::from_secs(45));
    let before = sim.hosts[B].sas[0].remote();
    sim.net.nat.as_mut().unwrap().restart();
    sim.run_for(Duration::from_secs(45));
    let line = "detected changes in NAT mappings, initiating MOBIKE update";
    sim.assert(sim.trace.contains(line), line);
    let after = sim.hosts[B].sas[0].remote();
    sim.assert(before != after && after.ip().to_string() == "203.0.113.1", "another port");
    let encap = sim.hosts[B].kernel.sas().iter().find(|sa| sa.direction == Direction::Out).and_then(|sa| sa.encap);
    sim.assert(encap.is_some_and(|encap| encap.dport == after.port()), "for ESP, too");
    sim.assert_established(1, 1);
}

/// From a plain network into one behind a NAT and back: ESP follows.
#[test]
fn moving_behind_a_nat_and_back() {
    let mut sim = pair();
    sim.assert(sim.hosts[A].kernel.sas().iter().all(|sa| sa.encap.is_none()), "plain ESP");
    sim.net.nat = Some(Nat::new("10.0.0.7".parse().unwrap(), "203.0.113.1".parse().unwrap()));
    sim.move_to(A, &["10.0.0.7"]);
    sim.settle();
    sim.assert_established(1, 1);
    for host in [A, B] {
        sim.assert(sim.hosts[host].kernel.sas().iter().all(|sa| sa.encap.is_some()), "ESP in UDP");
    }
    sim.net.nat = None;
    sim.move_to(A, &["192.0.2.7"]);
    sim.settle();
    assert_path(&sim, "192.0.2.7", SUN.address);
    for host in [A, B] {
        sim.assert(sim.hosts[host].kernel.sas().iter().all(|sa| sa.encap.is_none()), "plain ESP again");
    }
}

/// A data plane that cannot move one SA loses nothing else, and the CHILD_SA is replaced.
#[test]
fn sas_that_cannot_be_moved_are_replaced() {
    for lost in [false, true] {
        let mut sim = pair();
        let child = sim.child(A);
        sim.hosts[A].kernel.fail(Failures { update_sa: !lost, lose_sa: lost, ..Failures::default() });
        sim.move_to(A, &["192.0.2.7"]);
        sim.settle();
        sim.assert(sim.child(A) != child, "the CHILD_SA was rekeyed");
        assert_path(&sim, "192.0.2.7", SUN.address);
    }
}

/// Policies that cannot be moved stay until the CHILD_SA is replaced.
#[test]
fn policies_that_cannot_be_moved_stay() {
    let mut sim = pair();
    let child = sim.child(A);
    sim.hosts[A].kernel.fail(Failures { add_policies: true, ..Failures::default() });
    sim.move_to(A, &["192.0.2.7"]);
    sim.assert(!sim.hosts[A].kernel.policies().is_empty(), "nothing leaves in clear");
    sim.run_for(Duration::from_millis(25));
    sim.assert(!sim.hosts[A].kernel.policies().is_empty(), "nothing leaves in clear");
    sim.hosts[A].kernel.fail(Failures::default());
    sim.settle();
    sim.run_for(Duration::from_secs(30));
    sim.assert(sim.child(A) != child, "the CHILD_SA was rekeyed");
    assert_path(&sim, "192.0.2.7", SUN.address);
}

/// `prefer_best_path`: a better address is moved to although the one in use works.
#[test]
fn the_best_path_is_taken_on_demand() {
    for prefer in [false, true] {
        let mut sim = pair();
        sim.hosts[A].settings.prefer_best_path = prefer;
        sim.move_to(A, &["192.0.2.7", MOON.address]);
        sim.settle();
        assert_path(&sim, if prefer { "192.0.2.7" } else { MOON.address }, SUN.address);
        sim.assert(sim.trace.contains("old path is not preferred anymore") == prefer, "it says so");
    }
}

/// Both hosts move about, rekey and lose datagrams; in the end they find each other.
#[test]
fn two_hundred_seeds_of_moving_about() {
    if let Some(seed) = seed_of_environment() {
        move_about(seed, true);
        return;
    }
    let seeds = std::env::var("SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let mut survived = 0;
    for seed in 0..seeds {
        match catch_unwind(AssertUnwindSafe(|| move_about(seed, false))) {
            Ok(alive) => survived += u64::from(alive),
            Err(_) => {
                move_about(seed, true);
                panic!("seed {seed} failed, but not when traced");
            }
        }
    }
    // there are moves that nobody can follow: both at once, each to where the other would not look
    assert!(survived * 20 >= seeds * 17, "the tunnel survived in {survived} of {seeds} runs only");
}

/// Whether the IKE_SA survived.
fn move_about(seed: u64, traced: bool) -> bool {
    let names = [["192.0.2.1", "192.0.2.11", "192.0.2.12"], ["192.0.2.2", "192.0.2.21", "192.0.2.22"]];
    let mut sim = mobile(Some(seed), traced, &names[A], &names[B]);
    sim.configure(|peer| peer.dpd_delay = Duration::from_secs(20));
    sim.net.conditions = Conditions {
        loss: 10,
        duplication: 5,
        corruption: 0,
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(200),
    };
    sim.initiate(A);
    sim.run_for(Duration::from_secs(30));
    for _ in 0..4 + sim.below(6) {
        let host = if sim.below(2) == 0 { A } else { B };
        match sim.below(6) {
            0 if sim.child(host).is_some() => sim.rekey_child(host),
            1 if sim.ike(host).is_some() => sim.input(host, Input::RekeyIke),
            2 => sim.roam(host, false),
            _ => {
                let first = usize::try_from(sim.below(3)).unwrap();
                let mut addresses: Vec<_> = names[host].to_vec();
                addresses.rotate_left(first);
                addresses.truncate(1 + usize::try_from(sim.below(3)).unwrap());
                sim.move_to(host, &addresses);
            }
        }
        let pause = sim.below(15_000);
        sim.run_for(Duration::from_millis(pause));
    }
    sim.net.conditions = Conditions::PERFECT;
    sim.run_for(Duration::from_secs(400));
    sim.assert_agreement();
    sim.assert_traffic();
    for host in [A, B] {
        sim.assert(sim.hosts[host].kernel.violations().is_empty(), "the data plane was used properly");
        let peer = &sim.hosts[1 - host];
        for ike in sim.hosts[host].snapshots() {
            sim.assert(peer.kernel.has_address(ike.remote.ip()), "the peer is where it is believed to be");
        }
    }
    sim.child(A).is_some()
}
