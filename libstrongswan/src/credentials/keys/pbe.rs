//! Encryption by passphrase: PBES2 and PBES1 (RFC 8018), and PKCS#12's own schemes (RFC 7292 appendices B and C).
//!
//! Who made the file chose the number of iterations; files come from the administrator, but a limit keeps a damaged one
//! from occupying a processor for hours.

use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Reader, SliceReader};
use spki::AlgorithmIdentifierRef;
use zeroize::Zeroizing;

use super::KeyError;
use super::cipher::{self, Cipher, ScryptCost};
use crate::credentials::hash::HashAlgorithm;
use crate::crypto::Secret;
use crate::crypto::hash::{md5, sha1, sha256, sha384, sha512};

/// Iterations that a file may demand: a few seconds' worth, and tenfold of what is recommended in 2026.
const MAX_ITERATIONS: u32 = if cfg!(fuzzing) { 1000 } else { 10_000_000 };

const PBES2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.13");
const PBKDF2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.12");
const SCRYPT: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11591.4.11");

/// Decrypts what was encrypted as `algorithm` says.
pub(crate) fn decrypt(
    algorithm: &AlgorithmIdentifierRef<'_>,
    passphrase: &[u8],
    data: &[u8],
) -> Result<Secret, KeyError> {
    let parameters = algorithm.parameters.ok_or(KeyError::Malformed)?;
    let (cipher, key, iv) = if algorithm.oid == PBES2 {
        pbes2(parameters, passphrase)?
    } else {
        let (scheme, cipher) = pbes1_scheme(algorithm.oid).ok_or(KeyError::Unsupported)?;
        pbes1(scheme, cipher, parameters, passphrase)?
    };
    cipher.decrypt(&key, &iv, data).ok_or(KeyError::WrongPassphrase)
}

/// Bytes that are wiped.
type Bytes = Zeroizing<Vec<u8>>;

/// A cipher with its key and vector.
type Derived = (Cipher, Bytes, Bytes);

/// A hash over parts.
type Hash = fn(&[&[u8]]) -> Vec<u8>;

/// Reads the members of a sequence, all of them.
fn members<'a, T>(any: AnyRef<'a>, read: impl FnOnce(&mut SliceReader<'a>) -> der::Result<T>) -> Result<T, KeyError> {
    let malformed = |_| KeyError::Malformed;
    if der::Tagged::tag(&any) != der::Tag::Sequence {
        return Err(KeyError::Malformed);
    }
    let mut reader = SliceReader::new(any.value()).map_err(malformed)?;
    let value = read(&mut reader).map_err(malformed)?;
    if reader.is_finished() { Ok(value) } else { Err(KeyError::Malformed) }
}

fn iterations(count: u32) -> Result<u32, KeyError> {
    if (1..=MAX_ITERATIONS).contains(&count) { Ok(count) } else { Err(KeyError::Unsupported) }
}

