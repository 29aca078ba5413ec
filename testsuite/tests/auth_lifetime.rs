//! AUTH_LIFETIME (RFC 4478) with each daemon as gateway and as client: who got a virtual IP is told by when to authenticate
//! again, and does.

use std::time::Duration;

use testsuite::config::Files;
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::Lab;
use testsuite::traffic::ping;
use testsuite::{Result, wait_for};

use Make::{Ours, StrongSwan};

fn connection(me: &str, other: &str, settings: &str, local_ts: &str, remote_ts: &str) -> String {
    format!(
        "connections {{\n rw {{\n{settings}\n  local {{\n auth = psk\n id = {me}\n }}\n  remote {{\n auth = psk\n id = {other}\n }}\n  \
         children {{\n net {{\n local_ts = {local_ts}\n remote_ts = {remote_ts}\n }}\n }}\n }}\n}}\n\
         secrets {{\n ike-rw {{\n secret = \"the quick brown fox\"\n }}\n}}\n"
    )
}

fn files(swanctl: String) -> Files {
    Files { swanctl, ..Files::default() }
}

/// The gateway wants it every 8 s; the client leaves itself 4 s for it.
fn reauthenticates(makes: (Make, Make)) -> Result<()> {
    let lab = Lab::direct("authlft")?;
    let net = format!("{}/16", lab.right.inner);
    let settings = format!(
        "local_addrs = {}\nremote_addrs = {}\nvips = 0.0.0.0\nrekey_time = 1h\nover_time = 4s\nrand_time = 0s",
        lab.left.addr, lab.right.addr
    );
    let client = files(connection("carol", "moon", &settings, "dynamic", &net));
    let settings = format!(
        "local_addrs = {}\npools = rw4\nreauth_time = 8s\nover_time = 20s\nrand_time = 0s\nunique = replace",
        lab.right.addr
    );
    let mut gateway = connection("moon", "carol", &settings, &net, "dynamic");
    gateway += "pools {\n rw4 {\n addrs = 10.77.0.0/28\n }\n}\n";
    let client = Daemon::start(&lab, &lab.left, makes.0, &client)?;
    let gateway = Daemon::start(&lab, &lab.right, makes.1, &files(gateway))?;
    for daemon in [&client, &gateway] {
        daemon.swanctl(&["--load-all"])?;
    }
    client.swanctl(&["--initiate", "--child", "net"])?;
    wait_for("the lifetime in the log", 5, || Ok(client.logged("received AUTH_LIFETIME of")))?;
    assert!(client.logged("scheduling reauthentication in"), "the client has a plan");
    let listed = client.swanctl(&["--list-sas"])?;
    assert!(listed.contains("reauth"), "{listed}");
    let ping = || ping(&lab.left, "10.77.0.1".parse()?, lab.right.inner, 1);
    wait_for("the first ping", 5, || Ok(ping()? == 1))?;
    for number in [2, 3] {
        wait_for("another authentication", 12, || Ok(client.logged(&format!("IKE_SA rw[{number}] established"))))?;
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(ping()?, 1, "after authentication {number}");
    }
    assert!(!gateway.logged("initiator did not reauthenticate as requested"), "in time");
    Ok(())
}

#[test]
fn ours_at_ours() -> Result<()> {
    reauthenticates((Ours, Ours))
}

#[test]
fn ours_at_strongswan() -> Result<()> {
    reauthenticates((Ours, StrongSwan))
}

#[test]
fn strongswan_at_ours() -> Result<()> {
    reauthenticates((StrongSwan, Ours))
}
