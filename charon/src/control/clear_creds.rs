//! `clear-creds`: forget all certificates, private keys and shared secrets.

use vici::{Message, Request, Responder};

use super::Control;

pub(super) fn run(control: &Control, _request: Request, responder: Responder) {
    control.credentials.clear();
    responder.reply(&Message::success());
}
