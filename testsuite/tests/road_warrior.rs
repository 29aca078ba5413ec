//! Road warriors: a client gets virtual IPs and DNS servers from a gateway's pools and uses them, against everyone.

use std::net::IpAddr;

use testsuite::config::Files;
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::{Host, Lab};
use testsuite::traffic::{Stream, ping, tcp_transfer};
use testsuite::uml::on_esp_kernel;
use testsuite::{Result, wait_for};

use Make::{Ours, StrongSwan};

/// First addresses of the gateway's pools.
const VIP: &str = "10.77.0.1";
const VIP6: &str = "fd77::1";

fn connection(me: &str, other: &str, addresses: &str, pools: &str, local_ts: &str, remote_ts: &str) -> String {
    format!(
        "connections {{\n rw {{\n{addresses}\n{pools}\n  local {{\n auth = psk\n id = {me}\n }}\n  remote {{\n auth = psk\n id = {other}\n }}\n  \
         children {{\n net {{\n local_ts = {local_ts}\n remote_ts = {remote_ts}\n }}\n }}\n }}\n}}\n\
         secrets {{\n ike-rw {{\n secret = \"the quick brown fox\"\n }}\n}}\n"
    )
}

/// The client's files; `vips` are what it asks for.
fn client(lab: &Lab, vips: &str) -> Files {
    let addresses = format!("local_addrs = {}\nremote_addrs = {}", lab.left.addr, lab.right.addr);
    let vips = if vips.is_empty() { String::new() } else { format!("vips = {vips}") };
    let nets = format!("{}/16, {}/64", lab.right.inner, lab.right.inner6);
    let swanctl = connection("carol", "moon", &addresses, &vips, "dynamic", &nets);
    Files { swanctl, ..Files::default() }
}

/// The gateway's files; with pools of each family.
fn gateway(lab: &Lab) -> Files {
    let addresses = format!("local_addrs = {}", lab.right.addr);
    let nets = format!("{}/16, {}/64", lab.right.inner, lab.right.inner6);
    let mut swanctl = connection("moon", "carol", &addresses, "pools = rw4, rw6", &nets, "dynamic");
    swanctl += "pools {\n rw4 {\n addrs = 10.77.0.0/28\n dns = 10.2.0.53\n 25 = example.org\n }\n rw6 {\n addrs = fd77::/120\n }\n}\n";
    Files { swanctl, charon: "dns1 = 10.2.0.54".into(), ..Files::default() }
}

struct Scenario {
    lab: Lab,
    carol: Daemon,
    moon: Daemon,
}

impl Scenario {
    fn load(lab: Lab, makes: (Make, Make), vips: &str) -> Result<Self> {
        let carol = Daemon::start(&lab, &lab.left, makes.0, &client(&lab, vips))?;
        let moon = Daemon::start(&lab, &lab.right, makes.1, &gateway(&lab))?;
        for daemon in [&carol, &moon] {
            let said = daemon.swanctl(&["--load-all"])?;
            assert!(said.contains("loaded connection 'rw'"), "{said}");
        }
        let pools = moon.swanctl(&["--list-pools"])?;
        assert!(pools.contains("rw4") && pools.contains("0 / 0 / 14") && pools.contains("0 / 0 / 254"), "{pools}");
        Ok(Self { lab, carol, moon })
    }

    fn up(&self) -> Result<()> {
        let said = self.carol.swanctl(&["--initiate", "--child", "net"])?;
        assert!(said.contains("initiate completed successfully"), "{said}");
        Ok(())
    }

    /// Usage of the pools as listed: online, offline.
    fn leases(&self) -> Result<Vec<(String, String)>> {
        let listed = self.moon.swanctl(&["--list-pools", "--leases", "--raw"])?;
        let count = |pool: &str, key: &str| {
            let value = pool.split_once(key).and_then(|(_, rest)| rest.split([' ', '}']).next());
            value.unwrap_or_default().to_owned()
        };
        Ok(listed.split("base=").skip(1).map(|pool| (count(pool, "online="), count(pool, "offline="))).collect())
    }

    fn expect_leases(&self, online: &str, offline: &str) -> Result<()> {
        wait_for(&format!("{online} lease online, {offline} offline in each pool"), 5, || {
            Ok(self.leases()?.iter().all(|lease| *lease == (online.to_owned(), offline.to_owned())))
        })
    }

