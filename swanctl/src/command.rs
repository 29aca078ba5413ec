//! What a command is, and how it reports.

use std::io;

use nix::errno::Errno;
use vici::ClientError;

use crate::getopt::Flag;
use crate::session::Session;

/// One command of the tool.
pub(crate) struct Command {
    /// Long option that selects it.
    pub(crate) name: &'static str,
    /// Short option that selects it.
    pub(crate) short: char,
    /// Line in the list of commands.
    pub(crate) description: &'static str,
    /// How it is called, after its name; further lines are continuations.
    pub(crate) usage: &'static [&'static str],
    /// Its own options.
    pub(crate) flags: &'static [Flag],
    /// Does it.
    pub(crate) run: fn(&mut Session, &Given) -> Result<(), Failure>,
}

/// The options that were given, with their values, in order.
#[derive(Debug, Default)]
pub(crate) struct Given(pub(crate) Vec<(char, Option<String>)>);

impl Given {
    /// Whether a switch was given.
    pub(crate) fn has(&self, short: char) -> bool {
        self.0.iter().any(|(given, _)| *given == short)
    }

    /// The value of an option; of several the last.
    pub(crate) fn value(&self, short: char) -> Option<&str> {
        self.0.iter().rev().find(|(given, _)| *given == short).and_then(|(_, value)| value.as_deref())
    }

    /// The number an option gives, as C's `atoi` reads it.
    pub(crate) fn number(&self, short: char) -> Option<i64> {
        self.value(short).map(atoi)
    }
}

/// Leading blanks, a sign and digits; zero where there are none.
fn atoi(text: &str) -> i64 {
    let text = text.trim_start();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(digits.len());
    let number = digits.get(..end).and_then(|digits| digits.parse::<i64>().ok()).unwrap_or(0);
    if negative { -number } else { number }
}

/// Why a command ends with something else than 0.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A message and an exit code.
    Failed(String, u8),
    /// The daemon cannot be reached: the usage, then this, and an exit code.
    Unreachable(String, u8),
    /// An exit code; everything was said.
    Exit(u8),
}

impl Failure {
    /// A failure of the protocol: `<what> failed: <reason>`, exit code by the kind of error.
    pub(crate) fn protocol(what: &str, error: &ClientError) -> Self {
        let errno = errno(error);
        Self::Failed(format!("{what} failed: {}", errno.desc()), exit_code(errno))
    }

    /// `<command> request failed: …`
    pub(crate) fn request(command: &str, error: &ClientError) -> Self {
        Self::protocol(&format!("{command} request"), error)
    }
}

/// `EINVAL`: something in the configuration failed to load.
pub(crate) const INVALID: u8 = 22;
/// `ECONNRESET`: the daemon closed the connection.
pub(crate) const CONNECTION_RESET: u8 = 104;

/// The system's number that says the same.
pub(crate) fn errno(error: &ClientError) -> Errno {
    match error {
        ClientError::Io(error) => io_errno(error),
        ClientError::UnknownCommand(_) | ClientError::UnknownEvent(_) => Errno::ENOENT,
        ClientError::Closed | ClientError::Unusable => Errno::ECONNRESET,
        ClientError::Encode(_) | ClientError::Endpoint(_) => Errno::EINVAL,
        ClientError::Decode(_) | ClientError::Packet(_) | ClientError::TooLong(_) | ClientError::UnexpectedAnswer => {
            Errno::EBADMSG
        }
        ClientError::TimedOut => Errno::ETIMEDOUT,
        ClientError::Failed(_) => Errno::EIO,
    }
}

/// The system's number of an I/O error.
pub(crate) fn io_errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Errors of the system fit into an exit code on Linux.
pub(crate) fn exit_code(errno: Errno) -> u8 {
    io::Error::from(errno).raw_os_error().and_then(|number| u8::try_from(number).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_c_reads_them() {
        for (text, expected) in
            [("12", 12), (" 12x", 12), ("-1", -1), ("+3", 3), ("x", 0), ("", 0), ("99999999999999999999", 0)]
        {
            assert_eq!(atoi(text), expected, "{text}");
        }
    }

    #[test]
    fn exit_codes() {
        let code = |error| exit_code(errno(&error));
        assert_eq!(code(ClientError::Io(io::Error::from_raw_os_error(111))), 111);
        assert_eq!(code(ClientError::UnknownCommand("x".into())), 2);
        assert_eq!(code(ClientError::Closed), CONNECTION_RESET);
        assert_eq!(code(ClientError::TimedOut), 110);
        assert_eq!(
            Failure::request("list-sas", &ClientError::UnknownCommand("x".into())),
            Failure::Failed("list-sas request failed: No such file or directory".into(), 2)
        );
    }
}
