//! PKCS#12 containers (RFC 7292): private keys and certificates in one file, under one passphrase.
//!
//! The integrity code is required and checked before anything else is looked at. Containers protected by public keys
//! instead of a passphrase, CRLs and other secrets in them are not read.

use aws_lc_rs::hmac;
use der::asn1::{AnyRef, ContextSpecific, ObjectIdentifier, OctetStringRef};
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};
use spki::AlgorithmIdentifierRef;

use super::keys::pbe::{self, Purpose};
use super::keys::{KeyError, PrivateKey};
use super::pem;
use crate::credentials::hash::HashAlgorithm;
use crate::crypto::Secret;

const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const ENCRYPTED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.6");
const KEY_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.1");
const SHROUDED_KEY_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.2");
const CERT_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.3");
const SAFE_CONTENTS_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.6");
const X509_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.22.1");

/// The only version there is (RFC 7292 §4).
const VERSION: u8 = 3;

/// Bags in bags that are followed; nobody nests them at all.
const MAX_DEPTH: usize = 4;

/// Encrypted parts that are read of one file: each may cost seconds.
const MAX_ENCRYPTED: usize = 32;

/// The label of a container in PEM.
const LABELS: &[&str] = &["PKCS12"];

/// What was in a container, in its order.
#[derive(Debug, Default)]
pub struct Pkcs12 {
    /// Certificates in DER, as they are.
    pub certificates: Vec<Vec<u8>>,
    /// Private keys.
    pub keys: Vec<PrivateKey>,
}

impl Pkcs12 {
    /// Opens a container in DER or PEM.
    ///
    /// # Errors
    /// If it is none, if the passphrase does not fit, or if it uses what is not supported.
    pub fn open(data: &[u8], passphrase: &[u8]) -> Result<Self, KeyError> {
        let der = pem::der_of(data, LABELS).ok_or(KeyError::Malformed)?;
        let container = Container::from_der(der.as_bytes())?;
        container.verify(passphrase)?;
        let mut opening = Opening { passphrase, encrypted: 0, found: Self::default() };
        opening.safes(container.safes)?;
        Ok(opening.found)
    }

    /// Whether it looks like a container, so that a passphrase is worth asking for.
    pub fn is_container(data: &[u8]) -> bool {
        pem::der_of(data, LABELS).is_some_and(|der| Container::from_der(der.as_bytes()).is_ok())
    }
}

fn malformed(_: der::Error) -> KeyError {
    KeyError::Malformed
}

/// The members of a sequence, one after the other.
fn sequence<'a>(any: AnyRef<'a>) -> Result<SliceReader<'a>, KeyError> {
    if any.tag() != Tag::Sequence {
        return Err(KeyError::Malformed);
    }
    SliceReader::new(any.value()).map_err(malformed)
}

fn next<'a, T: Decode<'a>>(reader: &mut SliceReader<'a>) -> Result<T, KeyError> {
    T::decode(reader).map_err(malformed)
}

/// What is in the explicit tag `[0]`.
fn explicit<'a>(reader: &mut SliceReader<'a>) -> Result<AnyRef<'a>, KeyError> {
    ContextSpecific::<AnyRef<'a>>::decode_explicit(reader, TagNumber::N0)
        .map_err(malformed)?
        .map(|field| field.value)
        .ok_or(KeyError::Malformed)
}

fn octets<'a>(any: AnyRef<'a>) -> Result<&'a [u8], KeyError> {
    any.decode_as::<OctetStringRef<'a>>().map(|octets| octets.as_bytes()).map_err(malformed)
}

/// The outermost structure.
struct Container<'a> {
    /// The authenticated safes, which the integrity code is over.
    safes: &'a [u8],
    mac: Mac<'a>,
}

struct Mac<'a> {
    hash: HashAlgorithm,
    code: &'a [u8],
    salt: &'a [u8],
    iterations: u32,
}

