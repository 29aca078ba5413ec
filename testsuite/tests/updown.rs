//! Scripts that are run when CHILD_SAs come up and go down: same script, same environment, whoever's daemon runs it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use testsuite::config::{Auth, Connection, pair};
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::Lab;
use testsuite::tunnel::Tunnel;
use testsuite::uml::on_esp_kernel;
use testsuite::{Result, wait_for};

use Make::{Ours, StrongSwan};

/// Writes a script that appends its environment to a file; `pause` keeps it busy before.
fn script(dir: &Path, role: &str, pause: &str) -> Result<(PathBuf, PathBuf)> {
    let (script, out) = (dir.join(format!("{role}.updown")), dir.join(format!("{role}.environment")));
    let text = format!("#!/bin/sh\n{pause}\n{{ env; echo; }} >>{}\necho \"said $PLUTO_VERB\"\n", out.display());
    std::fs::write(&script, text)?;
    std::process::Command::new("chmod").arg("755").arg(&script).status()?;
    Ok((script, out))
}

/// What the script was told, one map for each run.
fn runs(out: &Path) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(out).unwrap_or_default();
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
    blocks
        .map(|block| block.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect())
        .collect()
}

/// What depends on the run and not on what is told.
fn comparable(mut runs: Vec<BTreeMap<String, String>>) -> Vec<BTreeMap<String, String>> {
    for run in &mut runs {
        for own in ["PWD", "OLDPWD", "_", "SHLVL", "PATH"] {
            run.remove(own);
        }
    }
    runs.sort();
    runs
}

/// Up and down between two daemons of some make; what the scripts on both sides were told.
fn told(make: Make, connection: &Connection, pairs: usize) -> Result<[Vec<BTreeMap<String, String>>; 2]> {
    let lab = Lab::direct("updown")?;
    let (mut left, mut right) = pair(&lab, connection)?;
    let (left_script, left_out) = script(lab.dir(), "left", "")?;
    let (right_script, right_out) = script(lab.dir(), "right", "")?;
    left.swanctl = left.swanctl.replace("SCRIPT", &left_script.display().to_string());
    right.swanctl = right.swanctl.replace("SCRIPT", &right_script.display().to_string());
    let outs = [left_out, right_out];
    let left = Daemon::start(&lab, &lab.left, make, &left)?;
    let right = Daemon::start(&lab, &lab.right, make, &right)?;
    for daemon in [&left, &right] {
        daemon.swanctl(&["--load-all"])?;
    }
    left.swanctl(&["--initiate", "--child", "net"])?;
    let count = |verb: &str, times: usize| {
        wait_for("scripts", 10, || {
            Ok(outs
                .iter()
                .all(|out| runs(out).iter().filter(|run| run["PLUTO_VERB"].starts_with(verb)).count() == times))
        })
    };
    count("up", pairs)?;
    left.swanctl(&["--rekey", "--child", "net"])?;
    wait_for("rekeying", 10, || Ok(left.logged("rekeyed CHILD_SA") || right.logged("inbound CHILD_SA")))?;
    left.swanctl(&["--terminate", "--ike", "gw"])?;
    count("down", pairs)?;
    count("up", pairs).map_err(|error| format!("rekeying runs no script: {error}"))?;
    for daemon in [&left, &right] {
        assert!(daemon.logged("CHD] updown: said up-") && daemon.logged("CHD] updown: said down-"), "output is logged");
    }
    Ok(outs.map(|out| comparable(runs(&out))))
}

fn same_as_strongswan(connection: &Connection, pairs: usize) -> Result<Vec<BTreeMap<String, String>>> {
    let [ours, theirs] = [told(Ours, connection, pairs)?, told(StrongSwan, connection, pairs)?];
    assert_eq!(ours, theirs);
    let [left, _] = ours;
    Ok(left)
}

/// With marks and access to the host.
#[test]
fn networks() -> Result<()> {
    on_esp_kernel("networks", || {
        let child = "updown = SCRIPT\n hostaccess = yes\n mark_in = 42\n mark_out = 0x2b/0xff";
        let told = same_as_strongswan(&Connection::new(Auth::Psk).with_child(child), 1)?;
        assert_eq!(told[0]["PLUTO_VERB"], "down-client");
        assert_eq!(told[1]["PLUTO_MARK_OUT"], "43/0x000000ff");
        assert_eq!(told[1]["PLUTO_INTERFACE"], "eth0");
        Ok(())
    })
}

