//! `stats`: figures of the daemon.

use strongswan::calendar::Roughly;
use strongswan::processing::{PerPriority, Priority};
use vici::{Message, Request, Responder};

use super::Control;

pub(super) fn run(control: &Control, _request: Request, responder: Responder) {
    let stats = control.operations.stats();
    let uptime = Message::new().with("running", format_args!("{}", Roughly(stats.uptime))).with("since", stats.since);
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
