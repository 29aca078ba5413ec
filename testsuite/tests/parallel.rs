//! Many handshakes at once against one daemon with four workers, and a control socket that answers meanwhile.

use std::fmt::Write;
use std::time::Instant;

use testsuite::config::Files;
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::Lab;
use testsuite::{Result, wait_for};

const COUNT: usize = 200;

#[test]
fn two_hundred_handshakes_in_parallel() -> Result<()> {
    let lab = Lab::direct("parallel")?;
    let fake =
        "plugins {\n load-tester {\n enable = yes\n fake_kernel = yes\n }\n }\n threads = 4\n dos_protection = no\n";
    let secret = "secrets {\n ike-all {\n secret = \"the quick brown fox\"\n }\n}\n";
    let mut conns = String::from("connections {\n");
    for n in 0..COUNT {
        write!(
            conns,
            "c{n} {{\n remote_addrs = {}\n local {{\n auth = psk\n id = u{n}.example.org\n }}\n remote {{\n auth = psk\n \
             id = right.example.org\n }}\n children {{\n net {{\n remote_ts = 10.2.0.0/16\n start_action = start\n }}\n }}\n }}\n",
            lab.right.addr
        )?;
    }
    conns.push_str("}\n");
    let left = Files { swanctl: format!("{conns}{secret}"), charon: fake.into(), ..Files::default() };
    let right = Files {
        swanctl: format!(
            "connections {{\n gw {{\n local {{\n auth = psk\n id = right.example.org\n }}\n remote {{\n auth = psk\n }}\n \
             children {{\n net {{\n local_ts = 10.2.0.0/16\n }}\n }}\n }}\n}}\n{secret}"
        ),
        charon: fake.into(),
        ..Files::default()
    };
    let right = Daemon::start(&lab, &lab.right, Make::Ours, &right)?;
    let left = Daemon::start(&lab, &lab.left, Make::Ours, &left)?;
    right.swanctl(&["--load-all"])?;
    left.swanctl(&["--load-all"])?;

    let mut slowest = 0;
    wait_for("every handshake", 30, || {
        let asked = Instant::now();
        let listed = right.swanctl(&["--list-sas"])?;
        slowest = slowest.max(asked.elapsed().as_millis());
        let up = listed.matches(", ESTABLISHED, ").count();
        if up == COUNT { Ok(true) } else { Err(format!("{up} of {COUNT} established").into()) }
    })?;
    // Not a benchmark: a listing that waited for handshakes would take as long as all of them.
    assert!(slowest < 3000, "list-sas took {slowest} ms");
    for daemon in [&left, &right] {
        let stats = daemon.swanctl(&["--stats"])?;
        assert!(stats.contains(&format!("IKE_SAs: {COUNT} total, 0 half-open")), "{stats}");
    }
    Ok(())
}
