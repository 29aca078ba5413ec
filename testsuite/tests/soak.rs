//! A short slice of the soak; the whole of it is `cargo bench -p testsuite --bench soak`.

use std::time::Duration;

use testsuite::Result;
use testsuite::soak::{Soak, run};

#[test]
fn ten_tunnels_for_twenty_seconds() -> Result<()> {
    let soak = Soak { tunnels: 10, duration: Duration::from_secs(20), child_rekey: 5, ike_rekey: 8 };
    let report = run(soak)?;
    assert!(report.transfers > 0, "{report:?}");
    Ok(())
}