impl<'a> Container<'a> {
    fn from_der(der: &'a [u8]) -> Result<Self, KeyError> {
        let mut reader = sequence(AnyRef::from_der(der).map_err(malformed)?)?;
        if next::<u8>(&mut reader)? != VERSION {
            return Err(KeyError::Unsupported);
        }
        let mut content = sequence(next(&mut reader)?)?;
        if next::<ObjectIdentifier>(&mut content)? != DATA {
            return Err(KeyError::Unsupported);
        }
        let safes = octets(explicit(&mut content)?)?;
        if reader.is_finished() {
            return Err(KeyError::Unsupported);
        }
        let mac = Mac::read(&mut sequence(next(&mut reader)?)?)?;
        if reader.is_finished() { Ok(Self { safes, mac }) } else { Err(KeyError::Malformed) }
    }

    fn verify(&self, passphrase: &[u8]) -> Result<(), KeyError> {
        let Mac { hash, code, salt, iterations } = self.mac;
        let (algorithm, length) = match hash {
            HashAlgorithm::Sha1 => (hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, 20),
            HashAlgorithm::Sha2_256 => (hmac::HMAC_SHA256, 32),
            HashAlgorithm::Sha2_384 => (hmac::HMAC_SHA384, 48),
            HashAlgorithm::Sha2_512 => (hmac::HMAC_SHA512, 64),
            _ => return Err(KeyError::Unsupported),
        };
        let key = pbe::pkcs12(hash, Purpose::Mac, passphrase, salt, iterations, length)?;
        let key = hmac::Key::new(algorithm, &key);
        let verified = hmac::verify(&key, self.safes, code);
        // Fuzzers would never get past it.
        if cfg!(fuzzing) { Ok(()) } else { verified.map_err(|_| KeyError::WrongPassphrase) }
    }
}

impl<'a> Mac<'a> {
    fn read(reader: &mut SliceReader<'a>) -> Result<Self, KeyError> {
        let mut digest = sequence(next(reader)?)?;
        let algorithm: AlgorithmIdentifierRef<'_> = next(&mut digest)?;
        let hash = match algorithm.oid.to_string().as_str() {
            "1.3.14.3.2.26" => HashAlgorithm::Sha1,
            "2.16.840.1.101.3.4.2.1" => HashAlgorithm::Sha2_256,
            "2.16.840.1.101.3.4.2.2" => HashAlgorithm::Sha2_384,
            "2.16.840.1.101.3.4.2.3" => HashAlgorithm::Sha2_512,
            _ => return Err(KeyError::Unsupported),
        };
        let code = octets(next(&mut digest)?)?;
        let salt = octets(next(reader)?)?;
        let iterations = next::<Option<u32>>(reader)?.unwrap_or(1);
        Ok(Self { hash, code, salt, iterations })
    }
}

struct Opening<'a> {
    passphrase: &'a [u8],
    encrypted: usize,
    found: Pkcs12,
}

