//! `get-conns`: names of the loaded connections.

use vici::{Message, Request, Responder};

use super::Control;

pub(super) fn run(control: &Control, _request: Request, responder: Responder) {
    let connections = control.connections.all();
    responder.reply(&Message::new().with_list("conns", connections.iter().map(|connection| &*connection.name)));
}
