//! Signature schemes: what they are called, how RFC 7427 and X.509 identify them, and in which order an IKE signer
//! tries them.

use std::fmt;

use der::asn1::{AnyRef, ContextSpecific, ObjectIdentifier};
use der::{Decode, Encode, Reader, SliceReader, Tag, TagNumber, Tagged};
use spki::AlgorithmIdentifierRef;
use thiserror::Error;

use super::hash::HashAlgorithm;
use super::keys::{KeyType, PublicKey};

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureScheme {
    /// RSASSA-PKCS1-v1_5 (RFC 8017).
    RsaPkcs1(HashAlgorithm),
    /// RSASSA-PSS with MGF1 over the same hash, and the length of the salt.
    RsaPss(HashAlgorithm, u16),
    /// ECDSA, the signature in DER (X.509, RFC 7427).
    EcdsaDer(HashAlgorithm),
    /// ECDSA on P-256 with SHA-256, the signature as two numbers (RFC 4754, AUTH method 9).
    Ecdsa256,
    /// ECDSA on P-384 with SHA-384 (AUTH method 10).
    Ecdsa384,
    /// ECDSA on P-521 with SHA-512 (AUTH method 11).
    Ecdsa521,
    /// Ed25519 (RFC 8420).
    Ed25519,
    /// Ed448 (RFC 8420).
    Ed448,
}

/// Why an AlgorithmIdentifier is of no use.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum SchemeError {
    /// It is no AlgorithmIdentifier.
    #[error("malformed signature algorithm identifier")]
    Malformed,
    /// It identifies something that is not implemented, or has parameters that are not.
    #[error("unsupported signature algorithm or parameters")]
    Unsupported,
}

impl From<der::Error> for SchemeError {
    fn from(_: der::Error) -> Self {
        Self::Malformed
    }
}

const PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");

