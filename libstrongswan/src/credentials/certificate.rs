//! X.509 certificates (RFC 5280), parsed once into what authentication asks for again and again.
//!
//! The DER is walked in place: signatures are over the bytes as they came, and a certificate of a peer is parsed in
//! a handshake. What is not needed is not kept. Trust is decided in [`super::trust`].

mod constraints;
mod distribution;
mod extensions;
pub(super) mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;

use der::asn1::ObjectIdentifier;
use thiserror::Error;

use super::keys::{KeyError, PublicKey};
use super::pem;
use super::scheme::SignatureScheme;
use crate::clock::UnixTime;
use crate::crypto::hash::sha1;
use crate::identity::{IdType, Identity, Match};
pub(super) use constraints::{ANY_POLICY, NameConstraints, NameForm, PolicyConstraints, Subtree};
pub use distribution::DistributionPoint;
pub(super) use distribution::{point_name, points, reasons};
use extensions::Extensions;
pub use extensions::KeyUsage;
pub(super) use extensions::{authority_key_id, general_names};

/// Larger ones are refused: a peer has to get them through IKE, and nobody's certificate comes near.
const MAX_LEN: usize = 65_535;

/// Why a certificate could not be read.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum CertificateError {
    /// It is not a DER or PEM encoded certificate.
    #[error("malformed certificate")]
    Malformed,
    /// It is larger than anything reasonable.
    #[error("certificate too large")]
    TooLarge,
    /// Its public key is of no use.
    #[error("public key of certificate: {0}")]
    PublicKey(#[from] KeyError),
}

impl From<der::Error> for CertificateError {
    fn from(_: der::Error) -> Self {
        Self::Malformed
    }
}

/// Why a certificate was not issued by another one.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum IssueError {
    /// Names or key identifiers do not fit.
    #[error("names or key identifiers do not match")]
    Unrelated,
    /// The issuer is not allowed to issue certificates.
    #[error("issuer is not a CA")]
    NotCa,
    /// The signature is of a kind that is not supported.
    #[error("unsupported signature algorithm")]
    UnsupportedSignature,
    /// The signature is wrong.
    #[error("signature does not verify")]
    BadSignature,
}

/// A parsed X.509 certificate. Share it behind an `Arc`.
pub struct Certificate {
    der: Box<[u8]>,
    fingerprint: [u8; 32],
    signed: Range<usize>,
    signature: Range<usize>,
    scheme: Option<SignatureScheme>,
    serial: Box<[u8]>,
    subject: Identity,
    issuer: Identity,
    not_before: UnixTime,
    not_after: UnixTime,
    public_key: PublicKey,
    extensions: Extensions,
}

