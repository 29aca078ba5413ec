//! What brings CHILD_SAs up and what follows when they go: traps and the packets that hit them, shunts, start actions, and
//! every close and dpd action against peers that say goodbye and peers that do not.

use std::thread::sleep;
use std::time::Duration;

use testsuite::config::{Auth, Connection, Files, pair};
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::{Host, Lab};
use testsuite::traffic::ping;
use testsuite::uml::on_esp_kernel;
use testsuite::{Result, wait_for};
use vici::Message;

use Make::{Ours, StrongSwan};

/// Peers that do not answer are given up after about two seconds.
const IMPATIENT: &str = "retransmit_timeout = 0.3\nretransmit_base = 1.2\nretransmit_tries = 4\n";

/// The daemons of a scenario. `left` has what is looked at; the options are its alone.
struct Pair {
    left: Daemon,
    right: Daemon,
    lab: Lab,
}

impl Pair {
    fn new(makes: (Make, Make), options: &str, child: &str) -> Result<Self> {
        Self::with_children(makes, options, child, "")
    }

    fn with_children(makes: (Make, Make), options: &str, child: &str, children: &str) -> Result<Self> {
        let lab = Lab::direct("actions")?;
        let connection = Connection { children: children.into(), ..Connection::new(Auth::Psk).with(options) };
        let (left, _) = pair(&lab, &connection.with_child(child))?;
        let (_, right) = pair(&lab, &Connection::new(Auth::Psk))?;
        let impatient = |files: Files| Files { charon: format!("{IMPATIENT}{}", files.charon), ..files };
        let right = Daemon::start(&lab, &lab.right, makes.1, &impatient(right))?;
        right.swanctl(&["--load-all"])?;
        let left = Daemon::start(&lab, &lab.left, makes.0, &impatient(left))?;
        left.swanctl(&["--load-all"])?;
        Ok(Self { left, right, lab })
    }

    fn ping(&self) -> Result<u32> {
        ping(&self.lab.left, self.lab.left.inner, self.lab.right.inner, 1)
    }

    fn initiate(&self) -> Result<()> {
        self.left.swanctl(&["--initiate", "--child", "net"])?;
        wait_for("the CHILD_SA", 5, || Ok(sas(&self.left)?.len() == 1 && sas(&self.right)?.len() == 1))
    }
}

/// Selectors and number of every CHILD_SA that is up: ours, theirs.
fn sas(daemon: &Daemon) -> Result<Vec<(i64, String, String)>> {
    let mut found = Vec::new();
    let mut client = daemon.vici()?;
    for event in client.stream("list-sas", "list-sa", &Message::new())? {
        for (_, ike) in event?.sections() {
            let children = ike.section("child-sas").cloned().unwrap_or_default();
            for (_, child) in children.sections().filter(|(_, child)| child.str("state") == Some("INSTALLED")) {
                let list = |key: &str| child.list(key).join(&b' ');
                let text = |key: &str| String::from_utf8_lossy(&list(key)).into_owned();
                found.push((child.int("uniqueid").unwrap_or(0), text("local-ts"), text("remote-ts")));
            }
        }
    }
    Ok(found)
}

/// Names of installed traps and shunts.
fn policies(daemon: &Daemon) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let every = Message::new().with("trap", "yes").with("pass", "yes").with("drop", "yes");
    let mut client = daemon.vici()?;
    for event in client.stream("list-policies", "list-policy", &every)? {
        names.extend(event?.sections().filter_map(|(_, policy)| policy.str("child").map(str::to_owned)));
    }
    names.sort();
    Ok(names)
}

/// kernel-libipsec reports no packets that hit traps: strongSwan does only with a kernel that has ESP.
#[test]
fn trap_strongswan_to_ours() -> Result<()> {
    on_esp_kernel("trap_strongswan_to_ours", || trap((StrongSwan, Ours)))
}

