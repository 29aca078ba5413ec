//! `rekey`: have IKE_SAs or CHILD_SAs rekeyed. The answer does not wait for it.

use vici::{Message, Request, Responder};

use super::selector::{Selector, Target};
use super::{Control, answer};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    let selector = Selector::from_message(&request.message);
    if selector.is_empty() {
        return answer(responder, Err("missing rekey selector".to_owned()));
    }
    let reauth = request.message.bool("reauth").unwrap_or(false);
    let targets = selector.targets(&*control.operations);
    for target in &targets {
        match *target {
            Target::Ike(id) => control.operations.rekey_ike(id, reauth),
            Target::Child(id) => control.operations.rekey_child(id),
        }
    }
    let mut message = Message::new();
    message.push("success", !targets.is_empty()).push("matches", targets.len());
    if targets.is_empty() {
        message.push("errmsg", "no matching SAs to rekey found");
    }
    responder.reply(&message);
}
