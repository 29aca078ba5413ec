//! Certificate extensions (RFC 5280 §4.2) as far as they are interpreted.

use std::net::IpAddr;

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};
use x509_cert::ext::pkix::BasicConstraints;

use super::CertificateError;
use super::constraints::{self, NameConstraints, PolicyConstraints};
use super::distribution::{self, DistributionPoint};
use super::parse::sequence;
use crate::identity::{IdType, Identity};

const SUBJECT_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const ISSUER_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.18");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const NAME_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.30");
const CRL_DISTRIBUTION_POINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.31");
const CERTIFICATE_POLICIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.32");
const POLICY_MAPPINGS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.33");
const AUTHORITY_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
const POLICY_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.36");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const INHIBIT_ANY_POLICY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.54");
const FRESHEST_CRL: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.46");
const AUTHORITY_INFO_ACCESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.1");
const OCSP_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9");

/// The bits of the keyUsage extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUsage(u8);

impl KeyUsage {
    const DIGITAL_SIGNATURE: u8 = 0x80;
    const NON_REPUDIATION: u8 = 0x40;
    const KEY_CERT_SIGN: u8 = 0x04;
    const CRL_SIGN: u8 = 0x02;

    /// Whether the key may authenticate an IKE peer.
    pub fn allows_signing(self) -> bool {
        self.0 & (Self::DIGITAL_SIGNATURE | Self::NON_REPUDIATION) != 0
    }

    /// Whether the key may sign CRLs.
    pub fn allows_crls(self) -> bool {
        self.0 & Self::CRL_SIGN != 0
    }

    /// Whether the key may sign certificates.
    pub fn allows_issuing(self) -> bool {
        self.0 & Self::KEY_CERT_SIGN != 0
    }
}

#[derive(Default)]
pub(super) struct Extensions {
    pub(super) alt_names: Box<[Identity]>,
    pub(super) basic_constraints: Option<Basic>,
    pub(super) key_usage: Option<KeyUsage>,
    pub(super) subject_key_id: Option<Box<[u8]>>,
    pub(super) authority_key_id: Option<Box<[u8]>>,
    /// Forms (tag numbers of GeneralName) of alternative names that no identity stands for.
    pub(super) other_forms: u16,
    pub(super) policies: Box<[ObjectIdentifier]>,
    pub(super) policy_mappings: Box<[(ObjectIdentifier, ObjectIdentifier)]>,
    pub(super) policy_constraints: PolicyConstraints,
    pub(super) inhibit_any_policy: Option<u32>,
    pub(super) name_constraints: Option<Box<NameConstraints>>,
    pub(super) ocsp_signer: bool,
    pub(super) distribution_points: Box<[DistributionPoint]>,
    pub(super) freshest_crl: Box<[DistributionPoint]>,
    pub(super) ocsp_uris: Box<[Box<str>]>,
    pub(super) unsupported_critical: Option<ObjectIdentifier>,
}

/// Basic constraints.
#[derive(Clone, Copy)]
pub(super) struct Basic {
    pub(super) ca: bool,
    pub(super) path_len: Option<u8>,
}

impl Extensions {
    /// Reads the SEQUENCE of extensions.
    pub(super) fn read(&mut self, extensions: AnyRef<'_>) -> Result<(), CertificateError> {
        let mut reader = sequence(extensions)?;
        let mut seen = smallvec::SmallVec::<[ObjectIdentifier; 12]>::new();
        while !reader.is_finished() {
            let mut extension = sequence(AnyRef::decode(&mut reader)?)?;
            let oid = ObjectIdentifier::decode(&mut extension)?;
            let critical = extension.peek_tag()? == Tag::Boolean && bool::decode(&mut extension)?;
            let value = OctetStringRef::decode(&mut extension)?.as_bytes();
            extension.finish(())?;
            // RFC 5280 §4.2: no extension twice, which would leave open which one counts.
            if seen.contains(&oid) {
                return Err(CertificateError::Malformed);
            }
            seen.push(oid);
            if !self.read_one(oid, value)? && critical {
                self.unsupported_critical.get_or_insert(oid);
            }
        }
        Ok(())
    }

