//! Controlling a daemon: each `swanctl` with each charon, and what a user sees when something is wrong.

use testsuite::config::{Auth, Connection, Files, pair};
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::Lab;
use testsuite::pki::KeyKind;
use testsuite::{Result, wait_for};

use Make::{Ours, StrongSwan};

/// A pair of daemons of `make`, all configuration and every command through the `swanctl` of `tool`.
fn driven(make: Make, tool: Make) -> Result<()> {
    let lab = Lab::direct("driven")?;
    let (left_files, right_files) = pair(&lab, &Connection::new(Auth::Certificate(KeyKind::EcdsaP256)))?;
    let left = Daemon::start(&lab, &lab.left, make, &left_files)?;
    let right = Daemon::start(&lab, &lab.right, StrongSwan, &right_files)?;
    right.swanctl(&["--load-all"])?;
    let run = |args: &[&str]| -> Result<String> { left.swanctl_of(tool, args)?.ok() };
    let expect = |args: &[&str], facts: &[&str]| -> Result<()> {
        let said = run(args)?;
        for fact in facts {
            assert!(said.contains(fact), "{args:?}: no '{fact}' in:\n{said}");
        }
        Ok(())
    };

    expect(&["--load-creds", "--noprompt"], &["loaded certificate from", "loaded ike secret 'ike-gw'"])?;
    expect(&["--load-conns"], &["loaded connection 'gw'", "successfully loaded 1 connections, 0 unloaded"])?;
    expect(
        &["--list-conns"],
        &[
            "gw: IKEv1/2, no reauthentication, rekeying every 14400s",
            "  local:  192.0.2.1",
            "  remote: 192.0.2.2",
            "  local public key authentication:",
            "    id: left.example.org",
            "    certs: C=CH, O=Lab, CN=left.example.org",
            "    cacerts: C=CH, O=Lab, CN=Lab CA",
            "  net: TUNNEL, rekeying every 3600s",
            "    local:  10.1.0.0/16",
            "    remote: 10.2.0.0/16",
        ],
    )?;
    expect(
        &["--list-certs"],
        &[
            "List of X.509 End Entity Certificates",
            "  subject:  \"C=CH, O=Lab, CN=left.example.org\"",
            "  issuer:   \"C=CH, O=Lab, CN=Lab CA\"",
            "  altNames:  left.example.org",
            "  pubkey:    ECDSA 256 bits, has private key",
            "List of X.509 CA Certificates",
        ],
    )?;
    expect(&["--list-algs"], &["encryption:", "  AES_CBC[", "aead:", "  AES_GCM_16[", "  CURVE_25519["])?;
    expect(
        &["--stats"],
        &["uptime:", "worker threads:", "job queues:", "IKE_SAs: 0 total, 0 half-open", "loaded plugins:"],
    )?;
    expect(&["--version", "--daemon"], &["strongSwan "])?;
    expect(
        &["--initiate", "--child", "net"],
        &["[IKE] initiating IKE_SA gw[1] to 192.0.2.2", "initiate completed successfully"],
    )?;
    expect(
        &["--list-sas"],
        &[
            "gw: #1, ESTABLISHED, IKEv2, ",
            "  local  'left.example.org' @ 192.0.2.1[4500]",
            "  remote 'right.example.org' @ 192.0.2.2[4500]",
            "  net: #1, reqid 1, INSTALLED, TUNNEL-in-UDP, ESP:AES_GCM_16-128",
            "    local  10.1.0.0/16",
            "    remote 10.2.0.0/16",
        ],
    )?;
    expect(
        &["--list-sas", "--raw"],
        &["list-sa event {gw {uniqueid=1 version=2 state=ESTABLISHED ", "list-sas reply {}"],
    )?;
    expect(&["--rekey", "--child", "net"], &["rekey completed successfully"])?;
    expect(&["--rekey", "--ike", "gw"], &["rekey completed successfully"])?;
    wait_for("rekeyed IKE_SA", 10, || Ok(run(&["--list-sas"])?.contains("gw: #2, ESTABLISHED")))?;
    expect(&["--terminate", "--ike", "gw"], &["terminate completed successfully"])?;
    expect(&["--reload-settings"], &[])?;

    // The exit codes of failures.
    let failed = left.swanctl_of(tool, &["--initiate", "--child", "nosuch"])?;
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stderr.contains("initiate failed: CHILD_SA config 'nosuch' not found"), "{failed:?}");
    let failed = left.swanctl_of(tool, &["--terminate", "--ike", "nosuch"])?;
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stderr.contains("terminate failed: no matching SAs to terminate found"), "{failed:?}");
    Ok(())
}

