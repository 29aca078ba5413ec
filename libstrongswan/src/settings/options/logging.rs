//! `charon.filelog`, `charon.syslog`: where log lines go.

use super::daemon::MISSING;
use super::values::Kind;
use super::{Group, OptionSpec, bool, choice, range, section, text};

pub(super) const GROUPS: &[Group] = &[
    Group { prefix: "charon.filelog", file: "strongswan.d/charon-logging.conf", options: FILE },
    Group { prefix: "charon.syslog", file: "strongswan.d/charon-logging.conf", options: SYSLOG },
    Group { prefix: "charon.journal", file: "", options: JOURNAL },
];

const LEVEL: &str = "Level of this group of messages; default if not set.";

/// One option per log group.
macro_rules! levels {
    ($section:literal, [$($group:literal)*], [$($option:expr,)*]) => {
        &[$($option,)* $(level(concat!($section, ".", $group)),)*]
    };
}

const fn level(name: &'static str) -> OptionSpec {
    range(name, -1, 4, "", LEVEL)
}

const FILE: &[OptionSpec] = levels!(
    "<name>",
    ["dmn" "mgr" "ike" "chd" "job" "wch" "cfg" "knl" "net" "asn" "enc" "tnc" "imc" "imv" "pts" "tls" "app" "esp" "lib"],
    [
        section("<name>", "A log file. The section has any name; stdout and stderr are the daemon's own output."),
        text("<name>.path", "", "The file; the name of the section if not set."),
        range("<name>.default", -1, 4, "1", "Level of all groups of messages that have none of their own: -1 nothing, 0 audit, 1 control flow, 2 diagnosis, 3 raw data, 4 also secrets."),
        bool("<name>.append", "yes", "Append to the file instead of starting it anew."),
        bool("<name>.flush_line", "no", "Write out every line at once."),
        bool("<name>.ike_name", "no", "Put name and number of the IKE_SA before the message."),
        bool("<name>.json", "no", "Write each message as a JSON object."),
        bool("<name>.log_level", "no", "Add the level of the message to its group."),
        text("<name>.time_format", "", "Time before each line, in the notation of strftime; none if not set."),
        choice("<name>.time_precision", &["ms", "us"], "", "Fraction of the second to add to the time."),
        bool("<name>.time_add_ms", "no", "Older spelling of time_precision = ms."),
    ]
);

const SYSLOG: &[OptionSpec] = levels!(
    "<facility>",
    ["dmn" "mgr" "ike" "chd" "job" "wch" "cfg" "knl" "net" "asn" "enc" "tnc" "imc" "imv" "pts" "tls" "app" "esp" "lib"],
    [
        text("identifier", "", "Name of the program in the syslog."),
        section("<facility>", "A facility of syslog: daemon or auth."),
        range("<facility>.default", -1, 4, "1", "Level of all groups of messages that have none of their own."),
        bool("<facility>.ike_name", "no", "Put name and number of the IKE_SA before the message."),
        bool("<facility>.log_level", "no", "Add the level of the message to its group."),
        range("<facility>.map_level", -1, 7, "-1", "Priority in the syslog of messages of level 0, raised by one per level; -1 for LOG_INFO throughout."),
    ]
);

const JOURNAL: &[OptionSpec] = &[OptionSpec::new("**", Kind::Anything, "", "The journal of systemd.").inert(MISSING)];
