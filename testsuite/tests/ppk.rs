//! Post-quantum pre-shared keys (RFC 8784) with each daemon in each role: agreed on, done without, and insisted on.

use testsuite::config::{Auth, Connection, Files, pair};
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::Lab;
use testsuite::pki::KeyKind;
use testsuite::traffic::ping;
use testsuite::{Result, wait_for};

use Make::{Ours, StrongSwan};

/// What a side is configured with.
#[derive(Clone, Copy)]
struct Ppk {
    id: &'static str,
    required: bool,
    /// Owner and value of a PPK.
    secret: Option<(&'static str, &'static str)>,
}

const ID: &str = "ppk@example.org";
const KEY: &str = "0sqhuPoJLQYyoPYV2gvW3MuG3eEmLPVdVUzXVFYNZ8xPQ=";
const OTHER: &str = "0s4YVYv5bqkbM6ff0IVvQK3sSBZSdRZKLRCQGcCg1d4jo=";

const REQUIRED: Ppk = Ppk { id: ID, required: true, secret: Some((ID, KEY)) };
const OPTIONAL: Ppk = Ppk { required: false, ..REQUIRED };
const WITHOUT: Ppk = Ppk { secret: None, ..OPTIONAL };

impl Ppk {
    fn add_to(self, files: &mut Files) {
        let required = if self.required { "yes" } else { "no" };
        let lines = format!(" gw {{\n  ppk_id = {}\n  ppk_required = {required}\n", self.id);
        files.swanctl = files.swanctl.replacen(" gw {\n", &lines, 1);
        if let Some((owner, secret)) = self.secret {
            files.swanctl += &format!("secrets {{\n ppk-1 {{\n  id = {owner}\n  secret = {secret}\n }}\n}}\n");
        }
    }
}

struct Scenario {
    left: Daemon,
    right: Daemon,
    lab: Lab,
}

impl Scenario {
    fn load(makes: (Make, Make), auth: Auth, ppks: (Ppk, Ppk)) -> Result<Self> {
        let lab = Lab::direct("ppk")?;
        let (mut left, mut right) = pair(&lab, &Connection::new(auth))?;
        ppks.0.add_to(&mut left);
        ppks.1.add_to(&mut right);
        let left = Daemon::start(&lab, &lab.left, makes.0, &left)?;
        let right = Daemon::start(&lab, &lab.right, makes.1, &right)?;
        for daemon in [&left, &right] {
            let said = daemon.swanctl(&["--load-all"])?;
            assert!(said.contains("loaded connection 'gw'"), "{said}");
        }
        Ok(Self { left, right, lab })
    }

    /// Up from the left, with the PPK or without, through rekeyings that derive their keys from it.
    fn works(&self, used: bool) -> Result<()> {
        self.left.swanctl(&["--initiate", "--child", "net"])?;
        for rekeyed in [false, true] {
            for daemon in [&self.left, &self.right] {
                wait_for("one IKE_SA", 5, || Ok(daemon.swanctl(&["--list-sas"])?.matches("ESTABLISHED").count() == 1))?;
                let listed = daemon.swanctl(&["--list-sas", "--raw"])?;
                assert_eq!(listed.contains("ppk=yes"), used, "after rekeying: {rekeyed}: {listed}");
                assert_eq!(daemon.swanctl(&["--list-sas"])?.contains("/PPK"), used);
            }
            let (left, right) = (&self.lab.left, &self.lab.right);
            wait_for("the first ping", 5, || Ok(ping(left, left.inner, right.inner, 1)? == 1))?;
            assert_eq!(ping(left, left.inner, right.inner, 3)?, 3);
            self.left.swanctl(&["--rekey", "--ike", "gw"])?;
            wait_for("rekeying", 5, || Ok(self.left.logged("IKE_SA gw[2]")))?;
            self.right.swanctl(&["--rekey", "--child", "net"])?;
        }
        Ok(())
    }

    /// Nothing comes up, and the log of one side says why.
    fn fails(&self, why: &str) -> Result<()> {
        assert!(self.left.swanctl(&["--initiate", "--child", "net", "--timeout", "10"]).is_err());
        let sides = [&self.left, &self.right];
        assert!(sides.iter().any(|side| side.logged(why)), "{why}");
        for side in sides {
            wait_for("no IKE_SA", 5, || Ok(!side.swanctl(&["--list-sas"])?.contains("ESTABLISHED")))?;
            assert!(!side.logged("CHILD_SA net{1} established"), "{:?}", side.make);
        }
        Ok(())
    }
}

macro_rules! scenarios {
    ($($name:ident($($make:ident to $other:ident),*) $auth:expr, $left:expr, $right:expr => $method:ident($expected:expr);)*) => {
        $(#[test]
        fn $name() -> Result<()> {
            $(Scenario::load(($make, $other), $auth, ($left, $right))?.$method($expected)?;)*
            Ok(())
        })*
    };
}

const ECDSA: Auth = Auth::Certificate(KeyKind::EcdsaP256);

scenarios! {
    required(Ours to StrongSwan, StrongSwan to Ours, Ours to Ours) Auth::Psk, REQUIRED, REQUIRED => works(true);
    required_with_certificates(Ours to StrongSwan, StrongSwan to Ours) ECDSA, REQUIRED, REQUIRED => works(true);
    optional(Ours to StrongSwan, StrongSwan to Ours) ECDSA, OPTIONAL, OPTIONAL => works(true);
    the_responder_has_none(Ours to StrongSwan, StrongSwan to Ours) Auth::Psk, OPTIONAL, WITHOUT => works(false);
    the_initiator_has_none(Ours to StrongSwan, StrongSwan to Ours) Auth::Psk, WITHOUT, OPTIONAL => works(false);
    the_responder_has_another(Ours to StrongSwan, StrongSwan to Ours) Auth::Psk, OPTIONAL,
        Ppk { secret: Some(("other@example.org", OTHER)), ..OPTIONAL } => works(false);
    the_responder_has_another_with_certificates(Ours to StrongSwan, StrongSwan to Ours) ECDSA, OPTIONAL,
        Ppk { secret: Some(("other@example.org", OTHER)), ..OPTIONAL } => works(false);
    another_secret(Ours to StrongSwan, StrongSwan to Ours) Auth::Psk, REQUIRED, Ppk { secret: Some((ID, OTHER)), ..REQUIRED }
        => fails("MAC mismatched");
    another_optional_secret(Ours to StrongSwan, StrongSwan to Ours) ECDSA, OPTIONAL,
        Ppk { secret: Some((ID, OTHER)), ..OPTIONAL } => fails("signature validation failed");
    another_id(Ours to StrongSwan, StrongSwan to Ours) Auth::Psk, OPTIONAL, Ppk { id: "other@example.org", ..OPTIONAL }
        => fails("received PPK_ID 'ppk@example.org', but require 'other@example.org'");
    the_initiator_insists(Ours to StrongSwan, StrongSwan to Ours) Auth::Psk, REQUIRED, WITHOUT
        => fails("PPK required but peer does not support PPK");
    the_responder_insists(Ours to StrongSwan, StrongSwan to Ours) Auth::Psk, WITHOUT, REQUIRED
        => fails("PPK required but no PPK_IDENTITY received");
}