#[test]
fn strongswan_driven_by_its_own_swanctl() -> Result<()> {
    driven(StrongSwan, StrongSwan)
}

#[test]
fn strongswan_driven_by_our_swanctl() -> Result<()> {
    driven(StrongSwan, Ours)
}

#[test]
fn ours_driven_by_strongswans_swanctl() -> Result<()> {
    driven(Ours, StrongSwan)
}

#[test]
fn ours_driven_by_our_swanctl() -> Result<()> {
    driven(Ours, Ours)
}

/// Everything at once, with what has no connection: authorities and pools, loaded, exchanged and unloaded.
fn all_loaded_by(tool: Make) -> Result<()> {
    let lab = Lab::direct("all")?;
    let (files, _) = pair(&lab, &Connection::new(Auth::Certificate(KeyKind::EcdsaP256)))?;
    let daemon = Daemon::start(&lab, &lab.left, Ours, &files)?;
    let run = |args: &[&str]| -> Result<String> { daemon.swanctl_of(tool, args)?.ok() };
    let conf = daemon.swanctl_dir().join("swanctl.conf");
    let before = std::fs::read_to_string(&conf)?;
    let authority = "authorities {\n lab {\n cacert = ca.pem\n crl_uris = http://crl.example.org/a, http://crl.example.org/b\n }\n }\n";
    let pool = "pools {\n clients {\n addrs = 10.3.0.0/24\n }\n }\n";
    std::fs::write(&conf, format!("{before}\n{authority}\n{pool}"))?;
    let said = run(&["--load-all", "--noprompt"])?;
    for what in ["authorities", "pools", "connections"] {
        let fact = format!("successfully loaded 1 {what}, 0 unloaded");
        assert!(said.contains(&fact), "no '{fact}' in:\n{said}");
    }
    assert!(run(&["--list-pools"])?.contains("clients"));
    let listed = run(&["--list-authorities"])?;
    for fact in ["lab:", "  cacert: C=CH, O=Lab, CN=Lab CA", "http://crl.example.org/b"] {
        assert!(listed.contains(fact), "no '{fact}' in:\n{listed}");
    }
    // Again with the CA only in the authority, which a change of credentials leaves alone, and then without.
    std::fs::remove_file(daemon.swanctl_dir().join("x509ca/ca.pem"))?;
    run(&["--load-creds", "--clear", "--noprompt"])?;
    assert!(run(&["--list-certs"])?.contains("List of X.509 CA Certificates"));
    std::fs::write(&conf, before)?;
    let said = run(&["--load-authorities"])?;
    assert!(said.contains("no authorities found, 1 unloaded"), "{said}");
    assert!(run(&["--list-authorities"])?.is_empty());
    Ok(())
}

#[test]
fn all_of_ours_loaded_by_strongswans_swanctl() -> Result<()> {
    all_loaded_by(StrongSwan)
}

#[test]
fn all_of_ours_loaded_by_our_swanctl() -> Result<()> {
    all_loaded_by(Ours)
}

/// Writes `text` as the swanctl.conf of `daemon` and loads it; returns exit code and everything printed.
fn load(daemon: &Daemon, text: &str) -> Result<(i32, String)> {
    std::fs::write(daemon.swanctl_dir().join("swanctl.conf"), text)?;
    let run = daemon.swanctl_of(Ours, &["--load-all"])?;
    Ok((run.code, format!("{}{}", run.stdout, run.stderr)))
}

