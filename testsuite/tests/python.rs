//! The official Python `vici` package against a daemon: commands, streamed logs, listings, events, errors.

use std::process::Command;

use testsuite::Result;
use testsuite::config::{Auth, Connection, pair};
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::Lab;

/// Runs `python/drive.py` against `make` as initiator and checks every fact it prints.
fn drive(make: Make) -> Result<()> {
    let python = std::env::var("CHARON_TEST_PYTHON")
        .map_err(|_| "CHARON_TEST_PYTHON must name a Python with package vici; scripts/test sets it")?;
    let lab = Lab::direct("python")?;
    let (mut left_files, right_files) = pair(&lab, &Connection::new(Auth::Psk))?;
    left_files.swanctl = String::new();
    let left = Daemon::start(&lab, &lab.left, make, &left_files)?;
    let right = Daemon::start(&lab, &lab.right, Make::StrongSwan, &right_files)?;
    right.swanctl(&["--load-all"])?;

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/drive.py");
    let (local, remote) = (lab.left.addr.to_string(), lab.right.addr.to_string());
    let uri = left.uri();
    let socket = uri.trim_start_matches("unix://");
    let out = Command::new(python).args([script, socket, &local, &remote, "10.1.0.0/16", "10.2.0.0/16"]).output()?;
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    for fact in [
        "daemon charon",
        "shared py",
        "conns py",
        "listed py",
        "log IKE initiating IKE_SA py[1] to 192.0.2.2",
        "sa py ESTABLISHED",
        "child net INSTALLED",
        "counters '' 21 1\ncounters 'py' 21 1\ncounters 'py' 21 1\nreset 0",
        "installed 1\nrefused Command failed: policy 'net' not found",
        "unknown option: remote_addr, config discarded",
        "CHILD_SA config 'nosuch' not found",
        "pool rw size 14 leases 0",
        "invalid attribute: dsn",
        "pools 0",
        "event ike-updown up\nevent child-updown up",
        "event ike-updown down",
        "left 0",
    ] {
        assert!(said.contains(fact), "no '{fact}' in:\n{said}");
    }
    Ok(())
}

#[test]
fn python_drives_strongswan() -> Result<()> {
    drive(Make::StrongSwan)
}

#[test]
fn python_drives_ours() -> Result<()> {
    drive(Make::Ours)
}
