//! EAP: a client with a password and a gateway with a certificate, each daemon in each role, for every method there is.

use testsuite::config::{Auth, Connection, Files, pair};
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::Lab;
use testsuite::pki::KeyKind;
use testsuite::traffic::ping;
use testsuite::{Result, wait_for};

use Make::{Ours, StrongSwan};

/// A scenario under construction.
struct Case {
    client: &'static str,
    server: &'static str,
    /// What the gateway wants the client to be called.
    eap_id: &'static str,
    /// Secrets of either side.
    client_secret: &'static str,
    server_secret: &'static str,
    /// Further lines for the connection of both sides.
    extra: &'static str,
}

const PASSWORD: &str = "eap-alice {\n id = alice\n secret = \"correct horse\"\n }";
const WRONG: &str = "eap-alice {\n id = alice\n secret = \"battery staple\"\n }";
/// The NT hash of the password.
const HASH: &str = "ntlm-alice {\n id = alice\n secret = 0xcfc43211ba8dc470832267827cac1407\n }";

impl Case {
    fn new(method: &'static str) -> Self {
        Self {
            client: method,
            server: method,
            eap_id: "%any",
            client_secret: PASSWORD,
            server_secret: PASSWORD,
            extra: "",
        }
    }

    fn start(&self, makes: (Make, Make)) -> Result<Scenario> {
        let lab = Lab::direct("eap")?;
        let (mut left, mut right) =
            pair(&lab, &Connection::new(Auth::Certificate(KeyKind::EcdsaP256)).with(self.extra))?;
        let change = |files: &mut Files, from: &str, to: String, secret: &str| {
            assert!(files.swanctl.contains(from), "{}", files.swanctl);
            files.swanctl = files.swanctl.replacen(from, &to, 1);
            files.swanctl +=
                &format!("secrets {{\n {secret}\n ppk-1 {{\n id = ppk@example.org\n secret = 0x0102030405\n }}\n}}\n");
            files.charon += "plugins { eap-gtc { backend = generic\n } }\n";
        };
        let client = format!("auth = {}\n    eap_id = alice", self.client);
        change(&mut left, "auth = pubkey\n    certs = left.pem", client, self.client_secret);
        let server = format!("auth = {}\n    eap_id = {}", self.server, self.eap_id);
        change(&mut right, "auth = pubkey\n    cacerts = ca.pem", server, self.server_secret);
        // the client has a certificate, which must not be of any use
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
    fn works(&self) -> Result<()> {
        self.left
            .swanctl(&["--initiate", "--child", "net"])
            .map_err(|e| format!("{e}\n{}\n{}", self.left.log(), self.right.log()))?;
        for daemon in [&self.left, &self.right] {
            wait_for("one IKE_SA", 5, || Ok(daemon.swanctl(&["--list-sas"])?.matches("ESTABLISHED").count() == 1))?;
        }
        let listed = self.right.swanctl(&["--list-sas"])?;
        assert!(listed.contains("EAP: 'alice'"), "{listed}");
        let listed = self.right.swanctl(&["--list-sas", "--raw"])?;
        assert!(listed.contains("remote-eap-id=alice"), "{listed}");
        let (left, right) = (&self.lab.left, &self.lab.right);
        wait_for("the first ping", 5, || Ok(ping(left, left.inner, right.inner, 1)? == 1))?;
        assert_eq!(ping(left, left.inner, right.inner, 3)?, 3);
        self.right.swanctl(&["--rekey", "--ike", "gw"])?;
        wait_for("rekeying", 5, || Ok(self.right.logged("IKE_SA gw[2]")))?;
        let listed = self.right.swanctl(&["--list-sas"])?;
        assert!(listed.contains("EAP: 'alice'"), "after rekeying: {listed}");
        // reauthentication by whoever can
        self.left.swanctl(&["--rekey", "--ike", "gw", "--reauth"])?;
        wait_for("reauthentication", 10, || Ok(self.left.logged("IKE_SA gw[3]")))?;
        wait_for("one IKE_SA", 10, || Ok(self.right.swanctl(&["--list-sas"])?.matches("ESTABLISHED").count() == 1))?;
        assert_eq!(ping(left, left.inner, right.inner, 3)?, 3);
        Ok(())
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
    md5_client(Ours to StrongSwan) Case::new("eap-md5") => works();
    md5_server(StrongSwan to Ours) Case::new("eap-md5") => works();
    mschapv2_client(Ours to StrongSwan) Case::new("eap-mschapv2") => works();
    mschapv2_server(StrongSwan to Ours) Case::new("eap-mschapv2") => works();
    mschapv2_ours(Ours to Ours) Case::new("eap-mschapv2") => works();
    gtc_client(Ours to StrongSwan) Case::new("eap-gtc") => works();
    gtc_server(StrongSwan to Ours) Case::new("eap-gtc") => works();
    dynamic_server(StrongSwan to Ours) Case { server: "eap-dynamic", ..Case::new("eap-md5") } => works();
    any_client(Ours to StrongSwan) Case { client: "eap", ..Case::new("eap-mschapv2") } => works();
    nt_hashes(Ours to StrongSwan, StrongSwan to Ours)
        Case { client_secret: HASH, server_secret: HASH, ..Case::new("eap-mschapv2") } => works();
    ppk(Ours to StrongSwan, StrongSwan to Ours)
        Case { extra: "ppk_id = ppk@example.org\nppk_required = yes", ..Case::new("eap-mschapv2") } => works();
    ppk_without_key(Ours to StrongSwan, StrongSwan to Ours)
        Case { extra: "ppk_id = ppk@example.org\nppk_required = yes", ..Case::new("eap-md5") } => works();
    wrong_md5(Ours to StrongSwan, StrongSwan to Ours)
        Case { client_secret: WRONG, ..Case::new("eap-md5") } => fails("received EAP_FAILURE, EAP authentication failed");
    wrong_mschapv2(Ours to StrongSwan, StrongSwan to Ours)
        Case { client_secret: WRONG, ..Case::new("eap-mschapv2") } => fails("ERROR_AUTHENTICATION_FAILURE");
    wrong_gtc(Ours to StrongSwan, StrongSwan to Ours)
        Case { client_secret: WRONG, ..Case::new("eap-gtc") } => fails("received EAP_FAILURE, EAP authentication failed");
    // strongSwan 5.9.8 does not ask if it is told whom to expect
    another_name(StrongSwan to Ours)
        Case { eap_id: "bob", ..Case::new("eap-mschapv2") } => fails("received EAP identity 'alice'");
    another_method(Ours to StrongSwan, StrongSwan to Ours)
        Case { client: "eap-md5", ..Case::new("eap-mschapv2") } => fails("requesting EAP_MD5 authentication, sending EAP_NAK");
}
