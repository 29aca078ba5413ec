//! Certificate revocation lists (RFC 5280 §5): parsed once, entries sorted by serial number.

use std::ops::Range;

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};
use x509_cert::time::Time;

use super::RevocationError;
use crate::clock::UnixTime;
use crate::credentials::certificate::parse::{name, position, sequence, unix_time};
use crate::credentials::certificate::{DistributionPoint, authority_key_id, point_name, points, reasons};
use crate::credentials::keys::PublicKey;
use crate::credentials::pem;
use crate::credentials::scheme::SignatureScheme;
use crate::crypto::hash::sha256;
use crate::identity::{IdType, Identity};

const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
const REASON_CODE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.21");
const INVALIDITY_DATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.24");
const DELTA_CRL: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.27");
const ISSUING_POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");
const CERTIFICATE_ISSUER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.29");
const AUTHORITY_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
const FRESHEST_CRL: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.46");

/// Larger ones are refused: more than the largest public CAs have.
const MAX_LEN: usize = 32 << 20;

/// All reasons but `unspecified`.
pub(super) const ALL_REASONS: u16 = 0x1fe;

/// Why a certificate was revoked (RFC 5280 §5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason(pub u8);

impl Reason {
    pub(super) const REMOVE: Self = Self(8);
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            1 => "key compromise",
            2 => "ca compromise",
            3 => "affiliation changed",
            4 => "superseded",
            5 => "cessation of operation",
            6 => "certificate hold",
            8 => "remove from crl",
            9 => "privilege withdrawn",
            10 => "aa compromise",
            _ => "unspecified",
        })
    }
}

/// An entry that says a certificate is revoked.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    serial: Range<usize>,
    pub(super) when: UnixTime,
    pub(super) reason: Reason,
    /// The certificate's issuer, in an indirect CRL; none if it is the CRL's.
    pub(super) issuer: Option<Identity>,
}

/// The issuingDistributionPoint extension: what the CRL is about.
#[derive(Debug, Default)]
pub(super) struct Scope {
    pub(super) names: Box<[Identity]>,
    pub(super) relative: Option<Box<[u8]>>,
    pub(super) only_user: bool,
    pub(super) only_ca: bool,
    pub(super) only_attribute: bool,
    pub(super) some_reasons: Option<u16>,
    pub(super) indirect: bool,
}

/// A certificate revocation list. Share it behind an `Arc`.
pub struct Crl {
    der: Box<[u8]>,
    fingerprint: [u8; 32],
    signed: Range<usize>,
    signature: Range<usize>,
    scheme: Option<SignatureScheme>,
    issuer: Identity,
    this_update: UnixTime,
    next_update: Option<UnixTime>,
    number: Box<[u8]>,
    base: Option<Box<[u8]>>,
    authority_key_id: Option<Box<[u8]>>,
    pub(super) scope: Option<Scope>,
    freshest: Box<[DistributionPoint]>,
    entries: Vec<Entry>,
    unsupported_critical: bool,
}

impl std::fmt::Debug for Crl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Crl({}, {} entries)", self.issuer, self.entries.len())
    }
}

impl Crl {
    /// Reads a CRL in DER or PEM.
    ///
    /// # Errors
    /// If it is none, or too large.
    pub fn from_der_or_pem(data: &[u8]) -> Result<Self, RevocationError> {
        if data.len() > MAX_LEN {
            return Err(RevocationError::TooLarge);
        }
        let der = pem::der_of(data, &["X509 CRL", "CRL"]).ok_or(RevocationError::Malformed)?;
        parse(der.as_bytes())
    }

    /// The encoding.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the encoding.
    pub(super) fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Who has issued it.
    pub fn issuer(&self) -> &Identity {
        &self.issuer
    }

    /// When it was issued.
    pub fn this_update(&self) -> UnixTime {
        self.this_update
    }

    /// When there is a newer one; without that it is never old.
    pub fn next_update(&self) -> Option<UnixTime> {
        self.next_update
    }

    /// Whether it says only what has changed since another one.
    pub fn is_delta(&self) -> bool {
        self.base.is_some()
    }

