//! Messages that are put aside until somebody has asked whether the certificates in them were revoked.
//!
//! Who is to be asked depends on the chain, so that nothing is asked about a certificate nobody trusts. What was found out is
//! then in the credential store, and the message is processed as if it had arrived only now.

use std::sync::Arc;

use strongswan::credentials::Certificate;
use strongswan::log;

use super::task::Incoming;
use crate::config::Ocsp;
use crate::env::Env;
use crate::output::Output;
use crate::sa::{IkeSa, Timer};
use crate::wire::{AuthMethod, CertEncoding, ExchangeType, Message};

/// A message that waits.
#[derive(Debug)]
pub(crate) struct Held {
    incoming: Incoming,
    /// SHA-1 of its datagram.
    hash: [u8; 20],
    number: u64,
}

impl Held {
    pub(super) fn is_request(&self) -> bool {
        self.incoming.message.header.is_request()
    }
}

impl IkeSa {
    /// Puts a message aside if there is something to find out first, else gives it back.
    pub(super) fn put_aside(&mut self, env: &Env<'_>, incoming: Incoming, hash: [u8; 20]) -> Option<Incoming> {
        let message = &incoming.message;
        let signed = message.auth().is_some_and(|auth| auth.method != AuthMethod::SharedKey);
        if message.header.exchange != ExchangeType::IkeAuth || !signed {
            return Some(incoming);
        }
        let id = if message.header.is_request() { message.id_i() } else { message.id_r() };
        let Some(id) = id.map(crate::wire::Id::identity) else { return Some(incoming) };
        let presented = certificates(env, message);
        let of = |encoding| message.certs().filter(move |cert| cert.encoding == encoding).map(|cert| &*cert.data);
        let mut responses: Vec<&[u8]> = of(CertEncoding::OcspContent).collect();
        if !responses.is_empty() && !self.requests_ocsp() {
            log!(IKE, 1, "received OCSP response, but we didn't request any, ignore");
            responses.clear();
        }
        let crls: Vec<&[u8]> = of(CertEncoding::Crl).collect();
        if !responses.is_empty() || !crls.is_empty() {
            env.credentials.offer(&id, &presented, &responses, &crls, env.wall);
        }
        let queries = env.credentials.status_queries(&id, &presented, env.wall);
        if queries.is_empty() {
            return Some(incoming);
        }
        if message.header.is_response() {
            self.timers.stop(Timer::Retransmit);
        }
        self.exchanges.inquiries = self.exchanges.inquiries.wrapping_add(1);
        let number = self.exchanges.inquiries;
        self.push(Output::Inquire { queries, number });
        self.exchanges.held = Some(Box::new(Held { incoming, hash, number }));
        None
    }

    /// Everybody was asked.
    pub(crate) fn inquired(&mut self, env: &mut Env<'_>, number: u64) {
        let Some(held) = self.exchanges.held.take_if(|held| held.number == number) else { return };
        // meanwhile the IKE_SA may have been told to end
        if !self.admits(&held.incoming.message.header) {
            return;
        }
        if held.is_request() {
            self.process_request(env, &held.incoming, held.hash);
        } else {
            self.process_response(env, &held.incoming);
        }
    }

    /// Whether we ask peers for OCSP responses about their certificates.
    pub(crate) fn requests_ocsp(&self) -> bool {
        self.ike_config().is_some_and(|config| matches!(config.ocsp, Ocsp::Request | Ocsp::Both))
    }

    /// Whether we send peers OCSP responses about ours.
    pub(crate) fn replies_ocsp(&self) -> bool {
        self.ike_config().is_some_and(|config| matches!(config.ocsp, Ocsp::Reply | Ocsp::Both))
    }
}

fn certificates(env: &Env<'_>, message: &Message) -> Vec<Arc<Certificate>> {
    let certs = message.certs().filter(|cert| cert.encoding == CertEncoding::X509Signature);
    certs.filter_map(|cert| env.credentials.parse_certificate(&cert.data).ok()).collect()
}