/// Hashes of RSASSA-PSS parameters.
const HASHES: &[(HashAlgorithm, ObjectIdentifier)] = &[
    (HashAlgorithm::Sha1, ObjectIdentifier::new_unwrap("1.3.14.3.2.26")),
    (HashAlgorithm::Sha2_224, ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.4")),
    (HashAlgorithm::Sha2_256, ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1")),
    (HashAlgorithm::Sha2_384, ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2")),
    (HashAlgorithm::Sha2_512, ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3")),
];

/// Everything without parameters: scheme, OID, and the whole AlgorithmIdentifier as it is sent (RFC 7427 appendix A).
const SCHEMES: &[(SignatureScheme, ObjectIdentifier, &[u8])] = &[
    (
        SignatureScheme::EcdsaDer(HashAlgorithm::Sha2_256),
        ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"),
        b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02",
    ),
    (
        SignatureScheme::EcdsaDer(HashAlgorithm::Sha2_384),
        ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3"),
        b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03",
    ),
    (
        SignatureScheme::EcdsaDer(HashAlgorithm::Sha2_512),
        ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4"),
        b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04",
    ),
    (SignatureScheme::Ed25519, ObjectIdentifier::new_unwrap("1.3.101.112"), b"\x30\x05\x06\x03\x2b\x65\x70"),
    (SignatureScheme::Ed448, ObjectIdentifier::new_unwrap("1.3.101.113"), b"\x30\x05\x06\x03\x2b\x65\x71"),
    (
        SignatureScheme::RsaPkcs1(HashAlgorithm::Sha2_256),
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11"),
        b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00",
    ),
    (
        SignatureScheme::RsaPkcs1(HashAlgorithm::Sha2_384),
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12"),
        b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00",
    ),
    (
        SignatureScheme::RsaPkcs1(HashAlgorithm::Sha2_512),
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13"),
        b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00",
    ),
    (
        SignatureScheme::RsaPkcs1(HashAlgorithm::Sha2_224),
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.14"),
        b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0e\x05\x00",
    ),
    (
        SignatureScheme::RsaPkcs1(HashAlgorithm::Sha1),
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"),
        b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05\x05\x00",
    ),
    (
        SignatureScheme::EcdsaDer(HashAlgorithm::Sha1),
        ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"),
        b"\x30\x09\x06\x07\x2a\x86\x48\xce\x3d\x04\x01",
    ),
];

impl SignatureScheme {
    /// The DER-encoded AlgorithmIdentifier, or `None` for the schemes of RFC 4754, which have AUTH methods instead.
    pub fn algorithm_identifier(self) -> Option<Vec<u8>> {
        match self {
            Self::RsaPss(hash, salt) => pss_identifier(hash, salt).ok().flatten(),
            _ => SCHEMES.iter().find(|row| row.0 == self).map(|row| row.2.to_vec()),
        }
    }

    /// Reads an AlgorithmIdentifier with nothing after it.
    ///
    /// # Errors
    /// If it is malformed or stands for something that is not implemented.
    pub fn from_algorithm_identifier(der: &[u8]) -> Result<Self, SchemeError> {
        if let Some(row) = SCHEMES.iter().find(|row| row.2 == der) {
            return Ok(row.0);
        }
        let identifier = AlgorithmIdentifierRef::from_der(der)?;
        if identifier.oid == PSS {
            return parse_pss(identifier.parameters);
        }
        // RFC 4055 §5: absent parameters are to be accepted as NULL.
        if identifier.parameters.is_some_and(|parameters| !parameters.is_null()) {
            return Err(SchemeError::Unsupported);
        }
        SCHEMES.iter().find(|row| row.1 == identifier.oid).map(|row| row.0).ok_or(SchemeError::Unsupported)
    }

    /// The scheme of a key type with a hash, as constraints name them. The salt of PSS is as long as the hash.
    pub fn from_key_and_hash(key_type: KeyType, hash: HashAlgorithm) -> Option<Self> {
        match (key_type, hash) {
            (KeyType::Rsa, HashAlgorithm::Identity | HashAlgorithm::Unknown(_)) => None,
            (KeyType::Rsa, hash) => Some(Self::RsaPkcs1(hash)),
            (
                KeyType::Ecdsa,
                HashAlgorithm::Sha1 | HashAlgorithm::Sha2_256 | HashAlgorithm::Sha2_384 | HashAlgorithm::Sha2_512,
            ) => Some(Self::EcdsaDer(hash)),
            (KeyType::Ed25519, HashAlgorithm::Identity) => Some(Self::Ed25519),
            (KeyType::Ed448, HashAlgorithm::Identity) => Some(Self::Ed448),
            _ => None,
        }
    }

    /// RSASSA-PSS with a salt as long as the hash.
    pub fn rsa_pss(hash: HashAlgorithm) -> Self {
        Self::RsaPss(hash, hash.output_len())
    }

    /// The key it needs.
    pub fn key_type(self) -> KeyType {
        match self {
            Self::RsaPkcs1(_) | Self::RsaPss(..) => KeyType::Rsa,
            Self::EcdsaDer(_) | Self::Ecdsa256 | Self::Ecdsa384 | Self::Ecdsa521 => KeyType::Ecdsa,
            Self::Ed25519 => KeyType::Ed25519,
            Self::Ed448 => KeyType::Ed448,
        }
    }

    /// The hash that a peer must have announced.
    pub fn hash(self) -> HashAlgorithm {
        match self {
            Self::RsaPkcs1(hash) | Self::RsaPss(hash, _) | Self::EcdsaDer(hash) => hash,
            Self::Ecdsa256 => HashAlgorithm::Sha2_256,
            Self::Ecdsa384 => HashAlgorithm::Sha2_384,
            Self::Ecdsa521 => HashAlgorithm::Sha2_512,
            Self::Ed25519 | Self::Ed448 => HashAlgorithm::Identity,
        }
    }

    /// Whether it is what a constraint asks for: the length of a salt does not matter, nor does the form in which
    /// ECDSA signatures are encoded.
    pub fn satisfies(self, wanted: Self) -> bool {
        match (self, wanted) {
            (Self::RsaPss(hash, _), Self::RsaPss(wanted, _)) => hash == wanted,
            (Self::RsaPkcs1(_) | Self::RsaPss(..), _) => self == wanted,
            _ => self.key_type() == wanted.key_type() && self.hash() == wanted.hash(),
        }
    }

    /// The scheme of AUTH methods 1 and 9 to 11, for peers without RFC 7427.
    pub fn without_signature_authentication(key: &PublicKey) -> Option<Self> {
        match (key.key_type(), key.bits()) {
            (KeyType::Rsa, _) => Some(Self::RsaPkcs1(HashAlgorithm::Sha1)),
            (KeyType::Ecdsa, 256) => Some(Self::Ecdsa256),
            (KeyType::Ecdsa, 384) => Some(Self::Ecdsa384),
            (KeyType::Ecdsa, 521) => Some(Self::Ecdsa521),
            _ => None,
        }
    }

    /// What a signer tries with `key`, in order (RFC 7427): the `configured` schemes if there are any, else those
    /// that fit the size of the key; of both only what the peer announced in `hashes`.
    pub fn candidates(key: &PublicKey, hashes: &[HashAlgorithm], configured: &[Self], rsa_pss: bool) -> Vec<Self> {
        let fits = |scheme: &Self| scheme.key_type() == key.key_type() && hashes.contains(&scheme.hash());
        if !configured.is_empty() {
            return configured.iter().copied().filter(fits).collect();
        }
        defaults(key, rsa_pss).into_iter().filter(fits).collect()
    }
}

/// The schemes for a key by its size, strongest match first.
fn defaults(key: &PublicKey, rsa_pss: bool) -> Vec<SignatureScheme> {
    use HashAlgorithm::{Sha2_256, Sha2_384, Sha2_512};
    let hashes = match (key.key_type(), key.bits()) {
        (KeyType::Ed25519, _) => return vec![SignatureScheme::Ed25519],
        (KeyType::Ed448, _) => return vec![SignatureScheme::Ed448],
        (KeyType::Dsa, _) => return Vec::new(),
        (KeyType::Rsa, ..=3072) | (KeyType::Ecdsa, ..=256) => &[Sha2_256, Sha2_384, Sha2_512][..],
        (KeyType::Rsa, ..=7680) | (KeyType::Ecdsa, ..=384) => &[Sha2_384, Sha2_512],
        _ => &[Sha2_512],
    };
    if key.key_type() == KeyType::Ecdsa {
        return hashes.iter().copied().map(SignatureScheme::EcdsaDer).collect();
    }
    let pss = hashes.iter().filter(|_| rsa_pss).copied().map(SignatureScheme::rsa_pss);
    let fallbacks = [Sha2_384, Sha2_256].into_iter().filter(|hash| !hashes.contains(hash));
    pss.chain(hashes.iter().copied().chain(fallbacks).map(SignatureScheme::RsaPkcs1)).collect()
}

impl fmt::Display for SignatureScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |hash: HashAlgorithm| hash.name().and_then(|name| name.strip_prefix("HASH_")).unwrap_or("NULL");
        match *self {
            Self::RsaPkcs1(hash) => write!(f, "RSA_EMSA_PKCS1_{}", short(hash)),
            Self::RsaPss(hash, salt) => write!(f, "RSA_EMSA_PSS_{}_SALT_{salt}", short(hash)),
            Self::EcdsaDer(hash) => write!(f, "ECDSA_WITH_{}_DER", short(hash).replace("SHA2_", "SHA")),
            Self::Ecdsa256 => f.write_str("ECDSA-256"),
            Self::Ecdsa384 => f.write_str("ECDSA-384"),
            Self::Ecdsa521 => f.write_str("ECDSA-521"),
            Self::Ed25519 => f.write_str("ED25519"),
            Self::Ed448 => f.write_str("ED448"),
        }
    }
}

/// An AlgorithmIdentifier of a hash with NULL parameters, as RFC 4055 §2.1 has them.
fn hash_identifier(hash: HashAlgorithm) -> Option<AlgorithmIdentifierRef<'static>> {
    let (_, oid) = HASHES.iter().find(|row| row.0 == hash)?;
    Some(AlgorithmIdentifierRef { oid: *oid, parameters: Some(AnyRef::NULL) })
}

fn explicit<T: Encode>(number: TagNumber, value: &T) -> der::Result<Vec<u8>> {
    tlv(Tag::ContextSpecific { constructed: true, number }, &value.to_der()?)
}

fn tlv(tag: Tag, content: &[u8]) -> der::Result<Vec<u8>> {
    AnyRef::new(tag, content)?.to_der()
}

/// RSASSA-PSS-params (RFC 4055 §3.1), default values left out. The trailer field is a default too; peers that expect
/// it anyway break DER.
fn pss_identifier(hash: HashAlgorithm, salt: u16) -> der::Result<Option<Vec<u8>>> {
    let Some(digest) = hash_identifier(hash) else { return Ok(None) };
    let mut parameters = Vec::new();
    if hash != HashAlgorithm::Sha1 {
        let mgf = tlv(Tag::Sequence, &[MGF1.to_der()?, digest.to_der()?].concat())?;
        parameters.extend(explicit(TagNumber::N0, &digest)?);
        parameters.extend(tlv(Tag::ContextSpecific { constructed: true, number: TagNumber::N1 }, &mgf)?);
    }
    if salt != HashAlgorithm::Sha1.output_len() {
        parameters.extend(explicit(TagNumber::N2, &salt)?);
    }
    let parameters = tlv(Tag::Sequence, &parameters)?;
    tlv(Tag::Sequence, &[PSS.to_der()?, parameters].concat()).map(Some)
}

fn parse_pss(parameters: Option<AnyRef<'_>>) -> Result<SignatureScheme, SchemeError> {
    // RFC 4055 §3.1: parameters are required in signatures.
    let parameters = parameters.ok_or(SchemeError::Malformed)?;
    if parameters.tag() != Tag::Sequence {
        return Err(SchemeError::Malformed);
    }
    let mut reader = SliceReader::new(parameters.value())?;
    let hash = ContextSpecific::<AlgorithmIdentifierRef<'_>>::decode_explicit(&mut reader, TagNumber::N0)?;
    let mgf = ContextSpecific::<AlgorithmIdentifierRef<'_>>::decode_explicit(&mut reader, TagNumber::N1)?;
    let salt = ContextSpecific::<u16>::decode_explicit(&mut reader, TagNumber::N2)?;
    let trailer = ContextSpecific::<u8>::decode_explicit(&mut reader, TagNumber::N3)?;
    reader.finish(())?;
    let hash = hash.map_or(Ok(HashAlgorithm::Sha1), |hash| parse_hash(&hash.value))?;
    let mgf_hash = mgf.map_or(Ok(HashAlgorithm::Sha1), |mgf| {
        if mgf.value.oid != MGF1 {
            return Err(SchemeError::Unsupported);
        }
        let parameters = mgf.value.parameters.ok_or(SchemeError::Malformed)?;
        parse_hash(&parameters.decode_as()?)
    })?;
    if mgf_hash != hash || trailer.is_some_and(|trailer| trailer.value != 1) {
        return Err(SchemeError::Unsupported);
    }
    Ok(SignatureScheme::RsaPss(hash, salt.map_or_else(|| HashAlgorithm::Sha1.output_len(), |salt| salt.value)))
}

fn parse_hash(identifier: &AlgorithmIdentifierRef<'_>) -> Result<HashAlgorithm, SchemeError> {
    if identifier.parameters.is_some_and(|parameters| !parameters.is_null()) {
        return Err(SchemeError::Unsupported);
    }
    HASHES.iter().find(|row| row.1 == identifier.oid).map(|row| row.0).ok_or(SchemeError::Unsupported)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_round_trip() {
        for (scheme, _, der) in SCHEMES {
            assert_eq!(scheme.algorithm_identifier().unwrap(), *der);
            assert_eq!(SignatureScheme::from_algorithm_identifier(der), Ok(*scheme));
        }
        for (hash, _) in HASHES {
            for salt in [0, 20, 32, 222] {
                let scheme = SignatureScheme::RsaPss(*hash, salt);
                let der = scheme.algorithm_identifier().unwrap();
                assert_eq!(SignatureScheme::from_algorithm_identifier(&der), Ok(scheme), "{}", hex::encode(&der));
            }
        }
        assert_eq!(SignatureScheme::Ecdsa256.algorithm_identifier(), None);
        assert_eq!(SignatureScheme::rsa_pss(HashAlgorithm::Md5).algorithm_identifier(), None);
    }

    #[test]
    fn pss_parameters_of_rfc_7427() {
        // RFC 7427 appendix A.4.3, the trailer field spelt out.
        let der = "3046 06092a864886f70d01010a 3039 a00f300d06096086480165030402010500\
                   a11c301a06092a864886f70d010108300d06096086480165030402010500 a203020120 a303020101";
        let der = hex::decode(der.replace(' ', "")).unwrap();
        let scheme = SignatureScheme::rsa_pss(HashAlgorithm::Sha2_256);
        assert_eq!(SignatureScheme::from_algorithm_identifier(&der), Ok(scheme));
        let ours = "3041 06092a864886f70d01010a 3034 a00f300d06096086480165030402010500\
                    a11c301a06092a864886f70d010108300d06096086480165030402010500 a203020120";
        assert_eq!(hex::encode(scheme.algorithm_identifier().unwrap()), ours.replace(' ', ""));
        // Appendix A.4.1: all defaults, SHA-1.
        let der = hex::decode("300d06092a864886f70d01010a3000").unwrap();
        assert_eq!(SignatureScheme::from_algorithm_identifier(&der), Ok(SignatureScheme::rsa_pss(HashAlgorithm::Sha1)));
        assert_eq!(SignatureScheme::rsa_pss(HashAlgorithm::Sha1).algorithm_identifier(), Some(der));
    }

    #[test]
    fn absent_parameters_are_null() {
        let der = hex::decode("300b06092a864886f70d01010b").unwrap();
        let scheme = SignatureScheme::RsaPkcs1(HashAlgorithm::Sha2_256);
        assert_eq!(SignatureScheme::from_algorithm_identifier(&der), Ok(scheme));
    }

    #[test]
    fn rejects() {
        let error = |hex: &str| SignatureScheme::from_algorithm_identifier(&hex::decode(hex).unwrap()).unwrap_err();
        assert_eq!(error(""), SchemeError::Malformed);
        assert_eq!(error("300a06082a8648ce3d04030200"), SchemeError::Malformed);
        assert_eq!(error("300b06092a864886f70d01010a"), SchemeError::Malformed);
        assert_eq!(error("300506032b6571ff"), SchemeError::Malformed);
        assert_eq!(error("300506032b6572"), SchemeError::Unsupported);
        assert_eq!(error("300e06092a864886f70d01010b020101"), SchemeError::Unsupported);
    }

    #[test]
    fn names() {
        use HashAlgorithm::{Sha1, Sha2_256, Sha2_384};
        assert_eq!(SignatureScheme::RsaPkcs1(Sha2_256).to_string(), "RSA_EMSA_PKCS1_SHA2_256");
        assert_eq!(SignatureScheme::RsaPkcs1(Sha1).to_string(), "RSA_EMSA_PKCS1_SHA1");
        assert_eq!(SignatureScheme::EcdsaDer(Sha2_384).to_string(), "ECDSA_WITH_SHA384_DER");
        assert_eq!(SignatureScheme::EcdsaDer(Sha1).to_string(), "ECDSA_WITH_SHA1_DER");
        assert_eq!(SignatureScheme::rsa_pss(Sha2_256).to_string(), "RSA_EMSA_PSS_SHA2_256_SALT_32");
    }

    #[test]
    fn constraints_compare_what_they_mean() {
        use HashAlgorithm::{Sha2_256, Sha2_384};
        let der = SignatureScheme::EcdsaDer(Sha2_256);
        assert!(SignatureScheme::Ecdsa256.satisfies(der) && !SignatureScheme::Ecdsa384.satisfies(der));
        let pss = SignatureScheme::rsa_pss(Sha2_256);
        assert!(SignatureScheme::RsaPss(Sha2_256, 20).satisfies(pss));
        assert!(!SignatureScheme::RsaPss(Sha2_384, 32).satisfies(pss));
        assert!(
            !SignatureScheme::RsaPkcs1(Sha2_256).satisfies(pss) && !pss.satisfies(SignatureScheme::RsaPkcs1(Sha2_256))
        );
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(der: Vec<u8>) {
            let _ = SignatureScheme::from_algorithm_identifier(&der);
        }
    }
}