    /// The key identifier of its issuer.
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.authority_key_id.as_deref()
    }

    /// Where deltas of it are.
    pub(super) fn freshest(&self) -> &[DistributionPoint] {
        &self.freshest
    }

    /// Whether a delta belongs to this base (RFC 5280 §6.3.3 (c)).
    pub(super) fn is_base_of(&self, delta: &Self) -> bool {
        let Some(base) = &delta.base else { return false };
        self.issuer == delta.issuer
            && self.authority_key_id == delta.authority_key_id
            && !greater(base, &self.number)
            && !greater(&self.number, &delta.number)
    }

    /// Whether it replaces another one: newer, and about the same.
    pub(super) fn supersedes(&self, other: &Self) -> bool {
        self.issuer == other.issuer
            && self.authority_key_id == other.authority_key_id
            && self.is_delta() == other.is_delta()
            && self.scope_key() == other.scope_key()
            && (self.this_update, number_key(&self.number)) >= (other.this_update, number_key(&other.number))
    }

    #[allow(clippy::type_complexity)]
    fn scope_key(&self) -> Option<(&[Identity], Option<&[u8]>, [bool; 3], Option<u16>)> {
        let scope = self.scope.as_ref()?;
        let only = [scope.only_user, scope.only_ca, scope.only_attribute];
        Some((&scope.names, scope.relative.as_deref(), only, scope.some_reasons))
    }

    pub(super) fn is_current(&self, now: UnixTime) -> bool {
        self.next_update.is_none_or(|next| now <= next)
    }

    /// It cannot be understood as its issuer means it.
    pub(super) fn is_unsupported(&self) -> bool {
        self.unsupported_critical
    }

    /// Whether a key has signed it.
    pub(super) fn is_signed_by(&self, key: &PublicKey) -> bool {
        let Some(scheme) = self.scheme else { return false };
        let parts = self.der.get(self.signed.clone()).zip(self.der.get(self.signature.clone()));
        parts.is_some_and(|(signed, signature)| key.verify(scheme, signed, signature).is_ok())
    }

    /// The entry of a certificate.
    pub(super) fn entry(&self, serial: &[u8], issuer: &Identity) -> Option<&Entry> {
        let serial_of = |entry: &Entry| self.der.get(entry.serial.clone()).unwrap_or_default();
        let first = self.entries.partition_point(|entry| serial_of(entry) < serial);
        let same = self.entries.get(first..)?.iter().take_while(|entry| serial_of(entry) == serial);
        same.into_iter().find(|entry| entry.issuer.as_ref().unwrap_or(&self.issuer) == issuer)
    }
}

fn number_key(number: &[u8]) -> (usize, &[u8]) {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    let digits = number.get(start..).unwrap_or_default();
    (digits.len(), digits)
}

/// Compares unsigned numbers.
pub(super) fn greater(a: &[u8], b: &[u8]) -> bool {
    number_key(a) > number_key(b)
}

fn parse(der: &[u8]) -> Result<Crl, RevocationError> {
    let mut crl = sequence(AnyRef::from_der(der)?)?;
    let signed = crl.tlv_bytes()?;
    let algorithm = crl.tlv_bytes()?;
    let signature = BitStringRef::decode(&mut crl)?;
    let signature = signature.as_bytes().ok_or(RevocationError::Malformed)?;
    crl.finish(())?;

    let mut fields = sequence(AnyRef::from_der(signed)?)?;
    if fields.peek_tag()? == Tag::Integer && u8::decode(&mut fields)? != 1 {
        return Err(RevocationError::Malformed);
    }
    if fields.tlv_bytes()? != algorithm {
        return Err(RevocationError::Malformed);
    }
    let issuer = name(&mut fields)?;
    let mut crl = Crl {
        der: der.into(),
        fingerprint: sha256(&[der]),
        signed: position(der, signed).map_err(|_| RevocationError::Malformed)?,
        signature: position(der, signature).map_err(|_| RevocationError::Malformed)?,
        scheme: SignatureScheme::from_algorithm_identifier(algorithm).ok(),
        issuer,
        this_update: unix_time(Time::decode(&mut fields)?),
        next_update: None,
        number: Box::default(),
        base: None,
        authority_key_id: None,
        scope: None,
        freshest: Box::default(),
        entries: Vec::new(),
        unsupported_critical: false,
    };
    if !fields.is_finished() && matches!(fields.peek_tag()?, Tag::UtcTime | Tag::GeneralizedTime) {
        crl.next_update = Some(unix_time(Time::decode(&mut fields)?));
    }
    if !fields.is_finished() && fields.peek_tag()? == Tag::Sequence {
        let mut list = sequence(AnyRef::decode(&mut fields)?)?;
        while !list.is_finished() {
            let issuer = crl.entries.last().and_then(|entry: &Entry| entry.issuer.clone());
            let entry = crl.read_entry(der, sequence(AnyRef::decode(&mut list)?)?, issuer)?;
            crl.entries.push(entry);
        }
    }
    if !fields.is_finished() {
        let field = AnyRef::decode(&mut fields)?;
        field.tag().assert_eq(Tag::ContextSpecific { number: TagNumber::N0, constructed: true })?;
        let mut extensions = sequence(AnyRef::from_der(field.value())?)?;
        while !extensions.is_finished() {
            let (oid, critical, value) = extension(&mut extensions)?;
            if !crl.read_extension(oid, value)? && critical {
                crl.unsupported_critical = true;
            }
        }
    }
    fields.finish(())?;
    // entries of other issuers mean something only if the CRL says that it has such
    if !crl.scope.as_ref().is_some_and(|scope| scope.indirect) && crl.entries.iter().any(|e| e.issuer.is_some()) {
        crl.unsupported_critical = true;
    }
    let Crl { der, entries, .. } = &mut crl;
    entries.sort_by(|a, b| der.get(a.serial.clone()).cmp(&der.get(b.serial.clone())));
    Ok(crl)
}

