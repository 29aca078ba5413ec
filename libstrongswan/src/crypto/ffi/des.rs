//! One block of DES, for MS-CHAP. The cipher of aws-lc-rs refuses weak keys, which some passwords have.
#![allow(unsafe_code)]

use std::ptr;

use aws_lc_sys::{
    EVP_CIPHER_CTX_free, EVP_CIPHER_CTX_new, EVP_CIPHER_CTX_set_padding, EVP_EncryptInit_ex, EVP_EncryptUpdate,
    EVP_des_ecb,
};

use super::{done, non_null};
use crate::crypto::CryptoError;

/// Encrypts a block; the parity bits of the key are ignored.
pub(in crate::crypto) fn encrypt(key: &[u8; 8], block: &[u8; 8]) -> Result<[u8; 8], CryptoError> {
    // SAFETY: allocates, or returns null.
    let context = non_null(unsafe { EVP_CIPHER_CTX_new() })?;
    let mut out = [0; 16];
    let mut written = 0;
    // SAFETY: the context is live until it is freed below; key and block have the 8 bytes that DES in ECB mode reads, no IV
    // is needed, and `out` has room for a block more than is put in.
    let result = unsafe {
        let context = context.as_ptr();
        done(EVP_EncryptInit_ex(context, EVP_des_ecb(), ptr::null_mut(), key.as_ptr(), ptr::null()))
            .and_then(|()| done(EVP_CIPHER_CTX_set_padding(context, 0)))
            .and_then(|()| done(EVP_EncryptUpdate(context, out.as_mut_ptr(), &raw mut written, block.as_ptr(), 8)))
    };
    // SAFETY: it was allocated above and is not used any more.
    unsafe { EVP_CIPHER_CTX_free(context.as_ptr()) };
    result?;
    match out.first_chunk() {
        Some(block) if written == 8 => Ok(*block),
        _ => Err(CryptoError::Library),
    }
}
