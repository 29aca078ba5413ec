//! Tunnels whose ESP is the kernel's. Test machines' own kernels have none, so these run inside User-Mode Linux.

use testsuite::Result;
use testsuite::config::{Auth, Connection, pair};
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::Lab;
use testsuite::traffic::{ping, tcp_transfer};
use testsuite::uml::on_esp_kernel;

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
        let listed = lab.left.run(&["ip", "xfrm", "state"])?;
        assert!(listed.contains("spi 0xc0000001") && listed.contains(key), "{listed}");
        assert_eq!(lab.right.run(&["ip", "xfrm", "state"])?, "", "states of a namespace are its own");
        lab.left.run(&["ip", "xfrm", "state", "flush"])?;
        assert_eq!(lab.left.run(&["ip", "xfrm", "state"])?, "");
        Ok(())
    })
}

/// Up, traffic through SAs that the kernel lists, down; then nothing is left.
fn tunnel(name: &str, makes: (Make, Make), connection: &Connection) -> Result<()> {
    let lab = Lab::direct(name)?;
    let (left_files, right_files) = pair(&lab, connection)?;
    let left = Daemon::start(&lab, &lab.left, makes.0, &left_files)?;
    let right = Daemon::start(&lab, &lab.right, makes.1, &right_files)?;
    for daemon in [&left, &right] {
        daemon.swanctl(&["--load-all"])?;
    }
    left.swanctl(&["--initiate", "--child", "net"])?;
    for host in [&lab.left, &lab.right] {
        let states = host.run(&["ip", "xfrm", "state"])?;
        assert_eq!(states.matches("proto esp").count(), 2, "{states}");
    }
    let (a, b) = (&lab.left, &lab.right);
    let wire = a.wire_packets()?;
    assert_eq!(ping(a, a.inner, b.inner, 3)?, 3, "pings from left to right");
    assert_eq!(ping(b, b.inner, a.inner, 3)?, 3, "pings from right to left");
    assert!(a.wire_packets()? >= wire + 6, "nothing went over the wire");
    tcp_transfer((a, a.inner), (b, b.inner), 1_000_000)?;
    left.swanctl(&["--terminate", "--ike", "gw"])?;
    for host in [a, b] {
        assert_eq!(host.run(&["ip", "xfrm", "state"])?, "");
        let policies = host.run(&["sh", "-c", "ip xfrm policy | grep -v '^\\s' | grep -v socket || true"])?;
        assert!(!policies.contains("10."), "{policies}");
    }
    Ok(())
}

#[test]
fn strongswan_with_itself() -> Result<()> {
    on_esp_kernel("strongswan_with_itself", || tunnel("ss", (StrongSwan, StrongSwan), &Connection::new(Auth::Psk)))
}

#[test]
fn ours_with_ours() -> Result<()> {
    on_esp_kernel("ours_with_ours", || tunnel("oo", (Ours, Ours), &Connection::new(Auth::Psk)))
}

#[test]
fn ours_initiates_to_strongswan() -> Result<()> {
    on_esp_kernel("ours_initiates_to_strongswan", || tunnel("os", (Ours, StrongSwan), &Connection::new(Auth::Psk)))
}

#[test]
fn strongswan_initiates_to_ours() -> Result<()> {
    on_esp_kernel("strongswan_initiates_to_ours", || tunnel("so", (StrongSwan, Ours), &Connection::new(Auth::Psk)))
}