#[test]
fn a_bad_configuration_names_its_place_and_changes_nothing() -> Result<()> {
    let lab = Lab::direct("bad")?;
    let (files, _) = pair(&lab, &Connection::new(Auth::Psk))?;
    let daemon = Daemon::start(&lab, &lab.left, Ours, &files)?;
    let good = files.swanctl.clone();
    assert_eq!(load(&daemon, &good)?.0, 0);

    let cases = [
        ("unknown key", good.replace("remote_addrs", "remote_addr"), "swanctl.conf:4", "remote_addrs"),
        ("unusable value", good.replace("10.2.0.1/16", "10.2.0.1/16[tcp/nosuchport]"), "swanctl.conf:", "remote_ts"),
        ("syntax error", good.replace("secrets {", "secrets = {{"), "swanctl.conf:", "swanctl.conf"),
        (
            "missing file",
            good.replace("auth = psk", "auth = pubkey\n certs = nosuch.pem"),
            "swanctl.conf:",
            "nosuch.pem",
        ),
    ];
    for (what, text, place, remedy) in cases {
        assert_ne!(text, good, "{what}: the case must differ");
        let (code, said) = load(&daemon, &text)?;
        assert_eq!(code, 22, "{what}: {said}");
        assert!(said.contains(place), "{what}: no '{place}' in:\n{said}");
        assert!(said.contains(remedy), "{what}: no '{remedy}' in:\n{said}");
        let conns = daemon.swanctl(&["--list-conns"])?;
        assert!(conns.contains("gw: ") && conns.contains("remote: 192.0.2.2"), "{what} changed something:\n{conns}");
    }

    std::fs::remove_file(daemon.swanctl_dir().join("swanctl.conf"))?;
    let gone = daemon.swanctl_of(Ours, &["--load-all"])?;
    assert_eq!(gone.code, 22, "{gone:?}");
    assert!(gone.stderr.contains("swanctl.conf"), "{gone:?}");
    assert!(daemon.swanctl(&["--list-conns"])?.contains("gw: "));
    Ok(())
}

#[test]
fn a_wrong_secret_fails_on_both_ends_and_leaves_nothing() -> Result<()> {
    let lab = Lab::direct("secret")?;
    let (files, mut wrong) = pair(&lab, &Connection::new(Auth::Psk))?;
    wrong.swanctl = wrong.swanctl.replace("the quick brown fox", "the lazy dog");
    let left = Daemon::start(&lab, &lab.left, Ours, &files)?;
    let right = Daemon::start(&lab, &lab.right, Ours, &wrong)?;
    left.swanctl(&["--load-all"])?;
    right.swanctl(&["--load-all"])?;
    let run = left.swanctl_of(Ours, &["--initiate", "--child", "net"])?;
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stdout.contains("received AUTHENTICATION_FAILED notify error"), "{run:?}");
    assert!(run.stderr.contains("initiate failed: establishing CHILD_SA 'net' failed"), "{run:?}");
    assert!(right.logged("tried 1 shared key for 'right.example.org' - 'left.example.org', but MAC mismatched"));
    for side in [&left, &right] {
        wait_for("no SA left", 5, || Ok(side.swanctl(&["--list-sas"])?.is_empty()))?;
    }
    Ok(())
}

#[test]
fn sigterm_tells_the_peer() -> Result<()> {
    let lab = Lab::direct("sigterm")?;
    let (left_files, right_files) = pair(&lab, &Connection::new(Auth::Psk))?;
    let mut left = Daemon::start(&lab, &lab.left, Ours, &left_files)?;
    let right = Daemon::start(&lab, &lab.right, StrongSwan, &right_files)?;
    left.swanctl(&["--load-all"])?;
    right.swanctl(&["--load-all"])?;
    left.swanctl(&["--initiate", "--child", "net"])?;
    left.stop()?;
    wait_for("the peer's SA is gone", 3, || Ok(right.swanctl(&["--list-sas"])?.is_empty()))?;
    assert!(right.logged("received DELETE for IKE_SA gw["));
    assert!(left.logged("SIGTERM received, shutting down"));
    Ok(())
}

