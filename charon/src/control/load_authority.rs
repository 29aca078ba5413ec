//! `load-authority`: load certification authorities.

use vici::{Message, Request, Responder};

use super::{Answer, Control, answer};
use crate::config::{AuthorityError, load_authority};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    answer(responder, load(control, &request));
}

/// Loads the authorities of a message in order, all or none.
fn load(control: &Control, request: &Request) -> Answer {
    if request.defect.is_some() {
        return Err(AuthorityError::Malformed.to_string());
    }
    let authorities: Result<Vec<_>, _> =
        request.message.sections().map(|(name, section)| load_authority(name, section)).collect();
    authorities
        .map_err(|error| error.to_string())?
        .into_iter()
        .for_each(|authority| control.authorities.load(authority));
    Ok(Message::success())
}