    fn carries_traffic(&self) -> Result<()> {
        let (left, right) = (&self.lab.left, &self.lab.right);
        for (vip, inner) in [(VIP, right.inner), (VIP6, right.inner6)] {
            let vip: IpAddr = vip.parse()?;
            assert_eq!(ping(left, vip, inner, 3)?, 3, "from {vip} to {inner}");
            assert_eq!(ping(right, inner, vip, 3)?, 3, "from {inner} to {vip}");
            tcp_transfer((left, vip), (right, inner), 1_000_000)?;
        }
        Ok(())
    }
}

fn addresses(host: &Host) -> Result<String> {
    host.run(&["ip", "-o", "addr"])
}

/// Everything that a client sees: up, traffic, rekeying under traffic, reauthentication, down, the same address again.
fn life(lab: Lab, makes: (Make, Make)) -> Result<()> {
    let scenario = Scenario::load(lab, makes, "0.0.0.0, ::")?;
    scenario.up()?;
    scenario.carries_traffic()?;
    let (carol, moon) = (&scenario.carol, &scenario.moon);
    assert!(carol.swanctl(&["--list-sas"])?.contains(&format!("[{VIP} {VIP6}]")), "local virtual IPs are listed");
    assert!(moon.swanctl(&["--list-sas"])?.contains(&format!("[{VIP} {VIP6}]")), "remote virtual IPs are listed");
    scenario.expect_leases("1", "0")?;
    let leases = moon.swanctl(&["--list-pools", "--leases"])?;
    assert!(leases.contains(VIP) && leases.contains("online   'carol'"), "{leases}");
    for arguments in [&["--list-pools", "--leases"][..], &["--list-pools", "--name", "rw6", "--raw"]] {
        let print = |tool| moon.swanctl_of(tool, arguments)?.ok();
        assert_eq!(print(Ours)?, print(StrongSwan)?, "either swanctl prints the same");
    }
    for server in ["10.2.0.53", "10.2.0.54"] {
        wait_for("DNS servers in resolv.conf", 5, || {
            Ok(carol.resolv_conf().contains(&format!("nameserver {server} ")))
        })?;
    }

    let (left, right) = (&scenario.lab.left, &scenario.lab.right);
    let stream = Stream::start((left, VIP.parse()?), (right, right.inner))?;
    for daemon in [carol, moon] {
        for what in [["--rekey", "--child", "net"], ["--rekey", "--ike", "rw"]] {
            daemon.swanctl(&what)?;
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
    }
    let balance = stream.finish()?;
    assert_eq!(balance.sent, balance.received, "datagrams were lost while rekeying");
    scenario.carries_traffic()?;
    scenario.expect_leases("1", "0")?;

    let said = carol.swanctl(&["--terminate", "--ike", "rw"])?;
    assert!(said.contains("terminate completed successfully"), "{said}");
    scenario.expect_leases("0", "1")?;
    wait_for("the virtual IP gone", 5, || Ok(!addresses(left)?.contains(VIP)))?;
    wait_for("the DNS servers gone", 5, || Ok(!carol.resolv_conf().contains("nameserver")))?;

    scenario.up()?;
    scenario.carries_traffic()?;
    moon.swanctl(&["--terminate", "--ike", "rw"])?;
    scenario.expect_leases("0", "1")
}

/// The client authenticates again under traffic and keeps its addresses.
fn reauthentication(makes: (Make, Make)) -> Result<()> {
    let mut scenario = Scenario::load(Lab::direct("rw-reauth")?, makes, "0.0.0.0, ::")?;
    scenario.up()?;
    let before = scenario.carol.swanctl(&["--list-sas"])?;
    scenario.carol.swanctl(&["--rekey", "--ike", "rw", "--reauth"])?;
    wait_for("another IKE_SA", 10, || {
        let now = scenario.carol.swanctl(&["--list-sas"])?;
        Ok(now.matches("ESTABLISHED").count() == 1 && now.lines().next() != before.lines().next())
    })?;
    scenario.carries_traffic()?;
    scenario.expect_leases("1", "0")?;

    // a daemon that ends leaves nothing behind
    wait_for("DNS servers", 5, || Ok(scenario.carol.resolv_conf().contains("nameserver")))?;
    scenario.carol.stop()?;
    assert!(!addresses(&scenario.lab.left)?.contains(VIP) && !scenario.carol.resolv_conf().contains("nameserver"));
    scenario.expect_leases("0", "1")
}

/// A client that lost its memory gets its address again, although the gateway believes it still has it.
fn reboot(makes: (Make, Make)) -> Result<()> {
    const VIPS: &str = "0.0.0.0, ::";
    let mut scenario = Scenario::load(Lab::direct("rw-reboot")?, makes, VIPS)?;
    scenario.up()?;
    scenario.carol.kill()?;
    scenario.carol = Daemon::start(&scenario.lab, &scenario.lab.left, makes.0, &client(&scenario.lab, VIPS))?;
    scenario.carol.swanctl(&["--load-all"])?;
    scenario.up()?;
    wait_for("the old IKE_SA gone", 5, || {
        Ok(scenario.moon.swanctl(&["--list-sas"])?.matches("ESTABLISHED").count() == 1)
    })?;
    scenario.carries_traffic()?;
    scenario.expect_leases("1", "0")
}

/// Who does not ask where it is required gets an IKE_SA and nothing else.
fn not_asking(makes: (Make, Make)) -> Result<()> {
    let scenario = Scenario::load(Lab::direct("rw-not")?, makes, "")?;
    let said = scenario.carol.swanctl_of(scenario.carol.make, &["--initiate", "--child", "net"])?;
    assert_ne!(said.code, 0, "{said:?}");
    assert!(scenario.carol.logged("received FAILED_CP_REQUIRED notify, no CHILD_SA built"), "client");
    assert!(scenario.moon.logged("expected a virtual IP request, sending FAILED_CP_REQUIRED"), "gateway");
    assert!(!scenario.moon.swanctl(&["--list-sas"])?.contains("INSTALLED"));
    scenario.expect_leases("0", "0")
}

/// A gateway that has nothing left says so.
fn nothing_left(makes: (Make, Make)) -> Result<()> {
    let lab = Lab::direct("rw-full")?;
    let scenario = Scenario::load(lab, makes, "0.0.0.0, ::")?;
    for pool in ["rw4", "rw6"] {
        scenario.moon.vici()?.command("unload-pool", &vici::Message::new().with("name", pool))?;
    }
    let said = scenario.carol.swanctl_of(scenario.carol.make, &["--initiate", "--child", "net"])?;
    assert_ne!(said.code, 0, "{said:?}");
    assert!(scenario.carol.logged("received INTERNAL_ADDRESS_FAILURE notify, no CHILD_SA built"), "client");
    assert!(!addresses(&scenario.lab.left)?.contains(VIP));
    Ok(())
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
    ours_to_ours: life(Lab::direct("rw")?, (Ours, Ours));
    ours_to_strongswan: life(Lab::direct("rw")?, (Ours, StrongSwan));
    strongswan_to_ours: life(Lab::direct("rw")?, (StrongSwan, Ours));
    nat_ours_to_ours: life(Lab::behind_nat("rw-nat")?, (Ours, Ours));
    nat_ours_to_strongswan: life(Lab::behind_nat("rw-nat")?, (Ours, StrongSwan));
    nat_strongswan_to_ours: life(Lab::behind_nat("rw-nat")?, (StrongSwan, Ours));

    reauthentication_ours_to_ours: reauthentication((Ours, Ours));
    reauthentication_ours_to_strongswan: reauthentication((Ours, StrongSwan));
    reauthentication_strongswan_to_ours: reauthentication((StrongSwan, Ours));

    kernel_ours_to_ours: on_esp_kernel("kernel_ours_to_ours", || life(Lab::direct("rw")?, (Ours, Ours)));
    kernel_ours_to_strongswan: on_esp_kernel("kernel_ours_to_strongswan", || life(Lab::direct("rw")?, (Ours, StrongSwan)));
    kernel_strongswan_to_ours: on_esp_kernel("kernel_strongswan_to_ours", || life(Lab::direct("rw")?, (StrongSwan, Ours)));

    reboot_ours_to_ours: reboot((Ours, Ours));
    reboot_strongswan_to_ours: reboot((StrongSwan, Ours));

    not_asking_ours_to_strongswan: not_asking((Ours, StrongSwan));
    not_asking_strongswan_to_ours: not_asking((StrongSwan, Ours));
    nothing_left_ours_to_strongswan: nothing_left((Ours, StrongSwan));
    nothing_left_strongswan_to_ours: nothing_left((StrongSwan, Ours));
}
