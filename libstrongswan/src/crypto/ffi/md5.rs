//! MD5 (IKEv1, EAP-MD5, RADIUS, strongSwan's vendor id) and MD4 (NT hashes).
#![allow(unsafe_code)]

use std::ptr;

use aws_lc_sys::{EVP_Digest, EVP_MD, EVP_md4, EVP_md5};

/// MD5 over the concatenation of `parts`.
pub(in crate::crypto) fn digest(parts: &[&[u8]]) -> [u8; 16] {
    // SAFETY: returns a static of the library.
    compute(unsafe { EVP_md5() }, parts)
}

/// MD4 over the concatenation of `parts`.
pub(in crate::crypto) fn md4(parts: &[&[u8]]) -> [u8; 16] {
    // SAFETY: returns a static of the library.
    compute(unsafe { EVP_md4() }, parts)
}

/// `algorithm` must be one of the library's statics whose hashes have 16 bytes.
fn compute(algorithm: *const EVP_MD, parts: &[&[u8]]) -> [u8; 16] {
    let data = zeroize::Zeroizing::new(parts.concat());
    let mut out = [0; 16];
    // SAFETY: `data` is valid for its length, `out` has room for the 16 bytes that both algorithms yield, no length is
    // asked for and no engine given.
    let done = unsafe {
        EVP_Digest(data.as_ptr().cast(), data.len(), out.as_mut_ptr(), ptr::null_mut(), algorithm, ptr::null_mut())
    };
    assert_eq!(done, 1, "MD4 and MD5 fail only if memory is exhausted");
    out
}
