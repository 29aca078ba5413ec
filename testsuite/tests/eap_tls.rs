//! EAP methods on TLS: clients and gateways with certificates, each daemon in each role, with TLS 1.2 and 1.3.

use testsuite::config::{Auth, Connection, Files, pair};
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::Lab;
use testsuite::pki::KeyKind;
use testsuite::traffic::ping;
use testsuite::{Result, wait_for};

use Make::{Ours, StrongSwan};

/// A scenario under construction.
#[derive(Clone, Copy)]
struct Case {
    method: &'static str,
    kind: KeyKind,
    /// Lines of the client's own section.
    client: &'static str,
    /// Lines about the client in the server's configuration.
    server: &'static str,
    /// Settings of both daemons.
    charon: &'static str,
    /// The server authenticates itself within EAP alone.
    eap_only: bool,
}

const TLS13: &str = "tls { version_min = 1.3\n version_max = 1.3\n }\n";

impl Case {
    fn new(method: &'static str) -> Self {
        Self { method, kind: KeyKind::EcdsaP256, client: "", server: "", charon: "", eap_only: false }
    }

    /// A method on TLS with a password within, that of alice.
    fn tunnel(method: &'static str) -> Self {
        Self { client: "eap_id = alice", server: "eap_id = %any", ..Self::new(method) }
    }

    fn start(&self, makes: (Make, Make)) -> Result<Scenario> {
        let lab = Lab::direct("eaptls")?;
        let (mut left, mut right) = pair(&lab, &Connection::new(Auth::Certificate(self.kind)))?;
        let change = |files: &mut Files, from: &str, to: &str| {
            assert!(files.swanctl.contains(from), "{}", files.swanctl);
            files.swanctl = files.swanctl.replacen(from, to, 1);
        };
        let method = self.method;
        change(&mut left, "auth = pubkey", &format!("auth = {method}\n    {}", self.client));
        change(&mut right, "auth = pubkey\n    cacerts = ca.pem", &format!("auth = {method}\n    {}", self.server));
        if self.eap_only {
            change(&mut right, "auth = pubkey", &format!("auth = {method}"));
            change(&mut left, "auth = pubkey\n    cacerts = ca.pem", &format!("auth = {method}"));
        }
        for files in [&mut left, &mut right] {
            files.charon += self.charon;
            files.swanctl += "secrets {\n eap-alice {\n id = alice\n secret = \"correct horse\"\n }\n \
                eap-left {\n id = left.example.org\n secret = \"battery staple\"\n }\n}\n";
        }
        let left = Daemon::start(&lab, &lab.left, makes.0, &left)?;
        let right = Daemon::start(&lab, &lab.right, makes.1, &right)?;
        for daemon in [&left, &right] {
            let said = daemon.swanctl(&["--load-all"])?;
            assert!(said.contains("loaded connection 'gw'"), "{said}");
        }
        Ok(Scenario { left, right, lab })
    }
}

struct Scenario {
    left: Daemon,
    right: Daemon,
    lab: Lab,
}

impl Scenario {
    fn works(&self, said: &str) -> Result<()> {
        let log = || format!("{}\n{}", self.left.log(), self.right.log());
        self.left.swanctl(&["--initiate", "--child", "net"]).map_err(|e| format!("{e}\n{}", log()))?;
        for daemon in [&self.left, &self.right] {
            wait_for("one IKE_SA", 5, || Ok(daemon.swanctl(&["--list-sas"])?.matches("ESTABLISHED").count() == 1))?;
            assert!(daemon.logged("succeeded, MSK established"), "{}", log());
            assert!(daemon.logged(said), "{said}:\n{}", log());
        }
        let (left, right) = (&self.lab.left, &self.lab.right);
        wait_for("the first ping", 5, || Ok(ping(left, left.inner, right.inner, 1)? == 1))?;
        self.left.swanctl(&["--rekey", "--ike", "gw", "--reauth"])?;
        wait_for("reauthentication", 10, || Ok(self.left.logged("IKE_SA gw[2]")))?;
        wait_for("one IKE_SA", 10, || Ok(self.right.swanctl(&["--list-sas"])?.matches("ESTABLISHED").count() == 1))?;
        wait_for("the first ping", 5, || Ok(ping(left, left.inner, right.inner, 1)? == 1))
    }

