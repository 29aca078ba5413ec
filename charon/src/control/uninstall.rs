//! `uninstall`: remove the trap or shunt of a child.

use vici::{Message, Request, Responder};

use super::{Control, answer};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    answer(responder, uninstall(control, &request.message));
}

fn uninstall(control: &Control, message: &Message) -> super::Answer {
    let name = message.str("child").ok_or("missing configuration name")?;
    if control.operations.uninstall(message.str("ike"), name) {
        Ok(Message::success())
    } else {
        Err(format!("policy '{name}' not found"))
    }
}
