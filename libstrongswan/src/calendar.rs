//! Time for human eyes: dates in local time or UTC, and durations in one unit.

use std::ffi::CStr;
use std::fmt;
use std::time::Duration;

use crate::clock::UnixTime;

/// Longest date; a format that yields more gives none.
const LONGEST: usize = 128;

/// Where a clock on the wall hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// Here.
    Local,
    /// Greenwich.
    Utc,
}

/// `time` in a format of `strftime`; empty if it is too far away.
///
/// It is the C library's, for that knows the time zone and users write formats for it.
#[allow(unsafe_code)]
pub fn format(format: &CStr, time: UnixTime, zone: Zone) -> String {
    let time: libc::time_t = time.0;
    let mut text = [0_u8; LONGEST];
    // SAFETY: `tm` is integers and a pointer to a static string, for which all zeros is valid.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    let known = match zone {
        // SAFETY: both pointers are valid for the call, and nothing is kept of them.
        Zone::Local => unsafe { libc::localtime_r(&raw const time, &raw mut tm) },
        // SAFETY: as above.
        Zone::Utc => unsafe { libc::gmtime_r(&raw const time, &raw mut tm) },
    };
    if known.is_null() {
        return String::new();
    }
    // SAFETY: the buffer is as long as it says, the format ends in NUL, and `tm` was filled in above.
    let written = unsafe { libc::strftime(text.as_mut_ptr().cast(), text.len(), format.as_ptr(), &raw const tm) };
    text.get(..written).map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
}

/// `Nov 20 11:55:24 2026`, in UTC with `UTC` before the year.
pub fn date(time: UnixTime, zone: Zone) -> String {
    match zone {
        Zone::Local => format(c"%b %d %H:%M:%S %Y", time, zone),
        Zone::Utc => format(c"%b %d %H:%M:%S UTC %Y", time, zone),
    }
}

/// A duration as a whole number of one unit: seconds up to two minutes, minutes up to two hours, hours up to two days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roughly(pub Duration);

impl fmt::Display for Roughly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        const DAY: u64 = 24 * HOUR;
        let seconds = self.0.as_secs();
        let (count, unit) = match seconds {
            _ if seconds > 2 * DAY => (seconds / DAY, "day"),
            _ if seconds > 2 * HOUR => (seconds / HOUR, "hour"),
            _ if seconds > 2 * MINUTE => (seconds / MINUTE, "minute"),
            _ => (seconds, "second"),
        };
        write!(f, "{count} {unit}{}", if count == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date(UnixTime(0), Zone::Utc), "Jan 01 00:00:00 UTC 1970");
        assert_eq!(date(UnixTime(1_000_000_000), Zone::Utc), "Sep 09 01:46:40 UTC 2001");
        assert_eq!(date(UnixTime(1_000_000_000), Zone::Local).len(), "Sep 09 01:46:40 2001".len());
        assert_eq!(date(UnixTime(i64::MAX), Zone::Utc), "");
    }

    #[test]
    fn durations() {
        for (seconds, expected) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (120, "120 seconds"),
            (121, "2 minutes"),
            (7200, "120 minutes"),
            (7201, "2 hours"),
            (172_800, "48 hours"),
            (172_801, "2 days"),
        ] {
            assert_eq!(Roughly(Duration::from_secs(seconds)).to_string(), expected);
        }
    }
}
