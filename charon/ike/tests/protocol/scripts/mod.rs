//! Random scripts: what operators, timers, data planes and fate do to two hosts, in any order, over any network.
//!
//! A seed decides about the connection ([`variant`]), about the script ([`step`]) and about the network. When the network
//! is well again and everything had time to settle, both ends have to hold the same SAs with the same keys, and nothing
//! else; after everything was closed, nothing at all ([`run`]).
//!
//! - `SIM_SEED=<seed>` replays one seed with its trace, `SIM_KEEP=<numbers>` with these steps of its script only;
//! - `SIM_SEEDS=<count>` runs as many, on `SIM_THREADS` threads, from `SIM_FIRST` on: the long run is
//!   `scripts/simulate`.
//!
//! A seed that fails is reduced to the steps it needs before it is reported.

mod extras;
mod run;
mod step;
mod variant;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};

use extras::Extras;
use run::{Outcome, Run};
use step::Step;
use variant::Variant;

use crate::sim::rng::SimRng;
use crate::sim::seed_of_environment;

/// Seeds of a run in the inner loop: a few seconds.
const SEEDS: u64 = 300;
/// Seeds of a full run of the tests: about a minute and a half.
const SEEDS_CI: u64 = 10_000;

/// How many seeds to run if nobody says: nextest tells which profile it is.
fn seeds_of_profile() -> u64 {
    let full = std::env::var("NEXTEST_PROFILE").is_ok_and(|profile| profile == "ci");
    if full { SEEDS_CI } else { SEEDS }
}

/// What a seed stands for.
struct Case {
    seed: u64,
    variant: Variant,
    steps: Vec<Step>,
}

impl Case {
    fn of(seed: u64) -> Self {
        // apart from the simulation's own, so that a script can be cut without becoming another
        let mut rng = SimRng::new(seed ^ 0x5c21_9700_0000_0000);
        let mut extra = SimRng::new(seed ^ 0xe071_a500_0000_0000);
        let variant = Variant::random(&mut rng, Extras::random(&mut extra));
        let mut steps = step::script(&mut rng, &variant);
        variant.extras.add_steps(&mut extra, &mut steps);
        Self { seed, variant, steps }
    }

    /// Runs the steps with these numbers.
    fn run(&self, keep: &BTreeSet<usize>, traced: bool) -> Result<(Outcome, String), (String, String)> {
        let steps: Vec<_> = keep.iter().filter_map(|index| self.steps.get(*index)).cloned().collect();
        let mut run = Run::new(self.seed, &self.variant, traced);
        let result = catch_unwind(AssertUnwindSafe(|| run.all(&steps)));
        let trace = if traced { run.sim.trace.text() } else { String::new() };
        let why = match result {
            Ok(Ok(outcome)) => return Ok((outcome, trace)),
            Ok(Err(why)) => why,
            Err(_) => PANIC.take(),
        };
        let hosts: Vec<_> = [0, 1].map(|host| run.sim.describe(host)).into();
        Err((format!("{why}\n{}", hosts.join("\n")), trace))
    }

    fn all(&self) -> BTreeSet<usize> {
        (0..self.steps.len()).collect()
    }

    /// The fewest steps that still fail, found by leaving out more and more of them.
    fn shrink(&self) -> BTreeSet<usize> {
        let mut keep = self.all();
        let mut chunk = (keep.len() / 2).max(1);
        loop {
            let order: Vec<_> = keep.iter().copied().collect();
            let mut less = false;
            for part in order.chunks(chunk) {
                let without: BTreeSet<_> = keep.iter().copied().filter(|index| !part.contains(index)).collect();
                if self.run(&without, false).is_err() {
                    keep = without;
                    less = true;
                }
            }
            if !less && chunk == 1 {
                return keep;
            }
            if !less {
                chunk = (chunk / 2).max(1);
            }
        }
    }

    /// What failed, and how to see it again.
    fn report(&self, keep: &BTreeSet<usize>) -> String {
        let script: Vec<_> = keep.iter().map(|index| format!("  {index:2} {}", self.steps[*index])).collect();
        let numbers: Vec<_> = keep.iter().map(ToString::to_string).collect();
        let why = self.run(keep, false).err().map_or_else(|| "does not fail".to_owned(), |(why, _)| why);
        format!(
            "seed {}: {why}\n{}\n{}\nSIM_SEED={} SIM_KEEP={} cargo nextest run -p ike --test protocol random_scripts",
            self.seed,
            self.variant,
            script.join("\n"),
            self.seed,
            numbers.join(",")
        )
    }
}

thread_local! {
    /// What the last panic of this thread said.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps the messages of panics instead of printing them: failures are reported when they have been reduced.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| PANIC.set(info.to_string())));
    });
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Replays one seed with its trace.
fn replay(seed: u64) {
    let case = Case::of(seed);
    let keep = std::env::var("SIM_KEEP").ok();
    let keep = keep.map(|text| text.split(',').filter_map(|number| number.parse().ok()).collect());
    let keep = keep.unwrap_or_else(|| case.all());
    let result = case.run(&keep, true);
    if let (Ok((_, trace)), Ok(path)) = (&result, std::env::var("SIM_TRACE")) {
        std::fs::write(path, trace).unwrap();
    }
    if let Err((why, trace)) = result {
        let _ = std::panic::take_hook();
        eprintln!("{trace}\n{}", case.report(&keep));
        panic!("{why}");
    }
}

#[test]
fn random_scripts() {
    quiet_panics();
    if let Some(seed) = seed_of_environment() {
        return replay(seed);
    }
    let first = number("SIM_FIRST").unwrap_or(0);
    let seeds = number("SIM_SEEDS").unwrap_or_else(seeds_of_profile);
    let threads = number("SIM_THREADS").unwrap_or(1).max(1);
    let most_failures = number("SIM_FAILURES").unwrap_or(1);
    let next = AtomicU64::new(first);
    let (ike_sas, child_sas) = (AtomicU64::new(0), AtomicU64::new(0));
    let failures = Mutex::new(Vec::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let found = u64::try_from(failures.lock().unwrap().len()).unwrap();
            if seed >= first + seeds || found >= most_failures {
                return;
            }
            let case = Case::of(seed);
            match case.run(&case.all(), false) {
                Ok((outcome, _)) => {
                    ike_sas.fetch_add(u64::from(outcome.ike_sas > 0), Ordering::Relaxed);
                    child_sas.fetch_add(u64::from(outcome.child_sas > 0), Ordering::Relaxed);
                }
                Err(_) => {
                    let report = case.report(&case.shrink());
                    eprintln!("{report}\n");
                    failures.lock().unwrap().push(seed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let _ = std::panic::take_hook();
    let failures = failures.into_inner().unwrap();
    let (ike_sas, child_sas) = (ike_sas.into_inner(), child_sas.into_inner());
    eprintln!("{seeds} seeds from {first}: {ike_sas} ended with an IKE_SA, {child_sas} with a CHILD_SA");
    assert!(failures.is_empty(), "seeds that failed: {failures:?}");
    // Agreeing on nothing is not the idea.
    assert!(seeds < 100 || child_sas * 3 > seeds, "CHILD_SAs survived in {child_sas} of {seeds} runs only");
}
