//! `load-authority`: load certification authorities.

use vici::{Message, Request, Responder};

use super::{Answer, Control, answer};
use crate::config::{AuthorityError, load_authority};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    answer(responder, load(control, &request));
}

/// Loads the authorities of a message in order. The first error ends it; those before it stay loaded.
fn load(control: &Control, request: &Request) -> Answer {
    if request.defect.is_some() {
        return Err(AuthorityError::Malformed.to_string());
    }
    for (name, section) in request.message.sections() {
        control.authorities.load(load_authority(name, section).map_err(|error| error.to_string())?);
    }
    Ok(Message::success())
}
