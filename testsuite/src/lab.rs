//! Hosts as network namespaces, the wires between them, and a folder for what a scenario writes.
//!
//! ```text
//! direct:  left 192.0.2.1 ───────────────────────────── 192.0.2.2 right
//! nat:     left 10.99.0.2 ── 10.99.0.1 nat 192.0.2.254 ── 192.0.2.2 right
//! ```
//! Behind `left` lies 10.1.0.0/16 and fd01::/64, behind `right` 10.2.0.0/16 and fd02::/64; each side answers at the
//! networks' first address, on its loopback interface.

use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

use crate::{Result, uml};

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A scenario's namespaces and files; everything goes when it is dropped.
#[derive(Debug)]
pub struct Lab {
    dir: PathBuf,
    pub left: Host,
    pub right: Host,
    nat: Option<Host>,
}

/// One machine: a network namespace with its addresses.
#[derive(Debug, Clone)]
pub struct Host {
    /// Name of the namespace.
    pub netns: String,
    /// `left`, `right` or `nat`.
    pub role: &'static str,
    /// Address on the wire.
    pub addr: IpAddr,
    /// Address in the protected IPv4 network.
    pub inner: IpAddr,
    /// Address in the protected IPv6 network.
    pub inner6: IpAddr,
}

impl Lab {
    /// Two hosts on one wire.
    ///
    /// # Errors
    /// If a namespace cannot be made (not root, no iproute2).
    pub fn direct(name: &str) -> Result<Self> {
        let lab = Self::hosts(name, "192.0.2.1", false)?;
        wire(&lab.left, "192.0.2.1/24", &lab.right, "192.0.2.2/24")?;
        ip(&["-n", &lab.left.netns, "addr", "add", "2001:db8::1/64", "dev", "eth0", "nodad"])?;
        ip(&["-n", &lab.right.netns, "addr", "add", "2001:db8::2/64", "dev", "eth0", "nodad"])?;
        Ok(lab)
    }

    /// The same two hosts, calling each other by their IPv6 addresses.
    ///
    /// # Errors
    /// As [`Lab::direct`].
    pub fn direct_ipv6(name: &str) -> Result<Self> {
        let mut lab = Self::direct(name)?;
        lab.left.addr = "2001:db8::1".parse()?;
        lab.right.addr = "2001:db8::2".parse()?;
        Ok(lab)
    }

    /// `left` behind a router that masquerades.
    ///
    /// # Errors
    /// As [`Lab::direct`], or if nftables is missing.
    pub fn behind_nat(name: &str) -> Result<Self> {
        let lab = Self::hosts(name, "10.99.0.2", true)?;
        let nat = lab.nat.as_ref().ok_or("no nat host")?;
        wire(&lab.left, "10.99.0.2/24", nat, "10.99.0.1/24")?;
        ip(&["link", "add", "wan", "netns", &nat.netns, "type", "veth", "peer", "eth0", "netns", &lab.right.netns])?;
        ip(&["-n", &nat.netns, "addr", "add", "192.0.2.254/24", "dev", "wan"])?;
        ip(&["-n", &nat.netns, "link", "set", "wan", "up"])?;
        ip(&["-n", &lab.right.netns, "addr", "add", "192.0.2.2/24", "dev", "eth0"])?;
        ip(&["-n", &lab.right.netns, "link", "set", "eth0", "up"])?;
        ip(&["-n", &lab.left.netns, "route", "add", "default", "via", "10.99.0.1"])?;
        nat.run(&["sysctl", "-qw", "net.ipv4.ip_forward=1"])?;
        if uml::is_inside() {
            // That kernel has no nftables for IPv4.
            nat.run(&["iptables-legacy", "-t", "nat", "-A", "POSTROUTING", "-o", "wan", "-j", "MASQUERADE"])?;
            return Ok(lab);
        }
        nat.run(&[
            "nft",
            "add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; \
             add rule ip nat post oifname wan masquerade",
        ])?;
        Ok(lab)
    }

