//! Hosts that change their address while traffic flows (RFC 4555): each side moves, against everyone.

use std::time::Duration;

use testsuite::config::{Auth, Connection, Files};
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::{Host, Lab};
use testsuite::traffic::{Stream, ping};
use testsuite::tunnel::Tunnel;
use testsuite::uml::on_esp_kernel;
use testsuite::{Result, wait_for};

use Make::{Ours, StrongSwan};

/// Which host moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Left,
    Right,
}

use Who::{Left, Right};

/// Gives a host another address in the place of one it has.
fn move_host(host: &Host, from: &str, to: &str) -> Result<()> {
    host.run(&["ip", "addr", "del", from, "dev", "eth0"])?;
    let nodad: &[&str] = if to.contains(':') { &["nodad"] } else { &[] };
    let mut add = vec!["ip", "addr", "add", to, "dev", "eth0"];
    add.extend(nodad);
    host.run(&add)?;
    Ok(())
}

/// Takes the addresses of one family from both hosts: a host that has lost one address may well find a peer by those of
/// the other family before it gets a new one.
fn without(lab: &Lab, family: &str) -> Result<()> {
    for host in [&lab.left, &lab.right] {
        host.run(&["ip", family, "addr", "flush", "dev", "eth0"])?;
    }
    Ok(())
}

/// Both ends list an IKE_SA that is up and has this address at one end, and not the other one.
fn expect_address(daemons: [&Daemon; 2], address: &str, not: &str) -> Result<()> {
    for daemon in daemons {
        wait_for(&format!("an IKE_SA at {address}"), 20, || {
            let listed = daemon.swanctl(&["--list-sas", "--raw"])?;
            let at = |host: &str| listed.contains(&format!("-host={host} "));
            Ok(listed.contains("state=ESTABLISHED") && at(address) && !at(not))
        })?;
    }
    Ok(())
}

/// SPIs of everything that is listed.
fn spis(daemon: &Daemon) -> Result<Vec<String>> {
    let listed = daemon.swanctl(&["--list-sas", "--raw"])?;
    Ok(listed.split_whitespace().filter(|word| word.contains("spi")).map(str::to_owned).collect())
}

/// Where the hosts are at first, and where one of them goes.
struct Journey {
    who: Who,
    from: &'static str,
    to: &'static str,
    prefix: &'static str,
}

const LEFT: Journey = Journey { who: Left, from: "192.0.2.1", to: "192.0.2.7", prefix: "24" };
const RIGHT: Journey = Journey { who: Right, from: "192.0.2.2", to: "192.0.2.8", prefix: "24" };
const LEFT_6: Journey = Journey { who: Left, from: "2001:db8::1", to: "2001:db8::7", prefix: "64" };
const RIGHT_6: Journey = Journey { who: Right, from: "2001:db8::2", to: "2001:db8::8", prefix: "64" };

/// There and back under a stream in both directions. SAs of ours are the same all the time.
fn travels(lab: Lab, makes: (Make, Make), journey: &Journey) -> Result<()> {
    without(&lab, if journey.to.contains(':') { "-4" } else { "-6" })?;
    let tunnel = Tunnel::load(lab, makes, &Connection::new(Auth::Psk))?;
    tunnel.up()?;
    tunnel.agree()?;
    let (left, right) = (&tunnel.lab.left, &tunnel.lab.right);
    wait_for("the first ping", 5, || Ok(ping(left, left.inner, right.inner, 1)? == 1))?;
    let host = if journey.who == Left { left } else { right };
    let before = spis(&tunnel.left)?;
    for (from, to) in [(journey.from, journey.to), (journey.to, journey.from)] {
        let there = Stream::start((left, left.inner), (right, right.inner))?;
        let back = Stream::start((right, right.inner), (left, left.inner))?;
        std::thread::sleep(Duration::from_millis(300));
        move_host(host, &format!("{from}/{}", journey.prefix), &format!("{to}/{}", journey.prefix))?;
        expect_address(tunnel.sides(), to, from)?;
        std::thread::sleep(Duration::from_millis(1500));
        for stream in [there, back] {
            let balance = stream.finish()?;
            assert!(balance.received * 2 > balance.sent, "most datagrams arrive: {balance:?}");
        }
        assert_eq!(ping(left, left.inner, right.inner, 3)?, 3, "pings from left to right at {to}");
        assert_eq!(ping(right, right.inner, left.inner, 3)?, 3, "pings from right to left at {to}");
    }
    if makes == (Ours, Ours) {
        assert_eq!(spis(&tunnel.left)?, before, "nothing was rekeyed");
    }
    tunnel.agree()?;
    tunnel.down_from(&tunnel.right)
}

