//! `flush-certs`: forget what was fetched about certificates, and the certificates of peers.

use vici::{Message, Request, Responder};

use super::certificate_type::CertificateType;
use super::{Control, answer};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    let kind = match request.message.str("type") {
        None => CertificateType::Any,
        Some(name) => match CertificateType::parse(name) {
            Some((kind, _)) => kind,
            None => return answer(responder, Err(format!("invalid certificate type '{name}'"))),
        },
    };
    let flushed = |wanted| kind == CertificateType::Any || kind == wanted;
    if flushed(CertificateType::X509) {
        control.credentials.flush_cache();
    }
    if flushed(CertificateType::X509Crl) {
        control.credentials.flush_crls();
    }
    if flushed(CertificateType::OcspResponse) {
        control.credentials.flush_ocsp();
    }
    answer(responder, Ok(Message::success()));
}
