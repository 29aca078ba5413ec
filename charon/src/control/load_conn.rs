//! `load-conn`: load connections, then run and undo start actions.

use vici::{Message, Request, Responder};

use super::{Answer, Control, answer, start_action};
use crate::config::{self, LoadError};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    answer(responder, load(control, &request));
}

/// Loads the connections of a message in order. The first error ends it; connections before it stay loaded. Of a
/// malformed message nothing is loaded.
fn load(control: &Control, request: &Request) -> Answer {
    if request.defect.is_some() {
        return Err(LoadError::Malformed.to_string());
    }
    for (name, section) in request.message.sections() {
        let connection = config::load(name, section).map_err(|error| error.to_string())?;
        let loading = control.loading.lock();
        let change = control.connections.load(connection);
        start_action::apply(&*control.operations, &change);
        drop(loading);
    }
    Ok(Message::success())
}