/// Two addresses, of which the one in use goes: the other one is moved to.
fn falls_back(makes: (Make, Make)) -> Result<()> {
    let lab = Lab::direct("fallback")?;
    without(&lab, "-6")?;
    lab.left.run(&["ip", "addr", "add", "192.0.2.7/25", "dev", "eth0"])?;
    let tunnel = Tunnel::load(lab, makes, &Connection::new(Auth::Psk))?;
    tunnel.up()?;
    tunnel.agree()?;
    let (left, right) = (&tunnel.lab.left, &tunnel.lab.right);
    left.run(&["ip", "addr", "del", "192.0.2.1/24", "dev", "eth0"])?;
    expect_address(tunnel.sides(), "192.0.2.7", "192.0.2.1")?;
    wait_for("ping", 5, || Ok(ping(left, left.inner, right.inner, 1)? == 1))
}

/// The link goes away for a while: the tunnel outlives it.
fn survives_a_dead_link(makes: (Make, Make)) -> Result<()> {
    let lab = Lab::direct("link")?;
    without(&lab, "-6")?;
    let tunnel = Tunnel::load(lab, makes, &Connection::new(Auth::Psk))?;
    tunnel.up()?;
    tunnel.agree()?;
    let (left, right) = (&tunnel.lab.left, &tunnel.lab.right);
    let before = spis(&tunnel.left)?;
    left.run(&["ip", "link", "set", "eth0", "down"])?;
    wait_for("the daemon to notice", 5, || {
        Ok(tunnel.left.logged("no route found to reach 192.0.2.2, MOBIKE update deferred"))
    })?;
    std::thread::sleep(Duration::from_secs(1));
    left.run(&["ip", "addr", "flush", "dev", "eth0"])?;
    left.run(&["ip", "link", "set", "eth0", "up"])?;
    left.run(&["ip", "addr", "add", "192.0.2.7/24", "dev", "eth0"])?;
    expect_address(tunnel.sides(), "192.0.2.7", "192.0.2.1")?;
    wait_for("ping", 5, || Ok(ping(left, left.inner, right.inner, 1)? == 1))?;
    if makes == (Ours, Ours) {
        assert_eq!(spis(&tunnel.left)?, before, "nothing was rekeyed");
    }
    Ok(())
}

/// The only IPv4 address goes, and the peer has an IPv6 address as well: the tunnel changes the family.
fn changes_family(makes: (Make, Make)) -> Result<()> {
    let tunnel = Tunnel::load(Lab::direct("family")?, makes, &Connection::new(Auth::Psk))?;
    tunnel.up()?;
    tunnel.agree()?;
    let (left, right) = (&tunnel.lab.left, &tunnel.lab.right);
    left.run(&["ip", "addr", "del", "192.0.2.1/24", "dev", "eth0"])?;
    expect_address(tunnel.sides(), "2001:db8::1", "192.0.2.1")?;
    wait_for("ping", 5, || Ok(ping(left, left.inner, right.inner, 1)? == 1))
}

