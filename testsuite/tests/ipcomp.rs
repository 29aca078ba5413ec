//! IPComp in the kernel: against ourselves and strongSwan, in both roles, inside User-Mode Linux.

use testsuite::config::{Auth, Connection};
use testsuite::daemon::Make;
use testsuite::lab::{Host, Lab};
use testsuite::tunnel::Tunnel;
use testsuite::uml::on_esp_kernel;
use testsuite::{Result, wait_for};

use Make::{Ours, StrongSwan};

fn states(host: &Host) -> Result<String> {
    host.run(&["ip", "xfrm", "state"])
}

fn policies(host: &Host) -> Result<String> {
    host.run(&["ip", "xfrm", "policy", "list", "nosock"])
}

/// Replies to pings of this many bytes, all the same, which compress well.
fn pings(from: &Host, to: &Host, size: usize) -> Result<usize> {
    let (source, target, size) = (from.inner.to_string(), to.inner.to_string(), size.to_string());
    let command = ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "2", "-p", "00", "-s", &size, "-I", &source, &target];
    Ok(from.run(&command).unwrap_or_default().matches("bytes from").count())
}

/// Bytes that this host's `eth0` has sent so far.
fn sent(host: &Host) -> Result<u64> {
    Ok(host.run(&["cat", "/sys/class/net/eth0/statistics/tx_bytes"])?.trim().parse()?)
}

fn compressed(makes: (Make, Make), mode: &str) -> Result<()> {
    let selectors = if mode == "transport" { "\nlocal_ts = dynamic\nremote_ts = dynamic" } else { "" };
    let child = format!("ipcomp = yes\nmode = {mode}{selectors}");
    let mut tunnel = Tunnel::load(Lab::direct("ipcomp")?, makes, &Connection::new(Auth::Psk).with_child(&child))?;
    tunnel.up()?;
    let (mut a, mut b) = (tunnel.lab.left.clone(), tunnel.lab.right.clone());
    if mode == "transport" {
        (a.inner, b.inner) = (a.addr, b.addr);
    }
    for host in [&a, &b] {
        let states = states(host)?;
        assert_eq!((states.matches("proto comp").count(), states.matches("proto esp").count()), (2, 2), "{states}");
        assert!(states.contains("comp deflate"), "{states}");
        assert!(policies(host)?.contains("proto comp"));
    }
    let through = |size| -> Result<()> {
        assert_eq!((pings(&a, &b, size)?, pings(&b, &a, size)?), (3, 3), "pings of {size} bytes");
        Ok(())
    };
    // too small to be compressed
    through(20)?;
    let before = sent(&a)?;
    through(1200)?;
    let bytes = sent(&a)? - before;
    assert!(bytes < 6 * 600, "{bytes} bytes were sent for 6 packets of 1200");
    tunnel.left.swanctl(&["--rekey", "--child", "net"])?;
    wait_for("rekeying", 10, || Ok(tunnel.left.logged("rekeyed CHILD_SA") || tunnel.left.logged("CHILD_SA net{2}")))?;
    through(1200)?;
    if makes.0 == Ours {
        let listed = tunnel.left.swanctl(&["--list-sas", "--raw"])?;
        assert!(listed.contains("cpi-in=") && listed.contains("cpi-out="), "{listed}");
    }
    tunnel.left.swanctl(&["--terminate", "--ike", "gw"])?;
    for host in [&a, &b] {
        wait_for("empty SAD and SPD", 10, || Ok(states(host)?.is_empty() && policies(host)?.is_empty()))
            .map_err(|error| format!("{error}\n{:?}\n{:?}", states(host), policies(host)))?;
    }
    tunnel.left.stop()
}

/// One side does not want to: nothing is compressed, everything works.
fn declined(makes: (Make, Make)) -> Result<()> {
    let lab = Lab::direct("declined")?;
    let connection = Connection::new(Auth::Psk).with_child("ipcomp = yes");
    let (left, _) = testsuite::config::pair(&lab, &connection)?;
    let (_, right) = testsuite::config::pair(&lab, &Connection::new(Auth::Psk))?;
    let left = testsuite::daemon::Daemon::start(&lab, &lab.left, makes.0, &left)?;
    let right = testsuite::daemon::Daemon::start(&lab, &lab.right, makes.1, &right)?;
    for daemon in [&left, &right] {
        daemon.swanctl(&["--load-all"])?;
    }
    left.swanctl(&["--initiate", "--child", "net"])?;
    assert!(left.logged("peer didn't accept our proposed IPComp transforms, IPComp is disabled"));
    assert_eq!(pings(&lab.left, &lab.right, 1200)?, 3);
    assert!(!policies(&lab.left)?.contains("proto comp"));
    Ok(())
}

macro_rules! scenarios {
    ($($name:ident: $scenario:expr;)*) => {
        $(#[test]
        fn $name() -> Result<()> {
            on_esp_kernel(stringify!($name), || $scenario)
        })*
    };
}

scenarios! {
    ours: compressed((Ours, Ours), "tunnel");
    ours_to_strongswan: compressed((Ours, StrongSwan), "tunnel");
    strongswan_to_ours: compressed((StrongSwan, Ours), "tunnel");
    transport_ours_to_strongswan: compressed((Ours, StrongSwan), "transport");
    declined_by_strongswan: declined((Ours, StrongSwan));
    declined_by_us: declined((StrongSwan, Ours));
}
