//! Many tunnels between two of our daemons that rekey all the time under traffic: nothing may be lost, and nothing may
//! grow.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::config::Files;
use crate::daemon::{Daemon, Make};
use crate::lab::Lab;
use crate::traffic::{ping, tcp_transfer};
use crate::{Result, wait_for};

/// Size of a soak.
#[derive(Debug, Clone, Copy)]
pub struct Soak {
    /// IKE_SAs, each with one CHILD_SA; at most 250.
    pub tunnels: u8,
    pub duration: Duration,
    /// Seconds after which a CHILD_SA is rekeyed, less up to one.
    pub child_rekey: u32,
    /// Seconds after which an IKE_SA is rekeyed, less up to two.
    pub ike_rekey: u32,
}

/// What happened.
#[derive(Debug, Clone)]
pub struct Report {
    /// Rekeyings of CHILD_SAs and IKE_SAs, as the left side counts them.
    pub rekeyings: [usize; 2],
    pub pings: u32,
    pub pings_lost: u32,
    /// Transfers over TCP, half a megabyte each.
    pub transfers: u32,
    /// Resident memory of both daemons in KiB, every few seconds.
    pub memory: Vec<[u64; 2]>,
}

/// Bytes of one transfer.
const TRANSFER: usize = 500_000;
/// Memory that may come and go.
const SLACK_KIB: u64 = 2048;

fn files(lab: &Lab, soak: &Soak, left: bool) -> Files {
    let (me, other) = if left { (&lab.left, &lab.right) } else { (&lab.right, &lab.left) };
    let (mine, theirs) = if left { ("left", "right") } else { ("right", "left") };
    let (net, other_net) = if left { (1, 2) } else { (2, 1) };
    let mut text = String::from("connections {\n");
    for n in 1..=soak.tunnels {
        let _ = write!(
            text,
            " c{n} {{\n  local_addrs = {}\n  remote_addrs = {}\n  proposals = aes128gcm16-prfsha256-x25519\n  \
             rekey_time = {}s\n  rand_time = 2s\n  over_time = 60s\n  unique = replace\n  \
             local {{\n   auth = psk\n   id = {mine}{n}.example.org\n  }}\n  \
             remote {{\n   auth = psk\n   id = {theirs}{n}.example.org\n  }}\n  children {{\n   n{n} {{\n    \
             local_ts = 10.{net}.1.{n}/32\n    remote_ts = 10.{other_net}.1.{n}/32\n    \
             esp_proposals = aes128gcm16-x25519\n    rekey_time = {}s\n    rand_time = 1s\n    life_time = 60s\n   }}\n  }}\n }}\n",
            me.addr, other.addr, soak.ike_rekey, soak.child_rekey
        );
    }
    text += "}\nsecrets {\n ike-all {\n  secret = \"the quick brown fox\"\n }\n}\n";
    Files { swanctl: text, ..Files::default() }
}

/// (spi-in, spi-out) of all installed CHILD_SAs, and how many IKE_SAs there are.
fn listing(daemon: &Daemon) -> Result<(BTreeSet<(String, String)>, usize)> {
    let raw = daemon.swanctl(&["--list-sas", "--raw"])?;
    let value = |text: &str, key: &str| -> Option<String> {
        text.split_once(key)?.1.split([' ', '}']).next().map(str::to_owned)
    };
    let children = raw.split("state=INSTALLED").skip(1);
    let spis = children.filter_map(|child| Some((value(child, "spi-in=")?, value(child, "spi-out=")?))).collect();
    Ok((spis, raw.matches("state=ESTABLISHED").count()))
}

/// Both ends have as many IKE_SAs and CHILD_SAs as there are tunnels, and the same.
fn agree(left: &Daemon, right: &Daemon, tunnels: u8) -> Result<()> {
    let tunnels = usize::from(tunnels);
    // with so many there is hardly a moment at which none is being rekeyed on one side
    wait_for("both ends listing the same SAs", 20, || {
        let ((left, left_ikes), (right, right_ikes)) = (listing(left)?, listing(right)?);
        let mirrored: BTreeSet<_> = right.into_iter().map(|(spi_in, spi_out)| (spi_out, spi_in)).collect();
        let counts = (left.len(), mirrored.len(), left_ikes, right_ikes);
        if counts == (tunnels, tunnels, tunnels, tunnels) && left == mirrored {
            return Ok(true);
        }
        Err(format!("{counts:?} CHILD_SAs and IKE_SAs").into())
    })
}