fn extension<'a>(reader: &mut SliceReader<'a>) -> der::Result<(ObjectIdentifier, bool, &'a [u8])> {
    let mut extension = sequence(AnyRef::decode(reader)?)?;
    let oid = ObjectIdentifier::decode(&mut extension)?;
    let critical = extension.peek_tag()? == Tag::Boolean && bool::decode(&mut extension)?;
    let value = OctetStringRef::decode(&mut extension)?.as_bytes();
    extension.finish((oid, critical, value))
}

impl Crl {
    fn read_entry(
        &mut self,
        der: &[u8],
        mut fields: SliceReader<'_>,
        issuer: Option<Identity>,
    ) -> Result<Entry, RevocationError> {
        let serial = AnyRef::decode(&mut fields)?;
        serial.tag().assert_eq(Tag::Integer)?;
        let serial = position(der, serial.value()).map_err(|_| RevocationError::Malformed)?;
        let when = unix_time(Time::decode(&mut fields)?);
        let mut entry = Entry { serial, when, reason: Reason(0), issuer };
        if !fields.is_finished() {
            let mut extensions = sequence(AnyRef::decode(&mut fields)?)?;
            while !extensions.is_finished() {
                let (oid, critical, value) = extension(&mut extensions)?;
                match oid {
                    REASON_CODE => {
                        let code = AnyRef::from_der(value)?;
                        code.tag().assert_eq(Tag::Enumerated)?;
                        entry.reason = Reason(code.value().last().copied().unwrap_or(0));
                    }
                    CERTIFICATE_ISSUER => {
                        let (names, _) = crate::credentials::certificate::general_names(value)?;
                        entry.issuer = names.into_iter().find(|name| name.id_type() == IdType::DerAsn1Dn);
                    }
                    INVALIDITY_DATE => {}
                    // RFC 5280 §5.3: then the CRL must not be used to find out that others are good
                    _ => self.unsupported_critical |= critical,
                }
            }
        }
        Ok(fields.finish(entry)?)
    }

    fn read_extension(&mut self, oid: ObjectIdentifier, value: &[u8]) -> der::Result<bool> {
        let integer = || {
            let number = AnyRef::from_der(value)?;
            number.tag().assert_eq(Tag::Integer)?;
            Ok::<Box<[u8]>, der::Error>(number.value().into())
        };
        match oid {
            CRL_NUMBER => self.number = integer()?,
            DELTA_CRL => self.base = Some(integer()?),
            AUTHORITY_KEY_ID => self.authority_key_id = authority_key_id(value)?,
            FRESHEST_CRL => self.freshest = points(value)?,
            ISSUING_POINT => self.scope = Some(scope(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn scope(value: &[u8]) -> der::Result<Scope> {
    let mut fields = sequence(AnyRef::from_der(value)?)?;
    let mut scope = Scope::default();
    while !fields.is_finished() {
        let field = AnyRef::decode(&mut fields)?;
        let Tag::ContextSpecific { number, .. } = field.tag() else { return Err(field.tag().value_error()) };
        let set = || field.value().first().is_some_and(|byte| *byte != 0);
        match number {
            TagNumber::N0 => (scope.names, scope.relative) = point_name(field.value())?,
            TagNumber::N1 => scope.only_user = set(),
            TagNumber::N2 => scope.only_ca = set(),
            TagNumber::N3 => scope.some_reasons = Some(reasons(field.value())),
            TagNumber::N4 => scope.indirect = set(),
            TagNumber::N5 => scope.only_attribute = set(),
            _ => return Err(field.tag().value_error()),
        }
    }
    Ok(scope)
}
