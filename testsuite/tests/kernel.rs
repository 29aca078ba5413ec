//! Tunnels whose ESP is the kernel's. Test machines' own kernels have none, so these run inside User-Mode Linux.

use testsuite::config::{Auth, Connection};
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::{Host, Lab};
use testsuite::pki::KeyKind;
use testsuite::traffic::ping;
use testsuite::tunnel::{Tunnel, life, life_behind_nat};
use testsuite::uml::on_esp_kernel;
use testsuite::{Result, wait_for};

use Make::{Ours, StrongSwan};

/// The laboratory itself: the kernel takes an ESP state, shows it and forgets it.
#[test]
fn the_kernel_has_esp() -> Result<()> {
    on_esp_kernel("the_kernel_has_esp", || {
        let lab = Lab::direct("esp")?;
        let key = "0x00112233445566778899aabbccddeeff00112233";
        let add = format!(
            "ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0xc0000001 reqid 1 mode tunnel \
             aead rfc4106(gcm(aes)) {key} 128"
        );
        lab.left.run(&add.split_whitespace().collect::<Vec<_>>())?;
        let listed = states(&lab.left)?;
        assert!(listed.contains("spi 0xc0000001") && listed.contains(key), "{listed}");
        assert_eq!(states(&lab.right)?, "", "states of a namespace are its own");
        lab.left.run(&["ip", "xfrm", "state", "flush"])?;
        assert_eq!(states(&lab.left)?, "");
        Ok(())
    })
}

fn states(host: &Host) -> Result<String> {
    host.run(&["ip", "xfrm", "state"])
}

/// Policies, except for those of sockets.
fn policies(host: &Host) -> Result<String> {
    host.run(&["ip", "xfrm", "policy", "list", "nosock"])
}

/// Neither SAs nor policies nor routes are left on either host.
fn nothing_is_left(lab: &Lab) -> Result<()> {
    for host in [&lab.left, &lab.right] {
        wait_for("empty SAD and SPD", 5, || Ok(states(host)?.is_empty() && policies(host)?.is_empty()))
            .map_err(|error| format!("{error}\n{:?}\n{:?}", states(host), policies(host)))?;
        assert_eq!(host.run(&["sh", "-c", "ip route show table 220 2>/dev/null || true"])?, "");
    }
    Ok(())
}

/// Up, with SAs that the kernel lists, and traffic that goes over the wire as ESP.
fn up(lab: Lab, makes: (Make, Make), connection: &Connection) -> Result<Tunnel> {
    let tunnel = Tunnel::load(lab, makes, connection)?;
    tunnel.up()?;
    for host in [&tunnel.lab.left, &tunnel.lab.right] {
        let states = states(host)?;
        assert_eq!(states.matches("proto esp").count(), 2, "{states}");
    }
    Ok(tunnel)
}

