//! Public keys as DNS and SSH write them: RSA in DNSKEY records (RFC 3110), bare or with their header (RFC 4034 §2), also of
//! ECDSA (RFC 6605) and Ed25519 (RFC 8080); lines of OpenSSH's `authorized_keys` (RFC 4253 §6.6, RFC 5656, RFC 8709).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use der::{Encode, Tag};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The longest public exponent: longer ones are nobody's, and the limit tells these records from DER.
const MAX_EXPONENT: u8 = 8;

/// The SubjectPublicKeyInfo of a key in one of these encodings.
pub(super) fn to_spki(data: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(data).ok().map(str::trim);
    if let Some(text) = text {
        if let Some(encoded) = text.strip_prefix("0s").or_else(|| text.strip_prefix("0S")) {
            return dns(&STANDARD.decode(encoded).ok()?);
        }
        if let Some(key) = text.lines().find_map(ssh_line) {
            return Some(key);
        }
    }
    dns(data)
}

/// A DNSKEY record's data, or only the RSA key in it.
fn dns(data: &[u8]) -> Option<Vec<u8>> {
    match data {
        // The flags of zone keys, with and without SEP; the protocol is always 3.
        [0x01, 0x00 | 0x01, 3, algorithm, key @ ..] => match algorithm {
            5 | 7 | 8 | 10 => rsa_record(key),
            13 => ec(P256, &uncompressed(key)),
            14 => ec(P384, &uncompressed(key)),
            15 => spki(ED25519, None, key),
            _ => None,
        },
        key => rsa_record(key),
    }
}

/// RFC 3110 §2: length of the exponent in one octet, exponent, modulus. Exponents of over 255 octets have another form.
fn rsa_record(data: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = data.split_first()?;
    let (exponent, modulus) = rest.split_at_checked(usize::from(*length))?;
    let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    if *length > MAX_EXPONENT || !odd(exponent) || !odd(modulus) {
        return None;
    }
    rsa(exponent, modulus)
}

/// `type base64 comment`
fn ssh_line(line: &str) -> Option<Vec<u8>> {
    let mut words = line.split_ascii_whitespace();
    let (kind, encoded) = (words.next()?, words.next()?);
    if !kind.starts_with("ssh-") && !kind.starts_with("ecdsa-sha2-") {
        return None;
    }
    let blob = STANDARD.decode(encoded).ok()?;
    let mut rest = blob.as_slice();
    if string(&mut rest)? != kind.as_bytes() {
        return None;
    }
    let key = match kind {
        "ssh-rsa" => {
            let exponent = string(&mut rest)?;
            rsa(exponent, string(&mut rest)?)
        }
        "ssh-ed25519" => spki(ED25519, None, string(&mut rest)?),
        "ecdsa-sha2-nistp256" => ssh_ec(&mut rest, b"nistp256", P256),
        "ecdsa-sha2-nistp384" => ssh_ec(&mut rest, b"nistp384", P384),
        "ecdsa-sha2-nistp521" => ssh_ec(&mut rest, b"nistp521", P521),
        _ => None,
    };
    key.filter(|_| rest.is_empty())
}

fn ssh_ec(rest: &mut &[u8], name: &[u8], curve: ObjectIdentifier) -> Option<Vec<u8>> {
    if string(rest)? != name {
        return None;
    }
    ec(curve, string(rest)?)
}

/// A string with its length in front (RFC 4251 §5).
fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (value, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(value)
}

fn uncompressed(point: &[u8]) -> Vec<u8> {
    [&[4], point].concat()
}

fn rsa(exponent: &[u8], modulus: &[u8]) -> Option<Vec<u8>> {
    let number = |bytes| UintRef::new(bytes).and_then(|number| number.to_der()).ok();
    let numbers = [number(modulus)?, number(exponent)?].concat();
    let key = AnyRef::new(Tag::Sequence, &numbers).ok()?.to_der().ok()?;
    spki(RSA, Some(AnyRef::NULL), &key)
}

fn ec(curve: ObjectIdentifier, point: &[u8]) -> Option<Vec<u8>> {
    spki(EC, Some(AnyRef::from(&curve)), point)
}

fn spki(oid: ObjectIdentifier, parameters: Option<AnyRef<'_>>, key: &[u8]) -> Option<Vec<u8>> {
    let algorithm = AlgorithmIdentifierRef { oid, parameters };
    SubjectPublicKeyInfoRef { algorithm, subject_public_key: BitStringRef::from_bytes(key).ok()? }.to_der().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::{PrivateKey, PublicKey};

    macro_rules! data {
        ($name:literal) => {
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/keys/", $name)).as_slice()
        };
    }

    #[test]
    fn keys_of_dns_and_ssh() {
        for (raw, private) in [
            (data!("rsa-2048.pub.ssh"), data!("rsa-2048.pkcs1.pem")),
            (data!("ecdsa-256.pub.ssh"), data!("ecdsa-256.sec1.pem")),
            (data!("ecdsa-384.pub.ssh"), data!("ecdsa-384.sec1.pem")),
            (data!("ecdsa-521.pub.ssh"), data!("ecdsa-521.sec1.pem")),
            (data!("ed25519.pub.ssh"), data!("ed25519.pkcs8.pem")),
            (data!("rsa-2048.pub.dnskey"), data!("rsa-2048.pkcs1.pem")),
        ] {
            let key = PrivateKey::from_der_or_pem(private).unwrap();
            assert_eq!(PublicKey::from_der_or_pem(raw).unwrap(), *key.public_key());
        }
        let text = String::from_utf8(data!("rsa-2048.pub.dnskey").to_vec()).unwrap();
        let record = STANDARD.decode(text.trim().trim_start_matches("0s")).unwrap();
        let key = PublicKey::from_der_or_pem(&record).unwrap();
        assert_eq!(PublicKey::from_der_or_pem(&[&[1, 1, 3, 8], record.as_slice()].concat()), Ok(key));
        let record = |algorithm: u8, key: &PublicKey, skip: usize| {
            let bits = SubjectPublicKeyInfoRef::try_from(key.spki_der()).unwrap().subject_public_key;
            [&[1, 0, 3, algorithm], &bits.raw_bytes()[skip..]].concat()
        };
        for (algorithm, private, skip) in [
            (13, data!("ecdsa-256.sec1.pem"), 1),
            (14, data!("ecdsa-384.sec1.pem"), 1),
            (15, data!("ed25519.pkcs8.pem"), 0),
        ] {
            let key = PrivateKey::from_der_or_pem(private).unwrap();
            let record = record(algorithm, key.public_key(), skip);
            assert_eq!(PublicKey::from_der_or_pem(&record).as_ref(), Ok(key.public_key()));
        }
    }

    #[test]
    fn hostile_lines() {
        let line = data!("ecdsa-256.pub.ssh");
        let comment = line.iter().rposition(|byte| *byte == b' ').unwrap();
        assert!(PublicKey::from_der_or_pem(&line[..comment]).is_ok());
        for length in 0..comment {
            assert!(PublicKey::from_der_or_pem(&line[..length]).is_err(), "{length}");
        }
        // The modulus has no length of its own; it is too short below 1024 bits.
        for length in 0..170 {
            assert!(PublicKey::from_der_or_pem(&data!("rsa-2048.pub.dnskey")[..length]).is_err(), "{length}");
        }
        for line in ["ssh-rsa", "ssh-rsa AAAA", "ssh-dss AAAAB3NzaC1kc3M=", "0s", "0sAQ==", "0sAwEAAQ=="] {
            assert!(PublicKey::from_der_or_pem(line.as_bytes()).is_err(), "{line}");
        }
    }
}
