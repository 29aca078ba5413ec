//! Certificate requests, and certificates the peer sends: what has to be known before AUTH can be made or verified
//! (RFC 7296 §3.6, §3.7).

use std::sync::Arc;

use strongswan::credentials::Certificate;
use strongswan::log;

use crate::config::PeerConfig;
use crate::env::Env;
use crate::sa::{Conditions, IkeSa};
use crate::task::TaskType;
use crate::v2::task::{Incoming, Outgoing, Progress, Step, Task};
use crate::wire::{CertEncoding, CertReq, ExchangeType, NotifyType};

/// Requests both ways and certificates of the peer, either role.
#[derive(Debug, Default)]
pub(crate) struct CertPre {
    requested: bool,
    /// The peer has completed its last round: no more certificates follow.
    peer_done: bool,
}

impl CertPre {
    /// Asks for certificates: the initiator in its first IKE_AUTH, the responder in IKE_SA_INIT.
    fn request(&mut self, sa: &IkeSa, env: &Env<'_>, message: &mut Outgoing) {
        let due = match sa.id.role {
            crate::Role::Initiator => message.exchange() == ExchangeType::IkeAuth,
            crate::Role::Responder => message.message.sa().is_some() && message.exchange() == ExchangeType::IkeSaInit,
        };
        if self.requested || !due || !sa.ike_config().is_some_and(|config| config.send_certreq) {
            return;
        }
        self.requested = true;
        let mut cas = sa.config().map(|config| configured_cas(config)).unwrap_or_default();
        if cas.is_empty() {
            cas = env.credentials.trusted_cas();
        }
        for ca in &cas {
            log!(IKE, 1, "sending cert request for \"{}\"", ca.subject());
        }
        if sa.requests_ocsp() {
            // RFC 4806 §3.1: without hashes the peer may choose any responder
            message.push(CertReq { encoding: CertEncoding::OcspContent, data: Vec::new() });
        }
        if !cas.is_empty() {
            message.push(CertReq::x509(cas.iter().map(|ca| *ca.public_key().spki_sha1())));
        }
    }

    fn read_requests(sa: &mut IkeSa, env: &Env<'_>, incoming: &Incoming) {
        let mut unknown: usize = 0;
        for request in incoming.message.certreqs() {
            sa.conditions |= Conditions::CERTREQ_SEEN;
            if request.encoding == CertEncoding::OcspContent {
                sa.conditions |= Conditions::OCSP_REQUESTED;
                continue;
            }
            if request.encoding != CertEncoding::X509Signature {
                log!(IKE, 1, "cert payload {} not supported - ignored", request.encoding);
                continue;
            }
            for key_id in request.key_ids() {
                let Some(ca) = env.credentials.ca_by_spki_sha1(key_id) else {
                    unknown = unknown.saturating_add(1);
                    continue;
                };
                let Some(handshake) = sa.handshake() else { continue };
                // nobody knows yet who asks, who could ask for the same one thousands of times
                if !handshake.anchors.contains(&ca) {
                    log!(IKE, 1, "received cert request for \"{}\"", ca.subject());
                    handshake.anchors.push(ca);
                }
            }
        }
        if unknown > 0 {
            log!(IKE, 1, "received {unknown} cert requests for an unknown ca");
        }
    }

    fn read_certificates(sa: &mut IkeSa, env: &Env<'_>, incoming: &Incoming) {
        let mut received: Vec<Arc<Certificate>> = Vec::new();
        for payload in incoming.message.certs() {
            if matches!(payload.encoding, CertEncoding::OcspContent | CertEncoding::Crl) {
                // looked at before
                continue;
            }
            if payload.encoding != CertEncoding::X509Signature {
                log!(ENC, 1, "certificate encoding {} not supported", payload.encoding);
                continue;
            }
            match env.credentials.parse_certificate(&payload.data) {
                Ok(certificate) => {
                    let kind = if received.is_empty() { "end entity" } else { "issuer" };
                    log!(IKE, 1, "received {kind} cert \"{}\"", certificate.subject());
                    received.push(certificate);
                }
                Err(error) => log!(IKE, 1, "parsing certificate of the peer failed: {error}"),
            }
        }
        if let Some(handshake) = sa.handshake().filter(|_| !received.is_empty()) {
            handshake.presented = received;
        }
    }
}

/// The CAs that any round of the peer demands.
fn configured_cas(config: &PeerConfig) -> Vec<Arc<Certificate>> {
    let mut cas: Vec<Arc<Certificate>> = Vec::new();
    for ca in config.remote.iter().flat_map(|round| &round.cacerts) {
        if ca.is_ca() && !cas.contains(ca) {
            cas.push(Arc::clone(ca));
        }
    }
    cas
}

impl Task for CertPre {
    fn kind(&self) -> TaskType {
        TaskType::IkeCertPre
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        self.request(sa, env, message);
        Ok(if self.peer_done { Progress::Done } else { Progress::More })
    }

    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, incoming: &Incoming) -> Step {
        Self::read_requests(sa, env, incoming);
        Self::read_certificates(sa, env, incoming);
        let message = &incoming.message;
        self.peer_done = message.auth().is_some() && !message.has_notify(NotifyType::AnotherAuthFollows);
        let finished = self.peer_done && sa.id.role == crate::Role::Initiator;
        Ok(if finished { Progress::Done } else { Progress::More })
    }

    fn reset(&mut self, _sa: &mut IkeSa, _env: &mut Env<'_>) {
        self.requested = false;
    }
}
