//! A shell command with a bounded life whose output goes line by line to whoever asks for it.
//!
//! It runs in a process group of its own, so that everything it started can be ended with it. What it leaves behind in the
//! background is not waited for.

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Longest line of output; a longer one comes in pieces.
const MAX_LINE: usize = 127;

/// How often it is looked whether the command has ended while its output is still open.
const TICK_MILLISECONDS: u8 = 50;

/// How long a command may take to end when it is told to, before it is made to.
const GRACE: Duration = Duration::from_secs(2);

/// Output read after the end of the command: what a background process goes on writing is not ours to read forever.
const MAX_LEFTOVER: usize = 64 * 1024;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// By itself, however successful.
    Ended,
    /// It was killed.
    TimedOut,
}

/// Runs `command` in a shell with nothing but these variables; `timeout` of `None` waits forever.
///
/// # Errors
/// If it cannot be started or its output not be read. It is killed then.
pub(super) fn run(
    command: &str,
    variables: &[(String, String)],
    timeout: Option<Duration>,
    line: &mut dyn FnMut(&str),
) -> io::Result<Ending> {
    let (reader, writer) = io::pipe()?;
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    shell.env_clear().envs(variables.iter().map(|(name, value)| (name, value))).process_group(0);
    let mut child = shell.spawn()?;
    // With it goes our end for writing: the output ends when the last process that has it does.
    drop(shell);
    let ending = watch(&mut child, reader, timeout, line);
    if !matches!(ending, Ok(Ending::Ended)) {
        end(&mut child);
    }
    ending
}

fn watch(
    child: &mut Child,
    mut reader: PipeReader,
    timeout: Option<Duration>,
    line: &mut dyn FnMut(&str),
) -> io::Result<Ending> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut lines = Lines::default();
    let mut buffer = [0; 4096];
    let mut leftover = None;
    let mut open = true;
    loop {
        let ready = if open && leftover.is_none_or(|bytes| bytes < MAX_LEFTOVER) {
            let wait = if leftover.is_some() { 0 } else { TICK_MILLISECONDS };
            let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::from(wait)) {
                Err(nix::errno::Errno::EINTR) => continue,
                ready => ready? > 0,
            }
        } else {
            std::thread::sleep(Duration::from_millis(if leftover.is_some() { 0 } else { 10 }));
            false
        };
        if ready {
            let read = reader.read(&mut buffer)?;
            open = read > 0;
            lines.push(buffer.get(..read).unwrap_or_default(), line);
            leftover = leftover.map(|bytes: usize| bytes.saturating_add(read));
        } else if leftover.is_some() {
            lines.finish(line);
            return Ok(Ending::Ended);
        }
        if leftover.is_none() && child.try_wait()?.is_some() {
            leftover = Some(0);
        }
        if leftover.is_none() && deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            lines.finish(line);
            return Ok(Ending::TimedOut);
        }
    }
}

/// Ends a command and everything in its process group.
fn end(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().map(Pid::from_raw);
    // Neither signal can fail but for a group that is gone.
    let signal = |signal| group.map(|group| killpg(group, signal));
    let _gone = signal(Signal::SIGTERM);
    let patience = Instant::now() + GRACE;
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(10));
    }
    let _gone = signal(Signal::SIGKILL);
    let _reaped = child.wait();
}

/// Cuts output into lines.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn push(&mut self, bytes: &[u8], line: &mut dyn FnMut(&str)) {
        for byte in bytes {
            if *byte == b'\n' {
                line(&String::from_utf8_lossy(&self.0));
                self.0.clear();
                continue;
            }
            if self.0.len() == MAX_LINE {
                self.finish(line);
            }
            self.0.push(*byte);
        }
    }

    fn finish(&mut self, line: &mut dyn FnMut(&str)) {
        if !self.0.is_empty() {
            line(&String::from_utf8_lossy(&self.0));
            self.0.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(command: &str, timeout: Duration) -> (Ending, Vec<String>) {
        let mut lines = Vec::new();
        let variables = [("PATH".to_owned(), "/usr/bin:/bin".to_owned()), ("WHO".to_owned(), "a b'c".to_owned())];
        let ending = run(command, &variables, Some(timeout), &mut |line| lines.push(line.to_owned())).unwrap();
        (ending, lines)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn both_outputs_come_in_order_and_the_environment_is_what_was_given() {
        let (ending, lines) =
            output("echo \"$WHO\"; echo problem >&2; env | cut -d= -f1 | grep -v _ | sort; printf end; exit 3", LONG);
        assert_eq!(ending, Ending::Ended);
        assert_eq!(lines, ["a b'c", "problem", "PATH", "PWD", "WHO", "end"]);
    }

    #[test]
    fn long_lines_come_in_pieces_and_silence_is_none() {
        let (_, lines) = output("head -c 300 /dev/zero | tr '\\0' x; echo; echo", LONG);
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [127, 127, 46, 0]);
        assert_eq!(output("exec >/dev/null 2>&1; sleep 0.1", LONG), (Ending::Ended, vec![]));
    }

    #[test]
    fn what_takes_too_long_is_killed_with_its_children() {
        let start = Instant::now();
        let trace = std::env::temp_dir().join(format!("charon-command-{}", std::process::id()));
        let command = format!("trap '' TERM; (sleep 3; touch {}) & wait; sleep 60", trace.display());
        let (ending, _) = output(&command, Duration::from_millis(200));
        assert_eq!(ending, Ending::TimedOut);
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(3500).saturating_sub(start.elapsed()));
        assert!(!trace.exists(), "the child in the background is gone, too");
    }

    #[test]
    fn what_stays_in_the_background_is_not_waited_for() {
        let start = Instant::now();
        let (ending, lines) = output("sleep 3 & echo started", LONG);
        assert_eq!((ending, lines), (Ending::Ended, vec!["started".to_owned()]));
        assert!(start.elapsed() < Duration::from_secs(2));
    }
}