    fn hosts(name: &str, left_addr: &str, with_nat: bool) -> Result<Self> {
        let prefix = format!("ct{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(format!("charon-{prefix}-{name}"));
        std::fs::create_dir_all(&dir)?;
        let left = Host::new(&prefix, "left", left_addr, 1)?;
        let right = Host::new(&prefix, "right", "192.0.2.2", 2)?;
        let nat = if with_nat { Some(Host::new(&prefix, "nat", "192.0.2.254", 9)?) } else { None };
        Ok(Self { dir, left, right, nat })
    }

    /// Whether `host` sits behind the masquerading router, so that nobody can call it.
    pub fn is_hidden(&self, host: &Host) -> bool {
        self.nat.is_some() && host.role == "left"
    }

    /// The folder for what the scenario writes.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for host in [Some(&self.left), Some(&self.right), self.nat.as_ref()].into_iter().flatten() {
            // A namespace that is already gone needs no report.
            let _ = ip(&["netns", "del", &host.netns]);
        }
        if std::env::var_os("LAB_KEEP").is_none() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

impl Host {
    fn new(prefix: &str, role: &'static str, addr: &str, net: u8) -> Result<Self> {
        let netns = format!("{prefix}-{role}");
        ip(&["netns", "add", &netns])?;
        let host = Self {
            netns,
            role,
            addr: addr.parse()?,
            inner: format!("10.{net}.0.1").parse()?,
            inner6: format!("fd0{net}::1").parse()?,
        };
        ip(&["-n", &host.netns, "link", "set", "lo", "up"])?;
        ip(&["-n", &host.netns, "addr", "add", &format!("{}/32", host.inner), "dev", "lo"])?;
        ip(&["-n", &host.netns, "addr", "add", &format!("{}/128", host.inner6), "dev", "lo", "nodad"])?;
        Ok(host)
    }

    /// A command that will run in this host's network and see a `/run` of its own, as each charon needs.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.netns, "unshare", "-m", "sh", "-c"]);
        command.arg(r#"mount -t tmpfs tmpfs /run && exec "$0" "$@""#).arg(program);
        command
    }

    /// Runs a program on this host to its end.
    ///
    /// # Errors
    /// If it cannot be started or fails; the text has its standard error.
    pub fn run(&self, argv: &[&str]) -> Result<String> {
        let mut full = vec!["netns", "exec", &self.netns];
        full.extend(argv);
        ip(&full)
    }

    /// Runs `work` on a thread that is inside this host's network.
    ///
    /// # Errors
    /// If the namespace cannot be entered, or those of `work`.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = format!("/run/netns/{}", self.netns);
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(File::open(path)?, CloneFlags::CLONE_NEWNET)?;
                work()
            });
            thread.join().map_err(|_| "work inside the namespace panicked")?
        })
    }

    /// The packets this host's `eth0` has sent and received so far.
    ///
    /// # Errors
    /// If the counters cannot be read.
    pub fn wire_packets(&self) -> Result<u64> {
        let text = self.run(&["cat", "/sys/class/net/eth0/statistics/tx_packets"])?;
        Ok(text.trim().parse()?)
    }
}

fn wire(a: &Host, a_addr: &str, b: &Host, b_addr: &str) -> Result<()> {
    ip(&["link", "add", "eth0", "netns", &a.netns, "type", "veth", "peer", "eth0", "netns", &b.netns])?;
    for (host, addr) in [(a, a_addr), (b, b_addr)] {
        ip(&["-n", &host.netns, "addr", "add", addr, "dev", "eth0"])?;
        ip(&["-n", &host.netns, "link", "set", "eth0", "up"])?;
    }
    Ok(())
}

fn ip(args: &[&str]) -> Result<String> {
    let out = Command::new("ip").args(args).stdin(Stdio::null()).output()?;
    if out.status.success() {
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    } else {
        Err(format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr).trim()).into())
    }
}
