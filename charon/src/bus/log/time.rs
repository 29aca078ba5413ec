//! Local time in the format of `time_format`: `strftime` of the C library, since that is what users' formats are written for.

use std::ffi::{CStr, CString};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest time stamp; a format that yields more gives none.
const LONGEST: usize = 128;

/// A time format with the last second it was applied to, for lines come in bursts.
pub(super) struct TimeFormat {
    format: CString,
    second: u64,
    text: String,
}

impl TimeFormat {
    /// A format, unless it contains a NUL.
    pub(super) fn new(format: &str) -> Option<Self> {
        Some(Self { format: CString::new(format).ok()?, second: u64::MAX, text: String::new() })
    }

    /// The time stamp of `now`, a time since 1970.
    pub(super) fn stamp(&mut self, now: Duration) -> &str {
        if self.second != now.as_secs() {
            self.second = now.as_secs();
            self.text = format_local(&self.format, now.as_secs());
        }
        &self.text
    }
}

/// Time since 1970.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The present local time in a `strftime` format without NUL.
pub(super) fn local_now(format: &str) -> String {
    TimeFormat::new(format).map(|mut format| format.stamp(now()).to_owned()).unwrap_or_default()
}

#[allow(unsafe_code)]
fn format_local(format: &CStr, second: u64) -> String {
    let Ok(time) = libc::time_t::try_from(second) else { return String::new() };
    let mut text = [0u8; LONGEST];
    // SAFETY: `tm` is plain integers and a pointer to a static string, for which all zeros is valid; localtime_r writes it
    // through a valid pointer and keeps none.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: as above; `time` lives through the call.
    let known = unsafe { libc::localtime_r(&raw const time, &raw mut tm) };
    if known.is_null() {
        return String::new();
    }
    // SAFETY: the buffer is as long as it says, format is NUL-terminated, tm was filled in above.
    let written = unsafe { libc::strftime(text.as_mut_ptr().cast(), text.len(), format.as_ptr(), &raw const tm) };
    text.get(..written).map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_those_of_strftime() {
        let mut format = TimeFormat::new("%Y day %j").unwrap();
        // Noon, so that no time zone makes it another day of 1971 but one.
        assert_eq!(format.stamp(Duration::from_secs(31_536_000 + 43_200)), "1971 day 001");
        assert!(format.stamp(now()).starts_with("20"));
        assert!(TimeFormat::new("a\0b").is_none());
    }
}
