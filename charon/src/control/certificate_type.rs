//! Types and flags of certificates as `load-cert` and `list-certs` name them.

use std::fmt;

use strongswan::credentials::CertificateFlags;

/// What a certificate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CertificateType {
    Any,
    X509,
    X509Crl,
    OcspRequest,
    OcspResponse,
    X509Ac,
    Pubkey,
    Pkcs10Request,
    Pgp,
}

const TYPES: &[(&str, CertificateType)] = &[
    ("ANY", CertificateType::Any),
    ("X509", CertificateType::X509),
    ("X509_CRL", CertificateType::X509Crl),
    ("OCSP_REQUEST", CertificateType::OcspRequest),
    ("OCSP_RESPONSE", CertificateType::OcspResponse),
    ("X509_AC", CertificateType::X509Ac),
    ("PUBKEY", CertificateType::Pubkey),
    ("PKCS10_REQUEST", CertificateType::Pkcs10Request),
    ("PGP", CertificateType::Pgp),
];

/// Older names, some of which imply a flag.
const LEGACY_TYPES: &[(&str, CertificateType, CertificateFlag)] = &[
    ("x509ca", CertificateType::X509, CertificateFlag::Ca),
    ("x509ocsp", CertificateType::X509, CertificateFlag::Ocsp),
    ("x509aa", CertificateType::X509, CertificateFlag::Aa),
    ("x509ac", CertificateType::X509Ac, CertificateFlag::None),
    ("x509crl", CertificateType::X509Crl, CertificateFlag::None),
];

impl CertificateType {
    /// The type of that name, and the flag it implies.
    pub(super) fn parse(name: &str) -> Option<(Self, Option<CertificateFlag>)> {
        let known = TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, kind)| (*kind, None));
        known.or_else(|| {
            let legacy = LEGACY_TYPES.iter().find(|(known, _, _)| known.eq_ignore_ascii_case(name));
            legacy.map(|(_, kind, flag)| (*kind, Some(*flag)))
        })
    }
}

impl fmt::Display for CertificateType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TYPES.iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| name))
    }
}

/// What an X.509 certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CertificateFlag {
    None,
    Ca,
    Aa,
    Ocsp,
    Any,
}

const FLAGS: &[(&str, CertificateFlag)] = &[
    ("NONE", CertificateFlag::None),
    ("CA", CertificateFlag::Ca),
    ("AA", CertificateFlag::Aa),
    ("OCSP", CertificateFlag::Ocsp),
    ("ANY", CertificateFlag::Any),
];

impl CertificateFlag {
    /// Those that listings are ordered by.
    pub(super) const LISTED: [Self; 4] = [Self::None, Self::Ca, Self::Aa, Self::Ocsp];

    /// The flag of that name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        FLAGS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, flag)| *flag)
    }

    /// What it adds to the flags in a certificate.
    pub(super) fn flags(self) -> CertificateFlags {
        CertificateFlags { ca: false, aa: self == Self::Aa, ocsp: self == Self::Ocsp }
    }

    /// Whether a certificate with these flags is listed under this one: it must have this flag and no other.
    pub(super) fn is_exactly(self, flags: CertificateFlags) -> bool {
        let exact = CertificateFlags { ca: self == Self::Ca, aa: self == Self::Aa, ocsp: self == Self::Ocsp };
        flags == exact
    }

    /// Whether a filter by this flag lets another one pass.
    pub(super) fn admits(self, other: Self) -> bool {
        self == Self::Any || self == other
    }
}

impl fmt::Display for CertificateFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FLAGS.iter().find(|(_, flag)| flag == self).map_or("", |(name, _)| name))
    }
}