/// As above.
#[test]
fn narrowed_by_ours_to_the_packet() -> Result<()> {
    on_esp_kernel("narrowed_by_ours_to_the_packet", || narrowed((StrongSwan, Ours)))
}

macro_rules! scenarios {
    ($($name:ident: $scenario:expr;)*) => {
        $(#[test]
        fn $name() -> Result<()> {
            $scenario
        })*
    };
}

scenarios! {
    trap_ours_to_strongswan: trap((Ours, StrongSwan));
    trap_ours: trap((Ours, Ours));
    start_and_trap_ours_to_strongswan: start_and_trap((Ours, StrongSwan));
    narrowed_to_the_packet: narrowed((Ours, StrongSwan));
    bypass_and_drop: shunts();
    closed_ours_to_strongswan: closed((Ours, StrongSwan));
    closed_strongswan_to_ours: closed((StrongSwan, Ours));
    killed_ours_to_strongswan: lost((Ours, StrongSwan), Loss::Killed);
    killed_strongswan_to_ours: lost((StrongSwan, Ours), Loss::Killed);
    unplugged_ours_to_strongswan: lost((Ours, StrongSwan), Loss::Unplugged);
    unplugged_strongswan_to_ours: lost((StrongSwan, Ours), Loss::Unplugged);
    keyingtries_ours: keyingtries();
    half_open_timeout_ours: half_open();
    inactivity_ours_to_strongswan: inactivity((Ours, StrongSwan));
    inactivity_strongswan_to_ours: inactivity((StrongSwan, Ours));
    a_name_that_is_known_later: late_name();
}

/// A packet brings the tunnel up, with the reqid of the trap; when the tunnel goes the trap still works.
fn trap(makes: (Make, Make)) -> Result<()> {
    let pair = Pair::new(makes, "", "start_action = trap")?;
    assert_eq!(policies(&pair.left)?, ["net"]);
    assert!(sas(&pair.left)?.is_empty());
    for _ in 0..2 {
        let _lost = pair.ping()?;
        wait_for("the trap's tunnel", 10, || Ok(sas(&pair.left)?.len() == 1))?;
        wait_for("traffic", 5, || Ok(pair.ping()? == 1))?;
        assert_eq!(sas(&pair.left)?.len(), 1, "one for all packets");
        pair.right.swanctl(&["--terminate", "--ike", "gw"])?;
        wait_for("no SA", 5, || Ok(sas(&pair.left)?.is_empty()))?;
        assert_eq!(policies(&pair.left)?, ["net"]);
        // what the first acquire makes the data plane ignore is over by then
        sleep(Duration::from_millis(10_500));
    }
    Ok(())
}

/// Both: it is up at once, and a trap is there when it goes.
fn start_and_trap(makes: (Make, Make)) -> Result<()> {
    let pair = Pair::new(makes, "", "start_action = trap|start")?;
    wait_for("the CHILD_SA", 10, || Ok(sas(&pair.left)?.len() == 1))?;
    assert_eq!(policies(&pair.left)?, ["net"]);
    wait_for("traffic", 5, || Ok(pair.ping()? == 1))?;
    pair.right.swanctl(&["--terminate", "--ike", "gw"])?;
    wait_for("no SA", 5, || Ok(sas(&pair.left)?.is_empty()))?;
    let _lost = pair.ping()?;
    wait_for("the trap's tunnel", 10, || Ok(sas(&pair.left)?.len() == 1))
}

