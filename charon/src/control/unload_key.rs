//! `unload-key`: forget a private key.

use vici::{Message, Request, Responder};

use super::{Answer, Control, answer};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    answer(responder, unload(control, &request.message));
}

fn unload(control: &Control, message: &Message) -> Answer {
    let id = message.str("id").ok_or("key id missing")?;
    let digits: String = id.trim_start_matches("0x").chars().filter(|c| *c != ':').collect();
    let known = hex::decode(digits).is_ok_and(|id| control.credentials.remove_private_key(&id));
    if known { Ok(Message::success()) } else { Err("key not found".to_owned()) }
}
