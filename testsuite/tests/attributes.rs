//! What a gateway tells its clients besides an address, against everyone: name servers, networks, split DNS (RFC 8598),
//! attributes of any number; and what a client makes of it, with a file and with resolvconf(8).

use testsuite::config::Files;
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::Lab;
use testsuite::{Result, wait_for};

use Make::{Ours, StrongSwan};

fn connection(me: &str, other: &str, own: &str, nets: [&str; 2]) -> String {
    let [local_ts, remote_ts] = nets;
    format!(
        "connections {{\n rw {{\n{own}\n  local {{\n auth = psk\n id = {me}\n }}\n  remote {{\n auth = psk\n id = {other}\n }}\n  \
         children {{\n net {{\n local_ts = {local_ts}\n remote_ts = {remote_ts}\n }}\n }}\n }}\n}}\n\
         secrets {{\n ike-rw {{\n secret = \"the quick brown fox\"\n }}\n}}\n"
    )
}

struct Scenario {
    lab: Lab,
    carol: Daemon,
    moon: Daemon,
}

impl Scenario {
    /// A client and a gateway with everything a pool may have; `charon` is for the client's strongswan.conf.
    fn start(name: &str, makes: (Make, Make), charon: impl FnOnce(&Lab) -> Result<String>) -> Result<Self> {
        let lab = Lab::direct(name)?;
        let own = format!("local_addrs = {}\nremote_addrs = {}\nvips = 0.0.0.0", lab.left.addr, lab.right.addr);
        let swanctl = connection("carol", "moon", &own, ["dynamic", "10.2.0.0/16"]);
        let files = Files { swanctl, charon: charon(&lab)?, ..Files::default() };
        let carol = Daemon::start(&lab, &lab.left, makes.0, &files)?;
        let mut swanctl = connection("moon", "carol", "pools = rw", ["10.2.0.0/16", "dynamic"]);
        swanctl += "pools {\n rw {\n addrs = 10.77.0.0/28\n dns = 10.2.0.53, 10.2.0.54\n nbns = 10.2.0.60\n \
                    subnet = 10.2.0.0/16\n 20 = 10.2.0.70\n 25 = example.org, example.net\n 16500 = whatever\n }\n}\n";
        let moon = Daemon::start(&lab, &lab.right, makes.1, &Files { swanctl, ..Files::default() })?;
        for daemon in [&carol, &moon] {
            daemon.swanctl(&["--load-all"])?;
        }
        Ok(Self { lab, carol, moon })
    }

    fn up(&self) -> Result<()> {
        let said = self.carol.swanctl(&["--initiate", "--child", "net"])?;
        assert!(said.contains("initiate completed successfully"), "{said}");
        Ok(())
    }

    fn down(&self) -> Result<()> {
        self.carol.swanctl(&["--terminate", "--ike", "rw"])?;
        Ok(())
    }
}

/// What the log line of a configuration payload says is in it, sorted.
fn payload(log: &str, verb: &str) -> Vec<String> {
    let line = log.lines().find(|line| line.contains(verb) && line.contains("CPRP(")).unwrap_or_default();
    let inside = line.split("CPRP(").nth(1).and_then(|rest| rest.split(" ]").next()).unwrap_or_default();
    let inside = inside.split(") ").next().unwrap_or_default();
    let mut names: Vec<_> = inside.split_whitespace().map(|name| name.trim_matches(['(', ')']).to_owned()).collect();
    names.sort();
    names
}

fn everything(name: &str, makes: (Make, Make)) -> Result<()> {
    let scenario = Scenario::start(name, makes, |_| Ok(String::new()))?;
    scenario.up()?;
    let (carol, moon) = (&scenario.carol, &scenario.moon);
    let sent = payload(&moon.log(), "generating IKE_AUTH response");
    let received = payload(&carol.log(), "parsed IKE_AUTH response");
    let count = |names: &[String], name: &str| names.iter().filter(|other| *other == name).count();
    for names in [&sent, &received] {
        assert_eq!(names.len(), 9, "{names:?}");
        for (name, times) in [("ADDR", 1), ("DNS", 2), ("NBNS", 1), ("SUBNET", 1)] {
            assert_eq!(count(names, name), times, "{names:?}");
        }
    }
    wait_for("DNS servers", 5, || {
        let text = carol.resolv_conf();
        Ok(text.contains("nameserver 10.2.0.53") && text.contains("nameserver 10.2.0.54"))
    })?;
    for other in ["10.2.0.60", "10.2.0.70", "example"] {
        assert!(!carol.resolv_conf().contains(other), "{}", carol.resolv_conf());
    }
    scenario.down()?;
    wait_for("no DNS servers", 5, || Ok(!carol.resolv_conf().contains("nameserver 10.2.0.5")))?;
    Ok(())
}

#[test]
fn ours_with_ours() -> Result<()> {
    everything("attr-oo", (Ours, Ours))
}

#[test]
fn ours_at_strongswan() -> Result<()> {
    everything("attr-os", (Ours, StrongSwan))
}

#[test]
fn strongswan_at_ours() -> Result<()> {
    everything("attr-so", (StrongSwan, Ours))
}

#[test]
fn servers_may_go_to_resolvconf_and_p_cscf_servers_are_asked_for() -> Result<()> {
    let told = |lab: &Lab| lab.dir().join("told");
    let scenario = Scenario::start("attr-rc", (Ours, StrongSwan), |lab| {
        let script = lab.dir().join("resolvconf");
        let told = told(lab).display().to_string();
        std::fs::write(&script, format!("echo \"$@\" >> {told}\n[ \"$1\" = -d ] || cat >> {told}\n"))?;
        Ok(format!(
            "plugins {{ resolve {{ resolvconf {{ path = sh {}\n iface = lo.test\n }} }}\n p-cscf {{ enable {{ rw = yes\n }} }} }}",
            script.display()
        ))
    })?;
    scenario.up()?;
    let lines = || Ok::<_, std::io::Error>(std::fs::read_to_string(told(&scenario.lab)).unwrap_or_default());
    wait_for("resolvconf", 5, || Ok(lines()?.contains("10.2.0.53") && lines()?.contains("10.2.0.54")))?;
    assert!(lines()?.starts_with("-a lo.test\nnameserver 10.2.0.5"), "{}", lines()?);
    let log = scenario.carol.log();
    assert!(log.contains("CPRQ(ADDR DNS PCSCF)") || log.contains("CPRQ(ADDR DNS PCSCF4)"), "{log}");
    assert!(log.contains("received P-CSCF server IP 10.2.0.70"), "{log}");
    assert!(log.contains("handling INTERNAL_DNS_DOMAIN attribute failed"), "{log}");
    scenario.down()?;
    wait_for("resolvconf", 5, || Ok(lines()?.ends_with("-d lo.test\n")))?;
    Ok(())
}
