//! A thousand seeds of everything at once, over a bad network.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ike::Input;
use strongswan::crypto::Rng;

use crate::sim::net::{Conditions, Nat};
use crate::sim::{A, B, Sim, seed_of_environment};

/// Seeds of a normal run; `SIM_SEEDS` asks for more.
const SEEDS: u64 = 1000;

/// Handshake and child; rekeying of both from both sides at once, again and again; deletion. Returns whether there was a
/// CHILD_SA left to delete.
fn run(seed: u64, traced: bool, configure: fn(&mut Sim)) -> bool {
    let mut sim = Sim::with_seed(seed, traced);
    configure(&mut sim);
    // Ends that have lost their counterpart find out.
    sim.configure(|peer| peer.dpd_delay = Duration::from_secs(60));
    sim.net.conditions = Conditions::BAD;
    // Half of the seeds have more to cope with.
    if seed % 4 == 1 {
        sim.net.nat = Some(Nat::new(sim.hosts[A].address, "203.0.113.1".parse().unwrap()));
    }
    if seed % 4 == 3 {
        sim.net.conditions.corruption = 10;
        for host in &mut sim.hosts {
            host.settings.fragment_size.default = 250;
        }
    }
    sim.initiate(A);
    if sim.below(4) == 0 {
        sim.initiate(B);
    }
    sim.run_for(Duration::from_secs(30));
    for _ in 0..sim.below(6) {
        for host in [A, B] {
            action(&mut sim, host);
        }
        let pause = sim.below(12_000);
        sim.run_for(Duration::from_millis(pause));
    }
    // Rekeying from both sides at once, always.
    for host in [A, B] {
        if sim.child(host).is_some() {
            sim.rekey_child(host);
        }
    }
    let pause = sim.below(30_000);
    sim.run_for(Duration::from_millis(pause));

    // Better times: all retransmissions, retries, liveness checks and forced deletions come to an end.
    sim.net.conditions = Conditions::PERFECT;
    sim.run_for(Duration::from_secs(600));
    sim.assert_agreement();
    sim.assert_traffic();

    let survived = sim.child(A).is_some();

    for host in [A, B] {
        for ike in sim.hosts[host].snapshots() {
            sim.input_to(host, ike.unique_id, Input::TerminateIke { force: false });
        }
    }
    sim.run_for(Duration::from_secs(600));
    sim.assert_nothing_left();
    survived
}

/// What an operator, a timer or a data plane may do at any time.
fn action(sim: &mut Sim, host: usize) {
    let Some(id) = sim.ike(host) else { return };
    let children = sim.children(host);
    let child = match children.len() {
        0 => None,
        n => Some(children[usize::try_from(sim.rng.below(n.try_into().unwrap())).unwrap()]),
    };
    match (sim.below(10), child) {
        (0..=4, Some(child)) => sim.input_to(host, id, Input::RekeyChild { child }),
        (5..=6, _) => sim.input_to(host, id, Input::RekeyIke),
        (7, Some(child)) => sim.input_to(host, id, Input::TerminateChild { child }),
        (8, _) => {
            sim.initiate(host);
        }
        (9, _) => {
            if let Some(nat) = &mut sim.net.nat {
                nat.restart();
            }
        }
        _ => {}
    }
}

/// Runs `SIM_SEED`, `SIM_SEEDS` or so many seeds.
pub fn soak(seeds: u64, configure: fn(&mut Sim)) {
    if let Some(seed) = seed_of_environment() {
        run(seed, true, configure);
        return;
    }
    let seeds = std::env::var("SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(seeds);
    let mut survived = 0;
    for seed in 0..seeds {
        match catch_unwind(AssertUnwindSafe(|| run(seed, false, configure))) {
            Ok(alive) => survived += u64::from(alive),
            Err(_) => {
                // Once more, for the trace.
                run(seed, true, configure);
                panic!("seed {seed} failed, but not when traced");
            }
        }
    }
    // Agreeing on nothing is not the idea.
    assert!(survived * 10 > seeds * 7, "CHILD_SAs survived in {survived} of {seeds} runs only");
}

#[test]
fn a_thousand_seeds() {
    soak(SEEDS, |_| {});
}
