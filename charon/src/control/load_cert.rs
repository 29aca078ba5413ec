//! `load-cert`: load a certificate or a raw public key.

use std::sync::Arc;

use strongswan::credentials::revocation::Crl;
use strongswan::credentials::{Certificate, PublicKey, Store};
use strongswan::identity::{IdType, Identity};
use strongswan::log;
use vici::{Message, Request, Responder};

use super::certificate_type::{CertificateFlag, CertificateType};
use super::{Answer, Control, answer};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    answer(responder, load(&control.credentials, &request.message));
}

fn load(credentials: &Store, message: &Message) -> Answer {
    let name = message.str("type").ok_or("certificate type missing")?;
    let (kind, implied) = CertificateType::parse(name).ok_or_else(|| format!("invalid certificate type '{name}'"))?;
    let flag = match (kind, message.str("flag")) {
        (CertificateType::X509, Some(flag)) if implied.is_none() => {
            CertificateFlag::parse(flag).ok_or_else(|| format!("invalid certificate flag '{flag}'"))?
        }
        _ => implied.unwrap_or(CertificateFlag::None),
    };
    let data = message.get("data").filter(|data| !data.is_empty()).ok_or("certificate data missing")?;
    match kind {
        CertificateType::X509 => load_x509(credentials, data, flag)?,
        CertificateType::Pubkey => load_public_key(credentials, data)?,
        CertificateType::X509Crl => load_crl(credentials, data)?,
        // of attribute certificates and the rest nothing is known here yet
        CertificateType::Any
        | CertificateType::OcspRequest
        | CertificateType::OcspResponse
        | CertificateType::X509Ac
        | CertificateType::Pkcs10Request
        | CertificateType::Pgp => {
            log!(CFG, 1, "certificates of type {kind} are not supported");
            return Err(parsing_failed(kind));
        }
    }
    Ok(Message::success())
}

fn parsing_failed(kind: CertificateType) -> String {
    format!("parsing {kind} certificate failed")
}

fn load_x509(credentials: &Store, data: &[u8], flag: CertificateFlag) -> Result<(), String> {
    let certificate = Certificate::from_der_or_pem(data).map_err(|error| {
        log!(CFG, 1, "parsing X509 certificate failed: {error}");
        parsing_failed(CertificateType::X509)
    })?;
    if flag == CertificateFlag::Ca && !certificate.is_ca() {
        return Err("ca certificate lacks CA basic constraint, rejected".to_owned());
    }
    log!(CFG, 1, "loaded certificate '{}'", certificate.subject());
    credentials.add_certificate(Arc::new(certificate), flag.flags());
    Ok(())
}

fn load_crl(credentials: &Store, data: &[u8]) -> Result<(), String> {
    let crl = Crl::from_der_or_pem(data).map_err(|error| {
        log!(CFG, 1, "parsing X509_CRL certificate failed: {error}");
        parsing_failed(CertificateType::X509Crl)
    })?;
    log!(CFG, 1, "loaded crl issued by '{}'", crl.issuer());
    credentials.add_crl(crl);
    Ok(())
}

fn load_public_key(credentials: &Store, data: &[u8]) -> Result<(), String> {
    let key = PublicKey::from_der_or_pem(data).map_err(|error| {
        log!(CFG, 1, "parsing PUBKEY certificate failed: {error}");
        parsing_failed(CertificateType::Pubkey)
    })?;
    let subject = Identity::from_encoding(IdType::KeyId, key.fingerprint_sha1());
    log!(CFG, 1, "loaded certificate '{subject}'");
    credentials.add_public_key(key, subject);
    Ok(())
}
