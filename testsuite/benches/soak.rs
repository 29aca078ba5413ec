//! 100 tunnels between two of our daemons over userspace ESP for three minutes, CHILD_SAs rekeyed every 5 s and IKE_SAs
//! every 20 s from both sides, under ping in every tunnel and TCP in one after the other: no SA and no packet may be lost, and
//! memory must not grow.
//!
//! `cargo build --release --bins && cargo bench -p testsuite --bench soak`
//! (`SOAK_TUNNELS=20 SOAK_SECONDS=60` for another size). Needs root and the packages that `scripts/test` installs.

#![forbid(unsafe_code)]

use std::time::Duration;

use testsuite::Result;
use testsuite::soak::{Soak, run};

fn number<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[expect(clippy::print_stdout, reason = "its result")]
fn main() -> Result<()> {
    let soak = Soak {
        tunnels: number("SOAK_TUNNELS", 100),
        duration: Duration::from_secs(number("SOAK_SECONDS", 180)),
        child_rekey: 5,
        ike_rekey: 20,
    };
    let report = run(soak)?;
    println!("{soak:?}\n{report:?}");
    Ok(())
}
