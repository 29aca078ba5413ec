//! Additional key exchanges (RFC 9370): between two of ours, with traffic and rekeyings, and the ways around them with a
//! peer that has none, which is there only where every one is optional.

use testsuite::config::{Auth, Connection, Files, pair};
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::Lab;
use testsuite::pki::KeyKind;
use testsuite::traffic::ping;
use testsuite::tunnel::Tunnel;
use testsuite::{Result, wait_for};

use Make::{Ours, StrongSwan};

const PLAIN: [&str; 2] = ["aes128-sha256-x25519", "aes128gcm16-x25519"];
const HYBRID: [&str; 2] = ["aes128-sha256-x25519-ke1_mlkem768", "aes128gcm16-x25519-ke1_mlkem768"];
const OPTIONAL: [&str; 2] = ["aes128-sha256-x25519-ke1_mlkem768-ke1_none", "aes128gcm16-x25519-ke1_mlkem768-ke1_none"];

fn hybrid(auth: Auth, [ike, esp]: [&str; 2]) -> Connection {
    Connection::new(auth).with(&format!("proposals = {ike}")).with_child(&format!("esp_proposals = {esp}"))
}

/// Both sides list these for the IKE_SA and for the CHILD_SA.
fn list(tunnel: &Tunnel, ike: &str, child: &str) -> Result<()> {
    for daemon in tunnel.sides() {
        wait_for("the algorithms", 5, || {
            let listed = daemon.swanctl(&["--list-sas"])?;
            let has = |cipher: &str, methods: &str| {
                listed.lines().any(|line| line.contains(cipher) && line.trim_end().ends_with(methods))
            };
            Ok(listed.matches("ESTABLISHED").count() == 1 && has("AES_CBC", ike) && has("AES_GCM", child))
        })?;
    }
    Ok(())
}

/// Up, traffic, rekeyings under traffic from both sides, down; everything with the same key exchanges.
fn life(lab: Lab, connection: &Connection, methods: &str) -> Result<()> {
    let tunnel = Tunnel::load(lab, (Ours, Ours), connection)?;
    tunnel.up()?;
    tunnel.agree()?;
    list(&tunnel, methods, "AES_GCM_16-128")?;
    for side in tunnel.sides() {
        assert!(side.logged("IKE_INTERMEDIATE") && !side.logged("IKE_FOLLOWUP_KE"));
    }
    tunnel.carries_traffic()?;
    tunnel.rekey_without_loss(&["--child", "net"])?;
    list(&tunnel, methods, methods)?;
    tunnel.rekey_without_loss(&["--ike", "gw"])?;
    list(&tunnel, methods, methods)?;
    tunnel.rekey_without_loss(&["--child", "net"])?;
    tunnel.agree()?;
    tunnel.carries_traffic()?;
    for side in tunnel.sides() {
        assert!(side.logged("IKE_FOLLOWUP_KE request") && side.logged("IKE_FOLLOWUP_KE response"));
    }
    tunnel.down_from(&tunnel.left)?;
    tunnel.up()?;
    tunnel.down_from(&tunnel.right)
}

#[test]
fn psk() -> Result<()> {
    life(Lab::direct("hybrid")?, &hybrid(Auth::Psk, HYBRID), "CURVE_25519/KE1_ML_KEM_768")
}

#[test]
fn certificates_and_an_optional_one() -> Result<()> {
    let auth = Auth::Certificate(KeyKind::EcdsaP256);
    life(Lab::direct("hybrid")?, &hybrid(auth, OPTIONAL), "CURVE_25519/KE1_ML_KEM_768")
}

#[test]
fn several_behind_a_nat() -> Result<()> {
    // ML-KEM-1024 does not fit one datagram
    let proposals = ["aes128-sha256-x25519-ke1_mlkem1024-ke3_ecp384", "aes128gcm16-x25519-ke1_mlkem1024-ke3_ecp384"];
    life(Lab::behind_nat("hybrid")?, &hybrid(Auth::Psk, proposals), "CURVE_25519/KE1_ML_KEM_1024/KE3_ECP_384")
}

#[test]
fn many_rekeyings_from_both_sides_at_once() -> Result<()> {
    let tunnel = Tunnel::load(Lab::direct("hybrid")?, (Ours, Ours), &hybrid(Auth::Psk, HYBRID))?;
    tunnel.up()?;
    for round in 0..10 {
        let what = if round % 2 == 0 { ["--rekey", "--child", "net"] } else { ["--rekey", "--ike", "gw"] };
        std::thread::scope(|scope| {
            let left = scope.spawn(|| tunnel.left.swanctl(&what).map_err(|error| error.to_string()));
            let right = scope.spawn(|| tunnel.right.swanctl(&what).map_err(|error| error.to_string()));
            // a side may find that there is nothing left to rekey
            let _ = (left.join(), right.join());
        });
        tunnel.agree()?;
        let (left, right) = (&tunnel.lab.left, &tunnel.lab.right);
        wait_for("a ping", 5, || Ok(ping(left, left.inner, right.inner, 1)? == 1))?;
    }
    tunnel.down_from(&tunnel.right)
}

