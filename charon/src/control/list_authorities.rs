//! `list-authorities`: one `list-authority` event for each certification authority.

use vici::{Message, Request, Responder};

use super::Control;
use crate::config::Authority;

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    let name = request.message.str("name");
    let mut authorities = control.authorities.all();
    authorities.retain(|authority| name.is_none_or(|name| *authority.name == *name));
    responder.stream("list-authority", authorities.into_iter().map(|authority| event(&authority)), Message::new());
}

fn event(authority: &Authority) -> Message {
    let mut block = Message::new().with("cacert", authority.certificate.subject().to_string());
    block.push_list("crl_uris", &authority.crl_uris);
    block.push_list("ocsp_uris", &authority.ocsp_uris);
    block.push_some("cert_uri_base", authority.cert_uri_base.as_deref());
    Message::new().with_section(authority.name.to_string(), block)
}