impl Certificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// If it is none, or has a public key that is not supported.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_LEN {
            return Err(CertificateError::TooLarge);
        }
        parse::parse(der)
    }

    /// Reads a certificate in DER or the first one in PEM.
    ///
    /// # Errors
    /// As above.
    pub fn from_der_or_pem(data: &[u8]) -> Result<Self, CertificateError> {
        let labels = ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"];
        let der = pem::der_of(data, &labels).ok_or(CertificateError::Malformed)?;
        Self::from_der(der.as_bytes())
    }

    /// The encoding.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the encoding: what certificates are told apart by.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// SHA-1 of the encoding, as in hash-and-URL payloads.
    pub fn sha1(&self) -> [u8; 20] {
        sha1(&[&self.der])
    }

    /// The subject's distinguished name, which may be empty.
    pub fn subject(&self) -> &Identity {
        &self.subject
    }

    /// The issuer's distinguished name.
    pub fn issuer(&self) -> &Identity {
        &self.issuer
    }

    /// The subject alternative names.
    pub fn subject_alt_names(&self) -> &[Identity] {
        &self.extensions.alt_names
    }

    /// The serial number, big-endian.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// The subject's key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// First second of its life.
    pub fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// Last second of its life.
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// Whether `now` lies within its life.
    pub fn is_valid_at(&self, now: UnixTime) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// Whether it has the CA basic constraint.
    pub fn is_ca(&self) -> bool {
        self.extensions.basic_constraints.is_some_and(|constraints| constraints.ca)
    }

    /// Whether basic constraints and key usage let it issue certificates.
    pub fn may_issue(&self) -> bool {
        self.is_ca() && self.key_usage().is_none_or(KeyUsage::allows_issuing)
    }

    /// How many CAs may follow below this one.
    pub fn path_len(&self) -> Option<u8> {
        self.extensions
            .basic_constraints
            .filter(|constraints| constraints.ca)
            .and_then(|constraints| constraints.path_len)
    }

    /// Whether it may sign OCSP responses for its issuer.
    pub fn is_ocsp_signer(&self) -> bool {
        self.extensions.ocsp_signer
    }

    /// The keyUsage extension.
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.extensions.key_usage
    }

    /// The subject key identifier extension.
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.extensions.subject_key_id.as_deref()
    }

    /// The key identifier of the authority key identifier extension.
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.extensions.authority_key_id.as_deref()
    }

    /// Certificate policies.
    pub fn policies(&self) -> &[ObjectIdentifier] {
        &self.extensions.policies
    }

    /// Whether it names a place to ask for its status (CRL distribution points or OCSP).
    pub fn has_revocation_source(&self) -> bool {
        !self.ocsp_uris().is_empty() || !self.distribution_points().is_empty()
    }

    /// Where to find CRLs.
    pub fn distribution_points(&self) -> &[DistributionPoint] {
        &self.extensions.distribution_points
    }

    /// Where to find delta CRLs.
    pub fn freshest_crl(&self) -> &[DistributionPoint] {
        &self.extensions.freshest_crl
    }

    /// OCSP responders.
    pub fn ocsp_uris(&self) -> &[Box<str>] {
        &self.extensions.ocsp_uris
    }

    /// Restrictions on the names below.
    pub(super) fn name_constraints(&self) -> Option<&NameConstraints> {
        self.extensions.name_constraints.as_deref()
    }

    /// Whether there is an alternative name of that form which no identity stands for.
    pub(super) fn has_other_name(&self, form: NameForm) -> bool {
        self.extensions.other_forms & form.bit() != 0
    }

    /// Restrictions on the policies below.
    pub(super) fn policy_constraints(&self) -> PolicyConstraints {
        self.extensions.policy_constraints
    }

    /// How many certificates may follow in which anyPolicy counts.
    pub(super) fn inhibit_any_policy(&self) -> Option<u32> {
        self.extensions.inhibit_any_policy
    }

    /// Policies of the issuer with those of the subject that they are equal to.
    pub(super) fn policy_mappings(&self) -> &[(ObjectIdentifier, ObjectIdentifier)] {
        &self.extensions.policy_mappings
    }

    /// A critical extension that nothing here interprets, for which RFC 5280 §4.2 demands to reject the certificate.
    pub fn unsupported_critical_extension(&self) -> Option<ObjectIdentifier> {
        self.extensions.unsupported_critical
    }

    /// How it is signed, if that is known here.
    pub fn signature_scheme(&self) -> Option<SignatureScheme> {
        self.scheme
    }

    /// Whether issuer and subject are the same name. It takes [`Self::issued_by`] to know whether it is self-signed.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// Whether `issuer` may have issued it, judged by names and key identifiers alone.
    pub fn may_be_issued_by(&self, issuer: &Self) -> bool {
        // RFC 5280 §6.1.3 (a)(4). strongSwan is content with matching key identifiers.
        let names = self.issuer == issuer.subject;
        let keys = self.authority_key_id().zip(issuer.subject_key_id()).is_none_or(|(wanted, key)| wanted == key);
        names && keys
    }

    /// Checks that `issuer` has issued it: names, CA flag, key usage and signature. Nothing is said about validity or
    /// trust.
    ///
    /// # Errors
    /// What is wrong.
    pub fn issued_by(&self, issuer: &Self) -> Result<(), IssueError> {
        if !self.may_be_issued_by(issuer) {
            return Err(IssueError::Unrelated);
        }
        let itself = self.fingerprint == issuer.fingerprint;
        // RFC 5280 §6.1.4 (k), (n). A self-signed end entity is its own issuer.
        if !itself && !issuer.may_issue() {
            return Err(IssueError::NotCa);
        }
        let scheme = self.scheme.ok_or(IssueError::UnsupportedSignature)?;
        let (Some(signed), Some(signature)) = (self.der.get(self.signed.clone()), self.der.get(self.signature.clone()))
        else {
            return Err(IssueError::BadSignature);
        };
        issuer.public_key.verify(scheme, signed, signature).map_err(|_| IssueError::BadSignature)
    }

    /// How well the certificate belongs to `id`: by its names, or if that is a key id, by any of its fingerprints or
    /// its serial number.
    pub fn matches_identity(&self, id: &Identity) -> Match {
        let wanted = id.encoding();
        if id.id_type() == IdType::KeyId
            && (self.key_ids().any(|key_id| key_id == wanted) || self.sha1() == wanted || *self.serial == *wanted)
        {
            return Match::PERFECT;
        }
        self.names().map(|name| name.matches(id)).max().unwrap_or_default()
    }

    /// Whether a peer that calls itself `id` may use the certificate. What a peer claims is never a pattern: wildcards
    /// and ranges in it have to be in the certificate as they are. Only RDNs may be missing, if matching is relaxed.
    pub fn confirms_identity(&self, id: &Identity) -> bool {
        if id.contains_wildcards() {
            return !id.is_any() && self.names().any(|name| name == id);
        }
        let quality = self.matches_identity(id);
        quality == Match::PERFECT || (id.id_type() == IdType::DerAsn1Dn && quality.is_match())
    }

    /// Subject and alternative names.
    pub fn names(&self) -> impl Iterator<Item = &Identity> {
        std::iter::once(&self.subject).chain(&self.extensions.alt_names)
    }

    /// What identifies its key: the subject key identifier and both fingerprints.
    pub(super) fn key_ids(&self) -> impl Iterator<Item = &[u8]> {
        let fingerprints = [self.public_key.fingerprint_sha1(), self.public_key.spki_sha1()];
        self.subject_key_id().into_iter().chain(fingerprints.map(<[u8; 20]>::as_slice))
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Certificate {}

impl Hash for Certificate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fingerprint.hash(state);
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, {})", self.subject, hex::encode(self.fingerprint.get(..4).unwrap_or_default()))
    }
}