/// Behind a NAT to another address, which gets another mapping.
fn travels_behind_nat(makes: (Make, Make)) -> Result<()> {
    let tunnel = Tunnel::load(Lab::behind_nat("mobile-nat")?, makes, &Connection::new(Auth::Psk))?;
    tunnel.up()?;
    tunnel.agree()?;
    let (left, right) = (&tunnel.lab.left, &tunnel.lab.right);
    wait_for("the first ping", 5, || Ok(ping(left, left.inner, right.inner, 1)? == 1))?;
    move_host(left, "10.99.0.2/24", "10.99.0.7/24")?;
    left.run(&["ip", "route", "add", "default", "via", "10.99.0.1"])?;
    expect_address([&tunnel.left, &tunnel.left], "10.99.0.7", "10.99.0.2")?;
    wait_for("ping from left to right", 10, || Ok(ping(left, left.inner, right.inner, 1)? == 1))?;
    assert_eq!(ping(right, right.inner, left.inner, 3)?, 3, "pings from right to left");
    tunnel.down_from(&tunnel.left)
}

/// `mobike = no`: the initiator sets the tunnel up again from its new address.
fn without_mobike(makes: (Make, Make)) -> Result<()> {
    let lab = Lab::direct("immobile")?;
    without(&lab, "-6")?;
    let (mut left_files, mut right_files) =
        testsuite::config::pair(&lab, &Connection::new(Auth::Psk).with("mobike = no"))?;
    left_files.swanctl = left_files.swanctl.replace("local_addrs = 192.0.2.1", "local_addrs = %any");
    right_files.swanctl = right_files.swanctl.replace("remote_addrs = 192.0.2.1", "remote_addrs = %any");
    let left = Daemon::start(&lab, &lab.left, makes.0, &left_files)?;
    let right = Daemon::start(&lab, &lab.right, makes.1, &right_files)?;
    for daemon in [&left, &right] {
        daemon.swanctl(&["--load-all"])?;
    }
    left.swanctl(&["--initiate", "--child", "net"])?;
    assert!(!left.logged("MOBIKE_SUP"), "MOBIKE is not offered");
    move_host(&lab.left, "192.0.2.1/24", "192.0.2.7/24")?;
    expect_address([&left, &right], "192.0.2.7", "192.0.2.1")?;
    assert!(left.logged("reauthenticating IKE_SA due to address change"));
    wait_for("ping", 5, || Ok(ping(&lab.left, lab.left.inner, lab.right.inner, 1)? == 1))
}

/// A client moves and keeps its virtual IP.
fn keeps_virtual_ip(makes: (Make, Make)) -> Result<()> {
    const VIP: &str = "10.77.0.1";
    let lab = Lab::direct("mobile-rw")?;
    without(&lab, "-6")?;
    let connection = |me: &str, other: &str, lines: &str, local_ts: &str, remote_ts: &str| {
        let swanctl = format!(
            "connections {{\n rw {{\n{lines}\n  local {{\n auth = psk\n id = {me}\n }}\n  remote {{\n auth = psk\n id = {other}\n }}\n  \
             children {{\n net {{\n local_ts = {local_ts}\n remote_ts = {remote_ts}\n }}\n }}\n }}\n}}\n\
             secrets {{\n ike-rw {{\n secret = \"the quick brown fox\"\n }}\n}}\n\
             pools {{\n rw {{\n addrs = 10.77.0.0/28\n }}\n}}\n"
        );
        Files { swanctl, ..Files::default() }
    };
    let net = format!("{}/16", lab.right.inner);
    let carol = connection("carol", "moon", "remote_addrs = 192.0.2.2\n vips = 0.0.0.0", "dynamic", &net);
    let moon = connection("moon", "carol", "local_addrs = 192.0.2.2\n pools = rw", &net, "dynamic");
    let carol = Daemon::start(&lab, &lab.left, makes.0, &carol)?;
    let moon = Daemon::start(&lab, &lab.right, makes.1, &moon)?;
    for daemon in [&carol, &moon] {
        daemon.swanctl(&["--load-all"])?;
    }
    carol.swanctl(&["--initiate", "--child", "net"])?;
    let (vip, inner) = (VIP.parse()?, lab.right.inner);
    wait_for("the first ping", 5, || Ok(ping(&lab.left, vip, inner, 1)? == 1))?;
    let stream = Stream::start((&lab.left, vip), (&lab.right, inner))?;
    move_host(&lab.left, "192.0.2.1/24", "192.0.2.7/24")?;
    expect_address([&carol, &moon], "192.0.2.7", "192.0.2.1")?;
    std::thread::sleep(Duration::from_millis(1500));
    let balance = stream.finish()?;
    assert!(balance.received * 2 > balance.sent, "most datagrams arrive: {balance:?}");
    for daemon in [&carol, &moon] {
        assert!(daemon.swanctl(&["--list-sas"])?.contains(&format!("[{VIP}]")), "the virtual IP is still there");
    }
    assert_eq!(ping(&lab.left, vip, inner, 3)?, 3, "from the virtual IP");
    assert_eq!(ping(&lab.right, inner, vip, 3)?, 3, "to the virtual IP");
    Ok(())
}

