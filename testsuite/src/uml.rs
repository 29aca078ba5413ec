//! Scenarios on a kernel that has ESP: User-Mode Linux, booted by `scripts/uml`.
//!
//! A test hands its scenario to [`on_esp_kernel`]. On the machine itself that boots the kernel and runs the same test in
//! it; in there the scenario runs. So the harness is the same on both: hosts are namespaces, programs are those of the
//! machine, files are on its disk, except for `TMPDIR` and `/run`, which go with the kernel.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;

/// Set inside User-Mode Linux.
const INSIDE: &str = "CHARON_UML";

/// Booting takes a few seconds, what follows is several times slower than on the machine.
const TIMEOUT_SECONDS: u32 = 150;

/// Whether this process runs inside User-Mode Linux.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs `scenario` inside User-Mode Linux. `test` is the full name of the calling test, which is run again in there.
///
/// # Errors
/// The scenario's, with everything it printed; or if the kernel does not boot or takes more than two and a half minutes.
pub fn on_esp_kernel(test: &str, scenario: impl FnOnce() -> Result<()>) -> Result<()> {
    if is_inside() {
        return scenario();
    }
    let out = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/uml"))
        .arg(std::env::current_exe()?)
        .args([test, "--exact", "--include-ignored", "--nocapture"])
        .env("UML_TIMEOUT", std::env::var("UML_TIMEOUT").unwrap_or_else(|_| TIMEOUT_SECONDS.to_string()))
        .stdin(Stdio::null())
        .output()?;
    let stdout = String::from_utf8_lossy(&out.stdout);
    // A misspelled name would run nothing and pass.
    if out.status.success() && stdout.contains("test result: ok. 1 passed") {
        return Ok(());
    }
    Err(format!("inside User-Mode Linux: {}\n{stdout}{}", out.status, String::from_utf8_lossy(&out.stderr)).into())
}
