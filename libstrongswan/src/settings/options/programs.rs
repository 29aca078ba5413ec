//! Sections of other programs that share the file.

use super::values::Kind;
use super::{Group, OptionSpec, foreign, other, text};

pub(super) const GROUPS: &[Group] = &[
    Group { prefix: "swanctl", file: "strongswan.d/swanctl.conf", options: SWANCTL },
    Group { prefix: "", file: "", options: OTHERS },
];

const SWANCTL: &[OptionSpec] = &[
    other("load", Kind::Words, "", "Plugins of swanctl.").inert("everything is built in"),
    text("socket", "unix:///var/run/charon.vici", "Address of the daemon's control socket, if not given by --uri."),
    text("plugins.vici.socket", "", "The same where older versions look for it."),
];

const OTHERS: &[OptionSpec] = &[
    foreign("pki.**", "Tool for keys and certificates."),
    foreign("pool.**", "Tool for pools in a database."),
    foreign("scepclient.**", "Enrolment tool."),
    foreign("starter.**", "Starter of the older configuration."),
    foreign("charon-cmd.**", "Client on the command line."),
    foreign("charon-nm.**", "Back end of NetworkManager."),
    foreign("charon-systemd.**", "Daemon under systemd."),
    foreign("charon-svc.**", "Daemon under Windows."),
    foreign("manager.**", "Web front end."),
    foreign("medsrv.**", "Mediation server."),
    foreign("medcli.**", "Mediation client."),
    foreign("aikgen.**", "Tool for attestation keys."),
    foreign("attest.**", "Attestation tool."),
    foreign("conftest.**", "Conformance tests."),
    foreign("imv_policy_manager.**", "Integrity measurement."),
    foreign("sec-updater.**", "Integrity measurement."),
    foreign("sw-collector.**", "Integrity measurement."),
    foreign("libimcv.**", "Integrity measurement."),
    foreign("libtnccs.**", "Trusted Network Connect."),
    foreign("libhydra.**", "Options of older versions."),
    foreign("libipsec.**", "Options of older versions."),
];
