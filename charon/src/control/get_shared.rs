//! `get-shared`: ids of the loaded shared secrets, newest first; those without are not listed.

use vici::{Message, Request, Responder};

use super::Control;

pub(super) fn run(control: &Control, _request: Request, responder: Responder) {
    responder.reply(&Message::new().with_list("keys", control.credentials.secret_ids()));
}
