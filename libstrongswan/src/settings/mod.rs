//! `strongswan.conf` and `swanctl.conf`: reading, inheriting, merging and querying.
//!
//! A file is a tree of sections with `key = value` settings, `include`s, and references (`name : other { }`) from which
//! a section inherits. [`Settings`] holds the result of one load and answers lookups by dotted path with the types of
//! strongSwan: what is missing, null (`key =`) or unusable is the caller's default. Every setting knows its [`Origin`],
//! so whoever rejects a value can say where it stands. Which options exist, of which type and with which default, is in
//! [`options`].
//!
//! A `Settings` does not change by itself. [`Settings::reload`] reads the files again and replaces the content only if
//! all of them are in order.

mod convert;
mod error;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod glob;
mod lexer;
mod lookup;
pub mod options;
mod origin;
mod parser;
mod paths;
mod tree;
mod view;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use convert::{parse_bool, parse_f64, parse_int, parse_time};
pub use error::{Notice, NoticeKind, SettingsError, SyntaxError, SyntaxErrors};
pub use origin::Origin;
pub use paths::{PIDDIR, SYSCONFDIR, default_vici_uri, strongswan_conf, swanctl_dir};
pub use view::{Entry, View};

use lexer::Lexer;
use tree::{Reference, Section, Setting, Value};

/// The content of one configuration file and all that it includes.
#[derive(Debug, Clone)]
pub struct Settings {
    root: Section,
    /// What [`Settings::reload`] reads again; `None` if there is no file.
    path: Option<PathBuf>,
    /// Sections that program code lets inherit from others, kept over a reload.
    fallbacks: Vec<(String, String)>,
    notices: Vec<Notice>,
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}

impl Settings {
    /// Settings without content.
    pub fn new() -> Self {
        Self { root: new_root(), path: None, fallbacks: Vec::new(), notices: Vec::new() }
    }

