//! One-shot hashes over several parts: NAT detection, vendor ids, key ids.

use aws_lc_rs::digest;

use super::ffi::md5;

fn hash<const N: usize>(algorithm: &'static digest::Algorithm, parts: &[&[u8]]) -> [u8; N] {
    let mut context = digest::Context::new(algorithm);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    out
}

/// SHA-1 (FIPS 180-4). Only where a protocol prescribes it.
pub fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    hash(&digest::SHA1_FOR_LEGACY_USE_ONLY, parts)
}

/// SHA-256 (FIPS 180-4).
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    hash(&digest::SHA256, parts)
}

/// SHA-384 (FIPS 180-4).
pub fn sha384(parts: &[&[u8]]) -> [u8; 48] {
    hash(&digest::SHA384, parts)
}

/// SHA-512 (FIPS 180-4).
pub fn sha512(parts: &[&[u8]]) -> [u8; 64] {
    hash(&digest::SHA512, parts)
}

/// MD5 (RFC 1321). Only where a protocol prescribes it.
pub fn md5(parts: &[&[u8]]) -> [u8; 16] {
    md5::digest(parts)
}

/// MD4 (RFC 1320). Only for NT hashes of passwords.
pub fn md4(parts: &[&[u8]]) -> [u8; 16] {
    md5::md4(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4 examples and RFC 1320 and 1321 §A.5: the hash of "abc", given in two parts.
    #[test]
    fn published_examples() {
        let parts: &[&[u8]] = &[b"a", b"bc"];
        assert_eq!(hex::encode(sha1(parts)), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(hex::encode(sha256(parts)), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(
            hex::encode(sha384(parts)).starts_with("cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed")
        );
        assert!(
            hex::encode(sha512(parts)).starts_with("ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a")
        );
        assert_eq!(hex::encode(md5(parts)), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(hex::encode(md4(parts)), "a448017aaf21d8525fc10ae87aa6729d");
        // The vendor id by which strongSwan makes itself known.
        assert_eq!(hex::encode(md5(&[b"strongSwan"])), "882fe56d6fd20dbc2251613b2ebe5beb");
    }
}