/// Clients that vanish while they wait, a daemon that ends while another one waits: nobody hangs.
#[test]
fn vanished_clients_and_an_initiation_cut_short_by_sigterm() -> Result<()> {
    let lab = Lab::direct("cut")?;
    let (files, _) = pair(&lab, &Connection::new(Auth::Psk))?;
    let mut daemon = Daemon::start(&lab, &lab.left, Ours, &files)?;
    daemon.swanctl(&["--load-all"])?;
    let initiate = vici::Message::new().with("child", "net").with("loglevel", 4_u32);
    for _ in 0..20 {
        // Nobody answers at the other end, so this only times out; then the connection is closed with the answer due.
        let mut client = daemon.vici()?;
        client.set_timeout(Some(std::time::Duration::from_millis(50)));
        assert!(client.request("initiate", &initiate).is_err());
    }
    assert!(daemon.swanctl(&["--list-sas"])?.contains("gw: #1, CONNECTING"), "the daemon goes on without them");
    let mut waiting = daemon.vici()?;
    let waiter = std::thread::spawn(move || waiting.command("initiate", &initiate).map_err(|error| error.to_string()));
    std::thread::sleep(std::time::Duration::from_millis(200));
    let started = std::time::Instant::now();
    daemon.stop()?;
    assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    let answer = waiter.join().map_err(|_| "the client panicked")?;
    assert_eq!(answer, Err("establishing CHILD_SA 'net' failed".to_owned()));
    Ok(())
}

#[test]
fn sighup_applies_new_settings_and_survives_broken_ones() -> Result<()> {
    let lab = Lab::direct("sighup")?;
    let (files, _) = pair(&lab, &Connection::new(Auth::Psk))?;
    let daemon = Daemon::start(&lab, &lab.left, Ours, &files)?;

    let second = lab.dir().join("second.log");
    daemon
        .reconfigure(&format!("filelog {{\n second {{\n path = {}\n flush_line = yes\n }}\n }}", second.display()))?;
    wait_for("the new log file", 5, || Ok(second.exists()))?;
    assert!(daemon.logged("signal of type SIGHUP received. Reloading configuration"));

    daemon.reconfigure("filelog {")?;
    // The complaint is in the log that only the settings read before have.
    wait_for("the complaint", 5, || {
        Ok(std::fs::read_to_string(&second)?.contains("reloading config failed, keeping old"))
    })?;
    daemon.vici()?.request("version", &vici::Message::new())?;
    Ok(())
}

#[test]
fn start_and_stop_scripts_run_in_order() -> Result<()> {
    let lab = Lab::direct("scripts")?;
    let trace = lab.dir().join("trace");
    let files = Files {
        charon: format!(
            "start-scripts {{\n one = echo first; echo one >> {0}\n two = echo two >> {0}\n }}\n stop-scripts {{\n bye = echo bye >> {0}\n }}",
            trace.display()
        ),
        ..Files::default()
    };
    let mut daemon = Daemon::start(&lab, &lab.left, Ours, &files)?;
    wait_for("start scripts", 5, || Ok(std::fs::read_to_string(&trace).unwrap_or_default() == "one\ntwo\n"))?;
    assert!(daemon.logged("one: first"), "{}", daemon.log());
    daemon.stop()?;
    assert_eq!(std::fs::read_to_string(&trace)?, "one\ntwo\nbye\n");
    Ok(())
}

#[test]
fn a_second_daemon_refuses_to_start_and_a_broken_configuration_ends_with_64() -> Result<()> {
    let lab = Lab::direct("exit")?;
    let conf = lab.dir().join("strongswan.conf");
    std::fs::write(&conf, "charon {\n  threads = 4\n")?;
    let out = lab.left.command(&Ours.charon()?).env("STRONGSWAN_CONF", &conf).output()?;
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(64), "{said}");
    assert!(said.contains("strongswan.conf:"), "{said}");

    let (pidfile, trace) = (lab.dir().join("other.pid"), lab.dir().join("trace"));
    std::fs::write(&pidfile, "1\n")?;
    let text = format!(
        "charon {{\n pidfile = {}\n filelog {{ stderr {{ }} }}\n stop-scripts {{ bye = touch {} }}\n}}",
        pidfile.display(),
        trace.display()
    );
    std::fs::write(&conf, text)?;
    let out = lab.left.command(&Ours.charon()?).env("STRONGSWAN_CONF", &conf).output()?;
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(66), "{said}");
    assert!(said.contains("charon already running"), "{said}");
    assert!(!trace.exists(), "what was never started has nothing to stop");
    Ok(())
}