    /// Loads the file or files that match `path`.
    ///
    /// # Errors
    /// If none of them can be read, or any of what they contain or include breaks the grammar.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, SettingsError> {
        let path = path.as_ref();
        let (root, notices) = load_files(path)?;
        Ok(Self { root, path: Some(path.to_path_buf()), fallbacks: Vec::new(), notices })
    }

    /// Loads strongswan.conf from where the environment or the build says it is, for `program`: lookups below the
    /// section of that name fall back to those of `libstrongswan`, and its `tls` section to `libtls`.
    ///
    /// # Errors
    /// As [`Settings::load`]. With an empty `STRONGSWAN_CONF` there is nothing to load and no error.
    pub fn load_for(program: &str) -> Result<Self, SettingsError> {
        let mut settings = match strongswan_conf() {
            Some(path) => Self::load(path)?,
            None => Self::new(),
        };
        settings.add_program_fallbacks(program);
        Ok(settings)
    }

    /// Installs the fallbacks that every program has, see [`Settings::load_for`].
    pub fn add_program_fallbacks(&mut self, program: &str) {
        if program == "charon-systemd" {
            self.add_fallback(program, "charon");
            self.add_fallback("charon-systemd.customlog.journal", "charon-systemd.journal");
        }
        self.add_fallback(program, "libstrongswan");
        self.add_fallback(&format!("{program}.tls"), "libtls");
        self.add_fallback(&format!("{program}.plugins.attr-sql"), "libhydra.plugins.attr-sql");
    }

    /// Parses text from memory. Relative includes start at the working directory.
    ///
    /// # Errors
    /// If the text, or a file it includes, breaks the grammar.
    pub fn parse_str(text: &str) -> Result<Self, SettingsError> {
        Self::parse_bytes("<memory>", text.as_bytes())
    }

    /// Parses text from memory that errors shall call `name`.
    ///
    /// # Errors
    /// As [`Settings::parse_str`].
    pub fn parse_bytes(name: &str, text: &[u8]) -> Result<Self, SettingsError> {
        let mut lexer = Lexer::from_text(name, text.to_vec());
        let mut root = new_root();
        parser::parse(&mut lexer, &mut root).map_err(SettingsError::Syntax)?;
        Ok(Self { root, path: None, fallbacks: Vec::new(), notices: lexer.notices })
    }

    /// Reads the files again. Whatever is no longer in them is gone, values set by [`Settings::set`] included;
    /// fallbacks stay.
    ///
    /// # Errors
    /// As [`Settings::load`], and then nothing has changed.
    pub fn reload(&mut self) -> Result<(), SettingsError> {
        let Some(path) = &self.path else { return Ok(()) };
        let (root, notices) = load_files(path)?;
        self.root = root;
        self.notices = notices;
        for (section, target) in self.fallbacks.clone() {
            self.install_fallback(&section, &target);
        }
        Ok(())
    }

    /// The file this was loaded from.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// What the latest load found worth mentioning, such as includes that match nothing.
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// Lets `section` inherit from `target`, after everything it refers to in the files. Stays over a reload.
    pub fn add_fallback(&mut self, section: &str, target: &str) {
        let fallback = (section.to_owned(), target.to_owned());
        if !self.fallbacks.contains(&fallback) {
            self.install_fallback(section, target);
            self.fallbacks.push(fallback);
        }
    }

    fn install_fallback(&mut self, section: &str, target: &str) {
        let reference = Reference { path: owned(target), origin: Origin::program() };
        if let Some(section) = self.root.open_path(&owned(section), &Origin::program()) {
            section.fallbacks.push(reference);
        }
    }

    /// Sets a key at run time, for what a command line overrides.
    pub fn set(&mut self, path: &str, value: &str) {
        let mut path = owned(path);
        let Some(name) = path.pop() else { return };
        let value = Some(Value { text: value.to_owned(), raw: None });
        if let Some(section) = self.root.open_path(&path, &Origin::program()) {
            section.set(Setting { name, value, origin: Origin::program(), value_origin: Origin::program() });
        }
    }

    /// The section at `path`, to look up further keys in. It need not exist.
    pub fn view(&self, path: &str) -> View<'_> {
        View::new(self, lookup::components(path).into_iter().map(str::to_owned).collect())
    }

    /// Names of the top-level sections that some section inherits from.
    fn referenced_sections(&self) -> std::collections::HashSet<&str> {
        let mut referenced = std::collections::HashSet::new();
        let mut sections = vec![&self.root];
        while let Some(section) = sections.pop() {
            referenced
                .extend(section.references.iter().filter_map(|reference| reference.path.first()).map(|name| &**name));
            sections.extend(section.sections.iter());
        }
        referenced
    }

    fn root_view(&self) -> View<'_> {
        View::new(self, Vec::new())
    }

    /// Whether a section of that path exists, be it by inheritance.
    pub fn has_section(&self, path: &str) -> bool {
        self.view(path).exists()
    }

    /// The entry at `path`, with its origin; `None` if it is missing or null.
    pub fn entry(&self, path: &str) -> Option<Entry<'_>> {
        self.root_view().entry(path)
    }

    /// The text at `path`; `None` if it is missing or null.
    pub fn get_str(&self, path: &str) -> Option<&str> {
        self.root_view().get_str(path)
    }

    /// The truth value at `path`, or `default`.
    pub fn get_bool(&self, path: &str, default: bool) -> bool {
        self.root_view().get_bool(path, default)
    }

    /// The number at `path`, or `default` also if it does not fit the type.
    pub fn get_int<T: TryFrom<i128>>(&self, path: &str, default: T) -> T {
        self.root_view().get_int(path, default)
    }

    /// The floating point number at `path`, or `default`.
    pub fn get_f64(&self, path: &str, default: f64) -> f64 {
        self.root_view().get_f64(path, default)
    }

    /// The duration at `path`, or `default`.
    pub fn get_time(&self, path: &str, default: Duration) -> Duration {
        self.root_view().get_time(path, default)
    }

    /// Names of the sub-sections of `path`, own ones first, then inherited ones.
    pub fn sections(&self, path: &str) -> Vec<&str> {
        self.root_view().section_names(path)
    }

    /// The settings of `path` that have a value, own ones first, then inherited ones.
    pub fn keys(&self, path: &str) -> Vec<Entry<'_>> {
        self.root_view().entries(path)
    }
}

fn new_root() -> Section {
    Section::new("".into(), Origin::program())
}

fn owned(path: &str) -> Vec<Arc<str>> {
    lookup::components(path).into_iter().map(Arc::from).collect()
}

fn load_files(path: &Path) -> Result<(Section, Vec<Notice>), SettingsError> {
    let mut lexer = Lexer::from_files(path);
    let mut root = new_root();
    let parsed = parser::parse(&mut lexer, &mut root);
    if lexer.files_read == 0 {
        return Err(match lexer.open_error.take() {
            Some((path, source)) => SettingsError::Unreadable { path, source },
            None => SettingsError::NotFound(path.to_path_buf()),
        });
    }
    parsed.map_err(SettingsError::Syntax)?;
    Ok((root, lexer.notices))
}

#[cfg(test)]
mod tests;
