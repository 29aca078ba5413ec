//! `filelog`: lines to a file, standard output or standard error.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::line::{LineFormat, LineWriter};
use super::{Levels, Record, Sink, time};

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file.
    File(PathBuf),
}

impl Stream {
    /// The stream a `path` or section name of `filelog` means.
    pub fn from_name(name: &str) -> Self {
        match name {
            "stdout" => Self::Stdout,
            "stderr" => Self::Stderr,
            path => Self::File(path.into()),
        }
    }
}

enum Target {
    Stdout,
    Stderr,
    File { file: BufWriter<File>, flush_line: bool },
}

struct Output {
    line: LineWriter,
    target: Target,
    buffer: String,
}

/// A logger that writes lines to a [`Stream`].
pub struct StreamLogger {
    levels: Levels,
    output: Mutex<Output>,
}

impl StreamLogger {
    /// A logger to standard output.
    pub fn stdout(levels: Levels, format: LineFormat) -> Self {
        Self::new(levels, format, Target::Stdout)
    }

    /// A logger to standard error.
    pub fn stderr(levels: Levels, format: LineFormat) -> Self {
        Self::new(levels, format, Target::Stderr)
    }

    /// A logger to a file, at its end or instead of its content; `flush_line` writes each line out at once.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn file(path: &Path, append: bool, flush_line: bool, levels: Levels, format: LineFormat) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true);
        if append {
            options.append(true)
        } else {
            options.write(true).truncate(true)
        };
        let file = BufWriter::new(options.open(path)?);
        Ok(Self::new(levels, format, Target::File { file, flush_line }))
    }

    fn new(levels: Levels, format: LineFormat, target: Target) -> Self {
        let output = Output { line: LineWriter::new(format), target, buffer: String::new() };
        Self { levels, output: Mutex::new(output) }
    }
}

impl Sink for StreamLogger {
    fn levels(&self) -> Levels {
        self.levels
    }

    fn write(&self, record: &Record<'_>) {
        let mut output = self.output.lock();
        let Output { line, target, buffer } = &mut *output;
        buffer.clear();
        line.write(buffer, record, time::now());
        // A full disk or a closed pipe must not stop the daemon, and there is nobody to tell.
        let _lost = match target {
            Target::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(buffer.as_bytes()).and_then(|()| stdout.flush())
            }
            Target::Stderr => io::stderr().lock().write_all(buffer.as_bytes()),
            Target::File { file, flush_line } => {
                file.write_all(buffer.as_bytes()).and_then(|()| if *flush_line { file.flush() } else { Ok(()) })
            }
        };
    }

    fn flush(&self) {
        if let Target::File { file, .. } = &mut self.output.lock().target {
            // As above.
            let _lost = file.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use strongswan::log::Group;

    use super::*;

    #[test]
    fn files_are_appended_to_or_replaced() {
        let path = std::env::temp_dir().join(format!("charon-filelog-{}", std::process::id()));
        let write = |append, message| {
            let logger = StreamLogger::file(&path, append, false, Levels::all(1), LineFormat::default()).unwrap();
            logger.write(&Record { group: Group::Dmn, level: 1, thread: 0, context: None, message });
        };
        write(false, "one");
        write(true, "two");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "00[DMN] one\n00[DMN] two\n");
        write(false, "three");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "00[DMN] three\n");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn special_names_are_streams() {
        assert_eq!(Stream::from_name("stderr"), Stream::Stderr);
        assert_eq!(Stream::from_name("/var/log/charon"), Stream::File("/var/log/charon".into()));
    }
}