    /// Whether the extension is one we honour.
    fn read_one(&mut self, oid: ObjectIdentifier, value: &[u8]) -> Result<bool, CertificateError> {
        match oid {
            SUBJECT_KEY_ID => self.subject_key_id = Some(OctetStringRef::from_der(value)?.as_bytes().into()),
            AUTHORITY_KEY_ID => self.authority_key_id = authority_key_id(value)?,
            KEY_USAGE => {
                let bits = BitStringRef::from_der(value)?;
                self.key_usage = Some(KeyUsage(bits.raw_bytes().first().copied().unwrap_or(0)));
            }
            SUBJECT_ALT_NAME => (self.alt_names, self.other_forms) = general_names(value)?,
            BASIC_CONSTRAINTS => {
                let constraints = BasicConstraints::from_der(value)?;
                self.basic_constraints = Some(Basic { ca: constraints.ca, path_len: constraints.path_len_constraint });
            }
            CERTIFICATE_POLICIES => self.policies = first_oids(value)?,
            EXTENDED_KEY_USAGE => {
                let mut purposes = sequence(AnyRef::from_der(value)?)?;
                while !purposes.is_finished() {
                    self.ocsp_signer |= ObjectIdentifier::decode(&mut purposes)? == OCSP_SIGNING;
                }
            }
            CRL_DISTRIBUTION_POINTS => self.distribution_points = distribution::points(value)?,
            FRESHEST_CRL => self.freshest_crl = distribution::points(value)?,
            AUTHORITY_INFO_ACCESS => self.ocsp_uris = distribution::ocsp_uris(value)?,
            POLICY_MAPPINGS => self.policy_mappings = constraints::policy_mappings(value)?,
            POLICY_CONSTRAINTS => self.policy_constraints = PolicyConstraints::parse(value)?,
            INHIBIT_ANY_POLICY => self.inhibit_any_policy = Some(constraints::skip_certs(AnyRef::from_der(value)?)?),
            NAME_CONSTRAINTS => self.name_constraints = Some(Box::new(NameConstraints::parse(value)?)),
            // of no consequence: alternative names of issuers are not used
            ISSUER_ALT_NAME => {}
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// The first OID of each SEQUENCE in a SEQUENCE.
fn first_oids(value: &[u8]) -> der::Result<Box<[ObjectIdentifier]>> {
    let mut outer = sequence(AnyRef::from_der(value)?)?;
    let mut oids = Vec::new();
    while !outer.is_finished() {
        oids.push(ObjectIdentifier::decode(&mut sequence(AnyRef::decode(&mut outer)?)?)?);
    }
    Ok(oids.into())
}

pub(in crate::credentials) fn authority_key_id(value: &[u8]) -> der::Result<Option<Box<[u8]>>> {
    let mut fields = sequence(AnyRef::from_der(value)?)?;
    if fields.is_finished() {
        return Ok(None);
    }
    let first = AnyRef::decode(&mut fields)?;
    let is_key_id = first.tag() == Tag::ContextSpecific { constructed: false, number: TagNumber::N0 };
    Ok(is_key_id.then(|| first.value().into()))
}

/// Names, and the forms of those that no identity stands for.
pub(in crate::credentials) fn general_names(value: &[u8]) -> der::Result<(Box<[Identity]>, u16)> {
    let mut reader = sequence(AnyRef::from_der(value)?)?;
    let (mut names, mut others) = (Vec::new(), 0);
    while !reader.is_finished() {
        let encoded = reader.tlv_bytes()?;
        match general_name(encoded)? {
            Some(name) => names.push(name),
            None => others |= constraints::form_bit(AnyRef::from_der(encoded)?.tag()),
        }
    }
    Ok((names.into(), others))
}

/// A GeneralName (RFC 5280 §4.2.1.6); those that no identity can stand for are left out.
pub(super) fn general_name(encoded: &[u8]) -> der::Result<Option<Identity>> {
    let name = AnyRef::from_der(encoded)?;
    let Tag::ContextSpecific { number, .. } = name.tag() else { return Err(name.tag().value_error()) };
    let identity = match number {
        TagNumber::N0 => Identity::from_encoding(IdType::DerAsn1Gn, encoded),
        TagNumber::N1 => Identity::from_encoding(IdType::Rfc822Addr, name.value()),
        TagNumber::N2 => Identity::from_encoding(IdType::Fqdn, name.value()),
        TagNumber::N4 => {
            // A directory name is tagged explicitly, being a CHOICE.
            let mut reader = SliceReader::new(name.value())?;
            let directory_name = reader.tlv_bytes()?;
            reader.finish(Identity::from_encoding(IdType::DerAsn1Dn, directory_name))?
        }
        TagNumber::N6 => Identity::from_encoding(IdType::Uri, name.value()),
        TagNumber::N7 => {
            let v4 = <[u8; 4]>::try_from(name.value()).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(name.value()).map(IpAddr::from);
            match v4.or(v6) {
                Ok(address) => address.into(),
                Err(_) => return Ok(None),
            }
        }
        _ => return Ok(None),
    };
    Ok(Some(identity))
}
