//! `start-scripts` and `stop-scripts`: commands run by a shell, one after the other, whose output goes to the log.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use strongswan::log;

/// Longest line of output that is logged.
const MAX_LINE: u64 = 1023;

/// Runs commands; `which` is `start` or `stop`. Failures are logged, exit codes ignored.
pub(super) fn run(which: &str, scripts: &[(String, String)]) {
    for (name, command) in scripts {
        log!(DMN, 1, "executing {which} script '{name}' ({command})");
        let started =
            Command::new("/bin/sh").arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) => {
                log!(DMN, 1, "executing {which} script '{name}' ({command}) failed: {error}");
                continue;
            }
        };
        if let Some(stdout) = child.stdout.take() {
            let mut output = BufReader::new(stdout);
            loop {
                match read_line(&mut output) {
                    Ok(Some(line)) => log!(DMN, 1, "{name}: {line}"),
                    Ok(None) => break,
                    Err(error) => {
                        log!(DMN, 1, "reading from {which} script '{name}' ({command}) failed: {error}");
                        break;
                    }
                }
            }
        }
        // Only so that it leaves the process table.
        let _ignored = child.wait();
    }
}

/// A line of at most [`MAX_LINE`] bytes; a longer one comes in pieces.
fn read_line(from: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    let read = from.take(MAX_LINE).read_until(b'\n', &mut line)?;
    let text = String::from_utf8_lossy(&line);
    Ok((read > 0).then(|| text.trim_end_matches('\n').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_split() {
        let mut text = vec![b'x'; 1500];
        text.extend(b"\n\nlast");
        let mut reader = &text[..];
        let lengths: Vec<_> = std::iter::from_fn(|| read_line(&mut reader).unwrap()).map(|line| line.len()).collect();
        assert_eq!(lengths, [1023, 477, 0, 4]);
    }
}
