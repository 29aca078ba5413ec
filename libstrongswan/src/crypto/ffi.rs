//! What aws-lc can do and aws-lc-rs does not offer, one file each, with a safe face.
//!
//! The functions used here are those of the bindings that every platform has.

pub(super) mod des;
pub(super) mod ec;
pub(super) mod evp_aead;
pub(super) mod evp_cipher;
pub(super) mod hmac;
pub(super) mod md5;
pub(super) mod modexp;

/// The pointer, or the error that the library ran out of memory or refused.
fn non_null<T>(pointer: *mut T) -> Result<std::ptr::NonNull<T>, super::CryptoError> {
    std::ptr::NonNull::new(pointer).ok_or(super::CryptoError::Library)
}

/// Turns the library's 1 for success into a result.
fn done(result: std::os::raw::c_int) -> Result<(), super::CryptoError> {
    if result == 1 { Ok(()) } else { Err(super::CryptoError::Library) }
}
