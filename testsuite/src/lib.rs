//! Black-box scenarios: our binaries and real peers in network namespaces, driven over vici and `swanctl`.
//!
//! This library is the harness; the scenarios are in `tests/`. Nothing here looks inside a daemon. Scenarios need
//! root and the peers' packages, both provided by `scripts/test`, and fail when either is missing.

#![forbid(unsafe_code)]

pub mod config;
pub mod daemon;
pub mod lab;
pub mod pki;
pub mod soak;
pub mod traffic;
pub mod tunnel;
pub mod uml;

/// What scenario code returns: any failure ends the test with its text.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Polls `condition` every 20 ms until it holds.
///
/// # Errors
/// Names `what` if the condition does not hold within `seconds`, with the last error if there was one.
pub fn wait_for(what: &str, seconds: u64, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    loop {
        let last = condition();
        if matches!(last, Ok(true)) {
            return Ok(());
        }
        if std::time::Instant::now() > end {
            let why = last.err().map_or_else(String::new, |e| format!(": {e}"));
            return Err(format!("{what}: not within {seconds} s{why}").into());
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