fn pings(tunnel: &Tunnel, inner6: bool) -> Result<()> {
    let (a, b) = (&tunnel.lab.left, &tunnel.lab.right);
    let ends = if inner6 { (a.inner6, b.inner6) } else { (a.inner, b.inner) };
    let wire = a.wire_packets()?;
    assert_eq!(ping(a, ends.0, ends.1, 3)?, 3, "pings from left to right");
    assert_eq!(ping(b, ends.1, ends.0, 3)?, 3, "pings from right to left");
    assert!(a.wire_packets()? >= wire + 6, "nothing went over the wire");
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

const PSK: Auth = Auth::Psk;

scenarios! {
    life_of_strongswan: life((StrongSwan, StrongSwan), PSK);
    life_of_ours: life((Ours, Ours), PSK);
    life_ours_to_strongswan: life((Ours, StrongSwan), Auth::Certificate(KeyKind::EcdsaP256));
    life_strongswan_to_ours: life((StrongSwan, Ours), PSK);
    nat_ours: life_behind_nat((Ours, Ours), PSK);
    nat_ours_to_strongswan: life_behind_nat((Ours, StrongSwan), PSK);
    nat_strongswan_to_ours: life_behind_nat((StrongSwan, Ours), PSK);
    ipv6_ours: ipv6((Ours, Ours));
    ipv6_ours_to_strongswan: ipv6((Ours, StrongSwan));
    transport_ours: transport((Ours, Ours));
    transport_ours_to_strongswan: transport((Ours, StrongSwan));
    transport_strongswan_to_ours: transport((StrongSwan, Ours));
    bytes_ours: used_up((Ours, Ours));
    bytes_ours_to_strongswan: used_up((Ours, StrongSwan));
    trap_ours: trap((Ours, Ours));
    trap_ours_to_strongswan: trap((Ours, StrongSwan));
    sigterm_ours: sigterm((Ours, Ours));
    hard_limit_ours: hard_limit((Ours, Ours));
    hard_limit_ours_to_strongswan: hard_limit((Ours, StrongSwan));
    many_lives_ours_to_strongswan: many_lives((Ours, StrongSwan));
}

fn ipv6(makes: (Make, Make)) -> Result<()> {
    let connection = Connection { inner6: true, ..Connection::new(PSK) };
    let tunnel = up(Lab::direct("v6")?, makes, &connection)?;
    pings(&tunnel, true)?;
    tunnel.left.swanctl(&["--terminate", "--ike", "gw"])?;
    nothing_is_left(&tunnel.lab)
}

/// Between the hosts themselves, without an outer header.
fn transport(makes: (Make, Make)) -> Result<()> {
    let lab = Lab::direct("transport")?;
    let connection = Connection::new(PSK).with_child("mode = transport\nlocal_ts = dynamic\nremote_ts = dynamic");
    let tunnel = up(lab, makes, &connection)?;
    for host in [&tunnel.lab.left, &tunnel.lab.right] {
        let states = states(host)?;
        assert_eq!(states.matches("mode transport").count(), 2, "{states}");
    }
    let (a, b) = (&tunnel.lab.left, &tunnel.lab.right);
    assert_eq!(ping(a, a.addr, b.addr, 3)?, 3);
    let listed = tunnel.left.swanctl(&["--list-sas"])?;
    assert!(listed.contains("TRANSPORT") && listed.contains("3 packets"), "{listed}");
    tunnel.left.swanctl(&["--terminate", "--ike", "gw"])?;
    nothing_is_left(&tunnel.lab)
}

/// The kernel counts: at the soft limit there is a successor, with traffic flowing on.
fn used_up(makes: (Make, Make)) -> Result<()> {
    let connection = Connection::new(PSK).with_child("rekey_bytes = 2000\nlife_bytes = 100000\nrand_bytes = 0");
    let tunnel = up(Lab::direct("bytes")?, makes, &connection)?;
    let before = states(&tunnel.lab.left)?;
    let (a, b) = (&tunnel.lab.left, &tunnel.lab.right);
    assert_eq!(ping(a, a.inner, b.inner, 40)?, 40, "no packet is lost by rekeying");
    let old: Vec<&str> = before.split("spi ").skip(1).filter_map(|rest| rest.split_whitespace().next()).collect();
    assert_eq!(old.len(), 2, "{before}");
    // A replaced inbound SA lives on for some seconds, for packets that are under way.
    wait_for("successors alone", 15, || {
        let now = states(a)?;
        Ok(now.matches("proto esp").count() >= 2 && !old.iter().any(|spi| now.contains(spi)))
    })?;
    assert!(tunnel.left.logged("creating rekey job for CHILD_SA") || tunnel.right.logged("creating rekey job"));
    tunnel.left.swanctl(&["--terminate", "--ike", "gw"])?;
    nothing_is_left(&tunnel.lab)
}

/// The first packets wait for nobody: the trap brings the tunnel up, those after it go through.
fn trap(makes: (Make, Make)) -> Result<()> {
    let lab = Lab::direct("trap")?;
    let tunnel = Tunnel::load(lab, makes, &Connection::new(PSK).with_child("start_action = trap"))?;
    let (a, b) = (&tunnel.lab.left, &tunnel.lab.right);
    assert!(policies(a)?.contains("dst 10.2.0.0/16"), "the trap is installed");
    let _lost = ping(a, a.inner, b.inner, 1)?;
    wait_for("the trap's tunnel", 10, || Ok(states(b)?.matches("proto esp").count() >= 2))?;
    pings(&tunnel, false)?;
    tunnel.left.swanctl(&["--terminate", "--ike", "gw"])?;
    assert!(policies(a)?.contains("dst 10.2.0.0/16"), "the trap is back");
    assert_eq!(states(b)?, "");
    let Tunnel { lab, mut left, mut right, .. } = tunnel;
    left.stop()?;
    right.stop()?;
    lab.left.run(&["ip", "xfrm", "state", "flush"])?;
    nothing_is_left(&lab)
}

/// A daemon that is told to end says goodbye and takes everything back.
fn sigterm(makes: (Make, Make)) -> Result<()> {
    let mut tunnel = up(Lab::direct("sigterm")?, makes, &Connection::new(PSK))?;
    pings(&tunnel, false)?;
    tunnel.left.stop()?;
    nothing_is_left(&tunnel.lab)?;
    assert!(!tunnel.lab.left.run(&["ip", "rule"])?.contains("220"));
    Ok(())
}

/// An SA that nobody replaced in time is deleted with its CHILD_SA, the peer is told, and there is a new one.
fn hard_limit(makes: (Make, Make)) -> Result<()> {
    let connection = Connection::new(PSK).with_child("rekey_bytes = 0\nlife_bytes = 1000\nrand_bytes = 0");
    let tunnel = up(Lab::direct("hard")?, makes, &connection)?;
    let (a, b) = (&tunnel.lab.left, &tunnel.lab.right);
    let first = states(a)?.lines().nth(1).unwrap_or_default().to_owned();
    let replies = ping(a, a.inner, b.inner, 15)?;
    assert!((5..=15).contains(&replies), "{replies} replies with 1000 bytes of 84 each");
    let expired = |daemon: &Daemon| daemon.logged("creating delete job for CHILD_SA");
    wait_for("hard expiry", 10, || Ok(expired(&tunnel.left) || expired(&tunnel.right)))?;
    wait_for("successor", 10, || {
        let now = states(a)?;
        Ok(!now.contains(&first) && now.matches("proto esp").count() == 2)
    })?;
    pings(&tunnel, false)?;
    tunnel.left.swanctl(&["--terminate", "--ike", "gw"])?;
    nothing_is_left(&tunnel.lab)
}

/// Whatever was installed goes again, however often.
fn many_lives(makes: (Make, Make)) -> Result<()> {
    let tunnel = Tunnel::load(Lab::direct("many")?, makes, &Connection::new(PSK))?;
    for _ in 0..20 {
        tunnel.up()?;
        tunnel.left.swanctl(&["--terminate", "--ike", "gw"])?;
    }
    nothing_is_left(&tunnel.lab)
}
