//! `install`: install the trap of a child, or for mode pass and drop its shunt, whatever its start action is.

use vici::{Message, Request, Responder};

use super::{Control, answer};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    answer(responder, install(control, &request.message));
}

fn install(control: &Control, message: &Message) -> super::Answer {
    let name = message.str("child").ok_or("missing configuration name")?;
    let found = control.connections.find_child(message.str("ike"), name);
    let (connection, child) = found.ok_or("configuration name not found")?;
    if control.operations.install(&connection, &child) {
        Ok(Message::success())
    } else {
        Err(format!("installing policy '{name}' failed"))
    }
}
