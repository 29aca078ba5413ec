//! `get-keys`: ids of the loaded private keys, newest first.

use vici::{Message, Request, Responder};

use super::Control;

pub(super) fn run(control: &Control, _request: Request, responder: Responder) {
    let ids = control.credentials.private_key_ids();
    responder.reply(&Message::new().with_list("keys", ids.iter().map(hex::encode)));
}
