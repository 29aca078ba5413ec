//! What happens with each option, as one table: `conf.d/OPTIONS.md`, written from the table of options.

use std::fmt::Write as _;

use super::files::File;
use super::tree::Registry;
use super::values::Kind;
use super::{Effect, OptionSpec, strongswan_conf, swanctl_conf};

const HEAD: &str = "\
# What happens with every option

Written from the table of options by `cargo run -p strongswan --example default-config -- conf.d`.

* *effective*: it does what the files beside this one say it does. A test finds the place where each such option of the
  daemon is read.
* *no effect*: it is accepted, and the reason given here is said when it is loaded, unless it asks for what happens anyway.
* *other program*: the daemon does not look at it.

Everything else is refused, with file, line and column: by `swanctl` before its first request, by the daemon in its answer to
`load-conn`; in strongswan.conf, which is there before anybody could be told, by a line in the log. So are values that cannot be
used, and values of `swanctl.conf` that ask for what there is not: `charon/src/config/unsupported.rs` has those, with reasons.
";

/// The table.
pub fn reference() -> File {
    let mut text = HEAD.to_owned();
    for (title, registry) in [("strongswan.conf", strongswan_conf()), ("swanctl.conf", swanctl_conf())] {
        // writing to a string cannot fail
        let _ = write!(text, "\n## {title}\n\n| option | default | |\n|---|---|---|\n");
        rows(registry, &mut text);
    }
    File { path: "OPTIONS.md".to_owned(), text }
}

fn rows(registry: &Registry, text: &mut String) {
    let options = registry.options().filter(|(_, option)| option.kind != Kind::Section);
    let mut rows: Vec<_> = options.map(|(prefix, option)| row(prefix, option)).collect();
    rows.sort();
    text.extend(rows);
}

fn row(prefix: &str, option: &OptionSpec) -> String {
    let path = if prefix.is_empty() { option.name.to_owned() } else { format!("{prefix}.{}", option.name) };
    let default = if option.default.is_empty() { String::new() } else { format!("`{}`", option.default) };
    let effect = match option.effect {
        Effect::Live => "effective".to_owned(),
        Effect::None(reason) => format!("no effect: {reason}"),
        Effect::Foreign => "other program".to_owned(),
    };
    format!("| `{path}` | {} | {effect} |\n", default.replace('|', "\\|"))
}
