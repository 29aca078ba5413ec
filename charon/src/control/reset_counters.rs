//! `reset-counters`: begin at zero again, in all, or forget what was counted of a connection or of each.

use vici::{Message, Request, Responder};

use super::{Control, answer};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    let counters = control.operations.counters();
    if request.message.bool("all").unwrap_or(false) {
        counters.reset_connections();
    } else if let Some(name) = request.message.str("name") {
        counters.reset(name);
    } else {
        counters.reset_global();
    }
    answer(responder, Ok(Message::success()));
}
