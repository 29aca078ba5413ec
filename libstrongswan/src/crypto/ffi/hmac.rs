//! HMAC (RFC 2104) with the key reduced to the two hash states it leads to.
//!
//! aws-lc-rs knows no HMAC-MD5, and its keys keep three whole contexts: 1.2 KiB where 40 to 128 bytes say the same. Every
//! SA holds a few of them.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr;

use aws_lc_sys::{
    EVP_MD, EVP_md5, EVP_sha1, EVP_sha256, EVP_sha384, EVP_sha512, HMAC_CTX, HMAC_CTX_cleanup, HMAC_CTX_init,
    HMAC_Final, HMAC_Init_ex, HMAC_Init_from_precomputed_key, HMAC_Update, HMAC_get_precomputed_key,
    HMAC_set_precomputed_key_export,
};
use zeroize::Zeroizing;

use super::done;
use crate::crypto::CryptoError;

/// Longest output: SHA-512.
const MAX_OUTPUT: usize = 64;

/// Two chaining values of SHA-512, of which SHA-384 is a truncation.
const MAX_STATES: usize = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::crypto) enum Digest {
    Md5,
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Digest {
    fn raw(self) -> *const EVP_MD {
        // SAFETY: these return pointers to statics.
        unsafe {
            match self {
                Self::Md5 => EVP_md5(),
                Self::Sha1 => EVP_sha1(),
                Self::Sha256 => EVP_sha256(),
                Self::Sha384 => EVP_sha384(),
                Self::Sha512 => EVP_sha512(),
            }
        }
    }

    fn output_len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    fn states_len(self) -> usize {
        match self {
            Self::Md5 => 32,
            Self::Sha1 => 40,
            Self::Sha256 => 64,
            Self::Sha384 | Self::Sha512 => 128,
        }
    }
}

/// A key, as the states of the inner and the outer hash after it.
pub(in crate::crypto) struct HmacKey {
    digest: Digest,
    states: Zeroizing<Box<[u8]>>,
}

impl HmacKey {
    /// Takes a key of any length.
    pub(in crate::crypto) fn new(digest: Digest, key: &[u8]) -> Result<Self, CryptoError> {
        let mut context = Hmac::empty(digest);
        let mut states = Zeroizing::new([0; MAX_STATES]);
        let mut len = states.len();
        // SAFETY: the context is initialised, the key is valid for its length (an empty one has a dangling but non-null
        // pointer), the digest is a static; the states are written to a buffer of the length given.
        unsafe {
            done(HMAC_Init_ex(&mut context.context, key.as_ptr().cast(), key.len(), digest.raw(), ptr::null_mut()))?;
            done(HMAC_set_precomputed_key_export(&mut context.context))?;
            done(HMAC_get_precomputed_key(&mut context.context, states.as_mut_ptr(), &mut len))?;
        }
        match states.get(..len) {
            Some(states) if len == digest.states_len() => Ok(Self { digest, states: Zeroizing::new(states.into()) }),
            _ => Err(CryptoError::Library),
        }
    }

    /// Begins a message.
    pub(in crate::crypto) fn start(&self) -> Result<Hmac, CryptoError> {
        let mut context = Hmac::empty(self.digest);
        // SAFETY: the context is initialised; the states have the length that belongs to the digest, which the function
        // checks.
        done(unsafe {
            let (states, len) = (self.states.as_ptr(), self.states.len());
            HMAC_Init_from_precomputed_key(&mut context.context, states, len, self.digest.raw())
        })?;
        Ok(context)
    }
}

/// A message being authenticated. The context is flat: it owns nothing outside of itself and may be moved.
pub(in crate::crypto) struct Hmac {
    context: HMAC_CTX,
    digest: Digest,
}

impl Hmac {
    fn empty(digest: Digest) -> Self {
        let mut context = MaybeUninit::<HMAC_CTX>::uninit();
        // SAFETY: HMAC_CTX_init writes the whole context.
        let context = unsafe {
            HMAC_CTX_init(context.as_mut_ptr());
            context.assume_init()
        };
        Self { context, digest }
    }

    /// Adds data.
    pub(in crate::crypto) fn update(&mut self, data: &[u8]) -> Result<(), CryptoError> {
        // SAFETY: the context is initialised and keyed, the data is valid for its length.
        done(unsafe { HMAC_Update(&mut self.context, data.as_ptr(), data.len()) })
    }

    /// Writes the tag and returns its length.
    pub(in crate::crypto) fn finish(mut self, out: &mut [u8; MAX_OUTPUT]) -> Result<usize, CryptoError> {
        // SAFETY: the context is initialised and keyed, `out` has room for the tag of any digest.
        done(unsafe { HMAC_Final(&mut self.context, out.as_mut_ptr(), ptr::null_mut()) })?;
        Ok(self.digest.output_len())
    }
}

impl Drop for Hmac {
    fn drop(&mut self) {
        // SAFETY: the context is initialised; cleanup wipes it.
        unsafe { HMAC_CTX_cleanup(&mut self.context) }
    }
}
