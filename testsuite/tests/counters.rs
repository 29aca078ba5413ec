//! Counters, and policies installed by hand: the same commands to each daemon, by each `swanctl`, and what they print.

use testsuite::config::{Auth, Connection, pair};
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::Lab;
use testsuite::{Result, wait_for};

use Make::{Ours, StrongSwan};

/// A client of strongSwan's and a gateway; what the gateway's own tools say in the end.
fn counted(gateway: Make, tool: Make) -> Result<Vec<String>> {
    let lab = Lab::direct("counters")?;
    let connection = Connection::new(Auth::Psk)
        .with("proposals = aes128-sha256-x25519")
        .with("mobike = no")
        .with_child("esp_proposals = aes128gcm16");
    let (client, server) = pair(&lab, &connection)?;
    let client = Daemon::start(&lab, &lab.left, StrongSwan, &client)?;
    let gateway = Daemon::start(&lab, &lab.right, gateway, &server)?;
    for daemon in [&client, &gateway] {
        daemon.swanctl(&["--load-all"])?;
    }
    let mut said = Vec::new();
    let mut ask = |args: &[&str]| -> Result<()> {
        let run = gateway.swanctl_of(tool, args)?;
        // after an error strongSwan prints how to use the command, each its own
        let error = run.stderr.lines().next().unwrap_or_default().to_owned();
        said.push(format!("{args:?}: {}\n{}{error}", run.code, run.stdout));
        Ok(())
    };
    ask(&["--counters"])?;
    ask(&["--counters", "--name", "gw"])?;
    let up = |count: usize| {
        wait_for("an IKE_SA with a CHILD_SA", 10, || {
            let listed = gateway.swanctl(&["--list-sas"])?;
            Ok(listed.matches("ESTABLISHED").count() == count && listed.matches("INSTALLED").count() == count)
        })
    };
    client.swanctl(&["--initiate", "--child", "net"])?;
    client.swanctl(&["--rekey", "--child", "net"])?;
    wait_for("the CHILD_SA's rekeying", 10, || Ok(client.logged("outbound CHILD_SA net{2} established")))?;
    client.swanctl(&["--rekey", "--ike", "gw"])?;
    wait_for("the IKE_SA's rekeying", 10, || Ok(client.logged("IKE_SA gw[2] rekeyed between")))?;
    gateway.swanctl(&["--rekey", "--ike", "gw"])?;
    wait_for("the gateway's rekeying", 10, || Ok(client.logged("IKE_SA gw[3] rekeyed between")))?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    up(1)?;
    for args in [
        &["--counters"][..],
        &["--counters", "--all"],
        &["--counters", "--name", "gw"],
        &["--counters", "--raw"],
        &["--counters", "--pretty", "--all"],
        &["--counters", "--name", "other"],
        &["--counters", "--reset", "--name", "gw"],
        &["--counters", "--all"],
        &["--counters", "--reset"],
        &["--counters"],
        &["--counters", "--reset", "--all", "--raw"],
        &["--uninstall", "--child", "net"],
        &["--install", "--child", "net"],
        &["--install", "--child", "net", "--ike", "gw"],
        &["--uninstall", "--child", "net", "--ike", "other"],
        &["--uninstall", "--child", "net"],
        &["--install", "--child", "other"],
        &["--install"],
    ] {
        ask(args)?;
    }
    Ok(said)
}

#[test]
fn all_daemons_and_tools_count_and_say_the_same() -> Result<()> {
    let theirs = counted(StrongSwan, StrongSwan)?;
    for (gateway, tool) in [(Ours, StrongSwan), (Ours, Ours), (StrongSwan, Ours)] {
        let ours = counted(gateway, tool)?;
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{tool:?} about {gateway:?}");
        }
    }
    Ok(())
}
