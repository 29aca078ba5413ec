//! Online certificate status (RFC 6960): requests, and responses with their verification.

use std::ops::Range;
use std::sync::Arc;

use der::asn1::{AnyRef, BitStringRef, GeneralizedTime, ObjectIdentifier, OctetStringRef};
use der::{Decode, Reader, Tag, TagNumber, Tagged};
use spki::SubjectPublicKeyInfoRef;

use super::RevocationError;
use super::crl::Reason;
use crate::clock::UnixTime;
use crate::credentials::certificate::Certificate;
use crate::credentials::certificate::parse::{position, sequence};
use crate::credentials::scheme::SignatureScheme;
use crate::crypto::hash::{sha1, sha256, sha384, sha512};
use crate::identity::{IdType, Identity};

const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
const NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// Larger ones are refused: a response is about one certificate and has a few certificates itself.
const MAX_LEN: usize = 256 << 10;

/// Certificates in a response that are looked at.
const MAX_CERTIFICATES: usize = 8;

/// How old a response without an end may be.
const MAX_AGE: i64 = 24 * 3600;

/// Clocks may differ.
const CLOCK_SKEW: i64 = 300;

/// What a responder says about a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Good,
    Revoked(UnixTime, Reason),
    Unknown,
}

#[derive(Debug)]
struct Single {
    hash: ObjectIdentifier,
    name_hash: Box<[u8]>,
    key_hash: Box<[u8]>,
    serial: Box<[u8]>,
    said: Said,
    this_update: UnixTime,
    next_update: Option<UnixTime>,
}

#[derive(Debug)]
enum Responder {
    Name(Identity),
    Key(Box<[u8]>),
}

/// An OCSP response. Share it behind an `Arc`.
pub struct OcspResponse {
    der: Box<[u8]>,
    signed: Range<usize>,
    signature: Range<usize>,
    scheme: Option<SignatureScheme>,
    responder: Responder,
    produced_at: UnixTime,
    singles: Vec<Single>,
    nonce: Option<Box<[u8]>>,
    certificates: Vec<Arc<Certificate>>,
}

impl std::fmt::Debug for OcspResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OcspResponse({} answers)", self.singles.len())
    }
}

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    let bytes = len.to_be_bytes();
    let digits =
        bytes.iter().position(|byte| *byte != 0).map_or(&[][..], |start| bytes.get(start..).unwrap_or_default());
    match u8::try_from(len) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            out.push(0x80 | u8::try_from(digits.len()).unwrap_or(0x7f));
            out.extend(digits);
        }
    }
    parts.iter().for_each(|part| out.extend(*part));
    out
}

/// A request about a certificate, in DER.
pub(super) fn request(subject: &Certificate, issuer: &Certificate, nonce: &[u8]) -> Vec<u8> {
    let algorithm = tlv(0x30, &[&tlv(0x06, &[SHA1.as_bytes()]), &[0x05, 0x00]]);
    let name_hash = tlv(0x04, &[&sha1(&[issuer.subject().encoding()])]);
    let key_hash = tlv(0x04, &[issuer.public_key().fingerprint_sha1()]);
    let cert_id = tlv(0x30, &[&algorithm, &name_hash, &key_hash, &tlv(0x02, &[subject.serial()])]);
    let list = tlv(0x30, &[&tlv(0x30, &[&cert_id])]);
    if nonce.is_empty() {
        return tlv(0x30, &[&tlv(0x30, &[&list])]);
    }
    let value = tlv(0x04, &[&tlv(0x04, &[nonce])]);
    let extension = tlv(0x30, &[&tlv(0x06, &[NONCE.as_bytes()]), &value]);
    tlv(0x30, &[&tlv(0x30, &[&list, &tlv(0xa2, &[&tlv(0x30, &[&extension])])])])
}

impl OcspResponse {
    /// Reads a response in DER.
    ///
    /// # Errors
    /// If it is none, says that the responder failed, or is too large.
    pub fn from_der(der: &[u8]) -> Result<Self, RevocationError> {
        if der.len() > MAX_LEN {
            return Err(RevocationError::TooLarge);
        }
        parse(der)
    }

    /// The encoding.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether it answers a request with this nonce, as far as it says. Prepared responses have none.
    pub(super) fn answers(&self, nonce: &[u8]) -> bool {
        self.nonce.as_ref().is_none_or(|ours| **ours == *nonce)
    }

