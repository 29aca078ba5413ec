//! MD5 and HMAC-MD5: IKEv1, old IKEv2 peers, EAP-MD5, RADIUS, and strongSwan's vendor id.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr;

use aws_lc_sys::{
    EVP_Digest, EVP_md5, HMAC_CTX, HMAC_CTX_cleanup, HMAC_CTX_copy_ex, HMAC_CTX_init, HMAC_Final, HMAC_Init_ex,
    HMAC_Update,
};

use crate::crypto::CryptoError;

/// Output of MD5 in bytes.
pub(in crate::crypto) const LEN: usize = 16;

/// MD5 over the concatenation of `parts`.
pub(in crate::crypto) fn digest(parts: &[&[u8]]) -> [u8; LEN] {
    let data = parts.concat();
    let mut out = [0; LEN];
    // SAFETY: `data` is valid for its length, `out` has room for the 16 bytes that EVP_md5 yields, no length is asked for
    // and no engine given.
    let done = unsafe {
        EVP_Digest(data.as_ptr().cast(), data.len(), out.as_mut_ptr(), ptr::null_mut(), EVP_md5(), ptr::null_mut())
    };
    assert_eq!(done, 1, "MD5 fails only if memory is exhausted");
    out
}

/// A keyed HMAC-MD5 (RFC 2104), with the key schedule computed; clones start from there.
pub(in crate::crypto) struct HmacMd5(HMAC_CTX);

// SAFETY: HMAC_CTX owns its state inline, and shared references only copy from it.
unsafe impl Send for HmacMd5 {}
// SAFETY: as above; `&self` methods pass the context as const.
unsafe impl Sync for HmacMd5 {}

impl HmacMd5 {
    /// Takes a key of any length.
    pub(in crate::crypto) fn new(key: &[u8]) -> Result<Self, CryptoError> {
        let mut hmac = Self::empty();
        // SAFETY: the context is initialised, the key is valid for its length, EVP_md5 returns a static.
        let done = unsafe { HMAC_Init_ex(&mut hmac.0, key.as_ptr().cast(), key.len(), EVP_md5(), ptr::null_mut()) };
        if done == 1 { Ok(hmac) } else { Err(CryptoError::Library) }
    }

    fn empty() -> Self {
        let mut context = MaybeUninit::<HMAC_CTX>::uninit();
        // SAFETY: HMAC_CTX_init writes the whole context.
        Self(unsafe {
            HMAC_CTX_init(context.as_mut_ptr());
            context.assume_init()
        })
    }

    /// A copy that starts from the same state.
    pub(in crate::crypto) fn start(&self) -> Self {
        let mut copy = Self::empty();
        // SAFETY: both contexts are initialised.
        let done = unsafe { HMAC_CTX_copy_ex(&mut copy.0, &self.0) };
        assert_eq!(done, 1, "copying an initialised context of a digest without heap state does not fail");
        copy
    }

    /// Adds data.
    pub(in crate::crypto) fn update(&mut self, data: &[u8]) {
        // SAFETY: the context is initialised and keyed, the data is valid for its length.
        let done = unsafe { HMAC_Update(&mut self.0, data.as_ptr(), data.len()) };
        assert_eq!(done, 1, "a keyed context takes data");
    }

    /// The tag.
    pub(in crate::crypto) fn finish(mut self) -> [u8; LEN] {
        let mut out = [0; LEN];
        // SAFETY: the context is initialised and keyed, `out` has room for the 16 bytes of the tag.
        let done = unsafe { HMAC_Final(&mut self.0, out.as_mut_ptr(), ptr::null_mut()) };
        assert_eq!(done, 1, "a keyed context delivers its tag");
        out
    }
}

impl Drop for HmacMd5 {
    fn drop(&mut self) {
        // SAFETY: the context is initialised; cleanup wipes it.
        unsafe { HMAC_CTX_cleanup(&mut self.0) }
    }
}
