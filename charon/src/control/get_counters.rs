//! `get-counters`: IKE events counted, in all, of a connection, or of each.
//!
//! The section of the counters in all has an empty name, as strongSwan's has and its clients expect.

use vici::{Message, Request, Responder};

use super::Control;
use crate::bus::counters::{NAMES, Values};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    let counters = control.operations.counters();
    let mut sections = Message::new();
    let mut known = true;
    if request.message.bool("all").unwrap_or(false) {
        for (name, values) in counters.connections() {
            sections.push_section(name.to_string(), section(&values));
        }
    } else if let Some(name) = request.message.str("name") {
        match counters.of(name) {
            Some(values) => drop(sections.push_section(name.to_owned(), section(&values))),
            None => known = false,
        }
    } else {
        sections.push_section(String::new(), section(&counters.global()));
    }
    let mut answer = Message::new().with_section("counters", sections).with("success", known);
    if !known {
        answer.push("errmsg", "no counters found for this connection");
    }
    responder.reply(&answer);
}

fn section(values: &Values) -> Message {
    let mut section = Message::new();
    for (name, value) in NAMES.into_iter().zip(values) {
        section.push(name, *value);
    }
    section
}
