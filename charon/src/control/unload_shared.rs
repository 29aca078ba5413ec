//! `unload-shared`: forget a shared secret. Unknown ids are fine.

use vici::{Message, Request, Responder};

use super::{Control, answer};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    let unloaded = match request.message.str("id") {
        Some(id) => {
            control.credentials.remove_secret(id);
            Ok(Message::success())
        }
        None => Err("unique identifier missing".to_owned()),
    };
    answer(responder, unloaded);
}
