//! What our `swanctl` prints about a strongSwan daemon is what strongSwan's own prints, to the letter, except where
//! version 6.0 has changed the layout since the 5.9 that is installed here.

use testsuite::config::{Auth, Connection, pair};
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::Lab;
use testsuite::pki::KeyKind;
use testsuite::{Result, wait_for};

use Make::{Ours, StrongSwan};

/// Loaded into one daemon with everything that listings show.
const EXTRA: &str = "
connections {
  all {
    version = 1
    local_addrs = 192.0.2.1, %any
    remote_addrs = 198.51.100.0/24
    dpd_delay = 30s
    reauth_time = 3h
    local { auth = psk
      id = moon@example.org }
    local-2 { auth = xauth
      xauth_id = me }
    remote { auth = psk
      id = \"C=CH, O=Lab, CN=*\" }
    children {
      bytes { rekey_bytes = 500m
        rekey_packets = 1000
        dpd_action = restart
        local_ts = 10.7.0.0/16[tcp/80], dynamic
        remote_ts = 10.8.0.0/16[udp/1000-2000]
        priority = 7
        interface = eth0
      }
      pass { mode = pass
        local_ts = 10.6.0.0/16
        remote_ts = 10.6.1.0/24
        start_action = trap
      }
      drop { mode = drop
        remote_ts = 10.5.1.0/24
        start_action = trap
      }
    }
  }
}
pools { clients { addrs = 10.77.0.0/24
    dns = 192.0.2.53 } }
";

/// Listings whose layout has not changed.
const SAME: &[&[&str]] = &[
    &["--list-sas"],
    &["--list-sas", "--raw"],
    &["--list-sas", "--pretty"],
    &["--list-sas", "--ike", "gw", "--noblock"],
    &["--list-sas", "--child", "nosuch"],
    &["--list-conns"],
    &["--list-conns", "--raw"],
    &["--list-conns", "--pretty"],
    &["--list-certs"],
    &["--list-certs", "--short", "--utc"],
    &["--list-certs", "--type", "x509", "--flag", "ca", "--pem"],
    &["--list-certs", "--subject", "C=CH, O=Lab, CN=left.example.org"],
    &["--list-certs", "--raw"],
    &["--list-pols", "--raw"],
    &["--list-pols", "--drop", "--pretty"],
    &["--list-pools", "--leases"],
    &["--list-pools", "--raw"],
    &["--list-authorities"],
    &["--list-algs"],
    &["--list-algs", "--pretty"],
    &["--counters"],
    &["--counters", "--all"],
    &["--counters", "--raw"],
    &["--counters", "--name", "nosuch"],
    &["--version", "--daemon"],
    &["--version", "--daemon", "--raw"],
    &["--terminate", "--ike", "nosuch"],
    &["--rekey", "--child", "nosuch"],
    &["--reload-settings"],
    &["--flush-certs", "--raw"],
];

#[test]
fn our_listings_are_those_of_strongswan() -> Result<()> {
    let lab = Lab::direct("listings")?;
    let connection = Connection::new(Auth::Certificate(KeyKind::EcdsaP256));
    let (mut left_files, right_files) = pair(&lab, &connection)?;
    left_files.swanctl.push_str(EXTRA);
    let left = Daemon::start(&lab, &lab.left, StrongSwan, &left_files)?;
    let right = Daemon::start(&lab, &lab.right, StrongSwan, &right_files)?;
    right.swanctl(&["--load-all"])?;
    left.swanctl_of(Ours, &["--load-all", "--noprompt"])?.ok()?;
    left.swanctl_of(Ours, &["--initiate", "--child", "net"])?.ok()?;
    for args in SAME {
        let mut seen = String::new();
        // Seconds pass between one run and the next, so once in a while another try is needed.
        let same = wait_for("the same listing", 5, || {
            let theirs = left.swanctl_of(StrongSwan, args)?;
            let ours = left.swanctl_of(Ours, args)?;
            seen =
                format!("{args:?}\ntheirs: {}\n{}\nours: {}\n{}", theirs.code, theirs.stdout, ours.code, ours.stdout);
            Ok(theirs.code == ours.code && theirs.stdout == ours.stdout)
        });
        assert!(same.is_ok(), "{seen}");
    }
    Ok(())
}

#[test]
fn every_listing_is_json_as_well() -> Result<()> {
    let lab = Lab::direct("json")?;
    let (left_files, right_files) = pair(&lab, &Connection::new(Auth::Psk))?;
    let left = Daemon::start(&lab, &lab.left, StrongSwan, &left_files)?;
    let right = Daemon::start(&lab, &lab.right, StrongSwan, &right_files)?;
    right.swanctl(&["--load-all"])?;
    let json = |args: &[&str]| -> Result<serde_json::Value> {
        let said = left.swanctl_of(Ours, &[args, &["--json"]].concat())?.ok()?;
        Ok(serde_json::from_str(&said).map_err(|error| format!("{args:?}: {error} in {said}"))?)
    };
    let loaded = json(&["--load-all", "--noprompt"])?;
    assert_eq!(loaded["success"], true, "{loaded}");
    assert!(loaded["items"].as_array().is_some_and(|items| items.iter().any(|item| item["name"] == "gw")), "{loaded}");
    let done = json(&["--initiate", "--child", "net"])?;
    assert_eq!(done["success"], true, "{done}");
    let sas = json(&["--list-sas"])?;
    assert_eq!(sas[0]["name"], "gw", "{sas}");
    assert_eq!(sas[0]["initiator"], true, "{sas}");
    assert_eq!(sas[0]["child-sas"][0]["state"], "INSTALLED", "{sas}");
    assert_eq!(sas[0]["child-sas"][0]["packets-in"], 0, "{sas}");
    assert_eq!(json(&["--list-conns"])?[0]["children"]["net"]["mode"], "TUNNEL");
    assert!(json(&["--list-algs"])?["encryption"].is_object());
    for args in ["--list-certs", "--list-pols", "--list-pools", "--list-authorities", "--counters"] {
        assert!(json(&[args])?.is_array(), "{args}");
    }
    assert!(json(&["--stats"])?["workers"]["total"].is_number());
    Ok(())
}
