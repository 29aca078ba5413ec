//! `unload-conn`: unload a connection and undo its start actions.

use vici::{Message, Request, Responder};

use super::{Answer, Control, answer, start_action};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    answer(responder, unload(control, &request.message));
}

fn unload(control: &Control, message: &Message) -> Answer {
    let name = message.str("name").ok_or("unload: missing connection name")?;
    let loading = control.loading.lock();
    let change = control.connections.unload(name);
    let change = change.ok_or_else(|| format!("unload: connection '{name}' not found"))?;
    start_action::apply(&*control.operations, &change);
    drop(loading);
    Ok(Message::success())
}
