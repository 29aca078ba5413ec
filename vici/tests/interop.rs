//! Against the real thing: the official Python package drives our server, our client drives strongSwan's charon.
//!
//! Both need something from the machine (`scripts/test` provides it): `CHARON_TEST_PYTHON` names a Python that has the
//! package `vici`, and the second needs root and Debian's `strongswan-charon`. Without, a test says so and passes.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests, outside of test functions")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use vici::{Client, ClientError, Endpoint, Message};

const CHARON: &str = "/usr/lib/ipsec/charon";

/// Ends a process and removes its folder when the test is over, however it ends.
struct Daemon {
    process: Child,
    folder: PathBuf,
}

impl Daemon {
    fn endpoint(&self) -> Endpoint {
        Endpoint::Unix(self.folder.join("vici"))
    }

    /// A connection, once the daemon listens.
    fn client(&self) -> Client {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match Client::connect(&self.endpoint()) {
                Ok(mut client) => {
                    client.set_timeout(Some(Duration::from_secs(20)));
                    return client;
                }
                Err(error) if Instant::now() > deadline => panic!("no daemon: {error}"),
                Err(_) => sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("vici-interop-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn the_python_package_drives_our_server() {
    let Some(python) = std::env::var_os("CHARON_TEST_PYTHON") else {
        return eprintln!("skipped: CHARON_TEST_PYTHON is not set");
    };
    let folder = folder("python");
    let toy = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples/toy_daemon");
    let uri = Endpoint::Unix(folder.join("vici")).to_string();
    let daemon = Daemon { process: Command::new(toy).arg(uri).spawn().unwrap(), folder };
    drop(daemon.client());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/toy.py");
    let status = Command::new(python).arg("-I").arg(script).arg(daemon.folder.join("vici")).status().unwrap();
    assert!(status.success());
}

/// Debian's charon in namespaces of its own: its PID file lives below /run, and it must not touch the network.
fn strongswan() -> Option<Daemon> {
    if !Path::new(CHARON).exists() {
        eprintln!("skipped: {CHARON} is not installed");
        return None;
    }
    let folder = folder("strongswan");
    let config = folder.join("strongswan.conf");
    let socket = folder.join("vici");
    let text = format!(
        "charon {{\n load_modular = no\n load = random nonce openssl kernel-netlink socket-default vici\n \
         plugins {{ vici {{ socket = unix://{} }} }}\n}}\n",
        socket.display()
    );
    fs::write(&config, text).unwrap();
    let script = format!("mount -t tmpfs none /run && exec {CHARON}");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "sh", "-c", &script]).env("STRONGSWAN_CONF", config);
    let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
    Some(Daemon { process, folder })
}

#[test]
fn our_client_drives_strongswan() {
    let Some(daemon) = strongswan() else { return };
    let mut client = daemon.client();
    assert_eq!(client.request("version", &Message::new()).unwrap().str("daemon"), Some("charon"));

    let child = Message::new().with_list("remote_ts", ["10.9.0.0/16"]).with("mode", "tunnel");
    let connection = |name: &'static str| {
        let auth = Message::new().with("auth", "psk");
        let connection = Message::new()
            .with("version", 2_u32)
            .with_list("remote_addrs", ["127.0.0.9"])
            .with_section("local", auth.clone())
            .with_section("remote", auth)
            .with_section("children", Message::new().with_section("net", child.clone()));
        Message::new().with_section(name, connection)
    };
    client.command("load-conn", &connection("gw")).unwrap();
    client.command("load-conn", &connection("other")).unwrap();
    let conns = client.request("get-conns", &Message::new()).unwrap();
    assert_eq!(conns.strs("conns").collect::<Vec<_>>(), ["gw", "other"]);

    // a scalar where a list belongs is refused, and the daemon says why
    let wrong = Message::new().with_section("bad", Message::new().with("local_addrs", "127.0.0.1"));
    let error = client.command("load-conn", &wrong).unwrap_err();
    assert!(matches!(&error, ClientError::Failed(failed) if failed.errmsg.contains("local_addrs")), "{error}");
    assert!(matches!(client.request("no-such", &Message::new()), Err(ClientError::UnknownCommand(_))));
    assert!(matches!(client.subscribe("no-such"), Err(ClientError::UnknownEvent(_))));

    // a listing, in full and abandoned half-way
    let mut names = Vec::new();
    let answer = client.request_streamed("list-conns", "list-conn", &Message::new(), |conn| {
        names.extend(conn.sections().map(|(name, _)| name.to_owned()));
        assert_eq!(conn.sections().next().unwrap().1.strs("remote_addrs").next(), Some("127.0.0.9"));
    });
    assert!(answer.unwrap().is_empty());
    assert_eq!(names, ["gw", "other"]);
    assert!(client.stream("list-conns", "list-conn", &Message::new()).unwrap().next().is_some());
    assert!(client.request("stats", &Message::new()).unwrap().section("ikesas").is_some());

    // progress of a command that fails, with other events in between
    client.subscribe("log").unwrap();
    let request = Message::new().with("child", "net").with("ike", "gw").with("timeout", 300_u32);
    let mut progress = 0;
    let answer = client.request_streamed("initiate", "control-log", &request, |_| progress += 1).unwrap();
    assert!(answer.into_result().unwrap_err().errmsg.contains("not established after 300ms"));
    assert!(progress > 0);
    assert!(client.next_event(Some(Duration::from_secs(5))).unwrap().is_some_and(|event| event.name == "log"));
    client.unsubscribe("log").unwrap();

    client.command("unload-conn", &Message::new().with("name", "other")).unwrap();
    assert!(client.command("unload-conn", &Message::new().with("name", "other")).is_err());
}
