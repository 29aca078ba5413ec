//! From the daemon's complaint back to the line of the file it is about.

use strongswan::settings::{Origin, View};

/// Beginnings of the daemon's messages; what follows up to a comma or the end is the key or section.
const KEYS: &[&str] =
    &["unknown option: ", "invalid value for: ", "invalid attribute: ", "invalid attribute value for "];
const SECTIONS: &[&str] = &[
    "invalid section: ",
    "handle or file path missing: ",
    "handle and file path given: ",
    "unable to load certificate: ",
];
/// Messages that are about one key without naming it that way.
const FIXED: &[(&str, &str)] =
    &[("invalid addrs value", "addrs"), ("multiple addrs", "addrs"), ("CA certificate missing", "cacert")];

/// Where in `section` what `errmsg` names stands; all places if there are several, the section itself if it is unclear.
pub(super) fn of(section: &View<'_>, errmsg: &str) -> Vec<Origin> {
    let mut found = Vec::new();
    let named = |beginnings: &[&str]| {
        let rest = beginnings.iter().find_map(|beginning| errmsg.strip_prefix(beginning))?;
        Some(rest.split(',').next().unwrap_or(rest).to_owned())
    };
    if let Some(key) = named(KEYS) {
        keys(section, &key, &mut found);
        if found.is_empty() {
            sections(section, &key, &mut found);
        }
    } else if let Some(name) = named(SECTIONS) {
        sections(section, &name, &mut found);
    } else if let Some((_, key)) = FIXED.iter().find(|(beginning, _)| errmsg.starts_with(beginning)) {
        keys(section, key, &mut found);
    }
    if found.is_empty() {
        found.extend(section.origin().cloned());
    }
    found
}

fn keys(section: &View<'_>, key: &str, found: &mut Vec<Origin>) {
    for entry in section.keys().into_iter().filter(|entry| entry.name.eq_ignore_ascii_case(key)) {
        if !found.contains(entry.value_origin) {
            found.push(entry.value_origin.clone());
        }
    }
    for inner in section.sections() {
        keys(&inner, key, found);
    }
}

fn sections(section: &View<'_>, name: &str, found: &mut Vec<Origin>) {
    for inner in section.sections() {
        if inner.name() == name {
            found.extend(inner.origin().cloned());
        }
        sections(&inner, name, found);
    }
}

#[cfg(test)]
mod tests {
    use strongswan::settings::Settings;

    use super::*;

    #[test]
    fn complaints_lead_to_lines() {
        let text = "a {\n proposals = x\n local {\n  auth = y\n  cert1 {\n  }\n }\n children {\n  n {\n   mode = z\n  }\n  m {\n   mode = z\n  }\n }\n}";
        let settings = Settings::parse_bytes("f", text.as_bytes()).unwrap();
        let places = |errmsg: &str| of(&settings.view("a"), errmsg).iter().map(Origin::to_string).collect::<Vec<_>>();
        assert_eq!(places("invalid value for: proposals, config discarded"), ["f:2:14"]);
        assert_eq!(places("unknown option: auth, config discarded"), ["f:4:10"]);
        assert_eq!(places("invalid value for: mode, config discarded"), ["f:10:11", "f:13:11"]);
        assert_eq!(places("unable to load certificate: cert1"), ["f:5:3"]);
        assert_eq!(places("invalid section: n"), ["f:9:3"]);
        assert_eq!(places("something else"), ["f:1:1"]);
        assert_eq!(places("invalid value for: unheard_of, config discarded"), ["f:1:1"]);
    }
}
