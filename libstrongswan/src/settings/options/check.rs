//! Looks for what a configuration says that nobody will read, or cannot be read.

use std::collections::HashSet;
use std::fmt;

use super::Effect;
use super::suggest::nearest;
use super::tree::{Node, Registry};
use super::values::Kind;
use crate::settings::{Entry, Origin, Settings, View, parse_bool};

/// Findings that are reported of one configuration; the rest repeats them.
const MAX_FINDINGS: usize = 200;

/// What is wrong in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where it stands.
    pub origin: Origin,
    /// Path of the key or section.
    pub path: String,
    /// What it is.
    pub problem: Problem,
    /// Whether loading this would fail or lose something; otherwise it is ignored, as it always was.
    pub error: bool,
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// No option has this name.
    UnknownKey {
        /// The nearest that there is.
        suggestion: Option<String>,
    },
    /// No section has this name.
    UnknownSection {
        /// The nearest that there is.
        suggestion: Option<String>,
    },
    /// A section is written as a key or the other way round.
    WrongForm {
        /// How it is written.
        form: String,
    },
    /// The value is not of the option's type.
    InvalidValue {
        /// The value; empty where it may be secret.
        value: String,
        /// What would be accepted.
        expected: String,
    },
    /// The option is known and does nothing.
    NoEffect {
        /// Why.
        reason: &'static str,
    },
}

impl Finding {
    /// What is wrong, without the place.
    pub fn problem_text(&self) -> String {
        let Self { path, problem, .. } = self;
        let suggest = |suggestion: &Option<String>| {
            suggestion.as_ref().map(|suggestion| format!(", did you mean '{suggestion}'?")).unwrap_or_default()
        };
        match problem {
            Problem::UnknownKey { suggestion } => format!("unknown option '{path}'{}", suggest(suggestion)),
            Problem::UnknownSection { suggestion } => format!("unknown section '{path}'{}", suggest(suggestion)),
            Problem::WrongForm { form } => format!("'{path}' has to be written {form}"),
            Problem::InvalidValue { value, expected } => {
                format!("invalid value '{value}' for '{path}', expected {expected}")
            }
            Problem::NoEffect { reason } => format!("'{path}' has no effect: {reason}"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.problem_text())
    }
}

/// Compares `settings` with the options there are. Findings come in the order of the file.
pub fn check(settings: &Settings, registry: &Registry) -> Vec<Finding> {
    let referenced = settings.referenced_sections();
    let mut walk = Walk { findings: Vec::new(), seen: HashSet::new() };
    let root = settings.view("");
    for entry in root.keys() {
        if registry.root.key(entry.name).is_none() {
            let suggestion = nearest(entry.name, registry.root.section_names());
            let problem = match suggestion {
                Some(name) => Problem::WrongForm { form: format!("as a section, '{name} {{ ... }}'") },
                None => Problem::UnknownKey { suggestion: None },
            };
            walk.report(entry.origin, entry.name.to_owned(), problem, false);
        }
    }
    for section in root.sections() {
        let name = section.name().to_owned();
        // Sections that `charon` falls back to hold the same options.
        let node = match name.as_str() {
            "libstrongswan" => registry.root.section("charon"),
            "libtls" => registry.root.section("charon").and_then(|charon| charon.section("tls")),
            _ => registry.root.section(&name),
        };
        match (node, nearest(&name, registry.root.section_names())) {
            (Some(node), _) => walk.section(&section, node),
            // Any other section may be a template, but not if nothing refers to it and it looks like a slip.
            (None, Some(suggestion)) if !referenced.contains(name.as_str()) => {
                let problem = Problem::UnknownSection { suggestion: Some(suggestion.to_owned()) };
                walk.report_section(&section, problem, true);
            }
            (None, _) => (),
        }
    }
    walk.findings.sort_by(|a, b| {
        let key = |finding: &Finding| (finding.origin.file.clone(), finding.origin.line, finding.origin.column);
        key(a).cmp(&key(b))
    });
    walk.findings
}

struct Walk {
    findings: Vec<Finding>,
    /// Places reported already: what several sections inherit is wrong only once.
    seen: HashSet<Origin>,
}

impl Walk {
    fn report(&mut self, origin: &Origin, path: String, problem: Problem, error: bool) {
        if self.findings.len() < MAX_FINDINGS && self.seen.insert(origin.clone()) {
            self.findings.push(Finding { origin: origin.clone(), path, problem, error });
        }
    }

    fn report_section(&mut self, section: &View<'_>, problem: Problem, error: bool) {
        if let Some(origin) = section.origin() {
            self.report(origin, section.path(), problem, error);
        }
    }

    fn section(&mut self, section: &View<'_>, node: &Node) {
        if let Some(rest) = &node.rest
            && let Effect::None(reason) = rest.effect
            && node.key_names().next().is_none()
        {
            if section.keys().iter().any(|entry| entry.name != "load") || !section.sections().is_empty() {
                self.report_section(section, Problem::NoEffect { reason }, false);
            }
            return;
        }
        for entry in section.keys() {
            self.key(section, &entry, node);
        }
        for inner in section.sections() {
            let name = inner.name().to_owned();
            match node.section(&name) {
                Some(next) => self.section(&inner, next),
                None if node.rest.is_some() => (),
                None if node.key(&name).is_some() => {
                    self.report_section(&inner, Problem::WrongForm { form: format!("as a key, '{name} = ...'") }, true);
                }
                None => {
                    let suggestion = nearest(&name, node.section_names()).map(str::to_owned);
                    // A secret of an unknown type was always passed over with a warning.
                    let error = section.path() != "secrets";
                    self.report_section(&inner, Problem::UnknownSection { suggestion }, error);
                }
            }
        }
    }

    fn key(&mut self, section: &View<'_>, entry: &Entry<'_>, node: &Node) {
        let path = || format!("{}.{}", section.path(), entry.name);
        let Some(option) = node.key(entry.name) else {
            let problem = match nearest(entry.name, node.key_names()) {
                None if node.section(entry.name).is_some() => {
                    Problem::WrongForm { form: format!("as a section, '{} {{ ... }}'", entry.name) }
                }
                suggestion => Problem::UnknownKey { suggestion: suggestion.map(str::to_owned) },
            };
            self.report(entry.origin, path(), problem, true);
            return;
        };
        if let Effect::None(reason) = option.effect {
            // Asking for what happens anyway is no mistake.
            let usual = option.default == entry.value
                || parse_bool(option.default).is_some_and(|default| parse_bool(entry.value) == Some(default));
            if usual {
                return;
            }
            self.report(entry.origin, path(), Problem::NoEffect { reason }, false);
            return;
        }
        if let Err(error) = option.kind.check(entry.value) {
            let secret = section.path().starts_with("secrets.") && !matches!(option.kind, Kind::ViciUint { .. });
            let value = if secret { String::new() } else { error.value };
            self.report(entry.value_origin, path(), Problem::InvalidValue { value, expected: error.expected }, true);
        }
    }
}