/// RFC 8018 §6.2 and A.4.
fn pbes2(parameters: AnyRef<'_>, passphrase: &[u8]) -> Result<Derived, KeyError> {
    let (kdf, scheme) = members(parameters, |reader| {
        Ok((AlgorithmIdentifierRef::decode(reader)?, AlgorithmIdentifierRef::decode(reader)?))
    })?;
    let cipher = match scheme.oid.to_string().as_str() {
        "2.16.840.1.101.3.4.1.2" => Cipher::Aes128,
        "2.16.840.1.101.3.4.1.22" => Cipher::Aes192,
        "2.16.840.1.101.3.4.1.42" => Cipher::Aes256,
        "1.2.840.113549.3.7" => Cipher::TripleDes,
        "1.3.14.3.2.7" => Cipher::Des,
        _ => return Err(KeyError::Unsupported),
    };
    let iv = scheme.parameters.and_then(|iv| iv.decode_as::<OctetStringRef<'_>>().ok()).ok_or(KeyError::Malformed)?;
    let parameters = kdf.parameters.ok_or(KeyError::Malformed)?;
    let key = if kdf.oid == PBKDF2 {
        pbkdf2(parameters, cipher, passphrase)?
    } else if kdf.oid == SCRYPT {
        scrypt(parameters, cipher, passphrase)?
    } else {
        return Err(KeyError::Unsupported);
    };
    Ok((cipher, key, Zeroizing::new(iv.as_bytes().to_vec())))
}

/// RFC 8018 A.2.
fn pbkdf2(parameters: AnyRef<'_>, cipher: Cipher, passphrase: &[u8]) -> Result<Bytes, KeyError> {
    let (salt, count, length, prf) = members(parameters, |reader| {
        Ok((
            OctetStringRef::decode(reader)?,
            u32::decode(reader)?,
            Option::<u16>::decode(reader)?,
            Option::<AlgorithmIdentifierRef<'_>>::decode(reader)?,
        ))
    })?;
    if length.is_some_and(|length| usize::from(length) != cipher.key_len()) {
        return Err(KeyError::Unsupported);
    }
    let hash = match prf.map(|prf| prf.oid.to_string()).as_deref() {
        None | Some("1.2.840.113549.2.7") => HashAlgorithm::Sha1,
        Some("1.2.840.113549.2.8") => HashAlgorithm::Sha2_224,
        Some("1.2.840.113549.2.9") => HashAlgorithm::Sha2_256,
        Some("1.2.840.113549.2.10") => HashAlgorithm::Sha2_384,
        Some("1.2.840.113549.2.11") => HashAlgorithm::Sha2_512,
        Some(_) => return Err(KeyError::Unsupported),
    };
    cipher::pbkdf2(hash, passphrase, salt.as_bytes(), iterations(count)?, cipher.key_len()).ok_or(KeyError::Unsupported)
}

/// RFC 7914 §7.
fn scrypt(parameters: AnyRef<'_>, cipher: Cipher, passphrase: &[u8]) -> Result<Bytes, KeyError> {
    let (salt, n, r, p, length) = members(parameters, |reader| {
        Ok((
            OctetStringRef::decode(reader)?,
            u64::decode(reader)?,
            u64::decode(reader)?,
            u64::decode(reader)?,
            Option::<u16>::decode(reader)?,
        ))
    })?;
    if length.is_some_and(|length| usize::from(length) != cipher.key_len()) {
        return Err(KeyError::Unsupported);
    }
    cipher::scrypt(ScryptCost { n, r, p }, passphrase, salt.as_bytes(), cipher.key_len()).ok_or(KeyError::Unsupported)
}

/// How the older schemes derive their keys.
#[derive(Debug, Clone, Copy)]
enum Scheme {
    /// PBKDF1 (RFC 8018 §5.1) with MD5.
    Md5,
    /// PBKDF1 with SHA-1.
    Sha1,
    /// PKCS#12 with SHA-1.
    Pkcs12,
    /// PKCS#12 with SHA-1 for Triple DES of which the third key is the first.
    Pkcs12TwoKeys,
}

fn pbes1_scheme(oid: ObjectIdentifier) -> Option<(Scheme, Cipher)> {
    Some(match oid.to_string().as_str() {
        "1.2.840.113549.1.5.3" => (Scheme::Md5, Cipher::Des),
        "1.2.840.113549.1.5.10" => (Scheme::Sha1, Cipher::Des),
        "1.2.840.113549.1.12.1.3" => (Scheme::Pkcs12, Cipher::TripleDes),
        "1.2.840.113549.1.12.1.4" => (Scheme::Pkcs12TwoKeys, Cipher::TripleDes),
        "1.2.840.113549.1.12.1.5" => (Scheme::Pkcs12, Cipher::Rc2),
        "1.2.840.113549.1.12.1.6" => (Scheme::Pkcs12, Cipher::Rc2Weak),
        _ => return None,
    })
}

fn pbes1(scheme: Scheme, cipher: Cipher, parameters: AnyRef<'_>, passphrase: &[u8]) -> Result<Derived, KeyError> {
    let (salt, count) = members(parameters, |reader| Ok((OctetStringRef::decode(reader)?, u32::decode(reader)?)))?;
    let (salt, count) = (salt.as_bytes(), iterations(count)?);
    let (key, iv) = match scheme {
        Scheme::Md5 => pbkdf1(|parts| md5(parts).to_vec(), passphrase, salt, count)?,
        Scheme::Sha1 => pbkdf1(|parts| sha1(parts).to_vec(), passphrase, salt, count)?,
        Scheme::Pkcs12 | Scheme::Pkcs12TwoKeys => {
            let derive = |purpose, length| pkcs12(HashAlgorithm::Sha1, purpose, passphrase, salt, count, length);
            let two = matches!(scheme, Scheme::Pkcs12TwoKeys);
            let mut key = derive(Purpose::Key, if two { 16 } else { cipher.key_len() })?;
            if two {
                key.extend_from_within(..8);
            }
            (key, derive(Purpose::Iv, cipher.block_len())?)
        }
    };
    Ok((cipher, key, iv))
}

/// RFC 8018 §5.1 and §6.1: eight bytes of key, then eight of the vector.
fn pbkdf1(
    hash: impl Fn(&[&[u8]]) -> Vec<u8>,
    passphrase: &[u8],
    salt: &[u8],
    count: u32,
) -> Result<(Bytes, Bytes), KeyError> {
    let mut state = Zeroizing::new(hash(&[passphrase, salt]));
    for _ in 1..count {
        *state = hash(&[&state]);
    }
    let (key, rest) = state.split_at_checked(8).ok_or(KeyError::Malformed)?;
    let iv = rest.get(..8).ok_or(KeyError::Malformed)?;
    Ok((Zeroizing::new(key.to_vec()), Zeroizing::new(iv.to_vec())))
}

/// What PKCS#12 derives something for (RFC 7292 B.3).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Key = 1,
    Iv = 2,
    Mac = 3,
}

