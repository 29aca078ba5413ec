//! Where to ask about a certificate: CRL distribution points, freshest CRLs and authority information access
//! (RFC 5280 §4.2.1.13, §4.2.1.15, §4.2.2.1).

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};

use super::extensions::general_name;
use super::parse::sequence;
use crate::identity::{IdType, Identity};

const OCSP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");

/// A CRL distribution point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistributionPoint {
    /// Its names, URIs among them; a name relative to its issuer is left as it is encoded.
    pub(in crate::credentials) names: Box<[Identity]>,
    /// Its name relative to the CRL issuer (an RDN).
    pub(in crate::credentials) relative: Option<Box<[u8]>>,
    /// Who issues the CRL, if not the certificate's issuer.
    pub(in crate::credentials) issuer: Option<Identity>,
    /// It says nothing about all other reasons.
    pub(in crate::credentials) some_reasons: Option<u16>,
}

impl DistributionPoint {
    /// URIs of the CRL.
    pub fn uris(&self) -> impl Iterator<Item = &str> {
        let uris = self.names.iter().filter(|name| name.id_type() == IdType::Uri);
        uris.filter_map(|uri| std::str::from_utf8(uri.encoding()).ok())
    }

    /// Who issues the CRL, if not the certificate's issuer.
    pub fn issuer(&self) -> Option<&Identity> {
        self.issuer.as_ref()
    }
}

/// Reads CRLDistributionPoints.
pub(in crate::credentials) fn points(value: &[u8]) -> der::Result<Box<[DistributionPoint]>> {
    let mut reader = sequence(AnyRef::from_der(value)?)?;
    let mut points = Vec::new();
    while !reader.is_finished() {
        let mut fields = sequence(AnyRef::decode(&mut reader)?)?;
        let mut point = DistributionPoint { names: Box::default(), relative: None, issuer: None, some_reasons: None };
        while !fields.is_finished() {
            let field = AnyRef::decode(&mut fields)?;
            match field.tag() {
                Tag::ContextSpecific { number: TagNumber::N0, .. } => {
                    (point.names, point.relative) = point_name(field.value())?;
                }
                Tag::ContextSpecific { number: TagNumber::N1, .. } => {
                    point.some_reasons = Some(reasons(field.value()));
                }
                Tag::ContextSpecific { number: TagNumber::N2, .. } => {
                    let names = names(field.value())?;
                    point.issuer = names.into_iter().find(|name| name.id_type() == IdType::DerAsn1Dn);
                }
                tag => return Err(tag.value_error()),
            }
        }
        points.push(point);
    }
    Ok(points.into())
}

/// The bits of ReasonFlags, the first one lowest.
pub(in crate::credentials) fn reasons(value: &[u8]) -> u16 {
    let mut bits = 0;
    let bytes = value.get(1..3.min(value.len())).unwrap_or_default();
    for (index, byte) in bytes.iter().enumerate() {
        for bit in 0..8_usize {
            if byte & (0x80 >> bit) != 0 {
                bits |= u32::try_from(index * 8 + bit).ok().and_then(|at| 1_u16.checked_shl(at)).unwrap_or(0);
            }
        }
    }
    bits
}

/// A DistributionPointName: full names, or one RDN.
#[allow(clippy::type_complexity)]
pub(in crate::credentials) fn point_name(value: &[u8]) -> der::Result<(Box<[Identity]>, Option<Box<[u8]>>)> {
    let name = AnyRef::from_der(value)?;
    match name.tag() {
        Tag::ContextSpecific { number: TagNumber::N0, .. } => Ok((names(name.value())?.into(), None)),
        Tag::ContextSpecific { number: TagNumber::N1, .. } => Ok((Box::default(), Some(name.value().into()))),
        tag => Err(tag.value_error()),
    }
}

/// GeneralNames without their tag.
fn names(value: &[u8]) -> der::Result<Vec<Identity>> {
    let mut reader = SliceReader::new(value)?;
    let mut names = Vec::new();
    while !reader.is_finished() {
        names.extend(general_name(reader.tlv_bytes()?)?);
    }
    Ok(names)
}

/// The OCSP responders of AuthorityInfoAccess.
pub(super) fn ocsp_uris(value: &[u8]) -> der::Result<Box<[Box<str>]>> {
    let mut reader = sequence(AnyRef::from_der(value)?)?;
    let mut uris = Vec::new();
    while !reader.is_finished() {
        let mut fields = sequence(AnyRef::decode(&mut reader)?)?;
        let method = ObjectIdentifier::decode(&mut fields)?;
        let place = fields.tlv_bytes()?;
        if method != OCSP {
            continue;
        }
        let uri = general_name(place)?.filter(|name| name.id_type() == IdType::Uri);
        uris.extend(uri.and_then(|uri| Some(std::str::from_utf8(uri.encoding()).ok()?.into())));
    }
    Ok(uris.into())
}