    /// Nothing comes up, and the log of one side says why.
    fn fails(&self, why: &str) -> Result<()> {
        assert!(self.left.swanctl(&["--initiate", "--child", "net", "--timeout", "15"]).is_err());
        let sides = [&self.left, &self.right];
        let log = || format!("{}\n{}", self.left.log(), self.right.log());
        assert!(sides.iter().any(|side| side.logged(why)), "{why}:\n{}", log());
        for side in sides {
            wait_for("no IKE_SA", 5, || Ok(!side.swanctl(&["--list-sas"])?.contains("ESTABLISHED")))?;
            assert!(!side.logged("CHILD_SA net{1} established"), "{:?}", side.make);
        }
        Ok(())
    }
}

macro_rules! scenarios {
    ($($name:ident($($make:ident to $other:ident),*) $case:expr => $method:ident $expected:tt;)*) => {
        $(#[test]
        fn $name() -> Result<()> {
            $($case.start(($make, $other))?.$method $expected?;)*
            Ok(())
        })*
    };
}

scenarios! {
    tls_client(Ours to StrongSwan) Case::new("eap-tls") => works("TLS 1.2");
    tls_server(StrongSwan to Ours) Case::new("eap-tls") => works("TLS 1.2");
    tls_rsa(Ours to StrongSwan, StrongSwan to Ours)
        Case { kind: KeyKind::Rsa2048, ..Case::new("eap-tls") } => works("TLS 1.2");
    // strongSwan 5.9.8 has the TLS 1.3 of a draft: another key, no commitment, which crashes it as a client
    tls13_ours(Ours to Ours) Case { charon: TLS13, ..Case::new("eap-tls") } => works("TLS 1.3");
    tls_small_fragments(Ours to StrongSwan, StrongSwan to Ours)
        Case { charon: "plugins { eap-tls { fragment_size = 256\n } }\n", ..Case::new("eap-tls") } => works("TLS 1.2");
    tls_alone(Ours to StrongSwan, StrongSwan to Ours, Ours to Ours)
        Case { eap_only: true, ..Case::new("eap-tls") } => works("TLS 1.2");
    tls13_alone(Ours to Ours)
        Case { eap_only: true, charon: TLS13, ..Case::new("eap-tls") } => works("TLS 1.3");
    another_aaa_server(Ours to StrongSwan, StrongSwan to Ours)
        Case { client: "aaa_id = aaa.example.org", ..Case::new("eap-tls") }
        => fails("server certificate does not match to 'aaa.example.org'");
    another_client(Ours to StrongSwan, StrongSwan to Ours)
        Case { client: "eap_id = alice", server: "eap_id = %any", ..Case::new("eap-tls") } => fails("alice");
    ttls_client(Ours to StrongSwan) Case::tunnel("eap-ttls") => works("EAP_TTLS");
    ttls_server(StrongSwan to Ours) Case::tunnel("eap-ttls") => works("EAP_TTLS");
    ttls_mschapv2(Ours to StrongSwan, StrongSwan to Ours, Ours to Ours)
        Case { charon: "plugins { eap-ttls { phase2_method = mschapv2\n } }\n", ..Case::tunnel("eap-ttls") }
        => works("EAP_TTLS");
    ttls_piggyback(Ours to StrongSwan, StrongSwan to Ours)
        Case { charon: "plugins { eap-ttls { phase2_piggyback = yes\n } }\n", ..Case::tunnel("eap-ttls") }
        => works("EAP_TTLS");
    ttls_alone(Ours to StrongSwan, StrongSwan to Ours)
        Case { eap_only: true, ..Case::tunnel("eap-ttls") } => works("EAP_TTLS");
    ttls13(Ours to Ours)
        Case { charon: TLS13, ..Case::tunnel("eap-ttls") } => works("TLS 1.3");
    // strongSwan's server takes the certificate for enough, ours wants the method within as well
    ttls_with_client_certificate(StrongSwan to Ours) Case {
        client: "",
        server: "",
        charon: "plugins { eap-ttls { request_peer_auth = yes\n } }\n",
        ..Case::new("eap-ttls")
    } => works("EAP_TTLS");
    ttls_for_another_aaa_server(Ours to StrongSwan, StrongSwan to Ours)
        Case { client: "eap_id = alice\naaa_id = aaa.example.org", ..Case::tunnel("eap-ttls") }
        => fails("server certificate does not match to 'aaa.example.org'");
    // Debian has no EAP-PEAP
    peap_ours(Ours to Ours) Case::tunnel("eap-peap") => works("EAP_PEAP");
}
