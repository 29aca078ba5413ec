//! The kernel's tables over the life of a daemon: what a crash leaves behind, what others remove, what the start does in
//! which order. Inside User-Mode Linux, whose kernel has ESP.

use std::os::unix::fs::PermissionsExt;

use testsuite::config::{Auth, Connection, Files, pair};
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::{Host, Lab};
use testsuite::traffic::{Stream, ping};
use testsuite::uml::on_esp_kernel;
use testsuite::{Result, wait_for};

use Make::{Ours, StrongSwan};

fn states(host: &Host) -> Result<String> {
    host.run(&["ip", "xfrm", "state"])
}

/// Policies, except for those of sockets.
fn policies(host: &Host) -> Result<String> {
    host.run(&["ip", "xfrm", "policy", "list", "nosock"])
}

/// An SA and a policy that nobody of us made.
fn foreign(host: &Host) -> Result<()> {
    let key = "0x00112233445566778899aabbccddeeff00112233";
    let state = format!(
        "ip xfrm state add src 198.51.100.1 dst 198.51.100.2 proto esp spi 0xc0ffee01 reqid 4711 mode tunnel aead rfc4106(gcm(aes)) {key} 128"
    );
    let policy = "ip xfrm policy add src 10.77.0.0/16 dst 10.78.0.0/16 dir out tmpl src 198.51.100.1 dst 198.51.100.2 proto esp reqid 4711 mode tunnel";
    for command in [state.as_str(), policy] {
        host.run(&command.split_whitespace().collect::<Vec<_>>())?;
    }
    Ok(())
}

fn has_foreign(host: &Host) -> Result<bool> {
    Ok(states(host)?.contains("0xc0ffee01") && policies(host)?.contains("10.77.0.0/16"))
}

/// Both daemons with a list of their SAs that survives them, and further lines in the left one's strongswan.conf.
fn start(lab: &Lab, makes: (Make, Make), connection: &Connection, left_lines: &str) -> Result<(Daemon, Daemon)> {
    let (mut left, mut right) = pair(lab, connection)?;
    let pidfile = |files: &mut Files, role: &str| {
        files.charon = format!("pidfile = {}/{role}.pid\n", lab.dir().display());
    };
    pidfile(&mut left, "left");
    pidfile(&mut right, "right");
    left.charon += left_lines;
    let left = Daemon::start(lab, &lab.left, makes.0, &left)?;
    let right = Daemon::start(lab, &lab.right, makes.1, &right)?;
    for daemon in [&left, &right] {
        daemon.swanctl(&["--load-all"])?;
    }
    Ok((left, right))
}

/// After SIGKILL our policies go on keeping traffic in; the next daemon removes what is ours and leaves the rest alone.
#[test]
fn a_crash_leaves_nothing_behind() -> Result<()> {
    on_esp_kernel("a_crash_leaves_nothing_behind", || {
        let lab = Lab::direct("crash")?;
        let hold = "plugins { kernel-netlink { hold_orphans = 10 } }";
        let (mut left, _right) = start(&lab, (Ours, Ours), &Connection::new(Auth::Psk), hold)?;
        foreign(&lab.left)?;
        left.swanctl(&["--initiate", "--child", "net"])?;
        assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 2)?, 2);
        let clear = Clear::count(&lab.right)?;
        left.kill()?;
        assert!(states(&lab.left)?.matches("proto esp").count() >= 3);
        let left = left.start_again()?;
        assert!(
            left.logged("removed 2 SAs, dropping the traffic of 3 policies for 10s; 1 SAs and 1 policies of others"),
            "{}",
            left.log()
        );
        assert_eq!(states(&lab.left)?.matches("proto esp").count(), 1, "orphans are gone");
        let held = policies(&lab.left)?;
        assert_eq!(held.matches("action block").count(), 3, "{held}");
        // nothing leaves in clear meanwhile
        lab.left.run(&["ip", "route", "add", "10.2.0.0/16", "via", "192.0.2.2", "src", "10.1.0.1"])?;
        assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 1)?, 0);
        assert_eq!(clear.seen(&lab.right)?, 0, "packets left in clear");
        assert_eq!(lab.left.run(&["ip", "route", "show", "table", "220"]).unwrap_or_default(), "", "orphans are gone");
        wait_for("the end of the held policies", 20, || Ok(!policies(&lab.left)?.contains("10.2.0.0/16")))?;
        assert!(has_foreign(&lab.left)?);
        left.swanctl(&["--load-all"])?;
        left.swanctl(&["--initiate", "--child", "net"])?;
        assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 2)?, 2);
        let mut left = left;
        left.stop()?;
        assert!(has_foreign(&lab.left)?);
        assert_eq!(states(&lab.left)?.matches("proto esp").count(), 1);
        assert!(!policies(&lab.left)?.contains("10.2.0.0/16"));
        assert!(!lab.left.run(&["ip", "rule"])?.contains("220"));
        assert!(!lab.dir().join("left.xfrm").exists(), "an empty list needs no file");
        Ok(())
    })
}

