//! `get-authorities`: names of the loaded certification authorities.

use vici::{Message, Request, Responder};

use super::Control;

pub(super) fn run(control: &Control, _request: Request, responder: Responder) {
    let authorities = control.authorities.all();
    responder.reply(&Message::new().with_list("authorities", authorities.iter().map(|authority| &*authority.name)));
}
