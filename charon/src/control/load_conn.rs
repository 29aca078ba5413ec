//! `load-conn`: load connections, then run and undo start actions.

use std::sync::Arc;

use ike::config::PeerConfig;
use strongswan::credentials::{CertificateFlags, Store};
use strongswan::identity::{IdType, Identity};
use strongswan::log;
use vici::{Message, Request, Responder};

use super::{Answer, Control, answer, start_action};
use crate::config::{self, LoadError};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    answer(responder, load(control, &request));
}

/// Loads the connections of a message in order. If any of them cannot be used nothing is loaded; strongSwan leaves those
/// before it loaded.
fn load(control: &Control, request: &Request) -> Answer {
    if request.defect.is_some() {
        return Err(LoadError::Malformed.to_string());
    }
    let options = control.operations.auth_options();
    let read = |(name, section)| {
        let loaded = config::load(name, section, options);
        let usable = loaded.and_then(|connection| config::check_supported(&connection).map(|()| connection));
        usable.map_err(|error| {
            log!(CFG, 1, "loading connection '{name}' failed: {error}");
            error.to_string()
        })
    };
    let connections: Vec<_> = request.message.sections().map(read).collect::<Result<_, _>>()?;
    for mut connection in connections {
        share_credentials(&mut connection, &control.credentials);
        let loading = control.loading.lock();
        let change = control.connections.load(connection);
        start_action::apply(&*control.operations, &change);
        drop(loading);
    }
    Ok(Message::success())
}

/// Certificates and keys of a connection are known to all from then on; a certificate that already was is shared.
fn share_credentials(connection: &mut PeerConfig, credentials: &Store) {
    for round in connection.local.iter_mut().chain(&mut connection.remote) {
        for certificate in round.certs.iter_mut().chain(&mut round.cacerts) {
            *certificate = credentials.add_certificate(Arc::clone(certificate), CertificateFlags::default());
        }
        let id = round.id.as_ref().filter(|id| !id.is_any());
        for key in &round.pubkeys {
            let subject = id.cloned().unwrap_or_else(|| Identity::from_encoding(IdType::KeyId, key.fingerprint_sha1()));
            credentials.add_public_key(key.clone(), subject);
        }
    }
}
