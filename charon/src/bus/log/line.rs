//! The line formats of files and streams: strongSwan's `[<time> ]TT[GRP[lvl]][ <name|id>] message`, and JSON.

use std::fmt::Write;
use std::time::Duration;

use super::Record;
use super::time::TimeFormat;

/// Fraction of a second in time stamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimePrecision {
    /// `.mmm`
    Milliseconds,
    /// `.uuuuuu`
    Microseconds,
}

/// How a line looks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LineFormat {
    /// `time_format`: a `strftime` format, or no time.
    pub time: Option<String>,
    /// `time_precision`
    pub precision: Option<TimePrecision>,
    /// `ike_name`: add ` <name|id>` of the IKE_SA.
    pub ike_name: bool,
    /// `log_level`: add the level to the group.
    pub log_level: bool,
    /// `json`: one JSON object per message.
    pub json: bool,
}

/// Writes lines of one [`LineFormat`].
pub(super) struct LineWriter {
    format: LineFormat,
    time: Option<TimeFormat>,
}

impl LineWriter {
    pub(super) fn new(format: LineFormat) -> Self {
        let time = format.time.as_deref().and_then(TimeFormat::new);
        Self { format, time }
    }

    /// Appends a message that was written `now` (since 1970) as one or more lines.
    pub(super) fn write(&mut self, out: &mut String, record: &Record<'_>, now: Duration) {
        if self.format.json {
            self.json(out, record, now);
            return;
        }
        let start = out.len();
        if self.stamp(out, now) {
            out.push(' ');
        }
        prefix(out, record, self.format.log_level, self.format.ike_name);
        let prefix = out.get(start..).unwrap_or_default().to_owned();
        let mut lines = record.message.split('\n');
        // Every line of a message repeats its prefix, so that a log can be filtered by line.
        out.push_str(lines.next().unwrap_or_default());
        out.push('\n');
        for line in lines {
            out.push_str(&prefix);
            out.push_str(line);
            out.push('\n');
        }
    }

    fn stamp(&mut self, out: &mut String, now: Duration) -> bool {
        let Some(time) = &mut self.time else { return false };
        out.push_str(time.stamp(now));
        // Writing to a string does not fail.
        let _ = match self.format.precision {
            None => Ok(()),
            Some(TimePrecision::Milliseconds) => write!(out, ".{:03}", now.subsec_millis()),
            Some(TimePrecision::Microseconds) => write!(out, ".{:06}", now.subsec_micros()),
        };
        true
    }

    fn json(&mut self, out: &mut String, record: &Record<'_>, now: Duration) {
        out.push('{');
        let mut time = String::new();
        if self.stamp(&mut time, now) {
            member(out, "time", &time);
            out.push(',');
        }
        // Writing to a string does not fail.
        let _ = write!(out, "\"thread\":{},\"group\":\"{}\",\"level\":{},", record.thread, record.group, record.level);
        if let Some(context) = record.context {
            member(out, "ikesa-uniqueid", &context.id.to_string());
            out.push(',');
            member(out, "ikesa-name", &context.name);
            out.push(',');
        }
        member(out, "msg", record.message);
        out.push_str("}\n");
    }
}

/// Appends what precedes the text of a line, time excepted.
pub(super) fn prefix(out: &mut String, record: &Record<'_>, level: bool, ike_name: bool) {
    // Writing to a string does not fail.
    let _ = write!(out, "{:02}[{}", record.thread, record.group);
    if level {
        let _ = write!(out, "{}", record.level);
    }
    out.push(']');
    if let (true, Some(context)) = (ike_name, record.context) {
        let _ = match &*context.name {
            // A responder that has not chosen a connection yet.
            "" | "(unnamed)" => write!(out, " <{}>", context.id),
            name => write!(out, " <{name}|{}>", context.id),
        };
    }
    out.push(' ');
}

fn member(out: &mut String, name: &str, value: &str) {
    let value = serde_json::Value::from(value);
    // Writing to a string does not fail.
    let _ = write!(out, "\"{name}\":{value}");
}

#[cfg(test)]
mod tests {
    use strongswan::log::{Context, Group};

    use super::*;

    fn line(format: LineFormat, name: Option<&str>, message: &str) -> String {
        let context = name.map(|name| Context { name: name.into(), id: 3 });
        let record = Record { group: Group::Ike, level: 1, thread: 5, context: context.as_ref(), message };
        let mut out = String::new();
        LineWriter::new(format).write(&mut out, &record, Duration::from_micros(1_234_567));
        out
    }

    #[test]
    fn the_plain_format_is_thread_group_and_text() {
        assert_eq!(line(LineFormat::default(), Some("gw"), "sending DPD request"), "05[IKE] sending DPD request\n");
    }

    #[test]
    fn name_level_and_time_are_optional() {
        let format = LineFormat {
            time: Some("%S".into()),
            precision: Some(TimePrecision::Milliseconds),
            ike_name: true,
            log_level: true,
            json: false,
        };
        assert_eq!(line(format.clone(), Some("gw"), "a"), "01.234 05[IKE1] <gw|3> a\n");
        assert_eq!(line(format.clone(), Some("(unnamed)"), "a"), "01.234 05[IKE1] <3> a\n");
        assert_eq!(line(format, None, "a"), "01.234 05[IKE1] a\n");
    }

    #[test]
    fn every_line_of_a_message_has_the_prefix() {
        assert_eq!(line(LineFormat::default(), None, "a\nb"), "05[IKE] a\n05[IKE] b\n");
    }

    #[test]
    fn json_is_one_object_per_message() {
        let format = LineFormat {
            json: true,
            time: Some("%S".into()),
            precision: Some(TimePrecision::Microseconds),
            ..LineFormat::default()
        };
        let text = line(format, Some("g\"w"), "a\nb");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "time": "01.234567", "thread": 5, "group": "IKE", "level": 1,
                "ikesa-uniqueid": "3", "ikesa-name": "g\"w", "msg": "a\nb"
            })
        );
    }
}
