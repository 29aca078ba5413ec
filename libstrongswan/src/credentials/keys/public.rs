//! Public keys: SubjectPublicKeyInfo and PKCS#1 (other encodings in `raw`), their fingerprints, verification.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier};
use der::{Decode, Encode};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use super::{KeyError, KeyType, SignatureError, ecdsa, mode, raw};
use crate::credentials::evp::EvpKey;
use crate::credentials::pem;
use crate::credentials::scheme::SignatureScheme;
use crate::crypto::hash::sha1;

/// RSA keys outside of this range are refused: smaller ones can be factored, larger ones only cost time.
const RSA_BITS: std::ops::RangeInclusive<u32> = 1024..=8192;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// A parsed public key, shared by its clones.
#[derive(Clone)]
pub struct PublicKey(Arc<Inner>);

struct Inner {
    evp: EvpKey,
    key_type: KeyType,
    bits: u32,
    spki: Box<[u8]>,
    fingerprint: [u8; 20],
    spki_fingerprint: [u8; 20],
}

/// Type and size of a key that is acceptable.
pub(super) fn check(evp: &EvpKey) -> Result<(KeyType, u32), KeyError> {
    let key_type = evp.key_type().ok_or(KeyError::Unsupported)?;
    // strongSwan counts the bits of the encoding, and so do its listings.
    let bits = if key_type == KeyType::Ed25519 { 256 } else { evp.bits() };
    if key_type == KeyType::Rsa && !RSA_BITS.contains(&bits) {
        return Err(KeyError::Unsupported);
    }
    Ok((key_type, bits))
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// If it is none, or of an algorithm that is not supported.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| KeyError::Malformed)?;
        // The library does not tell a key of an unknown algorithm or curve from what is no key.
        let rejected = if info.algorithm.oid == RSA_ENCRYPTION { KeyError::Malformed } else { KeyError::Unsupported };
        let evp = EvpKey::public_from_spki(der).ok_or(rejected)?;
        let (key_type, bits) = check(&evp)?;
        let inner = Inner {
            evp,
            key_type,
            bits,
            fingerprint: sha1(&[info.subject_public_key.raw_bytes()]),
            spki_fingerprint: sha1(&[der]),
            spki: der.into(),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Reads SubjectPublicKeyInfo or PKCS#1 in PEM or DER, a DNSKEY record or a line of OpenSSH.
    ///
    /// # Errors
    /// If it is none, or of an algorithm that is not supported.
    pub fn from_der_or_pem(data: &[u8]) -> Result<Self, KeyError> {
        let der = pem::der_of(data, &["PUBLIC KEY", "RSA PUBLIC KEY"]).ok_or(KeyError::Malformed)?;
        match Self::from_spki_der(der.as_bytes()) {
            Err(KeyError::Malformed) => {}
            result => return result,
        }
        match wrap_rsa(der.as_bytes()).ok_or(KeyError::Malformed).and_then(|spki| Self::from_spki_der(&spki)) {
            Err(KeyError::Malformed) => {
                raw::to_spki(data).map_or(Err(KeyError::Malformed), |spki| Self::from_spki_der(&spki))
            }
            result => result,
        }
    }

    /// The algorithm.
    pub fn key_type(&self) -> KeyType {
        self.0.key_type
    }

    /// Size in bits.
    pub fn bits(&self) -> u32 {
        self.0.bits
    }

    /// SHA-1 of the subjectPublicKey bit string: the id of keys on vici, and most subject key identifiers.
    pub fn fingerprint_sha1(&self) -> &[u8; 20] {
        &self.0.fingerprint
    }

    /// SHA-1 of the SubjectPublicKeyInfo: how certificate requests name CAs (RFC 7296 §3.7).
    pub fn spki_sha1(&self) -> &[u8; 20] {
        &self.0.spki_fingerprint
    }

    /// The SubjectPublicKeyInfo in DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.0.spki
    }

    /// Checks a signature over `data`.
    ///
    /// # Errors
    /// If the scheme does not fit the key, or the signature is wrong.
    pub fn verify(&self, scheme: SignatureScheme, data: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        let mode = mode(scheme, self.key_type(), self.bits())?;
        let verified = match scheme {
            SignatureScheme::Ecdsa256 | SignatureScheme::Ecdsa384 | SignatureScheme::Ecdsa521 => {
                let signature = ecdsa::to_der(signature, self.bits()).ok_or(SignatureError::Invalid)?;
                self.0.evp.verify(mode, data, &signature)
            }
            _ => self.0.evp.verify(mode, data, signature),
        };
        verified.ok_or(SignatureError::Invalid)
    }
}

/// The SubjectPublicKeyInfo around a PKCS#1 RSAPublicKey.
fn wrap_rsa(der: &[u8]) -> Option<Vec<u8>> {
    SubjectPublicKeyInfoRef {
        algorithm: AlgorithmIdentifierRef { oid: RSA_ENCRYPTION, parameters: Some(AnyRef::NULL) },
        subject_public_key: BitStringRef::from_bytes(der).ok()?,
    }
    .to_der()
    .ok()
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.spki == other.0.spki
    }
}

impl Eq for PublicKey {}

impl Hash for PublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.spki_fingerprint.hash(state);
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {}, {})", self.0.key_type, self.0.bits, hex::encode(self.0.fingerprint))
    }
}
