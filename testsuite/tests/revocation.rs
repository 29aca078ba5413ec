//! Whether the peer's certificate was revoked: the real OCSP responder of OpenSSL, CRLs over HTTP, and servers that do not
//! behave. The peer is strongSwan 5.9.8, or we are.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testsuite::config::{Auth, Connection, Files, pair};
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::{Host, Lab};
use testsuite::pki::KeyKind;
use testsuite::{Result, wait_for};

use Make::{Ours, StrongSwan};

/// Ends a process with the scenario.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

/// Where the left side asks.
const OCSP: &str = "http://127.0.0.1:8088/";
const CRL: &str = "http://127.0.0.1:8089/ca.crl";

fn openssl(dir: &Path, args: &[&str]) -> Result<String> {
    let output = Command::new("openssl").args(args).current_dir(dir).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A CA with a database, in which the right side's certificate is `V`alid, `R`evoked or unknown.
fn database(dir: &Path, status: Option<char>) -> Result<()> {
    std::fs::write(
        dir.join("ca.cnf"),
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=crlnumber\ndefault_md=sha256\ndefault_crl_days=1\n\
         crl_extensions=x\n[x]\nauthorityKeyIdentifier=keyid\n",
    )?;
    std::fs::write(dir.join("crlnumber"), "01\n")?;
    let serial = openssl(dir, &["x509", "-in", "right.pem", "-noout", "-serial"])?;
    let serial = serial.trim().trim_start_matches("serial=").to_owned();
    let line = match status {
        Some('R') => format!("R\t400101000000Z\t200101000000Z,keyCompromise\t{serial}\tunknown\t/CN=right\n"),
        Some(_) => format!("V\t400101000000Z\t\t{serial}\tunknown\t/CN=right\n"),
        None => String::new(),
    };
    std::fs::write(dir.join("index.txt"), line)?;
    Ok(())
}

fn crl(dir: &Path) -> Result<Vec<u8>> {
    openssl(dir, &["ca", "-config", "ca.cnf", "-gencrl", "-keyfile", "ca.key", "-cert", "ca.pem", "-out", "crl.pem"])?;
    openssl(dir, &["crl", "-in", "crl.pem", "-outform", "der", "-out", "ca.crl"])?;
    Ok(std::fs::read(dir.join("ca.crl"))?)
}

/// Whether the responder is there. A connection without a request would keep it from serving others.
fn listens(host: &Host) -> Result<bool> {
    Ok(host.run(&["cat", "/proc/net/tcp", "/proc/net/tcp6"])?.contains(":1F98 "))
}

/// OpenSSL's responder.
fn responder(host: &Host, dir: &Path) -> Result<Running> {
    let mut command = host.command(Path::new("openssl"));
    command.args([
        "ocsp",
        "-port",
        "8088",
        "-index",
        "index.txt",
        "-CA",
        "ca.pem",
        "-rsigner",
        "ca.pem",
        "-rkey",
        "ca.key",
    ]);
    let child = command.current_dir(dir).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let running = Running(child);
    wait_for("the responder", 10, || listens(host))?;
    Ok(running)
}

/// A server on the host that does as it is told with each connection.
fn server(host: &Host, port: u16, serve: impl Fn(TcpStream) + Send + 'static) -> Result<()> {
    let listener = host.inside(|| Ok(TcpListener::bind(("127.0.0.1", port))?))?;
    std::thread::spawn(move || listener.incoming().flatten().for_each(serve));
    Ok(())
}

fn serve(mut stream: TcpStream, body: &[u8]) {
    let _read = stream.read(&mut [0; 8192]);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

/// The left side with somebody to ask, before anything runs.
struct Scenario {
    lab: Lab,
    left: Files,
    right: Files,
}

impl Scenario {
    fn new(name: &str, status: Option<char>, policy: &str, sources: &str) -> Result<Self> {
        let lab = Lab::direct(name)?;
        let (mut left, right) = pair(&lab, &Connection::new(Auth::Certificate(KeyKind::EcdsaP256)))?;
        for (path, content) in &right.credentials {
            if let Some(file) = path.strip_prefix("x509/") {
                std::fs::write(lab.dir().join(file), content)?;
            }
        }
        database(lab.dir(), status)?;
        left.swanctl = left.swanctl.replace("cacerts = ca.pem", &format!("cacerts = ca.pem\n revocation = {policy}"));
        left.swanctl.push_str(&format!("authorities {{\n lab {{\n cacert = ca.pem\n {sources}\n }}\n}}\n"));
        left.charon.push_str("\nplugins {\n revocation {\n timeout = 2s\n }\n }\n");
        Ok(Self { lab, left, right })
    }

    fn start(&self, peer: Make) -> Result<(Daemon, Daemon)> {
        let left = Daemon::start(&self.lab, &self.lab.left, Ours, &self.left)?;
        let right = Daemon::start(&self.lab, &self.lab.right, peer, &self.right)?;
        for daemon in [&left, &right] {
            daemon.swanctl(&["--load-all"])?;
        }
        Ok((left, right))
    }

    /// Whether the left side, as initiator or as responder, accepts the right one.
    fn accepts(&self, peer: Make, initiates: bool) -> Result<(bool, Daemon)> {
        let (left, right) = self.start(peer)?;
        let who = if initiates { &left } else { &right };
        let tried = who.swanctl(&["--initiate", "--child", "net", "--timeout", "20"]);
        Ok((tried.is_ok(), left))
    }
}

#[test]
fn ocsp_by_a_real_responder() -> Result<()> {
    for (peer, initiates) in [(StrongSwan, true), (StrongSwan, false), (Ours, true)] {
        for (status, policy, accepted, logged) in [
            (Some('V'), "strict", true, "certificate status is good"),
            (Some('R'), "relaxed", false, "reason: key compromise"),
            (None, "strict", false, "ocsp check failed, fallback to crl"),
            (None, "relaxed", true, "certificate status is not available"),
        ] {
            let scenario = Scenario::new("ocsp", status, policy, &format!("ocsp_uris = {OCSP}"))?;
            let _responder = responder(&scenario.lab.left, scenario.lab.dir())?;
            let (is, left) = scenario.accepts(peer, initiates)?;
            assert_eq!(is, accepted, "{status:?} {policy}\n{}", left.log());
            assert!(left.logged(logged) && left.logged("ocsp response correctly signed"), "{}", left.log());
        }
    }
    Ok(())
}

#[test]
fn crls_over_http_and_from_files() -> Result<()> {
    for (status, accepted) in [(Some('V'), true), (Some('R'), false)] {
        for loaded in [false, true] {
            let sources = if loaded { String::new() } else { format!("crl_uris = {CRL}") };
            let mut scenario = Scenario::new("crl", status, "strict", &sources)?;
            let crl = crl(scenario.lab.dir())?;
            if loaded {
                scenario.left.credentials.push(("x509crl/ca.crl".into(), crl.clone()));
            } else {
                let crl = crl.clone();
                server(&scenario.lab.left, 8089, move |stream| serve(stream, &crl))?;
            }
            let (is, left) = scenario.accepts(StrongSwan, false)?;
            assert_eq!(is, accepted, "{status:?} {loaded}\n{}", left.log());
            assert!(left.logged("crl correctly signed by"), "{}", left.log());
            let listed = left.swanctl(&["--list-certs", "--type", "x509_crl"])?;
            assert!(listed.contains("X.509 CRL"), "{listed}");
            left.swanctl(&["--flush-certs"])?;
            let listed = left.swanctl(&["--list-certs", "--type", "x509_crl"])?;
            assert_eq!(listed.contains("X.509 CRL"), loaded, "{listed}");
        }
    }
    Ok(())
}

#[test]
fn servers_that_are_silent_slow_huge_or_lie_are_no_help_and_no_harm() -> Result<()> {
    type Serve = fn(TcpStream);
    let silent: Serve = |stream| std::mem::forget(stream);
    let slow: Serve = |mut stream| {
        std::thread::spawn(move || {
            let _sent = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
            while stream.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
        });
    };
    let huge: Serve = |mut stream| {
        let _read = stream.read(&mut [0; 8192]);
        let _sent = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while stream.write_all(&[0x30; 65536]).is_ok() {}
    };
    let lying: Serve = |stream| serve(stream, b"0\x03\x0a\x01\x00");
    for (name, bad) in [("silent", silent), ("slow", slow), ("huge", huge), ("lying", lying)] {
        for (policy, accepted) in [("relaxed", true), ("ifuri", false)] {
            let scenario = Scenario::new("bad", Some('V'), policy, &format!("ocsp_uris = {OCSP}\n crl_uris = {CRL}"))?;
            server(&scenario.lab.left, 8088, bad)?;
            server(&scenario.lab.left, 8089, bad)?;
            let start = Instant::now();
            let (is, left) = scenario.accepts(StrongSwan, true)?;
            assert_eq!(is, accepted, "{name} {policy}\n{}", left.log());
            assert!(start.elapsed() < Duration::from_secs(25), "{name}: {:?}", start.elapsed());
            assert!(left.logged("certificate status is not available"), "{name}: {}", left.log());
            // the daemon has not suffered
            left.swanctl(&["--stats"])?;
        }
    }
    Ok(())
}

#[test]
fn a_responder_that_is_not_the_cas_is_not_believed() -> Result<()> {
    let scenario = Scenario::new("liar", Some('V'), "strict", &format!("ocsp_uris = {OCSP}"))?;
    let dir = scenario.lab.dir();
    // its own CA has the same name
    openssl(dir, &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "rogue.key"])?;
    openssl(
        dir,
        &["req", "-x509", "-new", "-key", "rogue.key", "-subj", "/C=CH/O=Lab/CN=Lab CA", "-out", "rogue.pem"],
    )?;
    let mut command = scenario.lab.left.command(Path::new("openssl"));
    command.args(["ocsp", "-port", "8088", "-index", "index.txt", "-CA", "ca.pem", "-rsigner", "rogue.pem"]);
    command.args(["-rkey", "rogue.key"]).current_dir(dir).stdout(Stdio::null()).stderr(Stdio::null());
    let _responder = Running(command.spawn()?);
    let host = &scenario.lab.left;
    wait_for("the responder", 10, || listens(host))?;
    let (is, left) = scenario.accepts(StrongSwan, true)?;
    assert!(!is && left.logged("ocsp response verification failed"), "{}", left.log());
    Ok(())
}
