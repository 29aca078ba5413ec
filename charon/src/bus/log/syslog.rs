//! `syslog`: lines to the system log, without time. The C library's functions, since `nix` lacks LOG_AUTHPRIV.

use std::ffi::CString;

use libc::c_int;
use parking_lot::Mutex;

use super::line::prefix;
use super::{Levels, Record, Sink};

/// Facilities strongSwan's configuration names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Facility {
    /// `daemon`
    Daemon,
    /// `auth`: private authorisation messages.
    Auth,
}

impl Facility {
    /// The facility of a section name; others are ignored.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "daemon" => Some(Self::Daemon),
            "auth" => Some(Self::Auth),
            _ => None,
        }
    }
}

/// A logger that writes to the system log.
pub struct SyslogLogger {
    facility: c_int,
    levels: Levels,
    ike_name: bool,
    log_level: bool,
    /// `map_level`: −1 gives every line LOG_INFO, n the severity n + level.
    map_level: i8,
    buffer: Mutex<String>,
}

impl SyslogLogger {
    /// A logger of `facility`.
    pub fn new(facility: Facility, levels: Levels, ike_name: bool, log_level: bool, map_level: i8) -> Self {
        let facility = match facility {
            Facility::Daemon => libc::LOG_DAEMON,
            Facility::Auth => libc::LOG_AUTHPRIV,
        };
        Self { facility, levels, ike_name, log_level, map_level, buffer: Mutex::default() }
    }

    fn severity(&self, level: u8) -> c_int {
        if self.map_level < 0 {
            return libc::LOG_INFO;
        }
        c_int::from(self.map_level).saturating_add(c_int::from(level)).min(libc::LOG_DEBUG)
    }
}

/// Names this process in the system log (`identifier`). The C library keeps the name, so it is never freed; it only
/// changes with the configuration.
#[allow(unsafe_code)]
pub(super) fn identify(identifier: &str) {
    if let Ok(identifier) = CString::new(identifier) {
        // SAFETY: the string is NUL-terminated and never freed.
        unsafe { libc::openlog(identifier.into_raw(), 0, libc::LOG_DAEMON) };
    }
}

#[allow(unsafe_code)]
fn send(priority: c_int, line: &str) {
    // A NUL would end the line for the system log in any case.
    let Ok(line) = CString::new(line.split('\0').next().unwrap_or_default()) else { return };
    // SAFETY: both strings are NUL-terminated, and the format takes the one argument given.
    unsafe { libc::syslog(priority, c"%s".as_ptr(), line.as_ptr()) };
}

impl Sink for SyslogLogger {
    fn levels(&self) -> Levels {
        self.levels
    }

    fn write(&self, record: &Record<'_>) {
        let mut text = self.buffer.lock();
        let priority = self.severity(record.level) | self.facility;
        for line in record.message.split('\n') {
            text.clear();
            prefix(&mut text, record, self.log_level, self.ike_name);
            text.push_str(line);
            send(priority, &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_mapped_and_bounded() {
        let logger = |map_level| SyslogLogger::new(Facility::Auth, Levels::all(1), false, false, map_level);
        assert_eq!(logger(-1).severity(4), libc::LOG_INFO);
        assert_eq!(logger(5).severity(0), libc::LOG_NOTICE);
        assert_eq!(logger(5).severity(4), libc::LOG_DEBUG);
    }
}