impl Purpose {
    const fn id(self) -> u8 {
        match self {
            Self::Key => 1,
            Self::Iv => 2,
            Self::Mac => 3,
        }
    }
}

/// The hash of PKCS#12's key derivation and the block it works with.
fn pkcs12_hash(hash: HashAlgorithm) -> Option<(usize, Hash)> {
    Some(match hash {
        HashAlgorithm::Sha1 => (64, |parts| sha1(parts).to_vec()),
        HashAlgorithm::Sha2_256 => (64, |parts| sha256(parts).to_vec()),
        HashAlgorithm::Sha2_384 => (128, |parts| sha384(parts).to_vec()),
        HashAlgorithm::Sha2_512 => (128, |parts| sha512(parts).to_vec()),
        _ => return None,
    })
}

/// RFC 7292 B.2. The passphrase, UTF-8, is taken in UTF-16 with a terminator (B.1).
pub(crate) fn pkcs12(
    hash: HashAlgorithm,
    purpose: Purpose,
    passphrase: &[u8],
    salt: &[u8],
    count: u32,
    length: usize,
) -> Result<Bytes, KeyError> {
    let count = iterations(count)?;
    let (block, hash) = pkcs12_hash(hash).ok_or(KeyError::Unsupported)?;
    let text = std::str::from_utf8(passphrase).map_err(|_| KeyError::WrongPassphrase)?;
    let password: Zeroizing<Vec<u8>> =
        Zeroizing::new(text.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect());
    let fill =
        |bytes: &[u8]| -> Vec<u8> { bytes.iter().copied().cycle().take(bytes.len().div_ceil(block) * block).collect() };
    let diversifier = vec![purpose.id(); block];
    let mut input = Zeroizing::new([fill(salt), fill(&password)].concat());
    let mut derived = Zeroizing::new(Vec::with_capacity(length + 64));
    while derived.len() < length {
        let mut state = Zeroizing::new(hash(&[&diversifier, &input]));
        for _ in 1..count {
            *state = hash(&[&state]);
        }
        derived.extend_from_slice(&state);
        // Each block of the input becomes itself plus the output plus one, as big numbers.
        let addend: Zeroizing<Vec<u8>> = Zeroizing::new(state.iter().copied().cycle().take(block).collect());
        for chunk in input.chunks_mut(block) {
            let mut carry = 1;
            for (byte, add) in chunk.iter_mut().zip(addend.iter()).rev() {
                let sum = u16::from(*byte) + u16::from(*add) + carry;
                let [high, low] = sum.to_be_bytes();
                *byte = low;
                carry = high.into();
            }
        }
    }
    derived.truncate(length);
    Ok(derived)
}
