//! `unload-authority`: unload a certification authority, and its certificate unless that was loaded otherwise, too.

use vici::{Message, Request, Responder};

use super::{Answer, Control, answer};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    answer(responder, unload(control, &request.message));
}

fn unload(control: &Control, message: &Message) -> Answer {
    let name = message.str("name").ok_or("unload: missing authority name")?;
    if !control.authorities.unload(name) {
        return Err(format!("unload: authority '{name}' not found"));
    }
    Ok(Message::success())
}
