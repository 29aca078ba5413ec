//! Where in which file something was written, so that every complaint can name the place.

use std::fmt;
use std::sync::Arc;

/// A place in a configuration file. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Name of the file as it was opened; `<memory>` for text that came from elsewhere.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Origin {
    /// The origin of what program code sets at run time.
    pub fn program() -> Self {
        Self { file: "<program>".into(), line: 0, column: 0 }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return f.write_str(&self.file);
        }
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}