/// Each side with proposals of its own.
struct Mixed {
    left: Daemon,
    right: Daemon,
    lab: Lab,
}

fn propose(files: &mut Files, [ike, esp]: [&str; 2]) {
    files.swanctl = files.swanctl.replacen(" gw {\n", &format!(" gw {{\n  proposals = {ike}\n"), 1);
    files.swanctl = files.swanctl.replacen("   net {\n", &format!("   net {{\n    esp_proposals = {esp}\n"), 1);
}

/// SPIs of installed CHILD_SAs.
fn installed(daemon: &Daemon) -> Result<Vec<String>> {
    let raw = daemon.swanctl(&["--list-sas", "--raw"])?;
    let children = raw.split("state=INSTALLED").skip(1);
    Ok(children
        .filter_map(|child| child.split_whitespace().find(|word| word.contains("spi-in")))
        .map(Into::into)
        .collect())
}

impl Mixed {
    fn load(makes: (Make, Make), proposals: ([&str; 2], [&str; 2])) -> Result<Self> {
        let lab = Lab::direct("mixed")?;
        let (mut left, mut right) = pair(&lab, &Connection::new(Auth::Psk))?;
        propose(&mut left, proposals.0);
        propose(&mut right, proposals.1);
        let left = Daemon::start(&lab, &lab.left, makes.0, &left)?;
        let right = Daemon::start(&lab, &lab.right, makes.1, &right)?;
        for daemon in [&left, &right] {
            let said = daemon.swanctl(&["--load-all"])?;
            assert!(said.contains("loaded connection 'gw'"), "{said}");
        }
        Ok(Self { left, right, lab })
    }

    /// Up from the left and through rekeyings, without additional key exchanges.
    fn works(&self) -> Result<()> {
        self.left.swanctl(&["--initiate", "--child", "net"])?;
        for (side, name) in [(&self.left, "gw[2]"), (&self.right, "gw[3]")] {
            let (left, right) = (&self.lab.left, &self.lab.right);
            wait_for("the first ping", 5, || Ok(ping(left, left.inner, right.inner, 1)? == 1))?;
            assert_eq!(ping(left, left.inner, right.inner, 3)?, 3);
            let before = installed(side)?;
            side.swanctl(&["--rekey", "--child", "net"])?;
            wait_for("a rekeyed CHILD_SA", 5, || Ok(installed(side)? != before))?;
            side.swanctl(&["--rekey", "--ike", "gw"])?;
            wait_for("a rekeyed IKE_SA", 5, || Ok(self.left.logged(&format!("IKE_SA {name}"))))?;
        }
        for side in [&self.left, &self.right] {
            wait_for("one IKE_SA", 5, || Ok(side.swanctl(&["--list-sas"])?.matches("ESTABLISHED").count() == 1))?;
            assert!(!side.swanctl(&["--list-sas"])?.contains("KE1"));
            assert!(!side.logged("IKE_INTERMEDIATE re") && !side.logged("IKE_FOLLOWUP_KE re"), "{:?}", side.make);
        }
        Ok(())
    }

    fn fails(&self) -> Result<()> {
        assert!(self.left.swanctl(&["--initiate", "--child", "net", "--timeout", "10"]).is_err());
        for side in [&self.left, &self.right] {
            wait_for("no IKE_SA", 5, || Ok(!side.swanctl(&["--list-sas"])?.contains("ESTABLISHED")))?;
            assert!(!side.logged("CHILD_SA net{1} established"), "{:?}", side.make);
        }
        Ok(())
    }
}

#[test]
fn optional_ones_with_a_peer_that_has_none() -> Result<()> {
    Mixed::load((Ours, StrongSwan), (OPTIONAL, PLAIN))?.works()?;
    Mixed::load((StrongSwan, Ours), (PLAIN, OPTIONAL))?.works()
}

#[test]
fn required_ones_with_a_peer_that_has_none() -> Result<()> {
    Mixed::load((Ours, StrongSwan), (HYBRID, PLAIN))?.fails()?;
    Mixed::load((StrongSwan, Ours), (PLAIN, HYBRID))?.fails()
}

#[test]
fn required_ones_of_a_child_with_a_peer_that_has_none() -> Result<()> {
    // The first CHILD_SA has no key exchange of its own, but it is not rekeyed without the ones agreed on.
    for (makes, left, right) in
        [((Ours, StrongSwan), [PLAIN[0], HYBRID[1]], PLAIN), ((StrongSwan, Ours), PLAIN, [PLAIN[0], HYBRID[1]])]
    {
        let mixed = Mixed::load(makes, (left, right))?;
        mixed.left.swanctl(&["--initiate", "--child", "net"])?;
        mixed.left.swanctl(&["--rekey", "--child", "net"])?;
        wait_for("a refusal", 5, || {
            Ok(mixed.left.logged("CHILD_SA rekeying failed, trying again") || mixed.left.logged("NO_PROPOSAL_CHOSEN"))
        })?;
        let (left, right) = (&mixed.lab.left, &mixed.lab.right);
        assert_eq!(ping(left, left.inner, right.inner, 3)?, 3);
    }
    Ok(())
}
