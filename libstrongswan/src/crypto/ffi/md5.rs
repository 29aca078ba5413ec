//! MD5: IKEv1, EAP-MD5, RADIUS, and strongSwan's vendor id.
#![allow(unsafe_code)]

use std::ptr;

use aws_lc_sys::{EVP_Digest, EVP_md5};

/// MD5 over the concatenation of `parts`.
pub(in crate::crypto) fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let data = parts.concat();
    let mut out = [0; 16];
    // SAFETY: `data` is valid for its length, `out` has room for the 16 bytes that EVP_md5 yields, no length is asked for
    // and no engine given.
    let done = unsafe {
        EVP_Digest(data.as_ptr().cast(), data.len(), out.as_mut_ptr(), ptr::null_mut(), EVP_md5(), ptr::null_mut())
    };
    assert_eq!(done, 1, "MD5 fails only if memory is exhausted");
    out
}
