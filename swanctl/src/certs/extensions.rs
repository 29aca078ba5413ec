//! Extensions of certificates that are only ever shown.

use der::asn1::{AnyRef, Ia5StringRef, ObjectIdentifier, Utf8StringRef};
use der::{Decode, Encode, Reader, SliceReader, Tagged};
use x509_cert::Certificate;
use x509_cert::ext::pkix::constraints::name::GeneralSubtree;
use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::name::DistributionPointName;
use x509_cert::ext::pkix::{
    AuthorityInfoAccessSyntax, BasicConstraints, CertificatePolicies, CrlDistributionPoints, ExtendedKeyUsage,
    KeyUsage, KeyUsages, NameConstraints, PolicyMappings,
};

use super::{Sheet, names};

const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
const OCSP_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9");
const IKE_INTERMEDIATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.8.2.2");
const SMARTCARD_LOGON: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.20.2.2");
const OCSP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");
const CPS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.2.1");
const USER_NOTICE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.2.2");
const POLICY_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.36");
const INHIBIT_ANY_POLICY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.54");

/// An extension, if the certificate has it and it can be read.
fn get<'a, T: Decode<'a> + der::oid::AssociatedOid>(certificate: &'a Certificate) -> Option<T> {
    Some(certificate.tbs_certificate.get::<T>().ok()??.1)
}

/// What it may be used for, each followed by a blank but one. The list may be empty for a certificate that may
/// authenticate an IKE peer (RFC 4945 §5.1.3.2); there is none for one that may not even do that.
pub(super) fn flags(certificate: &Certificate, self_signed: bool) -> Option<String> {
    let purposes = get::<ExtendedKeyUsage>(certificate).map(|usage| usage.0).unwrap_or_default();
    let ca = get::<BasicConstraints>(certificate).is_some_and(|constraints| constraints.ca);
    let crl_sign = get::<KeyUsage>(certificate).is_some_and(|usage| usage.0.contains(KeyUsages::CRLSign));
    let flags: String = [
        (ca, "CA "),
        (crl_sign, "CRLSign "),
        (purposes.contains(&OCSP_SIGNING), "ocspSigning "),
        (purposes.contains(&SERVER_AUTH), "serverAuth "),
        (purposes.contains(&CLIENT_AUTH), "clientAuth "),
        (purposes.contains(&IKE_INTERMEDIATE), "ikeIntermediate "),
        (purposes.contains(&SMARTCARD_LOGON), "msSmartcardLogon"),
        (self_signed, "self-signed "),
    ]
    .into_iter()
    .filter_map(|(set, name)| set.then_some(name))
    .collect();
    let signing = KeyUsages::DigitalSignature | KeyUsages::NonRepudiation;
    let may_sign = get::<KeyUsage>(certificate).is_none_or(|usage| !usage.0.is_disjoint(signing));
    (may_sign || !flags.is_empty()).then_some(flags)
}

/// Where to fetch CRLs and to ask for the status.
pub(super) fn uris(sheet: &mut Sheet, certificate: &Certificate) {
    let points = get::<CrlDistributionPoints>(certificate).map(|points| points.0).unwrap_or_default();
    sheet.fields("CRL URIs:", points.iter().flat_map(crl_uris));
    let access = get::<AuthorityInfoAccessSyntax>(certificate).map(|access| access.0).unwrap_or_default();
    let responders = access.iter().filter(|access| access.access_method == OCSP);
    sheet.fields("OCSP URIs:", responders.filter_map(|access| names::general(&access.access_location)));
}

/// The URIs of a distribution point, with who issues the CRL if that is somebody else.
pub(super) fn crl_uris(point: &DistributionPoint) -> Vec<String> {
    let issuer = point.crl_issuer.iter().flatten().find_map(names::general);
    let issuer = issuer.map(|issuer| format!(" (CRL issuer: {issuer})")).unwrap_or_default();
    match &point.distribution_point {
        Some(DistributionPointName::FullName(uris)) => {
            uris.iter().filter_map(names::general).map(|uri| format!("{uri}{issuer}")).collect()
        }
        Some(DistributionPointName::NameRelativeToCRLIssuer(_)) | None => Vec::new(),
    }
}

