//! Two daemons with one connection between them, and the life it has in every scenario: up, traffic, rekeying under
//! traffic from each side, listing, down.

use std::net::IpAddr;

use crate::config::{Auth, Connection, pair};
use crate::daemon::{Daemon, Make};
use crate::lab::{Host, Lab};
use crate::traffic::{Stream, ping, tcp_transfer};
use crate::{Result, uml, wait_for};

/// Bytes of a transfer; User-Mode Linux encrypts some hundred kilobytes a second.
fn transfer_size() -> usize {
    if uml::is_inside() { 500_000 } else { 10_000_000 }
}

/// Two daemons with the same connection loaded on both sides.
#[derive(Debug)]
pub struct Tunnel {
    // The daemons come first: they are stopped, and their logs read, before the lab goes.
    pub left: Daemon,
    pub right: Daemon,
    pub lab: Lab,
    /// Whether the protected networks are the IPv6 ones.
    inner6: bool,
}

impl Tunnel {
    /// Starts both daemons and loads the connection.
    ///
    /// # Errors
    /// If a daemon does not start or load it.
    pub fn load(lab: Lab, makes: (Make, Make), connection: &Connection) -> Result<Self> {
        let (left_files, right_files) = pair(&lab, connection)?;
        let left = Daemon::start(&lab, &lab.left, makes.0, &left_files)?;
        let right = Daemon::start(&lab, &lab.right, makes.1, &right_files)?;
        for daemon in [&left, &right] {
            let said = daemon.swanctl(&["--load-all"])?;
            assert!(said.contains("loaded connection 'gw'"), "{said}");
        }
        Ok(Self { left, right, lab, inner6: connection.inner6 })
    }

    /// Initiates the CHILD_SA from the left.
    ///
    /// # Errors
    /// If that fails.
    pub fn up(&self) -> Result<()> {
        let said = self.left.swanctl(&["--initiate", "--child", "net"])?;
        assert!(said.contains("initiate completed successfully"), "{said}");
        Ok(())
    }

    /// Both hosts with their addresses in the protected networks.
    fn ends(&self) -> [(&Host, IpAddr); 2] {
        [&self.lab.left, &self.lab.right].map(|host| (host, if self.inner6 { host.inner6 } else { host.inner }))
    }

    /// Pings and transfers in both directions.
    ///
    /// # Errors
    /// If something is lost or changed.
    pub fn carries_traffic(&self) -> Result<()> {
        let [left, right] = self.ends();
        if self.sides().iter().any(|side| side.make == Make::StrongSwan && !uml::is_inside()) {
            // kernel-libipsec goes on installing policies after it has reported success; seen as one lost ping between
            // two strongSwans on a busy machine.
            wait_for("the first ping", 5, || Ok(ping(left.0, left.1, right.1, 1)? == 1))?;
        }
        assert_eq!(ping(left.0, left.1, right.1, 3)?, 3, "pings from left to right");
        assert_eq!(ping(right.0, right.1, left.1, 3)?, 3, "pings from right to left");
        tcp_transfer(left, right, transfer_size())?;
        tcp_transfer(right, left, transfer_size())
    }

    /// Both daemons.
    pub fn sides(&self) -> [&Daemon; 2] {
        [&self.left, &self.right]
    }

    /// Both ends list one IKE_SA with one CHILD_SA whose SPIs mirror each other.
    ///
    /// # Errors
    /// If they still differ after 10 s.
    pub fn agree(&self) -> Result<()> {
        wait_for("both ends listing the same SAs", 10, || {
            let left = spis(&self.left.swanctl(&["--list-sas", "--raw"])?);
            let right = spis(&self.right.swanctl(&["--list-sas", "--raw"])?);
            let mirrored = match (left.as_slice(), right.as_slice()) {
                ([(l_in, l_out)], [(r_in, r_out)]) => l_in == r_out && l_out == r_in,
                _ => false,
            };
            if mirrored { Ok(true) } else { Err(format!("left {left:?}, right {right:?}").into()) }
        })
    }

    /// Rekeys from each side under a stream in both directions; not one datagram may be missing.
    ///
    /// # Errors
    /// If a daemon does not rekey, or a stream fails.
    pub fn rekey_without_loss(&self, arguments: &[&str]) -> Result<()> {
        let [left, right] = self.ends();
        let there = Stream::start(left, right)?;
        let back = Stream::start(right, left)?;
        for daemon in self.sides() {
            let before = daemon.swanctl(&["--list-sas", "--raw"])?;
            let mut command = vec!["--rekey"];
            command.extend(arguments);
            daemon.swanctl(&command)?;
            wait_for("rekeying", 5, || Ok(keys(&daemon.swanctl(&["--list-sas", "--raw"])?) != keys(&before)))?;
            std::thread::sleep(std::time::Duration::from_millis(700));
        }
        for stream in [there, back] {
            let balance = stream.finish()?;
            assert!(balance.sent > 100, "{balance:?}");
            assert_eq!(balance.sent, balance.received, "datagrams were lost during {arguments:?}");
        }
        Ok(())
    }

