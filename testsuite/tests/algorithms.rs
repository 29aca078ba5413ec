//! Every algorithm both ends know, on the wire: one handshake and a ping for each proposal.

use std::net::IpAddr;

use testsuite::Result;
use testsuite::config::{Auth, Connection, pair};
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::Lab;
use testsuite::traffic::ping;

use Make::{Ours, StrongSwan};

const IKE: &[&str] = &[
    "aes128-sha256-modp2048",
    "aes192-sha384-modp3072",
    "aes256-sha512-modp4096",
    "aes128-sha1-modp1024",
    "aes256ctr-sha256-ecp256",
    "3des-sha1-modp1536",
    "aes128-aesxcbc-modp2048s256",
    "aes128-aescmac-modp1024s160",
    "aes128gcm16-prfsha256-x25519",
    "aes256gcm12-prfsha384-ecp384",
    "aes192gcm8-prfsha512-ecp521",
    "aes128ccm16-prfaesxcbc-ecp256bp",
    "aes256ccm8-prfaescmac-ecp384bp",
    "chacha20poly1305-prfsha256-ecp512bp",
    "aes128gcm16-prfsha1-modp2048s224",
    "aes256-sha256-modp6144",
    "aes256-sha256-modp8192",
];

const ESP: &[&str] = &[
    "aes128-sha256",
    "aes192-sha384",
    "aes256-sha512",
    "aes128-sha1",
    "aes256ctr-sha256",
    "3des-sha1",
    "aes128-aesxcbc",
    "aes128gcm16",
    "aes256gcm12",
    "aes192gcm8",
    "aes128ccm16",
    "aes256ccm12",
    "chacha20poly1305",
    "null-sha256",
];

/// What only newer peers know, so only we can be both ends.
const OURS_ONLY: &[&str] = &[
    "aes128gcm16-prfsha256-mlkem512",
    "aes128gcm16-prfsha256-mlkem768",
    "aes256gcm16-prfsha384-mlkem1024",
    "aes128-sha256-ecp224bp",
];

/// Loads `ike` and `esp` on both sides, brings the tunnel up from `left`, pings, and takes it down.
fn try_proposal(left: &Daemon, right: &Daemon, ike: &str, esp: &str, lab: &Lab) -> Result<()> {
    for daemon in [left, right] {
        let path = daemon.swanctl_dir().join("swanctl.conf");
        let text = std::fs::read_to_string(&path)?;
        let lines: Vec<String> = text
            .lines()
            .map(|line| match line.split_once('=').map(|(key, _)| key.trim()) {
                Some("proposals") => format!("proposals = {ike}"),
                Some("esp_proposals") => format!("esp_proposals = {esp}"),
                _ => line.to_owned(),
            })
            .collect();
        std::fs::write(&path, lines.join("\n"))?;
        daemon.swanctl(&["--load-conns"])?;
    }
    let up = left.swanctl(&["--initiate", "--child", "net", "--timeout", "15"]);
    let replies = ping(&lab.left, lab.left.inner, lab.right.inner, if up.is_ok() { 2 } else { 0 });
    // What is left of a failure must not reach into the next try.
    let down = left.swanctl(&["--terminate", "--ike", "gw", "--force", "--timeout", "2"]);
    up?;
    let replies = replies?;
    down?;
    if replies == 2 { Ok(()) } else { Err(format!("{replies} of 2 pings came back").into()) }
}

fn walk(makes: (Make, Make), ike: &[&str], esp: &[&str]) -> Result<()> {
    let lab = Lab::direct("algorithms")?;
    let connection = Connection::new(Auth::Psk).with("proposals = default").with_child("esp_proposals = default");
    let (left_files, right_files) = pair(&lab, &connection)?;
    let left = Daemon::start(&lab, &lab.left, makes.0, &left_files)?;
    let right = Daemon::start(&lab, &lab.right, makes.1, &right_files)?;
    for daemon in [&left, &right] {
        daemon.swanctl(&["--load-all"])?;
    }
    let mut failures = Vec::new();
    let tries = ike.iter().map(|ike| (*ike, "aes128gcm16")).chain(esp.iter().map(|esp| ("aes128-sha256-x25519", *esp)));
    for (ike, esp) in tries {
        if let Err(error) = try_proposal(&left, &right, ike, esp, &lab) {
            failures.push(format!("{ike} with {esp}: {error}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

#[test]
fn strongswan_with_itself() -> Result<()> {
    walk((StrongSwan, StrongSwan), IKE, ESP)
}

#[test]
fn ours_to_strongswan() -> Result<()> {
    walk((Ours, StrongSwan), IKE, ESP)
}

#[test]
fn strongswan_to_ours() -> Result<()> {
    walk((StrongSwan, Ours), IKE, ESP)
}

#[test]
fn post_quantum_and_others_among_us() -> Result<()> {
    walk((Ours, Ours), OURS_ONLY, &["aes128gcm16-esn", "aes256-sha256-esn", "aes128gmac"])
}

#[test]
fn a_further_child_with_its_own_key_exchange() -> Result<()> {
    for makes in [(Ours, Ours), (Ours, StrongSwan), (StrongSwan, Ours)] {
        let lab = Lab::direct("pfs")?;
        let mut connection = Connection::new(Auth::Psk);
        connection.children =
            "   host {\n    local_ts = SELF\n    remote_ts = PEER\n    esp_proposals = aes128gcm16-x25519\n   }\n"
                .into();
        let (mut left_files, mut right_files) = pair(&lab, &connection)?;
        let second = |n: u8| format!("192.168.{n}.1/32");
        left_files.swanctl = left_files.swanctl.replace("SELF", &second(1)).replace("PEER", &second(2));
        right_files.swanctl = right_files.swanctl.replace("SELF", &second(2)).replace("PEER", &second(1));
        lab.left.run(&["ip", "addr", "add", &second(1), "dev", "lo"])?;
        lab.right.run(&["ip", "addr", "add", &second(2), "dev", "lo"])?;
        let left = Daemon::start(&lab, &lab.left, makes.0, &left_files)?;
        let right = Daemon::start(&lab, &lab.right, makes.1, &right_files)?;
        for daemon in [&left, &right] {
            daemon.swanctl(&["--load-all"])?;
        }
        left.swanctl(&["--initiate", "--child", "net"])?;
        right.swanctl(&["--initiate", "--child", "host"])?;
        let listed = left.swanctl(&["--list-sas"])?;
        assert_eq!(listed.matches("gw: #").count(), 1, "both children share one IKE_SA:\n{listed}");
        assert!(listed.contains("ESP:AES_GCM_16-128/CURVE_25519"), "{listed}");
        let (from, to): (IpAddr, IpAddr) = ("192.168.1.1".parse()?, "192.168.2.1".parse()?);
        assert_eq!(ping(&lab.left, from, to, 2)?, 2);
        assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 2)?, 2);
        left.swanctl(&["--terminate", "--child", "host"])?;
        assert_eq!(ping(&lab.left, from, to, 1)?, 0);
        assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 2)?, 2);
    }
    Ok(())
}
