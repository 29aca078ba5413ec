//! `reload-settings`: read strongswan.conf again.

use vici::{Message, Request, Responder};

use super::{Control, answer};

pub(super) fn run(control: &Control, _request: Request, responder: Responder) {
    let reloaded = control.operations.reload_settings();
    answer(responder, reloaded.map(|()| Message::success()).map_err(|file| format!("reloading '{file}' failed")));
}
