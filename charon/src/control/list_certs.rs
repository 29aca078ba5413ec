//! `list-certs`: one `list-cert` event for each certificate and raw public key.

use strongswan::credentials::{Store, StoredCertificate, StoredKey};
use strongswan::identity::{IdType, Identity};
use vici::{Message, Request, Responder};

use super::Control;
use super::certificate_type::{CertificateFlag, CertificateType};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    let Some(filter) = Filter::from_message(&request.message) else {
        // an invalid type or flag lists nothing and is no error
        return responder.reply(&Message::new());
    };
    let credentials = &control.credentials;
    let mut events = Vec::new();
    if filter.admits(CertificateType::Pubkey) {
        let keys = credentials.public_keys().into_iter();
        events.extend(
            keys.filter(|stored| filter.fits(|id| &stored.subject == id)).map(|key| raw_key(credentials, &key)),
        );
    }
    if filter.admits(CertificateType::X509) {
        let certificates = credentials.certificates();
        for flag in CertificateFlag::LISTED.into_iter().filter(|flag| filter.flag.admits(*flag)) {
            let listed = certificates.iter().filter(|stored| flag.is_exactly(stored.flags));
            let listed = listed
                .filter(|stored| filter.fits(|id| stored.certificate.names().any(|name| name.matches(id).is_match())));
            events.extend(listed.map(|stored| x509(credentials, stored, flag)));
        }
    }
    if filter.admits(CertificateType::X509Crl) {
        let crls = credentials.crls().into_iter().filter(|crl| filter.fits(|id| crl.issuer().matches(id).is_match()));
        events.extend(crls.map(|crl| encoded(CertificateType::X509Crl, crl.der())));
    }
    if filter.admits(CertificateType::OcspResponse) && filter.subject.is_none() {
        let responses = credentials.ocsp_responses();
        events.extend(responses.iter().map(|response| encoded(CertificateType::OcspResponse, response.der())));
    }
    responder.stream("list-cert", events.into_iter(), Message::new());
}

/// What is asked for.
struct Filter {
    kind: CertificateType,
    flag: CertificateFlag,
    subject: Option<Identity>,
}

impl Filter {
    fn from_message(message: &Message) -> Option<Self> {
        let (kind, implied) = match message.str("type") {
            Some(name) => CertificateType::parse(name)?,
            None => (CertificateType::Any, None),
        };
        let flag = match (kind, implied, message.str("flag")) {
            (CertificateType::X509, None, Some(name)) => CertificateFlag::parse(name)?,
            (_, implied, _) => implied.unwrap_or(CertificateFlag::Any),
        };
        Some(Self { kind, flag, subject: message.str("subject").map(Identity::parse) })
    }

    fn admits(&self, kind: CertificateType) -> bool {
        self.kind == CertificateType::Any || self.kind == kind
    }

    fn fits(&self, matches: impl FnOnce(&Identity) -> bool) -> bool {
        self.subject.as_ref().is_none_or(matches)
    }
}

fn x509(credentials: &Store, stored: &StoredCertificate, flag: CertificateFlag) -> Message {
    let certificate = &stored.certificate;
    let mut message = Message::new();
    message.push("type", "X509").push("flag", flag.to_string());
    message.push_some("has_privkey", credentials.private_key_of(certificate.public_key()).map(|_| true));
    message.push("data", certificate.der());
    message
}

fn encoded(kind: CertificateType, der: &[u8]) -> Message {
    let mut message = Message::new();
    message.push("type", kind.to_string()).push("data", der);
    message
}

fn raw_key(credentials: &Store, stored: &StoredKey) -> Message {
    let mut message = Message::new();
    message.push("type", "PUBKEY");
    message.push_some("has_privkey", credentials.private_key_of(&stored.key).map(|_| true));
    message.push("data", stored.key.spki_der());
    if stored.subject.id_type() != IdType::KeyId {
        message.push("subject", stored.subject.to_string());
    }
    message
}