/// How long a chain may be, which names and which policies it may have.
pub(super) fn constraints(sheet: &mut Sheet, certificate: &Certificate) {
    if let Some(length) = get::<BasicConstraints>(certificate).and_then(|constraints| constraints.path_len_constraint) {
        sheet.field("pathlen:", length);
    }
    if let Some(constraints) = get::<NameConstraints>(certificate) {
        let kinds = [("permitted", constraints.permitted_subtrees), ("excluded", constraints.excluded_subtrees)];
        for (kind, subtrees) in kinds {
            if let Some(subtrees) = subtrees {
                sheet.heading(&format!("{kind} nameConstraints:"), 11, subtrees.iter().filter_map(subtree));
            }
        }
    }
    policies(sheet, certificate);
    if let Some(mappings) = get::<PolicyMappings>(certificate) {
        let mappings = mappings.0.iter();
        let shown =
            mappings.map(|mapping| format!("{} => {}", mapping.issuer_domain_policy, mapping.subject_domain_policy));
        sheet.heading("policyMappings:", 11, shown);
    }
    let (explicit, mapping) = policy_constraints(certificate);
    let any = extension(certificate, INHIBIT_ANY_POLICY).and_then(|value| u32::from_der(value).ok());
    let limits = [("requireExplicitPolicy", explicit), ("inhibitPolicyMapping", mapping), ("inhibitAnyPolicy", any)];
    let limits: Vec<String> =
        limits.into_iter().filter_map(|(name, limit)| limit.map(|limit| format!("{name}: {limit}"))).collect();
    if !limits.is_empty() {
        sheet.heading("policyConstraints:", 11, limits);
    }
}

fn subtree(subtree: &GeneralSubtree) -> Option<String> {
    names::general(&subtree.base)
}

/// The value of an extension.
fn extension(certificate: &Certificate, oid: ObjectIdentifier) -> Option<&[u8]> {
    let extensions = certificate.tbs_certificate.extensions.as_ref()?;
    extensions.iter().find(|extension| extension.extn_id == oid).map(|extension| extension.extn_value.as_bytes())
}

/// `requireExplicitPolicy` and `inhibitPolicyMapping`. RFC 5280 tags them implicitly, strongSwan's pki explicitly.
fn policy_constraints(certificate: &Certificate) -> (Option<u32>, Option<u32>) {
    let mut found = (None, None);
    let Some(value) = extension(certificate, POLICY_CONSTRAINTS) else { return found };
    let fields = SliceReader::new(value).and_then(|mut reader| reader.decode::<Vec<AnyRef<'_>>>());
    for field in fields.unwrap_or_default() {
        let number = if field.tag().is_constructed() {
            u32::from_der(field.value()).ok()
        } else {
            field.value().iter().try_fold(0_u32, |number, byte| Some(number.checked_mul(256)? + u32::from(*byte)))
        };
        match field.tag().number().value() {
            0 => found.0 = number,
            1 => found.1 = number,
            _ => (),
        }
    }
    found
}

fn policies(sheet: &mut Sheet, certificate: &Certificate) {
    let Some(policies) = get::<CertificatePolicies>(certificate) else { return };
    let mut lines = Vec::new();
    for policy in policies.0 {
        lines.push(policy.policy_identifier.to_string());
        for qualifier in policy.policy_qualifiers.unwrap_or_default() {
            let Some(value) = qualifier.qualifier.and_then(|value| value.to_der().ok()) else { continue };
            match qualifier.policy_qualifier_id {
                CPS => lines.extend(Ia5StringRef::from_der(&value).ok().map(|uri| format!("CPS: {uri}"))),
                USER_NOTICE => lines.extend(notice(&value).map(|text| format!("Notice: {text}"))),
                _ => (),
            }
        }
    }
    sheet.heading("certificatePolicies:", 13, lines);
}

/// The text of a user notice, whose reference is of no interest.
fn notice(value: &[u8]) -> Option<String> {
    let mut reader = SliceReader::new(value).ok()?;
    reader
        .sequence(|fields| {
            let mut text = None;
            while !fields.is_finished() {
                let field = AnyRef::decode(fields)?;
                if let Ok(utf8) = field.decode_as::<Utf8StringRef<'_>>() {
                    text = Some(utf8.as_str().to_owned());
                } else if field.decode_as::<Ia5StringRef<'_>>().is_ok() {
                    text = Some(String::from_utf8_lossy(field.value()).into_owned());
                }
            }
            Ok(text)
        })
        .ok()?
}
