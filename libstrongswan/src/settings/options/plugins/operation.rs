//! Monitoring, testing and the older control plugins.

use crate::settings::options::daemon::MISSING;
use crate::settings::options::values::Kind;
use crate::settings::options::{Group, OptionSpec, bool, other, section};

pub(super) const LOAD_TESTER: Group = Group {
    prefix: "charon.plugins.load-tester",
    file: "strongswan.d/charon/load-tester.conf",
    options: LOAD_TESTER_OPTIONS,
};

const LOAD_TESTER_OPTIONS: &[OptionSpec] = &[
    bool("enable", "no", "Enable the options of this section, none of which is for real traffic."),
    bool("fake_kernel", "no", "Negotiate CHILD_SAs without installing them anywhere."),
    other("**", Kind::Anything, "", "Load generator.").inert(MISSING),
];

pub(super) const OTHERS: Group = Group { prefix: "charon.plugins", file: "", options: OTHER_OPTIONS };

const fn absent(name: &'static str, description: &'static str) -> OptionSpec {
    other(name, Kind::Anything, "", description).inert(MISSING)
}

const OTHER_OPTIONS: &[OptionSpec] = &[
    absent("certexpire.**", "Lists of certificates about to expire."),
    absent("duplicheck.**", "Notices of duplicate logins."),
    absent("error-notify.**", "Notices of errors."),
    absent("ha.**", "High availability."),
    absent("led.**", "A light that shows activity."),
    absent("lookip.**", "Notices of virtual IP addresses."),
    absent("maemo.**", "Maemo."),
    absent("medcli.**", "Mediation client."),
    absent("medsrv.**", "Mediation server."),
    absent("save-keys.**", "Keys of SAs in files for Wireshark."),
    absent("smp.**", "The first control protocol."),
    absent("stroke.**", "The older control protocol."),
    absent("systime-fix.**", "Certificates while the clock is wrong."),
    absent("uci.**", "Configurations of OpenWrt."),
    absent("whitelist.**", "List of admitted peers."),
    section("eap-tnc.**", "EAP-TNC.").inert("Trusted Network Connect is left out"),
    section("tnc-ifmap.**", "Trusted Network Connect.").inert("Trusted Network Connect is left out"),
    section("tnc-imc.**", "Trusted Network Connect.").inert("Trusted Network Connect is left out"),
    section("tnc-imv.**", "Trusted Network Connect.").inert("Trusted Network Connect is left out"),
    section("tnc-pdp.**", "Trusted Network Connect.").inert("Trusted Network Connect is left out"),
    section("tnc-tnccs.**", "Trusted Network Connect.").inert("Trusted Network Connect is left out"),
    section("tnccs-11.**", "Trusted Network Connect.").inert("Trusted Network Connect is left out"),
    section("tnccs-20.**", "Trusted Network Connect.").inert("Trusted Network Connect is left out"),
    section("tnccs-dynamic.**", "Trusted Network Connect.").inert("Trusted Network Connect is left out"),
    section("imc-*.**", "Integrity measurement.").inert("Trusted Network Connect is left out"),
    section("imv-*.**", "Integrity measurement.").inert("Trusted Network Connect is left out"),
];