    fn single(&self, subject: &Certificate, issuer: &Certificate) -> Option<&Single> {
        self.singles.iter().find(|single| {
            let hash = |data: &[u8]| match single.hash {
                SHA1 => sha1(&[data]).to_vec(),
                SHA256 => sha256(&[data]).to_vec(),
                SHA384 => sha384(&[data]).to_vec(),
                SHA512 => sha512(&[data]).to_vec(),
                _ => Vec::new(),
            };
            let info = SubjectPublicKeyInfoRef::from_der(issuer.public_key().spki_der());
            let key = || info.map(|info| hash(info.subject_public_key.raw_bytes())).unwrap_or_default();
            *single.serial == *subject.serial()
                && *single.name_hash == *hash(issuer.subject().encoding())
                && *single.key_hash == *key()
        })
    }

    /// What it says about a certificate, and until when that holds; `Err` if that is over.
    pub(super) fn says(
        &self,
        subject: &Certificate,
        issuer: &Certificate,
        now: UnixTime,
    ) -> Option<(Said, Result<UnixTime, UnixTime>)> {
        let single = self.single(subject, issuer)?;
        if single.this_update.0 > now.0.saturating_add(CLOCK_SKEW) {
            return None;
        }
        let until = single
            .next_update
            .unwrap_or_else(|| UnixTime(single.this_update.0.max(self.produced_at.0).saturating_add(MAX_AGE)));
        let until = if now.0 <= until.0.saturating_add(CLOCK_SKEW) { Ok(until) } else { Err(until) };
        Some((single.said, until))
    }

    fn was_made_by(&self, signer: &Certificate) -> bool {
        match &self.responder {
            Responder::Name(name) => signer.subject() == name,
            Responder::Key(key) => *signer.public_key().fingerprint_sha1() == **key,
        }
    }

    fn is_signed_by(&self, signer: &Certificate) -> bool {
        let Some(scheme) = self.scheme else { return false };
        let parts = self.der.get(self.signed.clone()).zip(self.der.get(self.signature.clone()));
        parts.is_some_and(|(signed, signature)| signer.public_key().verify(scheme, signed, signature).is_ok())
    }

    /// Who has signed it and may (RFC 6960 §4.2.2.2): the issuer, someone the issuer has delegated to, or someone who is
    /// trusted for it here.
    pub(super) fn signer(
        &self,
        issuer: &Arc<Certificate>,
        trusted: &[Arc<Certificate>],
        now: UnixTime,
    ) -> Option<Arc<Certificate>> {
        let delegated = self.certificates.iter().filter(|certificate| {
            certificate.is_ocsp_signer()
                && certificate.is_valid_at(now)
                && certificate.unsupported_critical_extension().is_none()
                && certificate.issued_by(issuer).is_ok()
        });
        let mut candidates = std::iter::once(issuer).chain(trusted).filter(|signer| self.was_made_by(signer));
        candidates.find(|signer| self.is_signed_by(signer)).cloned().or_else(|| {
            delegated.filter(|signer| self.was_made_by(signer)).find(|signer| self.is_signed_by(signer)).cloned()
        })
    }

    /// Whom it names as its signer.
    pub(super) fn responder(&self) -> String {
        match &self.responder {
            Responder::Name(name) => name.to_string(),
            Responder::Key(key) => hex::encode(key),
        }
    }
}

fn time(reader: &mut der::SliceReader<'_>) -> der::Result<UnixTime> {
    let time = GeneralizedTime::decode(reader)?;
    Ok(UnixTime(i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)))
}

const fn context(number: TagNumber) -> Tag {
    Tag::ContextSpecific { number, constructed: true }
}

