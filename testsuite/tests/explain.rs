//! What an operator reads when a negotiation fails, on either side and with strongSwan as the other one; and that what it
//! suggests helps.

use testsuite::Result;
use testsuite::config::{Auth, Connection, Files, pair};
use testsuite::daemon::{Daemon, Make, Run};
use testsuite::lab::Lab;

use Make::{Ours, StrongSwan};

/// Two daemons whose files differ from each other by a replacement on one side.
struct Pair {
    left: Daemon,
    right: Daemon,
    _lab: Lab,
}

impl Pair {
    fn start(makes: (Make, Make), left: &[(&str, &str)], right: &[(&str, &str)]) -> Result<Self> {
        let lab = Lab::direct("explain")?;
        let connection = Connection::new(Auth::Psk)
            .with("proposals = aes128-sha256-x25519\n version = 2")
            .with_child("esp_proposals = aes128gcm16");
        let (mut left_files, mut right_files) = pair(&lab, &connection)?;
        replace(&mut left_files, left);
        replace(&mut right_files, right);
        let left = Daemon::start(&lab, &lab.left, makes.0, &left_files)?;
        let right = Daemon::start(&lab, &lab.right, makes.1, &right_files)?;
        for daemon in [&left, &right] {
            daemon.swanctl(&["--load-all"])?;
        }
        Ok(Self { left, right, _lab: lab })
    }

    /// Initiates from the left, which fails.
    fn fail(&self, tool: Make, more: &[&str]) -> Result<Run> {
        let run = self.left.swanctl_of(tool, &[&["--initiate", "--child", "net", "--timeout", "20"], more].concat())?;
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.stderr.contains("initiate failed: establishing CHILD_SA 'net' failed"), "{run:?}");
        Ok(run)
    }

    /// Changes the configuration of one side, which helps.
    fn fix(&self, daemon: &Daemon, from: &str, to: &str) -> Result<()> {
        let path = daemon.swanctl_dir().join("swanctl.conf");
        let text = std::fs::read_to_string(&path)?;
        assert!(text.contains(from), "no '{from}' in:\n{text}");
        std::fs::write(&path, text.replace(from, to))?;
        for daemon in [&self.left, &self.right] {
            // what is left of the failure must not reach into the next try
            let _ = daemon.swanctl(&["--terminate", "--ike", "gw", "--force", "--timeout", "2"]);
            daemon.swanctl(&["--load-all"])?;
        }
        let said = self.left.swanctl(&["--initiate", "--child", "net", "--timeout", "20"])?;
        assert!(said.contains("initiate completed successfully"), "{said}");
        Ok(())
    }
}

fn replace(files: &mut Files, changes: &[(&str, &str)]) {
    for (from, to) in changes {
        assert!(files.swanctl.contains(from), "no '{from}' in:\n{}", files.swanctl);
        files.swanctl = files.swanctl.replace(from, to);
    }
}

#[track_caller]
fn has(text: &str, wanted: &str) {
    assert!(text.contains(wanted), "no '{wanted}' in:\n{text}");
}

/// The responder is ours: its log has the reason, and the suggested change helps.
fn proposals_refused_by_us(left: Make) -> Result<()> {
    let pair = Pair::start((left, Ours), &[("x25519", "modp2048")], &[])?;
    pair.fail(left, &[])?;
    has(&pair.right.log(), "[CFG] explain: IKE_SA_INIT with 192.0.2.1 failed, we refused it with NO_PROPOSAL_CHOSEN");
    has(
        &pair.right.log(),
        "[CFG] explain: connections.gw.proposals: we have aes128-sha256-x25519, the peer has aes128-sha256-modp2048 (no \
         common key exchange); add aes128-sha256-modp2048 to connections.gw.proposals",
    );
    pair.fix(&pair.right, "aes128-sha256-x25519", "aes128-sha256-x25519, aes128-sha256-modp2048")
}

#[test]
fn proposals_of_strongswan_refused_by_us() -> Result<()> {
    proposals_refused_by_us(StrongSwan)
}

#[test]
fn proposals_of_ours_refused_by_us() -> Result<()> {
    proposals_refused_by_us(Ours)
}

#[test]
fn selectors_of_strongswan_refused_by_us() -> Result<()> {
    let pair = Pair::start((StrongSwan, Ours), &[("remote_ts = 10.2.0.1/16", "remote_ts = 10.3.0.0/16")], &[])?;
    pair.fail(StrongSwan, &[])?;
    has(
        &pair.right.log(),
        "explain: connections.gw.children.net.local_ts: we have 10.2.0.0/16, the peer has 10.3.0.0/16; add 10.3.0.0/16 to \
         connections.gw.children.net.local_ts",
    );
    pair.fix(&pair.right, "local_ts = 10.2.0.1/16", "local_ts = 10.2.0.1/16, 10.3.0.0/16")
}