/// The initiator names the packet's addresses first. A responder with a choice of children takes the one that has them.
fn narrowed(makes: (Make, Make)) -> Result<()> {
    let lab = Lab::direct("narrow")?;
    let wide =
        Connection::new(Auth::Psk).with_child("start_action = trap\nlocal_ts = 10.1.0.0/16\nremote_ts = 10.0.0.0/8");
    let (left, mut right) = pair(&lab, &wide)?;
    // two children fit what is asked for; only the second one has what the packet is about
    let children = "children {\n other {\n local_ts = 10.2.128.0/17\n remote_ts = 10.1.0.0/16\n }\n \
                    this {\n local_ts = 10.2.0.0/24\n remote_ts = 10.1.0.0/16\n }\n }\n";
    let (head, _) = right.swanctl.split_once("children {").ok_or("no children")?;
    let (_, tail) = right.swanctl.split_once("secrets {").ok_or("no secrets")?;
    right.swanctl = format!("{head}{children} }}\n}}\nsecrets {{{tail}");
    let right = Daemon::start(&lab, &lab.right, makes.1, &right)?;
    right.swanctl(&["--load-all"])?;
    let left = Daemon::start(&lab, &lab.left, makes.0, &left)?;
    left.swanctl(&["--load-all"])?;
    let _lost = ping(&lab.left, lab.left.inner, lab.right.inner, 1)?;
    wait_for("the trap's tunnel", 10, || Ok(sas(&left)?.len() == 1))?;
    let (_, local, remote) = sas(&left)?.remove(0);
    assert!(local.contains("10.1.0."), "{local}");
    assert!(remote.contains("10.2.0.0/24") && !remote.contains("10.2.128"), "{remote}");
    wait_for("traffic", 5, || Ok(ping(&lab.left, lab.left.inner, lab.right.inner, 1)? == 1))
}

fn answers(from: &Host, to: &str) -> Result<bool> {
    Ok(ping(from, from.inner, to.parse()?, 1)? == 1)
}