/// A trap that is loaded again takes the held policies over in one step; not one packet leaves in clear.
#[test]
fn traps_take_over_after_a_crash() -> Result<()> {
    on_esp_kernel("traps_take_over_after_a_crash", || {
        let lab = Lab::direct("takeover")?;
        let connection = Connection::new(Auth::Psk).with_child("start_action = trap");
        let (mut left, mut right) = start(&lab, (Ours, Ours), &connection, "")?;
        wait_for("the tunnel", 10, || Ok(ping(&lab.left, lab.left.inner, lab.right.inner, 1)? == 1))?;
        let clear = Clear::count(&lab.right)?;
        let stream = Stream::start((&lab.left, lab.left.inner), (&lab.right, lab.right.inner))?;
        left.kill()?;
        let left = left.start_again()?;
        assert!(left.logged("dropping the traffic of 3 policies"), "{}", left.log());
        left.swanctl(&["--load-all"])?;
        wait_for("the tunnel again", 20, || Ok(ping(&lab.left, lab.left.inner, lab.right.inner, 1)? == 1))?;
        let balance = stream.finish()?;
        assert!(balance.received < balance.sent, "there was an interruption: {balance:?}");
        assert_eq!(clear.seen(&lab.right)?, 0, "packets left in clear");
        right.stop()?;
        Ok(())
    })
}

/// Counts packets that arrive unprotected, before IPsec sees any.
struct Clear;

impl Clear {
    fn count(host: &Host) -> Result<Self> {
        let rule = "iptables-legacy -t raw -I PREROUTING -i eth0 -s 10.0.0.0/8 -m policy --pol none --dir in -j ACCEPT";
        host.run(&rule.split_whitespace().collect::<Vec<_>>())?;
        Ok(Self)
    }

    fn seen(&self, host: &Host) -> Result<u64> {
        let listed = host.run(&["iptables-legacy", "-t", "raw", "-nvxL", "PREROUTING"])?;
        let line = listed.lines().nth(2).ok_or("no rule")?;
        Ok(line.split_whitespace().next().ok_or("no counter")?.parse()?)
    }
}

/// Whoever flushes policies while we run finds them back; SAs that are gone are replaced.
#[test]
fn what_others_flush_comes_back() -> Result<()> {
    on_esp_kernel("what_others_flush_comes_back", || {
        let lab = Lab::direct("flush")?;
        let connection = Connection::new(Auth::Psk).with_child("start_action = trap");
        let (left, _right) = start(&lab, (Ours, StrongSwan), &connection, "")?;
        left.swanctl(&["--initiate", "--child", "net"])?;
        let before = policies(&lab.left)?;
        let ours = before.matches("10.2.0.0/16").count();
        assert_eq!(ours, 3, "{before}");
        lab.left.run(&["ip", "xfrm", "policy", "flush"])?;
        wait_for("policies again", 5, || Ok(policies(&lab.left)?.matches("10.2.0.0/16").count() == ours))?;
        assert!(left.logged("somebody removed policies of ours from the kernel, restored 3"));
        assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 2)?, 2);
        lab.left.run(&["ip", "xfrm", "policy", "deleteall"])?;
        wait_for("policies again", 5, || Ok(policies(&lab.left)?.matches("10.2.0.0/16").count() == ours))?;
        assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 2)?, 2);
        // ours alone: foreign policies are theirs who made them
        foreign(&lab.left)?;
        lab.left.run(&["ip", "xfrm", "state", "flush"])?;
        assert!(!has_foreign(&lab.left)?);
        wait_for("an SA again", 10, || Ok(states(&lab.left)?.matches("proto esp").count() >= 2))?;
        wait_for("traffic", 10, || Ok(ping(&lab.left, lab.left.inner, lab.right.inner, 1)? == 1))?;
        let mut left = left;
        left.stop()?;
        wait_for("an empty SAD", 5, || Ok(states(&lab.left)?.is_empty()))?;
        assert!(!policies(&lab.left)?.contains("10.2.0.0/16"));
        Ok(())
    })
}

