//! What can be wrong with a configuration file.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::origin::Origin;

/// Why settings could not be loaded. Nothing of a failed load takes effect.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No file has the given name or matches the given pattern.
    #[error("no files found matching '{}'", .0.display())]
    NotFound(PathBuf),
    /// The file exists but cannot be read.
    #[error("failed to open config file '{}': {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The text breaks the grammar.
    #[error("{0}")]
    Syntax(SyntaxErrors),
}

/// One violation of the grammar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where it is.
    pub origin: Origin,
    /// What it is and, where that is known, how to put it right.
    pub message: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)
    }
}

/// Every violation that one run over the files found, in reading order; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxErrors(pub(super) Vec<SyntaxError>);

impl SyntaxErrors {
    /// The violations, in reading order.
    pub fn iter(&self) -> impl Iterator<Item = &SyntaxError> {
        self.0.iter()
    }
}

impl fmt::Display for SyntaxErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

/// Something about a load that is worth a line in the log but does not fail it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What kind of thing it is.
    pub kind: NoticeKind,
    /// The statement that caused it; `None` for the file the load began with.
    pub origin: Option<Origin>,
    /// What happened.
    pub message: String,
}

/// What a [`Notice`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// An include that leads to no file.
    Pattern,
    /// Something matches that is no file.
    NotAFile,
    /// A file is there and could not be read: whatever it holds is missing.
    Unreadable,
}

impl Notice {
    /// Log level at which strongSwan reports it.
    pub fn level(&self) -> u8 {
        match self.kind {
            NoticeKind::Pattern => 1,
            NoticeKind::NotAFile | NoticeKind::Unreadable => 2,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        f.write_str(&self.message)
    }
}