/// Runs a soak.
///
/// # Errors
/// If anything is lost: a packet, a tunnel, or memory.
pub fn run(soak: Soak) -> Result<Report> {
    let lab = Lab::direct("soak")?;
    for (host, net) in [(&lab.left, 1), (&lab.right, 2)] {
        for n in 1..=soak.tunnels {
            host.run(&["ip", "addr", "add", &format!("10.{net}.1.{n}/32"), "dev", "lo"])?;
        }
    }
    let left = Daemon::start(&lab, &lab.left, Make::Ours, &files(&lab, &soak, true))?;
    let right = Daemon::start(&lab, &lab.right, Make::Ours, &files(&lab, &soak, false))?;
    for daemon in [&left, &right] {
        daemon.swanctl(&["--load-all"])?;
    }
    for n in 1..=soak.tunnels {
        left.swanctl(&["--initiate", "--child", &format!("n{n}")])?;
    }
    let report = under_traffic(&lab, &soak, &left, &right)?;
    agree(&left, &right, soak.tunnels)?;
    check(&soak, &left, &right, &report)?;
    Ok(report)
}

fn under_traffic(lab: &Lab, soak: &Soak, left: &Daemon, right: &Daemon) -> Result<Report> {
    let address = |net: u8, n: u8| std::net::IpAddr::from([10, net, 1, n]);
    let count = u32::try_from(soak.duration.as_secs() * 5)?;
    let over = AtomicBool::new(false);
    let (mut lost, mut memory) = (0, Vec::new());
    let transfers = std::thread::scope(|scope| -> Result<u32> {
        let pings: Vec<_> = (1..=soak.tunnels)
            .map(|n| {
                let (from, source, target) = if n % 2 == 0 {
                    (&lab.left, address(1, n), address(2, n))
                } else {
                    (&lab.right, address(2, n), address(1, n))
                };
                scope.spawn(move || ping(from, source, target, count).map_err(|error| error.to_string()))
            })
            .collect();
        let transfer = scope.spawn(|| -> std::result::Result<u32, String> {
            let mut done = 0;
            for n in (1..=soak.tunnels).cycle() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let (a, b) = ((&lab.left, address(1, n)), (&lab.right, address(2, n)));
                let (from, to) = if done % 2 == 0 { (a, b) } else { (b, a) };
                tcp_transfer(from, to, TRANSFER).map_err(|error| format!("tunnel {n}: {error}"))?;
                done += 1;
                // a load, not a benchmark
                std::thread::sleep(Duration::from_millis(200));
            }
            Ok(done)
        });
        let end = Instant::now() + soak.duration;
        while Instant::now() < end {
            std::thread::sleep((soak.duration / 20).max(Duration::from_millis(500)));
            memory.push([left.resident_memory()? / 1024, right.resident_memory()? / 1024]);
        }
        for ping in pings {
            let received = ping.join().map_err(|_| "ping panicked")??;
            lost += count.saturating_sub(received);
        }
        over.store(true, Ordering::Relaxed);
        Ok(transfer.join().map_err(|_| "transfer panicked")??)
    })?;
    let log = left.log();
    let rekeyings = [log.matches("rekeyed CHILD_SA").count(), log.matches("] rekeyed between").count()];
    Ok(Report { rekeyings, pings: count * u32::from(soak.tunnels), pings_lost: lost, transfers, memory })
}

fn check(soak: &Soak, left: &Daemon, right: &Daemon, report: &Report) -> Result<()> {
    if report.pings_lost > 0 {
        return Err(format!("packets were lost: {report:?}").into());
    }
    let seconds = usize::try_from(soak.duration.as_secs())?;
    let least =
        |every: u32| usize::from(soak.tunnels) * (seconds / usize::try_from(every).unwrap_or(1)).saturating_sub(1);
    let expected = [least(soak.child_rekey), least(soak.ike_rekey)];
    if report.rekeyings.iter().zip(expected).any(|(done, least)| *done < least) {
        return Err(format!("only {:?} rekeyings, at least {expected:?} expected", report.rekeyings).into());
    }
    for daemon in [left, right] {
        for sign in ["giving up after", "unable to install", "panicked", "deleting half open"] {
            if daemon.logged(sign) {
                return Err(format!("{} logged '{sign}'", daemon.host.role).into());
            }
        }
    }
    // what the first half took must do for the second
    let (first, second) = report.memory.split_at(report.memory.len() / 2);
    for side in [0, 1] {
        let most = |samples: &[[u64; 2]]| samples.iter().filter_map(|sample| sample.get(side)).max().copied();
        let (before, after) = (most(first).unwrap_or(0), most(second).unwrap_or(0));
        if after > before + before / 20 + SLACK_KIB {
            return Err(format!("memory grew from {before} to {after} KiB: {:?}", report.memory).into());
        }
    }
    Ok(())
}
