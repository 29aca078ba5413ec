//! CPU per handshake and memory per SA of a responder: ours and strongSwan's against the same initiator in one run.
//!
//! `cargo build --release --bins && cargo bench -p testsuite --bench handshake`
//! (`HANDSHAKES=5000` for another count, default 2000). Needs root and the packages that `scripts/test` installs.
//!
//! The initiator is our charon without a data plane; it has as many connections as there are handshakes, each with its
//! own identity, and starts eight at a time. The responder's CPU time is what the scheduler charged to its threads from
//! before the first to after the last handshake. strongSwan's responder installs its SAs in kernel-libipsec, ours in the
//! fake kernel: a few microseconds in our favour, to be remembered with the ratio.

#![forbid(unsafe_code)]

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use testsuite::config::{Auth, Connection, Files, pair};
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::Lab;
use testsuite::pki::KeyKind;
use testsuite::{Result, wait_for};
use vici::Message;

const FAKE_KERNEL: &str = "plugins {\n load-tester {\n enable = yes\n fake_kernel = yes\n }\n }\n";
/// Log levels a gateway under load runs with: nobody reads a line per packet.
const QUIET: &str = "dos_protection = no\n reuse_ikesa = no\n filelog {\n stderr {\n default = 0\n ike = 0\n }\n }\n";
const PARALLEL: usize = 8;

struct Row {
    responder: Make,
    micros: f64,
    bytes: f64,
    per_second: f64,
}

fn measure(auth: Auth, responder: Make, count: usize) -> Result<Row> {
    let lab = Lab::direct("bench")?;
    let (left, right) = pair(&lab, &Connection::new(auth))?;
    let charon = |make: Make| if make == Make::Ours { format!("{FAKE_KERNEL}{QUIET}") } else { QUIET.into() };
    let proposals = "proposals = aes128gcm16-prfsha256-x25519";
    let local = |side: &str, id: &str| match auth {
        Auth::Psk => format!("auth = psk\n id = {id}"),
        _ => format!("auth = pubkey\n certs = {side}.pem\n id = {side}.example.org"),
    };
    let remote = |id: &str| match auth {
        Auth::Psk => format!("auth = psk\n id = {id}"),
        _ => format!("auth = pubkey\n cacerts = ca.pem\n id = {id}"),
    };
    let secret = "secrets {\n ike-all {\n secret = \"the quick brown fox\"\n }\n}\n";
    let mut conns = String::from("connections {\n");
    for n in 0..count {
        write!(
            conns,
            "c{n} {{\n remote_addrs = {}\n unique = never\n mobike = no\n {proposals}\n local {{\n {}\n }}\n remote {{\n {}\n }}\n \
             children {{\n net {{\n local_ts = {}/32\n remote_ts = 10.2.0.0/16\n \
             esp_proposals = aes128gcm16\n }}\n }}\n }}\n",
            lab.right.addr,
            local("left", &format!("u{n}.example.org")),
            remote("right.example.org"),
            // strongSwan's policies tell CHILD_SAs apart by their selectors.
            Ipv4Addr::from(0xac10_0000 + u32::try_from(n)?),
        )?;
    }
    let left = Files { swanctl: format!("{conns}}}\n{secret}"), charon: charon(Make::Ours), ..left };
    let right = Files {
        swanctl: format!(
            "connections {{\n gw {{\n unique = never\n mobike = no\n {proposals}\n local {{\n {}\n }}\n remote {{\n {}\n }}\n \
             children {{\n net {{\n local_ts = 10.2.0.0/16\n remote_ts = 172.16.0.0/12\n esp_proposals = aes128gcm16\n }}\n }}\n }}\n}}\n{secret}",
            local("right", "right.example.org"),
            remote("%any"),
        ),
        charon: charon(responder),
        ..right
    };
    let right = Daemon::start(&lab, &lab.right, responder, &right)?;
    let left = Daemon::start(&lab, &lab.left, Make::Ours, &left)?;
    right.swanctl(&["--load-all", "--noprompt"])?;
    left.swanctl(&["--load-all", "--noprompt"])?;

    // The first handshakes pay for what is made once: tables, threads, arenas.
    let warm = count / 10;
    initiate(&left, 0, warm)?;
    let (cpu, memory, started) = (right.cpu_time()?, right.resident_memory()?, Instant::now());
    initiate(&left, warm, count)?;
    let wall = started.elapsed().as_secs_f64();
    let up = |daemon: &Daemon| -> Result<bool> {
        let stats = daemon.vici()?.request("stats", &Message::new())?;
        let ikesas = stats.section("ikesas").ok_or("no ikesas in stats")?;
        let total = ikesas.str("total").unwrap_or_default().to_owned();
        if total == count.to_string() { Ok(true) } else { Err(format!("{total} of {count} SAs").into()) }
    };
    wait_for("all handshakes", 30, || up(&right))?;
    let measured = f64::from(u32::try_from(count - warm)?);
    let grown = u32::try_from(right.resident_memory()?.saturating_sub(memory) / 64)?;
    Ok(Row {
        responder,
        micros: (right.cpu_time()? - cpu).as_secs_f64() * 1e6 / measured,
        bytes: f64::from(grown) * 64.0 / measured,
        per_second: measured / wall,
    })
}

/// Initiates connections `from..to`, some at a time, and waits for each.
fn initiate(daemon: &Daemon, from: usize, to: usize) -> Result<()> {
    let next = AtomicUsize::new(from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..PARALLEL)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    let mut client = daemon.vici()?;
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= to {
                            return Ok(());
                        }
                        let request = Message::new()
                            .with("ike", format!("c{n}").as_str())
                            .with("child", "net")
                            .with("timeout", "20000")
                            .with("loglevel", "-1");
                        client.command("initiate", &request)?;
                    }
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "an initiator thread panicked")?)
    })
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its table")]
fn main() -> Result<()> {
    let count = std::env::var("HANDSHAKES").ok().map_or(Ok(2000), |text| text.parse())?;
    println!(
        "| responder | authentication | CPU µs per handshake | KiB per SA | handshakes/s | CPU against strongSwan |"
    );
    println!("|---|---|---|---|---|---|");
    let kinds = [
        ("PSK", Auth::Psk),
        ("ECDSA P-256", Auth::Certificate(KeyKind::EcdsaP256)),
        ("RSA 2048", Auth::Certificate(KeyKind::Rsa2048)),
    ];
    for (name, auth) in kinds {
        let theirs = measure(auth, Make::StrongSwan, count)?;
        let ours = measure(auth, Make::Ours, count)?;
        for row in [&theirs, &ours] {
            println!(
                "| {:?} | {name}, X25519, AES-GCM | {:.0} | {:.1} | {:.0} | {:.2} |",
                row.responder,
                row.micros,
                row.bytes / 1024.0,
                row.per_second,
                row.micros / theirs.micros
            );
        }
    }
    Ok(())
}