/// Each pair has a run of its own, with its protocol and ports.
#[test]
fn several_selectors() -> Result<()> {
    on_esp_kernel("several_selectors", || {
        let nets = "10.1.0.0/16[tcp/1000-2000], 10.2.0.0/16[tcp/80]";
        let child = format!("updown = SCRIPT\nlocal_ts = {nets}\nremote_ts = {nets}");
        let told = same_as_strongswan(&Connection::new(Auth::Psk).with_child(&child), 4)?;
        assert!(
            told.iter().any(|run| run["PLUTO_MY_PORT"] == "1000:2000" && run["PLUTO_PEER_PORT"] == "80"),
            "{told:?}"
        );
        Ok(())
    })
}

#[test]
fn ipv6_networks() -> Result<()> {
    let connection = Connection { inner6: true, ..Connection::new(Auth::Psk).with_child("updown = SCRIPT") };
    let told = same_as_strongswan(&connection, 1)?;
    assert_eq!(told[0]["PLUTO_VERB"], "down-client-v6");
    Ok(())
}

#[test]
fn hosts() -> Result<()> {
    on_esp_kernel("hosts", || {
        let child = "updown = SCRIPT\nlocal_ts = dynamic\nremote_ts = dynamic";
        let told = same_as_strongswan(&Connection::new(Auth::Psk).with_child(child), 1)?;
        assert_eq!(told[0]["PLUTO_VERB"], "down-host");
        Ok(())
    })
}

/// A script that hangs holds no worker: the daemon goes on, and kills it in the end.
#[test]
fn a_script_that_hangs() -> Result<()> {
    let lab = Lab::direct("hangs")?;
    let (script, out) = script(lab.dir(), "left", "[ $PLUTO_VERB = down-client ] || exec sleep 1000")?;
    let connection = Connection::new(Auth::Psk);
    let (mut left, right) = pair(&lab, &connection.clone().with_child(&format!("updown = {}", script.display())))?;
    left.charon = "threads = 2\nplugins { updown { timeout = 2 } }".to_owned();
    let right = Daemon::start(&lab, &lab.right, Ours, &pair(&lab, &connection).map(|pair| pair.1).unwrap_or(right))?;
    let mut left = Daemon::start(&lab, &lab.left, Ours, &left)?;
    for daemon in [&left, &right] {
        daemon.swanctl(&["--load-all"])?;
    }
    let start = Instant::now();
    left.swanctl(&["--initiate", "--child", "net"])?;
    left.swanctl(&["--list-sas"])?;
    left.swanctl(&["--terminate", "--ike", "gw"])?;
    assert!(start.elapsed() < Duration::from_secs(2), "nobody waited for the script");
    assert!(runs(&out).is_empty(), "down waits for up");
    wait_for("the end of the script", 10, || Ok(left.logged("killed after 2s")))?;
    wait_for("down", 5, || Ok(runs(&out).len() == 1))?;
    left.stop()
}

/// Scripts of CHILD_SAs that go with the daemon are run before it ends.
#[test]
fn down_at_the_end() -> Result<()> {
    let lab = Lab::direct("end")?;
    let (script, out) = script(lab.dir(), "left", "sleep 0.3")?;
    let connection = Connection::new(Auth::Psk).with_child(&format!("updown = {}", script.display()));
    let mut tunnel = Tunnel::load(lab, (Ours, StrongSwan), &connection)?;
    tunnel.up()?;
    tunnel.left.stop()?;
    let verbs: Vec<_> = runs(&out).into_iter().map(|run| run["PLUTO_ME"].clone() + &run["PLUTO_VERB"]).collect();
    let left = "192.0.2.1";
    let of_left: Vec<_> = verbs.iter().filter_map(|verb| verb.strip_prefix(left)).collect();
    assert_eq!(of_left, ["up-client", "down-client"], "{verbs:?}");
    Ok(())
}

/// Calls `scripts/updown` on a host as a daemon would.
fn default_script(lab: &Lab, arguments: &str, variables: &str) -> Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/updown");
    let command = format!(
        "env -i PLUTO_VERSION=1.1 PLUTO_INTERFACE=eth0 PLUTO_PROTO=esp {variables} {} {arguments}",
        script.display()
    );
    lab.left.run(&["sh", "-c", &command])
}

const CLIENT: &str = "PLUTO_REQID=7 PLUTO_ME=192.0.2.1 PLUTO_PEER=192.0.2.2 PLUTO_MY_CLIENT=10.1.0.0/16 \
     PLUTO_PEER_CLIENT=10.2.0.0/16 PLUTO_MY_PORT=1000:2000 PLUTO_PEER_PORT=80 PLUTO_MY_PROTOCOL=6";
