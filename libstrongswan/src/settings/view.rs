//! A place in the settings to look things up relative to.

use std::collections::HashSet;
use std::time::Duration;

use super::lookup;
use super::origin::Origin;
use super::tree::{Section, Setting};
use super::{Settings, parse_bool, parse_f64, parse_int, parse_time};

/// One setting that has a value.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its text; bytes that are not UTF-8 are replaced, see [`Entry::bytes`].
    pub value: &'a str,
    /// Its text as it stands in the file.
    pub bytes: &'a [u8],
    /// Where the name stands.
    pub origin: &'a Origin,
    /// Where the value stands.
    pub value_origin: &'a Origin,
}

impl<'a> Entry<'a> {
    pub(super) fn new(setting: &'a Setting) -> Option<Self> {
        let value = setting.value.as_ref()?;
        Some(Self {
            name: &setting.name,
            value: &value.text,
            bytes: value.bytes(),
            origin: &setting.origin,
            value_origin: &setting.value_origin,
        })
    }
}

/// A section, with everything it inherits, by its path. Lookups in it see what outer sections inherit, too.
#[derive(Debug, Clone)]
pub struct View<'a> {
    settings: &'a Settings,
    path: Vec<String>,
}

impl<'a> View<'a> {
    pub(super) fn new(settings: &'a Settings, path: Vec<String>) -> Self {
        Self { settings, path }
    }

    /// The last component of the path; empty for the whole file.
    pub fn name(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    /// The path, dotted.
    pub fn path(&self) -> String {
        self.path.join(".")
    }

    /// The sub-section `path`. It need not exist.
    pub fn view(&self, path: &str) -> Self {
        let mut full = self.path.clone();
        full.extend(lookup::components(path).into_iter().map(str::to_owned));
        Self { settings: self.settings, path: full }
    }

    fn full<'s>(&'s self, path: &'s str) -> Vec<&'s str> {
        self.path.iter().map(String::as_str).chain(lookup::components(path)).collect()
    }

    fn found(&self, path: &str) -> Vec<&'a Section> {
        lookup::sections(&self.settings.root, &self.full(path))
    }

    /// Whether the section is there at all.
    pub fn exists(&self) -> bool {
        !self.found("").is_empty()
    }

    /// Where the section was first opened.
    pub fn origin(&self) -> Option<&'a Origin> {
        self.found("").first().map(|section| &section.origin)
    }

    /// The sub-sections, own ones first, then inherited ones.
    pub fn sections(&self) -> Vec<Self> {
        self.section_names("").into_iter().map(|name| self.view(name)).collect()
    }

    /// The settings that have a value, own ones first, then inherited ones.
    pub fn keys(&self) -> Vec<Entry<'a>> {
        self.entries("")
    }

    pub(super) fn section_names(&self, path: &str) -> Vec<&'a str> {
        let mut seen = HashSet::new();
        let all = self.found(path).into_iter().flat_map(|section| section.sections.iter());
        all.map(|section| &*section.name).filter(|name| seen.insert(*name)).collect()
    }

    pub(super) fn entries(&self, path: &str) -> Vec<Entry<'a>> {
        let mut seen = HashSet::new();
        let all = self.found(path).into_iter().flat_map(|section| section.settings.iter());
        // A null hides what comes later under the same name, so it counts as seen.
        all.filter(|setting| seen.insert(&*setting.name)).filter_map(Entry::new).collect()
    }

    /// The entry at `path`; `None` if it is missing or null.
    pub fn entry(&self, path: &str) -> Option<Entry<'a>> {
        let full = self.full(path);
        let (key, section) = full.split_last()?;
        Entry::new(lookup::setting(&self.settings.root, section, key)?)
    }

    /// The text at `path`; `None` if it is missing or null.
    pub fn get_str(&self, path: &str) -> Option<&'a str> {
        self.entry(path).map(|entry| entry.value)
    }

    /// The truth value at `path`, or `default`.
    pub fn get_bool(&self, path: &str, default: bool) -> bool {
        self.get_str(path).and_then(parse_bool).unwrap_or(default)
    }

    /// The number at `path`, or `default` also if it does not fit the type.
    pub fn get_int<T: TryFrom<i128>>(&self, path: &str, default: T) -> T {
        self.get_str(path).and_then(parse_int).unwrap_or(default)
    }

    /// The floating point number at `path`, or `default`.
    pub fn get_f64(&self, path: &str, default: f64) -> f64 {
        self.get_str(path).and_then(parse_f64).unwrap_or(default)
    }

    /// The duration at `path`, or `default`.
    pub fn get_time(&self, path: &str, default: Duration) -> Duration {
        self.get_str(path).and_then(parse_time).unwrap_or(default)
    }
}
