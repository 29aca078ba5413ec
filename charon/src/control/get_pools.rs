//! `get-pools`: the loaded pools, how much of them is in use, and on request by whom.

use vici::{Message, Request, Responder};

use super::Control;
use crate::pools::Pool;

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    let leases = request.message.bool("leases").unwrap_or(false);
    let name = request.message.str("name");
    let mut message = Message::new();
    for pool in control.pools.all().iter().filter(|pool| name.is_none_or(|name| name == pool.name())) {
        message.push_section(pool.name().to_owned(), show(pool, leases));
    }
    responder.reply(&message);
}

fn show(pool: &Pool, leases: bool) -> Message {
    let bounds = pool.bounds();
    let mut message = Message::new();
    message.push("base", bounds.base().to_string()).push("size", bounds.size());
    message.push("online", pool.online()).push("offline", pool.offline());
    if leases {
        let mut section = Message::new();
        for (number, lease) in pool.leases().iter().enumerate() {
            let status = if lease.online { "online" } else { "offline" };
            let lease = Message::new()
                .with("address", lease.address.to_string())
                .with("identity", lease.identity.to_string())
                .with("status", status);
            section.push_section(number.to_string(), lease);
        }
        message.push_section("leases", section);
    }
    message
}
