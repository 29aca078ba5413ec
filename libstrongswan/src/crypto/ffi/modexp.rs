//! Modular exponentiation in constant time, for the MODP groups.
#![allow(unsafe_code)]

use std::ptr::{self, NonNull};

use aws_lc_sys::{
    BIGNUM, BN_CTX_free, BN_CTX_new, BN_MONT_CTX, BN_MONT_CTX_free, BN_MONT_CTX_new_for_modulus, BN_bin2bn,
    BN_bn2bin_padded, BN_clear_free, BN_mod_exp_mont_consttime, BN_new, BN_ucmp,
};

use super::{done, non_null};
use crate::crypto::CryptoError;

/// An owned number, wiped when it is dropped.
struct Number(NonNull<BIGNUM>);

impl Number {
    fn new() -> Result<Self, CryptoError> {
        // SAFETY: allocates, or returns null.
        Ok(Self(non_null(unsafe { BN_new() })?))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, CryptoError> {
        // SAFETY: `bytes` is valid for its length; a null result argument asks for a new number.
        Ok(Self(non_null(unsafe { BN_bin2bn(bytes.as_ptr(), bytes.len(), ptr::null_mut()) })?))
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        // SAFETY: the number is owned and freed once.
        unsafe { BN_clear_free(self.0.as_ptr()) }
    }
}

/// An odd modulus with what is precomputed for it.
pub(in crate::crypto) struct Modulus {
    number: Number,
    montgomery: NonNull<BN_MONT_CTX>,
    len: usize,
}

// SAFETY: both are owned, and nothing in them is bound to a thread.
unsafe impl Send for Modulus {}
// SAFETY: both are passed as const only, after construction.
unsafe impl Sync for Modulus {}

impl Modulus {
    /// An odd modulus, big-endian.
    pub(in crate::crypto) fn new(modulus: &[u8]) -> Result<Self, CryptoError> {
        let number = Number::from_bytes(modulus)?;
        // SAFETY: the number is valid; without a context the function makes its own.
        let montgomery = unsafe {
            let context = non_null(BN_CTX_new())?;
            let montgomery = BN_MONT_CTX_new_for_modulus(number.0.as_ptr(), context.as_ptr());
            BN_CTX_free(context.as_ptr());
            non_null(montgomery)?
        };
        Ok(Self { number, montgomery, len: modulus.len() })
    }

    /// base ^ exponent, as long as the modulus. The time it takes depends on the length of the exponent only.
    ///
    /// # Errors
    /// If base is not below the modulus.
    pub(in crate::crypto) fn exp(&self, base: &[u8], exponent: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let (base, exponent, result) = (Number::from_bytes(base)?, Number::from_bytes(exponent)?, Number::new()?);
        // SAFETY: both numbers are valid.
        if unsafe { BN_ucmp(base.0.as_ptr(), self.number.0.as_ptr()) } >= 0 {
            return Err(CryptoError::Library);
        }
        // SAFETY: all numbers are valid and distinct, base is reduced, the modulus is the one the Montgomery context was made
        // for; the BN_CTX is freed on every path.
        unsafe {
            let context = non_null(BN_CTX_new())?.as_ptr();
            let computed = BN_mod_exp_mont_consttime(
                result.0.as_ptr(),
                base.0.as_ptr(),
                exponent.0.as_ptr(),
                self.number.0.as_ptr(),
                context,
                self.montgomery.as_ptr(),
            );
            BN_CTX_free(context);
            done(computed)?;
        }
        let mut out = vec![0; self.len];
        // SAFETY: `out` has room for its length, which is that of the modulus.
        done(unsafe { BN_bn2bin_padded(out.as_mut_ptr(), out.len(), result.0.as_ptr()) })?;
        Ok(out)
    }
}

impl Drop for Modulus {
    fn drop(&mut self) {
        // SAFETY: the context is owned and freed once.
        unsafe { BN_MONT_CTX_free(self.montgomery.as_ptr()) }
    }
}
