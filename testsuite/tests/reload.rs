//! What loading a connection again, and unloading it, does to SAs that are up. Debian's strongSwan 5.9.8 does the same, except
//! that we, as strongSwan 6, keep the IKE_SA of a started child that is loaded anew.

use std::thread::sleep;
use std::time::Duration;

use testsuite::config::{Auth, Connection, pair};
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::Lab;
use testsuite::{Result, wait_for};
use vici::Message;

use Make::{Ours, StrongSwan};

/// The number of an IKE_SA and those of its CHILD_SAs.
type Sas = Vec<(i64, Vec<i64>)>;

/// A gateway with one connection `gw`, whose peer accepts what it asks for.
struct Gateway {
    left: Daemon,
    /// Serves the peer's side until the scenario is over.
    _right: Daemon,
    _lab: Lab,
}

impl Gateway {
    fn new(make: Make) -> Result<Self> {
        let lab = Lab::direct("reload")?;
        let (left_files, right_files) = pair(&lab, &Connection::new(Auth::Psk))?;
        let left = Daemon::start(&lab, &lab.left, make, &left_files)?;
        let right = Daemon::start(&lab, &lab.right, StrongSwan, &right_files)?;
        left.swanctl(&["--load-creds"])?;
        right.swanctl(&["--load-all"])?;
        Ok(Self { left, _right: right, _lab: lab })
    }

    /// Loads the connection with these options and those of its child `net`.
    fn load(&self, options: &[(&'static str, &str)], child: &[(&'static str, &str)]) -> Result<()> {
        let with = |mut message: Message, options: &[(&'static str, &str)]| {
            for (key, value) in options {
                message.push(*key, *value);
            }
            message
        };
        let side = |id: &str| Message::new().with("auth", "psk").with("id", id);
        let selectors = Message::new().with_list("local_ts", ["10.1.0.0/16"]).with_list("remote_ts", ["10.2.0.0/16"]);
        let connection = Message::new()
            .with("version", 2_u32)
            .with_list("local_addrs", ["192.0.2.1"])
            .with_list("remote_addrs", ["192.0.2.2"])
            .with_section("local", side("left.example.org"))
            .with_section("remote", side("right.example.org"))
            .with_section("children", Message::new().with_section("net", with(selectors, child)));
        let request = Message::new().with_section("gw", with(connection, options));
        self.left.vici()?.command("load-conn", &request)?;
        Ok(())
    }

    fn unload(&self) -> Result<()> {
        self.left.vici()?.command("unload-conn", &Message::new().with("name", "gw"))?;
        Ok(())
    }

    fn initiate(&self) -> Result<()> {
        self.left.vici()?.command("initiate", &Message::new().with("child", "net").with("timeout", 10_000_u32))?;
        Ok(())
    }

    /// SAs that are up and have not been replaced.
    fn sas(&self) -> Result<Sas> {
        let mut sas = Vec::new();
        let mut client = self.left.vici()?;
        for event in client.stream("list-sas", "list-sa", &Message::new())? {
            for (_, ike) in event?.sections() {
                if ike.str("state") != Some("ESTABLISHED") {
                    continue;
                }
                let children = ike.section("child-sas").cloned().unwrap_or_default();
                let installed = children.sections().filter(|(_, child)| child.str("state") == Some("INSTALLED"));
                let numbers = installed.filter_map(|(_, child)| child.int("uniqueid")).collect();
                sas.push((ike.int("uniqueid").unwrap_or(0), numbers));
            }
        }
        Ok(sas)
    }

    /// The SAs once what was begun has come to an end: they fulfil `condition` now and half a second later.
    fn settled(&self, what: &str, condition: impl Fn(&Sas) -> bool) -> Result<Sas> {
        let check = || self.sas().map(|sas| condition(&sas));
        wait_for(what, 10, check)?;
        sleep(Duration::from_millis(500));
        wait_for(what, 5, check)?;
        self.sas()
    }

    /// The IKE_SA and its one CHILD_SA.
    fn up(&self) -> Result<(i64, i64)> {
        let sas = self.settled("one IKE_SA with one CHILD_SA", |sas| matches!(&sas[..], [(_, c)] if c.len() == 1))?;
        Ok(sas.first().and_then(|(ike, children)| Some((*ike, *children.first()?))).ok_or("gone again")?)
    }

    fn nothing_left(&self) -> Result<()> {
        self.settled("no SA", Vec::is_empty).map(drop)
    }
}

const START: &[(&str, &str)] = &[("start_action", "start")];

fn reloads(make: Make) -> Result<()> {
    let gateway = Gateway::new(make)?;

    // start, and nothing changes: nobody is disturbed
    gateway.load(&[], START)?;
    let first = gateway.up()?;
    gateway.load(&[], START)?;
    assert_eq!(gateway.up()?, first);

    // the child changes: it is made anew, on the same IKE_SA
    gateway.load(&[], &[("start_action", "start"), ("rekey_time", "30m")])?;
    gateway.settled("a new CHILD_SA", |sas| matches!(&sas[..], [(_, c)] if c.len() == 1 && *c != [first.1]))?;
    let second = gateway.up()?;
    assert_eq!(second.0 == first.0, make == Ours);

    // the connection changes: everything is made anew
    gateway.load(&[("rekey_time", "3h")], START)?;
    gateway.settled("a new IKE_SA", |sas| matches!(&sas[..], [(ike, _)] if *ike != second.0))?;
    let third = gateway.up()?;
    assert_ne!((third.0, third.1), second);

    // the child is not to be started any more: it goes, and the IKE_SA with it
    gateway.load(&[("rekey_time", "3h")], &[])?;
    gateway.nothing_left()?;

    // initiated by hand it is nobody's business, whatever is loaded
    gateway.initiate()?;
    let fourth = gateway.up()?;
    gateway.load(&[("rekey_time", "2h")], &[("rekey_time", "20m")])?;
    assert_eq!(gateway.up()?, fourth);
    gateway.unload()?;
    assert_eq!(gateway.up()?, fourth);
    Ok(())
}

fn unloads(make: Make) -> Result<()> {
    let gateway = Gateway::new(make)?;
    gateway.load(&[], START)?;
    gateway.up()?;
    gateway.unload()?;
    gateway.nothing_left()?;

    // an IKE_SA without CHILD_SAs outlives a load that changes nothing, but not its connection
    if make == StrongSwan {
        return Ok(());
    }
    gateway.load(&[], &[])?;
    gateway.initiate()?;
    gateway.up()?;
    gateway.left.vici()?.command("terminate", &Message::new().with("child", "net"))?;
    gateway.settled("an IKE_SA alone", |sas| matches!(&sas[..], [(_, c)] if c.is_empty()))?;
    gateway.load(&[], &[])?;
    gateway.settled("the IKE_SA still", |sas| matches!(&sas[..], [(_, c)] if c.is_empty()))?;
    gateway.unload()?;
    gateway.nothing_left()
}

#[test]
fn strongswan_reloads() -> Result<()> {
    reloads(StrongSwan)
}

#[test]
fn ours_reloads() -> Result<()> {
    reloads(Ours)
}

#[test]
fn strongswan_unloads() -> Result<()> {
    unloads(StrongSwan)
}

#[test]
fn ours_unloads() -> Result<()> {
    unloads(Ours)
}
