//! The walk over the fields of a certificate (RFC 5280 §4.1).

use std::ops::Range;

use der::asn1::{AnyRef, BitStringRef, ContextSpecific};
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};
use x509_cert::time::{Time, Validity};

use super::{Certificate, CertificateError, Extensions};
use crate::clock::UnixTime;
use crate::credentials::keys::PublicKey;
use crate::credentials::scheme::SignatureScheme;
use crate::crypto::hash::sha256;
use crate::identity::{IdType, Identity};

/// A reader over the contents of a sequence.
pub(in crate::credentials) fn sequence<'a>(any: AnyRef<'a>) -> der::Result<SliceReader<'a>> {
    any.tag().assert_eq(Tag::Sequence)?;
    SliceReader::new(any.value())
}

pub(super) fn parse(der: &[u8]) -> Result<Certificate, CertificateError> {
    let mut certificate = sequence(AnyRef::from_der(der)?)?;
    let signed = certificate.tlv_bytes()?;
    let algorithm = certificate.tlv_bytes()?;
    let signature = BitStringRef::decode(&mut certificate)?;
    let signature = signature.as_bytes().ok_or(CertificateError::Malformed)?;
    certificate.finish(())?;

    let mut fields = sequence(AnyRef::from_der(signed)?)?;
    let version = ContextSpecific::<u8>::decode_explicit(&mut fields, TagNumber::N0)?.map_or(0, |field| field.value);
    let serial = AnyRef::decode(&mut fields)?;
    serial.tag().assert_eq(Tag::Integer)?;
    // RFC 5280 §4.1.1.2: the algorithm inside of what is signed is the same one.
    if fields.tlv_bytes()? != algorithm || version > 2 {
        return Err(CertificateError::Malformed);
    }
    let issuer = name(&mut fields)?;
    let validity = Validity::decode(&mut fields)?;
    let subject = name(&mut fields)?;
    let public_key = fields.tlv_bytes()?;
    let mut extensions = Extensions::default();
    while !fields.is_finished() {
        let field = AnyRef::decode(&mut fields)?;
        match field.tag() {
            // Unique identifiers of version 2, which nobody uses.
            Tag::ContextSpecific { number: TagNumber::N1 | TagNumber::N2, .. } if version > 0 => {}
            Tag::ContextSpecific { number: TagNumber::N3, constructed: true } if version == 2 => {
                extensions.read(AnyRef::from_der(field.value())?)?;
            }
            _ => return Err(CertificateError::Malformed),
        }
    }
    Ok(Certificate {
        fingerprint: sha256(&[der]),
        signed: position(der, signed)?,
        signature: position(der, signature)?,
        scheme: SignatureScheme::from_algorithm_identifier(algorithm).ok(),
        serial: serial.value().into(),
        subject,
        issuer,
        not_before: unix_time(validity.not_before),
        not_after: unix_time(validity.not_after),
        public_key: PublicKey::from_spki_der(public_key)?,
        extensions,
        der: der.into(),
    })
}

pub(in crate::credentials) fn name(reader: &mut SliceReader<'_>) -> der::Result<Identity> {
    let encoded = reader.tlv_bytes()?;
    AnyRef::from_der(encoded)?.tag().assert_eq(Tag::Sequence)?;
    Ok(Identity::from_encoding(IdType::DerAsn1Dn, encoded))
}

pub(in crate::credentials) fn unix_time(time: Time) -> UnixTime {
    UnixTime(i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX))
}

/// Where `part`, a slice of `whole`, lies in it.
pub(in crate::credentials) fn position(whole: &[u8], part: &[u8]) -> Result<Range<usize>, CertificateError> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr()).ok_or(CertificateError::Malformed)?;
    Ok(start..start.saturating_add(part.len()))
}