impl Opening<'_> {
    fn safes(&mut self, der: &[u8]) -> Result<(), KeyError> {
        let mut safes = sequence(AnyRef::from_der(der).map_err(malformed)?)?;
        while !safes.is_finished() {
            let mut content = sequence(next(&mut safes)?)?;
            let kind: ObjectIdentifier = next(&mut content)?;
            let value = explicit(&mut content)?;
            if kind == DATA {
                self.bags(octets(value)?, 0)?;
            } else if kind == ENCRYPTED_DATA {
                let mut data = sequence(value)?;
                let _version: u8 = next(&mut data)?;
                let mut content = sequence(next(&mut data)?)?;
                let _kind: ObjectIdentifier = next(&mut content)?;
                let algorithm: AlgorithmIdentifierRef<'_> = next(&mut content)?;
                let encrypted: AnyRef<'_> = next(&mut content)?;
                if encrypted.tag() != (Tag::ContextSpecific { constructed: false, number: TagNumber::N0 }) {
                    return Err(KeyError::Malformed);
                }
                let decrypted = self.decrypt(&algorithm, encrypted.value())?;
                self.bags(decrypted.as_bytes(), 0)?;
            } else {
                return Err(KeyError::Unsupported);
            }
        }
        Ok(())
    }

    fn decrypt(&mut self, algorithm: &AlgorithmIdentifierRef<'_>, data: &[u8]) -> Result<Secret, KeyError> {
        self.encrypted += 1;
        if self.encrypted > MAX_ENCRYPTED {
            return Err(KeyError::Unsupported);
        }
        pbe::decrypt(algorithm, self.passphrase, data)
    }

    fn bags(&mut self, der: &[u8], depth: usize) -> Result<(), KeyError> {
        if depth > MAX_DEPTH {
            return Err(KeyError::Unsupported);
        }
        let mut bags = sequence(AnyRef::from_der(der).map_err(malformed)?)?;
        while !bags.is_finished() {
            let mut bag = sequence(next(&mut bags)?)?;
            let kind: ObjectIdentifier = next(&mut bag)?;
            let value = explicit(&mut bag)?;
            if kind == KEY_BAG {
                self.found.keys.push(PrivateKey::from_der_or_pem(&encoded(value)?)?);
            } else if kind == SHROUDED_KEY_BAG {
                let mut info = sequence(value)?;
                let algorithm: AlgorithmIdentifierRef<'_> = next(&mut info)?;
                let decrypted = self.decrypt(&algorithm, octets(next(&mut info)?)?)?;
                self.found.keys.push(PrivateKey::from_der_or_pem(decrypted.as_bytes())?);
            } else if kind == CERT_BAG {
                let mut info = sequence(value)?;
                if next::<ObjectIdentifier>(&mut info)? == X509_CERTIFICATE {
                    self.found.certificates.push(octets(explicit(&mut info)?)?.to_vec());
                }
            } else if kind == SAFE_CONTENTS_BAG {
                self.bags(&encoded(value)?, depth + 1)?;
            }
        }
        Ok(())
    }
}

fn encoded(any: AnyRef<'_>) -> Result<zeroize::Zeroizing<Vec<u8>>, KeyError> {
    der::Encode::to_der(&any).map(zeroize::Zeroizing::new).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! data {
        ($name:literal) => {
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name)).as_slice()
        };
    }

    const ALL: &[(&str, &[u8])] = &[
        ("modern", data!("pkcs12/modern.p12")),
        ("legacy", data!("pkcs12/legacy.p12")),
        ("sha512", data!("pkcs12/sha512.p12")),
        ("plain", data!("pkcs12/plain.p12")),
    ];

    #[test]
    fn containers_of_all_kinds() {
        let key = PrivateKey::from_der_or_pem(data!("keys/ecdsa-256.sec1.pem")).unwrap();
        for (name, container) in ALL {
            assert!(Pkcs12::is_container(container), "{name}");
            let opened = Pkcs12::open(container, b"strong swan").unwrap();
            assert_eq!(opened.keys, std::slice::from_ref(&key), "{name}");
            assert_eq!(opened.certificates.len(), 2, "{name}");
            for certificate in &opened.certificates {
                crate::credentials::Certificate::from_der(certificate).unwrap();
            }
            for wrong in [&b"strong swam"[..], b"", b"\xff"] {
                assert_eq!(Pkcs12::open(container, wrong).err(), Some(KeyError::WrongPassphrase), "{name}");
            }
        }
        assert_eq!(Pkcs12::open(data!("pkcs12/no-mac.p12"), b"strong swan").err(), Some(KeyError::Unsupported));
        assert_eq!(Pkcs12::open(data!("certs/moon.der"), b"").err(), Some(KeyError::Malformed));
        assert!(!Pkcs12::is_container(b""));
    }

    #[test]
    fn umlauts_in_passphrases() {
        assert_eq!(Pkcs12::open(data!("pkcs12/umlaut.p12"), "Gru\u{df}".as_bytes()).unwrap().keys.len(), 1);
    }

    #[test]
    fn hostile_containers_do_not_panic() {
        let container = data!("pkcs12/modern.p12");
        for length in 0..container.len() {
            assert!(Pkcs12::open(&container[..length], b"strong swan").is_err());
        }
        for position in 0..container.len() {
            let mut changed = container.to_vec();
            changed[position] ^= 0x81;
            assert!(!Pkcs12::is_container(&changed) || Pkcs12::open(&changed, b"strong swan").is_err() || position > 0);
        }
    }
}