/// Start scripts that flush and load, in the order that is promised: then traps are there, the PID file is written, systemd
/// is told, and only then connections start.
#[test]
fn the_order_of_the_start() -> Result<()> {
    on_esp_kernel("the_order_of_the_start", || {
        let lab = Lab::direct("order")?;
        let extra = "wait {\n local_ts = 10.1.0.0/16\n remote_ts = 10.2.0.0/16\n start_action = trap|start\n }";
        let connection = Connection { children: extra.into(), ..Connection::new(Auth::Psk) };
        let dir = lab.dir().display().to_string();
        let notify = format!("{dir}/notify");
        let systemd = std::os::unix::net::UnixDatagram::bind(&notify)?;
        systemd.set_nonblocking(true)?;
        let swanctl = Ours.swanctl()?;
        let script = lab.dir().join("load");
        std::fs::write(
            &script,
            format!(
                "#!/bin/sh\nexport SWANCTL_DIR={dir}/left/swanctl\n{} --load-all --uri unix://{dir}/left/charon.vici\n\
                 echo \"pid '$(cat {dir}/left.pid)'\"\nip xfrm policy flush\nip xfrm state flush\necho flushed\n",
                swanctl.display()
            ),
        )?;
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
        let (mut left_files, mut right_files) = pair(&lab, &connection)?;
        left_files.charon = format!("pidfile = {dir}/left.pid\nstart-scripts {{ load = {} }}\n", script.display());
        right_files.charon = format!("pidfile = {dir}/right.pid\n");
        right_files.swanctl = right_files.swanctl.replace("start_action = trap|start", "");
        let right = Daemon::start(&lab, &lab.right, Ours, &right_files)?;
        right.swanctl(&["--load-all"])?;
        let mut left = Daemon::start_with(&lab, &lab.left, Ours, &left_files, &[("NOTIFY_SOCKET", &notify)])?;
        let pid = || std::fs::read_to_string(lab.dir().join("left.pid")).unwrap_or_default();
        wait_for("ready", 20, || Ok(!pid().is_empty()))?;
        wait_for("the tunnel", 10, || Ok(left.swanctl(&["--list-sas"])?.contains("INSTALLED")))?;
        assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 2)?, 2);
        let log = left.log();
        let place = |text: &str| log.find(text).ok_or_else(|| format!("'{text}' is not in the log:\n{log}"));
        let order = [
            "executing start script 'load'",
            "start action: trap 'wait'",
            "load: pid ''",
            "load: flushed",
            "initiating IKE_SA gw",
        ];
        let places = order.into_iter().map(place).collect::<std::result::Result<Vec<_>, _>>()?;
        assert!(places.is_sorted(), "{places:?}\n{log}");
        // as soon as the script has flushed them, or when it has ended
        assert!(place("restored 3")? < place("initiating IKE_SA gw")?, "{log}");
        assert_eq!(pid().trim(), left.pid().to_string());
        let mut told = Vec::new();
        let mut buffer = [0; 200];
        left.stop()?;
        while let Ok(len) = systemd.recv(&mut buffer) {
            told.push(String::from_utf8_lossy(buffer.get(..len).unwrap_or_default()).into_owned());
        }
        let told = told.join("|");
        assert_eq!(
            told,
            "STATUS=Running start scripts|READY=1\nSTATUS=Serving|STOPPING=1\nSTATUS=Running stop scripts|STATUS=Closing SAs"
        );
        Ok(())
    })
}

/// `flush_on_start = all` takes everything, `no` nothing.
#[test]
fn flushing_at_the_start() -> Result<()> {
    on_esp_kernel("flushing_at_the_start", || {
        let lab = Lab::direct("all")?;
        foreign(&lab.left)?;
        let (mut left, _right) = start(&lab, (Ours, Ours), &Connection::new(Auth::Psk), "flush_on_start = no")?;
        assert!(has_foreign(&lab.left)?);
        left.swanctl(&["--initiate", "--child", "net"])?;
        left.kill()?;
        let mut left = left.start_again()?;
        assert_eq!(states(&lab.left)?.matches("proto esp").count(), 3, "nothing is removed");
        left.stop()?;
        drop(left);
        let (left_files, _) = pair(&lab, &Connection::new(Auth::Psk))?;
        let charon = format!("pidfile = {}/left.pid\nflush_on_start = all", lab.dir().display());
        let left = Daemon::start(&lab, &lab.left, Ours, &Files { charon, ..left_files })?;
        assert!(left.logged("flushed 3 SAs and 4 policies from the kernel"), "{}", left.log());
        assert_eq!((states(&lab.left)?, policies(&lab.left)?), (String::new(), String::new()));
        Ok(())
    })
}

/// Whatever was installed goes again, however often. A thousand times with
/// `CYCLES=1000 UML_TIMEOUT=3600 cargo test -p testsuite --test upkeep ups_and_downs`.
#[test]
fn ups_and_downs() -> Result<()> {
    on_esp_kernel("ups_and_downs", || {
        let cycles = std::env::var("CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
        let lab = Lab::direct("cycles")?;
        let (mut left, mut right) = start(&lab, (Ours, Ours), &Connection::new(Auth::Psk), "")?;
        for cycle in 0..cycles {
            left.swanctl(&["--initiate", "--child", "net"])?;
            let who = if cycle % 2 == 0 { &left } else { &right };
            who.swanctl(&["--terminate", "--ike", "gw"])?;
        }
        for host in [&lab.left, &lab.right] {
            wait_for("empty SAD and SPD", 5, || Ok(states(host)?.is_empty() && policies(host)?.is_empty()))?;
        }
        left.swanctl(&["--initiate", "--child", "net"])?;
        left.stop()?;
        right.stop()?;
        for host in [&lab.left, &lab.right] {
            assert_eq!((states(host)?, policies(host)?), (String::new(), String::new()), "after SIGTERM");
        }
        Ok(())
    })
}