#[test]
fn identity_of_strongswan_refused_by_us() -> Result<()> {
    let pair = Pair::start((StrongSwan, Ours), &[], &[("id = left.example.org", "id = nobody.example.org")])?;
    pair.fail(StrongSwan, &[])?;
    has(
        &pair.right.log(),
        "explain: connections.gw.remote.id: we have nobody.example.org, the peer has left.example.org; set \
         connections.gw.remote.id = left.example.org",
    );
    pair.fix(&pair.right, "id = nobody.example.org", "id = left.example.org")
}

#[test]
fn secret_of_strongswan_refused_by_us() -> Result<()> {
    let pair = Pair::start((StrongSwan, Ours), &[], &[("quick brown", "slow green")])?;
    pair.fail(StrongSwan, &[])?;
    let log = pair.right.log();
    has(
        &log,
        "explain: secrets.ike-gw.secret: we have a secret for 'right.example.org' - 'left.example.org', the peer has \
         another one; make secrets.ike-gw.secret the same as on the peer",
    );
    assert!(!log.contains("slow green"), "the secret is in the log");
    pair.fix(&pair.right, "slow green", "quick brown")
}

/// The responder is strongSwan: we know what we asked for, and print it where the operator waits.
#[test]
fn refused_by_strongswan_the_way_it_is_printed() -> Result<()> {
    let pair = Pair::start((Ours, StrongSwan), &[], &[("x25519", "modp2048")])?;
    let run = pair.fail(Ours, &[])?;
    assert_eq!(
        run.stderr.lines().skip_while(|line| !line.contains("initiate failed")).collect::<Vec<_>>(),
        [
            "initiate failed: establishing CHILD_SA 'net' failed",
            "IKE_SA_INIT with 192.0.2.2 failed, the peer refused it with NO_PROPOSAL_CHOSEN",
            "  connections.gw.proposals: we have aes128-sha256-x25519 (the peer has none of these, or no connection for \
             192.0.2.1)",
            "    add default to connections.gw.proposals",
        ],
        "{run:?}"
    );
    has(&run.stdout, "[CFG] explain: connections.gw.proposals: we have aes128-sha256-x25519 (");
    has(&run.stdout, "[IKE] received NO_PROPOSAL_CHOSEN notify error");
    pair.fix(&pair.left, "proposals = aes128-sha256-x25519", "proposals = aes128-sha256-x25519, default")
}

#[test]
fn refused_by_strongswan_as_json() -> Result<()> {
    let pair = Pair::start((Ours, StrongSwan), &[("remote_ts = 10.2.0.1/16", "remote_ts = 10.3.0.0/16")], &[])?;
    let run = pair.fail(Ours, &["--json"])?;
    let answer: serde_json::Value = serde_json::from_str(&run.stdout)?;
    assert_eq!(answer["success"], false, "{answer}");
    assert_eq!(answer["errmsg"], "establishing CHILD_SA 'net' failed");
    let explanation = &answer["explanation"];
    assert_eq!(explanation["text"], "CHILD_SA with 192.0.2.2 failed, the peer refused it with TS_UNACCEPTABLE");
    let second = &explanation["mismatches"]["2"];
    assert_eq!(second["field"], "connections.gw.children.net.remote_ts", "{answer}");
    assert_eq!(second["ours"], "10.3.0.0/16");
    assert_eq!(second["advice"], "compare with local_ts of the peer's children");
    pair.fix(&pair.left, "remote_ts = 10.3.0.0/16", "remote_ts = 10.2.0.0/16")
}

/// A client that knows nothing of explanations is not disturbed by them, and sees them as log lines.
#[test]
fn refused_by_strongswan_in_its_own_swanctl() -> Result<()> {
    let pair = Pair::start((Ours, StrongSwan), &[("quick brown", "slow green")], &[])?;
    let run = pair.fail(StrongSwan, &[])?;
    assert_eq!(run.stderr.trim(), "initiate failed: establishing CHILD_SA 'net' failed");
    has(&run.stdout, "[CFG] explain: IKE_AUTH with 192.0.2.2 failed, the peer refused it with AUTHENTICATION_FAILED");
    has(&run.stdout, "[CFG] explain: secrets.ike-gw.secret: we have a secret for 'left.example.org'");
    let raw = pair.left.swanctl_of(StrongSwan, &["--initiate", "--child", "net", "--raw"])?;
    has(&raw.stdout, "explanation {");
    pair.fix(&pair.left, "slow green", "quick brown")
}

#[test]
fn nobody_answers() -> Result<()> {
    let pair = Pair::start((Ours, Ours), &[("remote_addrs = 192.0.2.2", "remote_addrs = 192.0.2.99")], &[])?;
    pair.left.reconfigure("retransmit_tries = 1\n retransmit_timeout = 0.5\n")?;
    testsuite::wait_for(
        "the new settings",
        5,
        || Ok(pair.left.logged("loading config") || pair.left.logged("SIGHUP")),
    )?;
    let run = pair.fail(Ours, &[])?;
    has(&run.stderr, "IKE_SA_INIT with 192.0.2.99 failed, the peer did not answer");
    has(&run.stderr, "connections.gw.remote_addrs: we have 192.0.2.99 (no answer from 192.0.2.99:500)");
    pair.fix(&pair.left, "remote_addrs = 192.0.2.99", "remote_addrs = 192.0.2.2")
}
