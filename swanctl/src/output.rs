//! The only way to the terminal.

use std::fmt;
use std::io::{self, Write};

/// What the user wants to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// The layouts of strongSwan.
    Human,
    /// Messages as they come, one a line.
    Raw,
    /// Messages as they come, indented.
    Pretty,
    /// JSON.
    Json,
}

/// Standard output and standard error.
pub(crate) struct Output {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    pub(crate) format: Format,
    /// Somebody closed the pipe; nothing more is written.
    closed: bool,
}

impl Output {
    pub(crate) fn standard() -> Self {
        Self {
            out: Box::new(io::BufWriter::new(io::stdout())),
            err: Box::new(io::stderr()),
            format: Format::Human,
            closed: false,
        }
    }

    /// Writes a line to standard output.
    pub(crate) fn line(&mut self, line: impl fmt::Display) {
        self.write(format_args!("{line}\n"));
    }

    /// Writes text to standard output.
    pub(crate) fn write(&mut self, text: impl fmt::Display) {
        // `swanctl --list-sas | head` is no error.
        self.closed = self.closed || write!(self.out, "{text}").is_err();
    }

    /// Writes a line to standard error, after what was written so far.
    pub(crate) fn error(&mut self, line: impl fmt::Display) {
        self.flush();
        // Where should a failure to report go?
        drop(writeln!(self.err, "{line}"));
    }

    /// Lets the reader see what was written, as when following events.
    pub(crate) fn flush(&mut self) {
        self.closed = self.closed || self.out.flush().is_err();
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
pub(crate) mod capture {
    //! An output that tests can read.

    use std::sync::{Arc, Mutex, PoisonError};

    use super::{Format, Output, Write, io};

    #[derive(Clone, Default)]
    pub(crate) struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Buffer {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap()
        }
    }

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub(crate) fn output(format: Format) -> (Output, Buffer) {
        let buffer = Buffer::default();
        let output = Output { out: Box::new(buffer.clone()), err: Box::new(buffer.clone()), format, closed: false };
        (output, buffer)
    }
}
