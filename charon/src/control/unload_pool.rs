//! `unload-pool`: unload a pool whose addresses are not in use.

use vici::{Message, Request, Responder};

use super::{Control, answer};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    let Some(name) = request.message.str("name") else {
        return answer(responder, Err("missing pool name to unload".to_owned()));
    };
    let unloaded = control.pools.unload(name);
    answer(responder, unloaded.map(|()| Message::success()).map_err(|error| error.to_string()));
}