macro_rules! scenarios {
    ($($name:ident: $scenario:expr;)*) => {
        $(#[test]
        fn $name() -> Result<()> {
            $scenario
        })*
    };
}

fn direct() -> Result<Lab> {
    Lab::direct("mobile")
}

fn direct_ipv6() -> Result<Lab> {
    Lab::direct_ipv6("mobile6")
}

scenarios! {
    left_moves_ours_to_ours: travels(direct()?, (Ours, Ours), &LEFT);
    left_moves_ours_to_strongswan: travels(direct()?, (Ours, StrongSwan), &LEFT);
    left_moves_strongswan_to_ours: travels(direct()?, (StrongSwan, Ours), &LEFT);
    right_moves_ours_to_ours: travels(direct()?, (Ours, Ours), &RIGHT);
    right_moves_ours_to_strongswan: travels(direct()?, (Ours, StrongSwan), &RIGHT);
    right_moves_strongswan_to_ours: travels(direct()?, (StrongSwan, Ours), &RIGHT);

    left_moves_ipv6_ours_to_ours: travels(direct_ipv6()?, (Ours, Ours), &LEFT_6);
    left_moves_ipv6_ours_to_strongswan: travels(direct_ipv6()?, (Ours, StrongSwan), &LEFT_6);
    right_moves_ipv6_strongswan_to_ours: travels(direct_ipv6()?, (StrongSwan, Ours), &RIGHT_6);

    falls_back_ours_to_ours: falls_back((Ours, Ours));
    falls_back_ours_to_strongswan: falls_back((Ours, StrongSwan));
    dead_link_ours_to_ours: survives_a_dead_link((Ours, Ours));
    dead_link_ours_to_strongswan: survives_a_dead_link((Ours, StrongSwan));

    family_ours_to_ours: changes_family((Ours, Ours));
    family_ours_to_strongswan: changes_family((Ours, StrongSwan));
    family_strongswan_to_ours: changes_family((StrongSwan, Ours));

    nat_ours_to_ours: travels_behind_nat((Ours, Ours));
    nat_ours_to_strongswan: travels_behind_nat((Ours, StrongSwan));
    nat_strongswan_to_ours: travels_behind_nat((StrongSwan, Ours));

    virtual_ip_ours_to_ours: keeps_virtual_ip((Ours, Ours));
    virtual_ip_ours_to_strongswan: keeps_virtual_ip((Ours, StrongSwan));
    virtual_ip_strongswan_to_ours: keeps_virtual_ip((StrongSwan, Ours));

    without_mobike_ours_to_ours: without_mobike((Ours, Ours));
    without_mobike_ours_to_strongswan: without_mobike((Ours, StrongSwan));

    kernel_left_moves_ours_to_ours: on_esp_kernel("kernel_left_moves_ours_to_ours", || travels(direct()?, (Ours, Ours), &LEFT));
    kernel_right_moves_ours_to_strongswan: on_esp_kernel("kernel_right_moves_ours_to_strongswan", || {
        travels(direct()?, (Ours, StrongSwan), &RIGHT)
    });
    kernel_left_moves_strongswan_to_ours: on_esp_kernel("kernel_left_moves_strongswan_to_ours", || {
        travels(direct()?, (StrongSwan, Ours), &LEFT)
    });
    kernel_virtual_ip_ours_to_strongswan: on_esp_kernel("kernel_virtual_ip_ours_to_strongswan", || {
        keeps_virtual_ip((Ours, StrongSwan))
    });
}
