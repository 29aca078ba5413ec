//! Where keys may come from, and credentials that change under a running tunnel.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testsuite::Result;
use testsuite::config::{Auth, Connection, Files, pair};
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::Lab;
use testsuite::pki::{KeyKind, Pair};
use testsuite::traffic::ping;
use testsuite::wait_for;

use Make::{Ours, StrongSwan};

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let out = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&out.stderr)).into())
}

fn remove(files: &mut Files, path: &str) -> Result<Vec<u8>> {
    let found = files.credentials.iter().position(|(name, _)| name == path).ok_or("no such file")?;
    Ok(files.credentials.swap_remove(found).1)
}

/// Lets the daemons talk, and data pass.
fn tunnel(lab: &Lab, left: &Daemon, right: &Daemon) -> Result<()> {
    right.swanctl(&["--load-all", "--noprompt"])?;
    left.swanctl(&["--initiate", "--child", "net"])?;
    wait_for("the first ping", 5, || Ok(ping(&lab.left, lab.left.inner, lab.right.inner, 1)? == 1))?;
    assert_eq!(left.swanctl(&["--list-sas"])?.matches("ESTABLISHED").count(), 1);
    Ok(())
}

/// Certificate and key in a container.
fn container(make: Make) -> Result<()> {
    let lab = Lab::direct("pkcs12")?;
    let (mut left, right) = pair(&lab, &Connection::new(Auth::Certificate(KeyKind::EcdsaP256)))?;
    let path = |name: &str| lab.dir().join(name).display().to_string();
    for (file, name) in [("x509/left.pem", "p12-cert.pem"), ("private/left.pem", "p12-key.pem")] {
        std::fs::write(lab.dir().join(name), remove(&mut left, file)?)?;
    }
    run(
        "openssl",
        &[
            "pkcs12",
            "-export",
            "-inkey",
            &path("p12-key.pem"),
            "-in",
            &path("p12-cert.pem"),
            "-passout",
            "pass:geheim",
            "-out",
            &path("left.p12"),
        ],
    )?;
    left.swanctl = left.swanctl.replace("certs = left.pem\n", "\n");
    let no_passphrase = left.swanctl.clone();
    let (left_daemon, right_daemon) =
        (Daemon::start(&lab, &lab.left, make, &left)?, Daemon::start(&lab, &lab.right, StrongSwan, &right)?);
    let directory = left_daemon.swanctl_dir();
    std::fs::create_dir_all(directory.join("pkcs12"))?;
    std::fs::copy(path("left.p12"), directory.join("pkcs12/left.p12"))?;
    let load = || left_daemon.swanctl_of(make, &["--load-all", "--noprompt"]);
    if make == Ours {
        let refused = load()?;
        let advice = "is encrypted, add its passphrase: secrets { pkcs12-1 { file = left.p12";
        assert!(refused.stderr.contains(advice), "{}", refused.stderr);
        let wrong = format!("{no_passphrase}\nsecrets {{ pkcs12-x {{ file = left.p12\n secret = false\n }} }}\n");
        std::fs::write(directory.join("swanctl.conf"), wrong)?;
        let refused = load()?;
        assert!(refused.stderr.contains("configured decryption secret for 'left.p12' invalid"), "{}", refused.stderr);
    }
    let right_one = format!("{no_passphrase}\nsecrets {{ pkcs12-x {{ file = left.p12\n secret = geheim\n }} }}\n");
    std::fs::write(directory.join("swanctl.conf"), right_one)?;
    let loaded = load()?;
    let said = format!("{}{}", loaded.stdout, loaded.stderr);
    assert!(said.contains("loaded certificate from") && said.contains("CN=left.example.org"), "{said}");
    assert!(said.contains("loaded ECDSA key from"), "{said}");
    tunnel(&lab, &left_daemon, &right_daemon)
}

/// A new CA, new certificates and new keys on both sides; what is up stays up, and reauthentication takes the new ones.
fn rotation() -> Result<()> {
    let lab = Lab::direct("rotate")?;
    let connection = Connection::new(Auth::Certificate(KeyKind::EcdsaP256)).with("reauth_time = 0");
    let (left_files, right_files) = pair(&lab, &connection)?;
    let left = Daemon::start(&lab, &lab.left, Ours, &left_files)?;
    let right = Daemon::start(&lab, &lab.right, StrongSwan, &right_files)?;
    left.swanctl(&["--load-all"])?;
    tunnel(&lab, &left, &right)?;
    let ids = |daemon: &Daemon| -> Result<Vec<String>> {
        let answer = daemon.vici()?.request("get-keys", &vici::Message::new())?;
        Ok(answer.strs("keys").map(str::to_owned).collect())
    };
    let before = ids(&left)?;
    assert_eq!(before.len(), 1);

    let work = lab.dir().join("rotated");
    std::fs::create_dir_all(&work)?;
    let rotated = Pair::make(&work, Auth::Certificate(KeyKind::Rsa2048))?;
    for daemon in [&left, &right] {
        replace(&daemon.swanctl_dir(), &rotated.of(daemon.host.role, ""))?;
        daemon.swanctl(&["--load-all"])?;
    }
    let after = ids(&left)?;
    assert!(after.len() == 1 && after != before, "the new key took the old one's place: {before:?} {after:?}");
    assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 3)?, 3, "what is up stays up");

    left.swanctl(&["--rekey", "--ike", "gw", "--reauth"])?;
    wait_for("reauthentication with RSA", 15, || {
        Ok(left.log().matches("with RSA_EMSA_PKCS1_SHA2_256 successful").count() >= 2
            && left.swanctl(&["--list-sas"])?.matches("ESTABLISHED").count() == 1)
    })?;
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(ping(&lab.left, lab.left.inner, lab.right.inner, 3)?, 3, "and carries traffic");

    // What is no longer in the files goes: keys and secrets at once, certificates with --clear.
    std::fs::remove_file(left.swanctl_dir().join("private/left.pem"))?;
    left.swanctl(&["--load-creds"])?;
    assert_eq!(ids(&left)?, [""; 0]);
    assert!(left.swanctl(&["--list-certs"])?.contains("left.example.org"));
    for directory in ["x509", "x509ca"] {
        for entry in left.swanctl_dir().join(directory).read_dir()? {
            std::fs::remove_file(entry?.path())?;
        }
    }
    left.swanctl(&["--load-creds", "--clear"])?;
    Ok(())
}

fn replace(directory: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    for (path, content) in files {
        std::fs::write(directory.join(path), content)?;
    }
    Ok(())
}

#[test]
fn ours_opens_containers() -> Result<()> {
    container(Ours)
}

#[test]
fn strongswan_opens_containers() -> Result<()> {
    container(StrongSwan)
}

#[test]
fn ours_rotates() -> Result<()> {
    rotation()
}
