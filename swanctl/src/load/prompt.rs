//! Asking for a passphrase at the terminal, without showing it.

use std::fs::OpenOptions;
use std::io::{Read, Write};

use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use strongswan::crypto::Secret;

/// Longest line that a terminal takes (`N_TTY_BUF_SIZE`).
const LINE: usize = 4096;

/// What Ctrl-C enters while it raises no signal.
const INTERRUPT: u8 = 3;

/// Asks. `None` without a terminal, and if nothing is entered.
pub(super) fn password(question: &str) -> Option<Secret> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
    let before = tcgetattr(&terminal).ok()?;
    let mut silent = before.clone();
    // A signal would end us before the echo is back.
    silent.local_flags.remove(LocalFlags::ECHO | LocalFlags::ISIG);
    terminal.write_all(question.as_bytes()).ok()?;
    tcsetattr(&terminal, SetArg::TCSAFLUSH, &silent).ok()?;
    let mut buffer = vec![0; LINE];
    // A terminal delivers whole lines.
    let read = terminal.read(&mut buffer);
    let buffer = Secret::new(buffer);
    // The echo comes back even if reading failed.
    let restored = tcsetattr(&terminal, SetArg::TCSAFLUSH, &before);
    let answered = terminal.write_all(b"\n");
    if restored.is_err() || answered.is_err() {
        return None;
    }
    entered(buffer.as_bytes().get(..read.ok()?)?)
}

/// The passphrase in a line, unless there is none or it was given up.
fn entered(line: &[u8]) -> Option<Secret> {
    let end = line.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r'))?;
    let text = line.get(..=end)?;
    (!text.contains(&INTERRUPT)).then(|| Secret::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        assert_eq!(entered(b"strong swan\n"), Some(Secret::from(&b"strong swan"[..])));
        assert_eq!(entered(b"end of file"), Some(Secret::from(&b"end of file"[..])));
        for nothing in [&b""[..], b"\n", b"\r\n", b"half\x03\n"] {
            assert_eq!(entered(nothing), None, "{nothing:?}");
        }
    }
}
