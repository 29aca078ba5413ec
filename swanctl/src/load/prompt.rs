//! Asking for a passphrase at the terminal, without showing it.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};

use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

/// Asks. `None` without a terminal, and if nothing is entered.
pub(super) fn password(question: &str) -> Option<Vec<u8>> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
    let before = tcgetattr(&terminal).ok()?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    terminal.write_all(question.as_bytes()).ok()?;
    tcsetattr(&terminal, SetArg::TCSAFLUSH, &silent).ok()?;
    let mut line = Vec::new();
    let read = BufReader::new(&terminal).read_until(b'\n', &mut line);
    // The echo comes back even if reading failed.
    let restored = tcsetattr(&terminal, SetArg::TCSAFLUSH, &before);
    let answered = terminal.write_all(b"\n");
    if read.is_err() || restored.is_err() || answered.is_err() {
        return None;
    }
    while matches!(line.last(), Some(b'\n' | b'\r')) {
        line.pop();
    }
    (!line.is_empty()).then_some(line)
}
