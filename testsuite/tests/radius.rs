//! EAP-RADIUS with the real FreeRADIUS behind the gateway, each daemon in each role: groups, addresses, accounting,
//! Disconnect, and a first server that is dead.

use std::process::{Child, Command, Stdio};

use testsuite::config::{Auth, Connection, pair};
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::Lab;
use testsuite::pki::KeyKind;
use testsuite::{Result, wait_for};

use Make::{Ours, StrongSwan};

const SECRET: &str = "testing123";

/// FreeRADIUS beside the gateway; it ends with the value.
struct FreeRadius {
    child: Child,
    dir: std::path::PathBuf,
}

impl FreeRadius {
    fn start(lab: &Lab) -> Result<Self> {
        let dir = lab.dir().join("raddb");
        std::fs::create_dir_all(dir.join("acct"))?;
        let d = dir.display();
        let listen =
            |kind: &str, port: u16| format!("listen {{\n type = {kind}\n ipaddr = 127.0.0.1\n port = {port}\n }}\n");
        let conf = format!(
            "prefix = /usr\nlibdir = /usr/lib/freeradius\nraddbdir = {d}\nconfdir = {d}\nmodconfdir = {d}\nlogdir = {d}\n\
             run_dir = {d}\ndb_dir = {d}\nradacctdir = {d}/acct\npidfile = {d}/pid\nname = freeradius\n\
             log {{\n destination = stdout\n auth = yes\n}}\nsecurity {{\n reject_delay = 0\n status_server = no\n}}\n\
             proxy_requests = no\nthread pool {{\n start_servers = 2\n max_servers = 4\n min_spare_servers = 1\n \
             max_spare_servers = 2\n}}\nclient any {{\n ipaddr = 127.0.0.0/8\n secret = {SECRET}\n \
             require_message_authenticator = no\n}}\nmodules {{\n files {{\n usersfile = {d}/users\n }}\n mschap {{\n }}\n \
             eap {{\n default_eap_type = md5\n timer_expire = 60\n max_sessions = 100\n md5 {{\n }}\n mschapv2 {{\n }}\n }}\n \
             detail {{\n filename = {d}/acct/detail\n permissions = 0644\n }}\n}}\nserver default {{\n{}{}\
             authorize {{\n eap {{\n ok = return\n }}\n files\n }}\n authenticate {{\n eap\n Auth-Type MS-CHAP {{\n mschap\n \
             }}\n }}\n accounting {{\n detail\n }}\n}}\n",
            listen("auth", 1812),
            listen("acct", 1813),
        );
        std::fs::write(dir.join("radiusd.conf"), conf)?;
        let user = "alice Cleartext-Password := \"correct horse\"\n  Class = \"staff\", Framed-IP-Address = 10.3.0.7, \
                    MS-Primary-DNS-Server = 10.3.0.53, Acct-Interim-Interval = 60\n";
        std::fs::write(dir.join("users"), user)?;
        let log = std::fs::File::create(dir.join("log"))?;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &lab.right.netns, "freeradius", "-f", "-l", "stdout", "-n", "radiusd", "-d"]);
        command.arg(&dir).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let radius = Self { child: command.spawn()?, dir };
        wait_for("FreeRADIUS", 10, || Ok(radius.read("log").contains("Ready to process requests")))?;
        Ok(radius)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }
}