const HOST_V6: &str = "PLUTO_REQID=8 PLUTO_ME=2001:db8::1 PLUTO_PEER=2001:db8::2 PLUTO_MY_CLIENT=2001:db8::1/128 \
     PLUTO_PEER_CLIENT=2001:db8::2/128 PLUTO_MY_PORT=8 PLUTO_PEER_PORT=0 PLUTO_MY_PROTOCOL=58";

/// The script that comes with the daemon: rules that let the protected traffic through come, and all of them go.
#[test]
fn the_default_script_and_nftables() -> Result<()> {
    let lab = Lab::direct("nft")?;
    lab.left.run(&["nft", "add table inet filter; add chain inet filter input; add chain inet filter forward; add chain inet filter output"])?;
    let rules = || lab.left.run(&["nft", "list", "ruleset"]);
    let empty = rules()?;
    default_script(&lab, "nftables", &format!("PLUTO_VERB=up-client PLUTO_HOST_ACCESS=1 PLUTO_IPCOMP=1 {CLIENT}"))?;
    default_script(&lab, "nftables inet filter", &format!("PLUTO_VERB=up-host-v6 {HOST_V6}"))?;
    let up = rules()?;
    assert_eq!(up.matches(" accept ").count(), 7, "{up}");
    for rule in [
        "iifname \"eth0\" ip saddr 10.2.0.0/16 ip daddr 10.1.0.0/16 tcp sport 80 tcp dport 1000-2000 ipsec in reqid 7 accept",
        "oifname \"eth0\" ip saddr 10.1.0.0/16 ip daddr 10.2.0.0/16 tcp sport 1000-2000 tcp dport 80 ipsec out reqid 7 accept",
        "ip saddr 192.0.2.2 ip daddr 192.0.2.1 meta l4proto ipencap ipsec in reqid 7 accept",
        "icmpv6 type 8",
    ] {
        assert!(up.contains(rule), "{rule}\n{up}");
    }
    default_script(&lab, "nftables", &format!("PLUTO_VERB=down-client PLUTO_HOST_ACCESS=1 PLUTO_IPCOMP=1 {CLIENT}"))?;
    default_script(&lab, "nftables", &format!("PLUTO_VERB=down-host-v6 {HOST_V6}"))?;
    assert_eq!(rules()?, empty);
    Ok(())
}

#[test]
fn the_default_script_and_iptables() -> Result<()> {
    let lab = Lab::direct("iptables")?;
    let rules = || {
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
            lab.left.run(&["iptables", "-S"])? + &lab.left.run(&["ip6tables", "-S"])?,
        )
    };
    let empty = rules()?;
    default_script(
        &lab,
        "iptables",
        &format!("PLUTO_VERB=up-client PLUTO_MY_SOURCEIP=10.1.0.1 PLUTO_IPCOMP=1 {CLIENT}"),
    )?;
    default_script(&lab, "iptables", &format!("PLUTO_VERB=up-host-v6 {HOST_V6}"))?;
    let up = rules()?;
    assert_eq!(up.matches("-j ACCEPT").count(), 7, "{up}");
    for rule in [
        "-A FORWARD -s 10.2.0.0/16 -d 10.1.0.0/16 -i eth0 -p tcp -m tcp --sport 80 --dport 1000:2000 -m policy --dir in --pol ipsec --reqid 7 --proto esp -j ACCEPT",
        "-A OUTPUT -s 10.1.0.0/16 -d 10.2.0.0/16 -o eth0 -p tcp -m tcp --sport 1000:2000 --dport 80 -m policy --dir out --pol ipsec --reqid 7 --proto esp -j ACCEPT",
        "-A INPUT -s 192.0.2.2/32 -d 192.0.2.1/32 -i eth0 -p ipencap",
        "--icmpv6-type 8/0",
    ] {
        assert!(up.contains(rule), "{rule}\n{up}");
    }
    default_script(
        &lab,
        "iptables",
        &format!("PLUTO_VERB=down-client PLUTO_MY_SOURCEIP=10.1.0.1 PLUTO_IPCOMP=1 {CLIENT}"),
    )?;
    default_script(&lab, "iptables", &format!("PLUTO_VERB=down-host-v6 {HOST_V6}"))?;
    assert_eq!(rules()?, empty);
    for (arguments, variables) in [
        ("nonsense", "PLUTO_VERB=up-host"),
        ("iptables", "PLUTO_VERB=sideways"),
        ("", "PLUTO_VERSION=2.0 PLUTO_VERB=up-host"),
    ] {
        assert!(default_script(&lab, arguments, &format!("{variables} {CLIENT}")).is_err());
    }
    assert_eq!(rules()?, empty);
    Ok(())
}