/// What a bypass covers goes in clear although a tunnel covers it too; what a drop covers goes nowhere.
fn shunts() -> Result<()> {
    let children = "open {\n local_ts = 10.1.0.0/16\n remote_ts = 10.2.0.9/32\n mode = pass\n start_action = trap\n }\n \
                    shut {\n local_ts = 10.1.0.0/16\n remote_ts = 10.77.0.0/16\n mode = drop\n start_action = trap\n }";
    let pair = Pair::with_children((Ours, StrongSwan), "", "", children)?;
    let (a, b) = (&pair.lab.left, &pair.lab.right);
    for address in ["10.2.0.9/32", "10.77.0.1/32"] {
        b.run(&["ip", "addr", "add", address, "dev", "lo"])?;
    }
    a.run(&["ip", "route", "add", "10.2.0.9/32", "via", "192.0.2.2", "src", "10.1.0.1"])?;
    a.run(&["ip", "route", "add", "10.77.0.0/16", "via", "192.0.2.2", "src", "10.1.0.1"])?;
    b.run(&["ip", "route", "add", "10.1.0.0/16", "via", "192.0.2.1"])?;
    assert_eq!(policies(&pair.left)?, ["open", "shut"]);
    assert!(!answers(a, "10.77.0.1")?, "dropped");
    pair.initiate()?;
    wait_for("traffic", 5, || Ok(pair.ping()? == 1))?;
    let packets = || -> Result<i64> {
        let raw = pair.left.swanctl(&["--list-sas", "--raw"])?;
        Ok(raw.split("packets-out=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or("0").parse()?)
    };
    let before = packets()?;
    assert!(answers(a, "10.2.0.9")?, "the bypass lets it through");
    assert_eq!(packets()?, before, "in clear");
    pair.left.swanctl(&["--terminate", "--ike", "gw"])?;
    assert!(!answers(a, "10.77.0.1")?, "still dropped");
    pair.left.vici()?.command("unload-conn", &Message::new().with("name", "gw"))?;
    assert!(policies(&pair.left)?.is_empty());
    wait_for("the way is open again", 5, || answers(a, "10.77.0.1"))
}

/// What is there some time after a CHILD_SA went: a new one, a trap, or nothing.
fn after(pair: &Pair, old: i64, action: &str) -> Result<()> {
    let is_new = || Ok(sas(&pair.left)?.iter().any(|(id, _, _)| *id != old));
    match action {
        "start" => wait_for("a new CHILD_SA", 10, is_new),
        "trap" => {
            wait_for("a trap", 10, || Ok(policies(&pair.left)? == ["net"]))?;
            assert!(sas(&pair.left)?.is_empty(), "it waits for a packet");
            if pair.left.make == StrongSwan {
                // kernel-libipsec does not tell it about packets
                return Ok(());
            }
            let _lost = pair.ping()?;
            wait_for("the trap's CHILD_SA", 10, is_new)
        }
        _ => {
            sleep(Duration::from_secs(1));
            assert!(sas(&pair.left)?.is_empty() && policies(&pair.left)?.is_empty());
            Ok(())
        }
    }
}

const ACTIONS: [&str; 3] = ["none", "trap", "start"];

/// The peer deletes the CHILD_SA, and the IKE_SA: `close_action`, whatever `dpd_action` is.
fn closed(makes: (Make, Make)) -> Result<()> {
    for (close, dpd) in ACTIONS.into_iter().zip(["start", "none", "trap"]) {
        for what in ["--child", "--ike"] {
            let pair = Pair::new(makes, "", &format!("close_action = {close}\ndpd_action = {dpd}"))?;
            pair.initiate()?;
            let old = sas(&pair.left)?.first().ok_or("no CHILD_SA")?.0;
            let name = if what == "--child" { "net" } else { "gw" };
            pair.right.swanctl(&["--terminate", what, name])?;
            wait_for("the end", 5, || Ok(!sas(&pair.left)?.iter().any(|(id, _, _)| *id == old)))?;
            after(&pair, old, close).map_err(|error| format!("close_action = {close}, {what}: {error}"))?;
        }
    }
    Ok(())
}

/// How a peer goes without a word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    Killed,
    Unplugged,
}

/// The peer is gone: `dpd_action`, whatever `close_action` is.
fn lost(makes: (Make, Make), loss: Loss) -> Result<()> {
    for (dpd, close) in ACTIONS.into_iter().zip(["start", "none", "trap"]) {
        let child = format!("close_action = {close}\ndpd_action = {dpd}");
        let mut pair = Pair::new(makes, "dpd_delay = 1s", &child)?;
        pair.initiate()?;
        let old = sas(&pair.left)?.first().ok_or("no CHILD_SA")?.0;
        match loss {
            Loss::Killed => pair.right.kill()?,
            Loss::Unplugged => drop(pair.lab.right.run(&["ip", "link", "set", "eth0", "down"])?),
        }
        wait_for("the end", 15, || Ok(!sas(&pair.left)?.iter().any(|(id, _, _)| *id == old)))?;
        let Pair { left, right, lab } = pair;
        let right = match loss {
            Loss::Killed => {
                let right = right.start_again()?;
                right.swanctl(&["--load-all"])?;
                right
            }
            Loss::Unplugged => {
                lab.right.run(&["ip", "link", "set", "eth0", "up"])?;
                right
            }
        };
        after(&Pair { left, right, lab }, old, dpd).map_err(|error| format!("dpd_action = {dpd}: {error}"))?;
    }
    Ok(())
}

/// A peer that never answers is tried as often as it says.
fn keyingtries() -> Result<()> {
    let mut pair = Pair::new((Ours, StrongSwan), "keyingtries = 2", "")?;
    pair.right.kill()?;
    let run = pair.left.swanctl_of(Ours, &["--initiate", "--child", "net"])?;
    assert_ne!(run.code, 0);
    let log = pair.left.log();
    assert!(log.contains("peer not responding, trying again (2/2)"), "{log}");
    assert!(log.contains("establishing IKE_SA failed, peer not responding"), "{log}");
    assert_eq!(log.matches("initiating IKE_SA gw").count(), 2, "{log}");

    // for ever: it is there when the peer is
    let mut pair = Pair::new((Ours, StrongSwan), "keyingtries = 0", "")?;
    pair.right.kill()?;
    pair.left.swanctl_of(Ours, &["--initiate", "--child", "net", "--timeout", "1"])?;
    wait_for("a third try", 15, || Ok(pair.left.log().matches("initiating IKE_SA gw").count() >= 3))?;
    let Pair { left, right, lab: _lab } = pair;
    let right = right.start_again()?;
    right.swanctl(&["--load-all"])?;
    wait_for("the CHILD_SA", 10, || Ok(sas(&left)?.len() == 1))
}

/// An initiator that goes no further is forgotten.
fn half_open() -> Result<()> {
    let lab = Lab::direct("halfopen")?;
    let connection = Connection::new(Auth::Psk).with("proposals = aes128-sha256-x25519");
    let (left_files, right_files) = pair(&lab, &connection)?;
    let right_files = Files { charon: "half_open_timeout = 2".into(), ..right_files };
    let right = Daemon::start(&lab, &lab.right, Ours, &right_files)?;
    right.swanctl(&["--load-all"])?;
    let left = Daemon::start(&lab, &lab.left, StrongSwan, &left_files)?;
    left.swanctl(&["--load-all"])?;
    // answers do not get through
    lab.left.run(&[
        "nft",
        "add table ip f; add chain ip f i { type filter hook input priority 0; }; add rule ip f i udp sport 500 drop",
    ])?;
    let _times_out = left.swanctl_of(StrongSwan, &["--initiate", "--child", "net", "--timeout", "1"])?;
    let timeout = || Ok(right.logged("deleting half open IKE_SA") && right.logged("after timeout"));
    wait_for("the half-open timeout", 8, timeout)?;
    Ok(())
}

/// A CHILD_SA without traffic is closed; one with traffic is not.
fn inactivity(makes: (Make, Make)) -> Result<()> {
    let pair = Pair::new(makes, "", "inactivity = 2s")?;
    pair.initiate()?;
    for _ in 0..8 {
        assert_eq!(pair.ping()?, 1);
        sleep(Duration::from_millis(500));
    }
    assert_eq!(sas(&pair.left)?.len(), 1);
    wait_for("closed", 8, || Ok(sas(&pair.left)?.is_empty() && sas(&pair.right)?.is_empty()))?;
    assert!(pair.left.logged("seconds of inactivity"));
    Ok(())
}

/// The peer's name is not known yet when the connection is started.
fn late_name() -> Result<()> {
    let lab = Lab::direct("name")?;
    let (mut left_files, right_files) = pair(&lab, &Connection::new(Auth::Psk).with("keyingtries = 0"))?;
    left_files.swanctl = left_files.swanctl.replace("remote_addrs = 192.0.2.2", "remote_addrs = peer.lab.test");
    left_files.charon = "retry_initiate_interval = 1s".into();
    let right = Daemon::start(&lab, &lab.right, StrongSwan, &right_files)?;
    right.swanctl(&["--load-all"])?;
    // names come from files of the namespace's own (`ip netns exec` mounts them)
    let etc = format!("/etc/netns/{}", lab.left.netns);
    std::fs::create_dir_all(&etc)?;
    let tidy = Tidy(etc.clone());
    std::fs::write(format!("{etc}/hosts"), "127.0.0.1 localhost\n")?;
    std::fs::write(format!("{etc}/resolv.conf"), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")?;
    let left = Daemon::start(&lab, &lab.left, Ours, &left_files)?;
    left.swanctl(&["--load-all"])?;
    left.swanctl_of(Ours, &["--initiate", "--child", "net", "--timeout", "1"])?;
    wait_for("a retry", 15, || Ok(left.log().matches("retrying in 1s").count() >= 2))?;
    assert!(sas(&left)?.is_empty());
    std::fs::write(format!("{etc}/hosts"), "127.0.0.1 localhost\n192.0.2.2 peer.lab.test\n")?;
    wait_for("the CHILD_SA", 15, || Ok(sas(&left)?.len() == 1))?;
    drop(tidy);
    Ok(())
}

/// Removes a folder.
struct Tidy(String);

impl Drop for Tidy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