fn parse(der: &[u8]) -> Result<OcspResponse, RevocationError> {
    let mut outer = sequence(AnyRef::from_der(der)?)?;
    let status = AnyRef::decode(&mut outer)?;
    status.tag().assert_eq(Tag::Enumerated)?;
    match status.value() {
        [0] => {}
        [code] => return Err(RevocationError::ResponderFailed(*code)),
        _ => return Err(RevocationError::Malformed),
    }
    let bytes = AnyRef::decode(&mut outer)?;
    bytes.tag().assert_eq(context(TagNumber::N0))?;
    outer.finish(())?;
    let mut bytes = sequence(AnyRef::from_der(bytes.value())?)?;
    if ObjectIdentifier::decode(&mut bytes)? != BASIC {
        return Err(RevocationError::Malformed);
    }
    let basic = OctetStringRef::decode(&mut bytes)?.as_bytes();
    let mut basic = sequence(AnyRef::from_der(basic)?)?;
    let signed = basic.tlv_bytes()?;
    let algorithm = basic.tlv_bytes()?;
    let signature = BitStringRef::decode(&mut basic)?;
    let signature = signature.as_bytes().ok_or(RevocationError::Malformed)?;
    let mut certificates = Vec::new();
    if !basic.is_finished() {
        let field = AnyRef::decode(&mut basic)?;
        field.tag().assert_eq(context(TagNumber::N0))?;
        let mut list = sequence(AnyRef::from_der(field.value())?)?;
        while !list.is_finished() && certificates.len() < MAX_CERTIFICATES {
            // one of a kind that is not known here is no reason to reject the rest
            certificates.extend(Certificate::from_der(list.tlv_bytes()?).map(Arc::new));
        }
    }
    let mut data = sequence(AnyRef::from_der(signed)?)?;
    if data.peek_tag()? == context(TagNumber::N0) {
        let version = AnyRef::decode(&mut data)?;
        if u8::from_der(version.value())? != 0 {
            return Err(RevocationError::Malformed);
        }
    }
    let responder = AnyRef::decode(&mut data)?;
    let responder = match responder.tag() {
        tag if tag == context(TagNumber::N1) => {
            Responder::Name(Identity::from_encoding(IdType::DerAsn1Dn, responder.value()))
        }
        tag if tag == context(TagNumber::N2) => {
            Responder::Key(OctetStringRef::from_der(responder.value())?.as_bytes().into())
        }
        _ => return Err(RevocationError::Malformed),
    };
    let produced_at = time(&mut data)?;
    let mut list = sequence(AnyRef::decode(&mut data)?)?;
    let mut singles = Vec::new();
    while !list.is_finished() {
        singles.push(single(AnyRef::decode(&mut list)?)?);
    }
    let mut nonce = None;
    if !data.is_finished() {
        let field = AnyRef::decode(&mut data)?;
        field.tag().assert_eq(context(TagNumber::N1))?;
        let mut extensions = sequence(AnyRef::from_der(field.value())?)?;
        while !extensions.is_finished() {
            let mut extension = sequence(AnyRef::decode(&mut extensions)?)?;
            let oid = ObjectIdentifier::decode(&mut extension)?;
            let critical = extension.peek_tag()? == Tag::Boolean && bool::decode(&mut extension)?;
            let value = OctetStringRef::decode(&mut extension)?.as_bytes();
            match oid {
                // RFC 8954; some responders leave out the inner octet string
                NONCE => nonce = Some(OctetStringRef::from_der(value).map_or(value, |inner| inner.as_bytes()).into()),
                _ if critical => return Err(RevocationError::Malformed),
                _ => {}
            }
        }
    }
    data.finish(())?;
    let place = |part| position(der, part).map_err(|_| RevocationError::Malformed);
    Ok(OcspResponse {
        signed: place(signed)?,
        signature: place(signature)?,
        scheme: SignatureScheme::from_algorithm_identifier(algorithm).ok(),
        responder,
        produced_at,
        singles,
        nonce,
        certificates,
        der: der.into(),
    })
}

fn single(any: AnyRef<'_>) -> Result<Single, RevocationError> {
    let mut fields = sequence(any)?;
    let mut id = sequence(AnyRef::decode(&mut fields)?)?;
    let hash = ObjectIdentifier::decode(&mut sequence(AnyRef::decode(&mut id)?)?)?;
    let name_hash = OctetStringRef::decode(&mut id)?.as_bytes().into();
    let key_hash = OctetStringRef::decode(&mut id)?.as_bytes().into();
    let serial = AnyRef::decode(&mut id)?;
    serial.tag().assert_eq(Tag::Integer)?;
    let status = AnyRef::decode(&mut fields)?;
    let Tag::ContextSpecific { number, .. } = status.tag() else { return Err(RevocationError::Malformed) };
    let said = match number {
        TagNumber::N0 => Said::Good,
        TagNumber::N1 => {
            let mut info = der::SliceReader::new(status.value())?;
            let when = time(&mut info)?;
            let mut reason = Reason(0);
            if !info.is_finished() {
                let field = AnyRef::decode(&mut info)?;
                let code = AnyRef::from_der(field.value())?;
                reason = Reason(code.value().last().copied().unwrap_or(0));
            }
            Said::Revoked(when, reason)
        }
        TagNumber::N2 => Said::Unknown,
        _ => return Err(RevocationError::Malformed),
    };
    let this_update = time(&mut fields)?;
    let mut next_update = None;
    while !fields.is_finished() {
        let field = AnyRef::decode(&mut fields)?;
        if field.tag() == context(TagNumber::N0) {
            next_update = Some(time(&mut der::SliceReader::new(field.value())?)?);
        }
    }
    Ok(Single { hash, name_hash, key_hash, serial: serial.value().into(), said, this_update, next_update })
}
