//! The default configuration, written from the table of options.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::tree::Registry;
use super::values::Kind;
use super::{Effect, Group, OptionSpec, strongswan_conf, swanctl_conf};

/// One file of the default configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Path below `conf.d/`.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// Width that descriptions are wrapped to.
const WIDTH: usize = 80;

const STRONGSWAN_CONF: &str = "\
# strongswan.conf - configuration of charon and swanctl
#
# Options are described in the files included here.

charon {
    plugins {
        include strongswan.d/charon/*.conf
    }
}

include strongswan.d/*.conf
";

const SWANCTL_CONF_HEAD: &str = "\
# swanctl.conf - connections, secrets, pools and certification authorities
#
# Everything that can be configured, each with its default. Files in conf.d are
# read after this one.

";

const SWANCTL_CONF_TAIL: &str = "
include conf.d/*.conf
";

/// Every file of the default configuration, by path.
pub fn default_files() -> Vec<File> {
    let mut files = BTreeMap::new();
    files.insert("strongswan.conf", STRONGSWAN_CONF.to_owned());
    for registry in [strongswan_conf(), swanctl_conf()] {
        write_registry(registry, &mut files);
    }
    files
        .into_iter()
        .map(|(path, text)| {
            let text = if path.starts_with("swanctl/") {
                format!("{SWANCTL_CONF_HEAD}{text}{SWANCTL_CONF_TAIL}")
            } else {
                text
            };
            File { path: path.to_owned(), text }
        })
        .collect()
}

/// A tree of sections as they will be written.
#[derive(Default)]
struct Section {
    description: &'static str,
    keys: Vec<(&'static str, &'static OptionSpec)>,
    sections: Vec<(&'static str, Self)>,
}

impl Section {
    fn open(&mut self, name: &'static str) -> &mut Self {
        let position = self.sections.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            self.sections.push((name, Self::default()));
            self.sections.len() - 1
        });
        match self.sections.get_mut(position) {
            Some((_, section)) => section,
            None => unreachable!("a section that was just added is there"),
        }
    }

    fn open_path(&mut self, path: &'static str) -> &mut Self {
        path.split('.').filter(|name| !name.is_empty()).fold(self, Self::open)
    }

    fn add(&mut self, group: &Group, option: &'static OptionSpec) {
        let section = self.open_path(group.prefix);
        if option.kind == Kind::Section {
            section.open_path(option.name).description = option.description;
        } else {
            let (path, key) = option.name.rsplit_once('.').unwrap_or(("", option.name));
            section.open_path(path).keys.push((key, option));
        }
    }
}

fn write_registry(registry: &Registry, files: &mut BTreeMap<&'static str, String>) {
    let mut trees: BTreeMap<&'static str, Section> = BTreeMap::new();
    for group in registry.groups.iter().filter(|group| !group.file.is_empty()) {
        for option in group.options.iter().filter(|option| option.effect == Effect::Live) {
            trees.entry(group.file).or_default().add(group, option);
        }
    }
    for (file, tree) in trees {
        let mut text = String::new();
        // The files of plugins are included where their sections belong.
        let inside = file.starts_with("strongswan.d/charon/");
        let shown: Vec<&(&'static str, Section)> = if inside {
            tree.sections
                .iter()
                .flat_map(|(_, charon)| &charon.sections)
                .flat_map(|(_, plugins)| &plugins.sections)
                .collect()
        } else {
            tree.sections.iter().collect()
        };
        let commented = file.starts_with("swanctl/");
        for (name, section) in shown {
            write_section(&mut text, 0, name, section, commented);
        }
        files.insert(file, text);
    }
}

fn write_section(text: &mut String, depth: usize, name: &str, section: &Section, commented: bool) {
    describe(text, depth, section.description);
    // Sections with a made-up name are examples, and so is what is in them.
    let commented = commented || name.contains(['<', '*']);
    let lead = lead(depth, commented);
    let _ = writeln!(text, "{lead}{name} {{");
    let mut described = "";
    for (key, option) in &section.keys {
        // A row of options of the same kind is described once.
        if option.description != described {
            let _ = writeln!(text);
            describe(text, depth + 1, option.description);
            described = option.description;
        }
        let lead = self::lead(depth + 1, commented || !option.shipped);
        let _ = writeln!(text, "{lead}{key} ={}{}", if option.default.is_empty() { "" } else { " " }, option.default);
    }
    for (name, section) in &section.sections {
        let _ = writeln!(text);
        write_section(text, depth + 1, name, section, commented);
    }
    let _ = writeln!(text, "{lead}}}");
}

fn lead(depth: usize, commented: bool) -> String {
    format!("{}{}", "    ".repeat(depth), if commented { "# " } else { "" })
}

/// A comment, wrapped.
fn describe(text: &mut String, depth: usize, description: &str) {
    let indent = "    ".repeat(depth);
    let mut line = String::new();
    for word in description.split_whitespace() {
        if !line.is_empty() && indent.len() + 3 + line.len() + word.len() > WIDTH {
            let _ = writeln!(text, "{indent}# {line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        let _ = writeln!(text, "{indent}# {line}");
    }
}