impl Drop for FreeRadius {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// Client, gateway and FreeRADIUS.
struct Scenario {
    left: Daemon,
    right: Daemon,
    radius: FreeRadius,
    lab: Lab,
}

impl Scenario {
    fn start(makes: (Make, Make), method: &str, groups: &str, dead_server: bool) -> Result<Self> {
        let lab = Lab::direct("radius")?;
        let radius = FreeRadius::start(&lab)?;
        let (mut left, mut right) = pair(&lab, &Connection::new(Auth::Certificate(KeyKind::EcdsaP256)))?;
        left.swanctl = left.swanctl.replacen(
            "auth = pubkey\n    certs = left.pem",
            &format!("auth = {method}\n    eap_id = alice"),
            1,
        );
        left.swanctl = left.swanctl.replacen("children {", "vips = 0.0.0.0\n children {", 1);
        left.swanctl = left.swanctl.replacen("local_ts = 10.1.0.1/16", "local_ts = dynamic", 1);
        left.swanctl += "secrets {\n eap-alice {\n id = alice\n secret = \"correct horse\"\n }\n}\n";
        right.swanctl = right.swanctl.replacen(
            "auth = pubkey\n    cacerts = ca.pem",
            &format!("auth = eap-radius\n    eap_id = %any\n    groups = {groups}"),
            1,
        );
        right.swanctl = right.swanctl.replacen("children {", "pools = radius\n children {", 1);
        right.swanctl = right.swanctl.replacen("remote_ts = 10.1.0.1/16", "remote_ts = dynamic", 1);
        let dead = format!("dead {{\n address = 127.0.0.2\n secret = {SECRET}\n preference = 500\n }}");
        right.charon += &format!(
            "plugins {{\n eap-radius {{\n accounting = yes\n class_group = yes\n accounting_send_class = yes\n \
             retransmit_timeout = 0.3\n retransmit_tries = 2\n dae {{\n enable = yes\n listen = 127.0.0.1\n secret = {SECRET}\n }}\n \
             servers {{\n {} alive {{\n address = 127.0.0.1\n secret = {SECRET}\n }}\n }}\n }}\n}}\n",
            if dead_server { &dead } else { "" }
        );
        let left = Daemon::start(&lab, &lab.left, makes.0, &left)?;
        let right = Daemon::start(&lab, &lab.right, makes.1, &right)?;
        for daemon in [&left, &right] {
            let said = daemon.swanctl(&["--load-all"])?;
            assert!(said.contains("loaded connection 'gw'"), "{said}");
        }
        Ok(Self { left, right, radius, lab })
    }

    fn up(&self) -> Result<()> {
        let both = |e| format!("{e}\n{}\n{}\n{}", self.left.log(), self.right.log(), self.radius.read("log"));
        self.left.swanctl(&["--initiate", "--child", "net"]).map_err(both)?;
        let listed = self.right.swanctl(&["--list-sas"])?;
        assert!(listed.contains("10.3.0.7"), "{listed}");
        wait_for("Start", 5, || Ok(self.radius.read("acct/detail").contains("Acct-Status-Type = Start")))
    }

    fn is_down(&self) -> Result<()> {
        wait_for("the end", 10, || Ok(!self.right.swanctl(&["--list-sas"])?.contains("ESTABLISHED")))?;
        wait_for("Stop", 5, || Ok(self.radius.read("acct/detail").contains("Acct-Status-Type = Stop")))?;
        let detail = self.radius.read("acct/detail");
        for line in [
            "User-Name = \"alice\"",
            "Framed-IP-Address = 10.3.0.7",
            "Class = 0x7374616666",
            "Acct-Terminate-Cause = User-Request",
        ] {
            assert!(detail.contains(line), "{line}:\n{detail}");
        }
        Ok(())
    }

    fn life(makes: (Make, Make), method: &str) -> Result<()> {
        let scenario = Self::start(makes, method, "staff", false)?;
        scenario.up()?;
        scenario.left.swanctl(&["--terminate", "--ike", "gw"])?;
        scenario.is_down()
    }
}

#[test]
fn md5_ours() -> Result<()> {
    Scenario::life((Ours, Ours), "eap-md5")
}

#[test]
fn mschapv2_strongswan_client() -> Result<()> {
    Scenario::life((StrongSwan, Ours), "eap-mschapv2")
}

#[test]
fn mschapv2_our_client() -> Result<()> {
    Scenario::life((Ours, StrongSwan), "eap-mschapv2")
}

#[test]
fn another_group() -> Result<()> {
    let scenario = Scenario::start((Ours, Ours), "eap-md5", "sales", false)?;
    assert!(scenario.left.swanctl(&["--initiate", "--child", "net", "--timeout", "10"]).is_err());
    assert!(scenario.right.logged("received group membership 'staff' from RADIUS"), "{}", scenario.right.log());
    Ok(())
}

#[test]
fn a_dead_first_server_and_a_disconnect() -> Result<()> {
    let scenario = Scenario::start((Ours, Ours), "eap-mschapv2", "staff", true)?;
    scenario.up()?;
    assert!(scenario.right.logged("RADIUS Access-Request timed out after 2 attempts"));
    let ask = |user: &str| {
        let line = format!("echo 'User-Name={user}' | radclient -r 1 127.0.0.1:3799 disconnect {SECRET}");
        scenario.lab.right.run(&["sh", "-c", &line])
    };
    assert!(ask("bob").is_err());
    ask("alice")?;
    scenario.is_down()
}
