//! `stats`: figures of the daemon.

use std::fmt;
use std::time::Duration;

use strongswan::processing::{PerPriority, Priority};
use vici::{Message, Request, Responder};

use super::Control;

pub(super) fn run(control: &Control, _request: Request, responder: Responder) {
    let stats = control.operations.stats();
    let uptime = Message::new().with("running", format_args!("{}", Running(stats.uptime))).with("since", stats.since);
    let workers = Message::new()
        .with("total", stats.jobs.total)
        .with("idle", stats.jobs.idle)
        .with_section("active", per_priority(&stats.jobs.active));
    let ike_sas = Message::new().with("total", stats.ike_sas).with("half-open", stats.half_open);
    responder.reply(
        &Message::new()
            .with_section("uptime", uptime)
            .with_section("workers", workers)
            .with_section("queues", per_priority(&stats.jobs.queued))
            .with("scheduled", stats.jobs.scheduled)
            .with_section("ikesas", ike_sas)
            .with_list("plugins", stats.plugins),
    );
}

fn per_priority(counts: &PerPriority<usize>) -> Message {
    let mut message = Message::new();
    for priority in Priority::ALL {
        message.push(priority.keyword(), *counts.get(priority));
    }
    message
}

/// A duration in the largest unit of which there are more than two.
struct Running(Duration);

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
        let seconds = self.0.as_secs();
        let unit = UNITS.iter().find(|(size, _)| seconds > 2 * size || *size == 1);
        let (size, name) = unit.copied().unwrap_or((1, "second"));
        let count = seconds.checked_div(size).unwrap_or(seconds);
        write!(f, "{count} {name}{}", if count == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_changes_units_late() {
        for (seconds, text) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (120, "120 seconds"),
            (121, "2 minutes"),
            (7200, "120 minutes"),
            (7201, "2 hours"),
            (172_800, "48 hours"),
            (172_801, "2 days"),
        ] {
            assert_eq!(Running(Duration::from_secs(seconds)).to_string(), text);
        }
    }
}