    /// Terminates from one side; then there is nothing left on either.
    ///
    /// # Errors
    /// If that fails.
    pub fn down_from(&self, daemon: &Daemon) -> Result<()> {
        let said = daemon.swanctl(&["--terminate", "--ike", "gw"])?;
        assert!(said.contains("terminate completed successfully"), "{said}");
        for side in self.sides() {
            wait_for("no SA left", 5, || Ok(!side.swanctl(&["--list-sas"])?.contains("ESTABLISHED")))?;
        }
        let [left, right] = self.ends();
        assert_eq!(ping(left.0, left.1, right.1, 1)?, 0, "no traffic without a tunnel");
        Ok(())
    }
}

/// (spi-in, spi-out) of every installed CHILD_SA in raw `list-sas` output.
fn spis(raw: &str) -> Vec<(String, String)> {
    raw.split("state=INSTALLED")
        .skip(1)
        .filter_map(|child| Some((value(child, "spi-in=")?, value(child, "spi-out=")?)))
        .collect()
}

/// Everything in raw `list-sas` output that names a key: SPIs of IKE_SAs and CHILD_SAs.
fn keys(raw: &str) -> Vec<String> {
    raw.split_whitespace().filter(|word| word.contains("spi")).map(str::to_owned).collect()
}

fn value(text: &str, key: &str) -> Option<String> {
    text.split_once(key)?.1.split([' ', '}']).next().map(str::to_owned)
}

/// A whole life: up, traffic, rekeyings from both sides without loss, down from each side.
///
/// # Errors
/// Of any step.
pub fn life(makes: (Make, Make), auth: Auth) -> Result<()> {
    let tunnel = Tunnel::load(Lab::direct("life")?, makes, &Connection::new(auth))?;
    tunnel.up()?;
    tunnel.agree()?;
    tunnel.carries_traffic()?;
    tunnel.rekey_without_loss(&["--child", "net"])?;
    tunnel.rekey_without_loss(&["--ike", "gw"])?;
    tunnel.carries_traffic()?;
    tunnel.down_from(&tunnel.left)?;
    tunnel.up()?;
    tunnel.agree()?;
    tunnel.down_from(&tunnel.right)
}

/// The same over IPv6, for IPv6 networks.
///
/// # Errors
/// Of any step.
pub fn life_ipv6(makes: (Make, Make), auth: Auth) -> Result<()> {
    let connection = Connection { inner6: true, ..Connection::new(auth) };
    let tunnel = Tunnel::load(Lab::direct_ipv6("ipv6")?, makes, &connection)?;
    tunnel.up()?;
    tunnel.agree()?;
    tunnel.carries_traffic()?;
    tunnel.rekey_without_loss(&["--child", "net"])?;
    tunnel.down_from(&tunnel.left)
}

/// A CHILD_SA that has carried its share of packets is replaced without anyone asking and without a loss.
///
/// # Errors
/// Of any step.
pub fn expires_by_packets(makes: (Make, Make), auth: Auth) -> Result<()> {
    let limit = "rekey_packets = 200\n life_packets = 100000\n rand_packets = 0\n";
    let tunnel = Tunnel::load(Lab::direct("expire")?, makes, &Connection::new(auth).with_child(limit))?;
    tunnel.up()?;
    let before = keys(&tunnel.left.swanctl(&["--list-sas", "--raw"])?);
    let [left, right] = tunnel.ends();
    let stream = Stream::start(left, right)?;
    wait_for("rekeying after 200 packets", 10, || Ok(keys(&tunnel.left.swanctl(&["--list-sas", "--raw"])?) != before))?;
    let balance = stream.finish()?;
    assert_eq!(balance.sent, balance.received, "datagrams were lost");
    let asked = tunnel.sides().iter().any(|side| side.logged("creating rekey job for CHILD_SA ESP/0x"));
    assert!(asked, "a data plane asked for it");
    Ok(())
}

/// The same with the initiator behind a masquerading router.
///
/// # Errors
/// Of any step.
pub fn life_behind_nat(makes: (Make, Make), auth: Auth) -> Result<()> {
    let tunnel = Tunnel::load(Lab::behind_nat("nat")?, makes, &Connection::new(auth))?;
    tunnel.up()?;
    tunnel.agree()?;
    for side in tunnel.sides() {
        assert!(side.swanctl(&["--list-sas"])?.contains("TUNNEL-in-UDP"), "ESP goes through UDP behind a NAT");
    }
    tunnel.carries_traffic()?;
    tunnel.rekey_without_loss(&["--child", "net"])?;
    tunnel.rekey_without_loss(&["--ike", "gw"])?;
    tunnel.down_from(&tunnel.left)
}
