//! Block ciphers that files are encrypted with, in CBC mode with PKCS#7 padding, and two key derivations.
//!
//! Nothing here is offered to peers: DES, Triple DES and RC2 are in old files only, and those have to be readable.

#![allow(unsafe_code, reason = "FFI: aws-lc-rs has none of these old ciphers, and not PBKDF2 with every hash")]

use std::ffi::c_int;
use std::ptr;

use aws_lc_sys as sys;
use zeroize::Zeroizing;

use crate::credentials::hash::HashAlgorithm;
use crate::crypto::Secret;

/// What a file may be encrypted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cipher {
    /// AES with a key of 128 bits.
    Aes128,
    /// AES with a key of 192 bits.
    Aes192,
    /// AES with a key of 256 bits.
    Aes256,
    /// Triple DES with three keys.
    TripleDes,
    /// Single DES.
    Des,
    /// RC2 with a key of 128 bits.
    Rc2,
    /// RC2 with a key of 40 bits.
    Rc2Weak,
}

impl Cipher {
    fn evp(self) -> *const sys::EVP_CIPHER {
        // SAFETY: these return pointers to static tables.
        unsafe {
            match self {
                Self::Aes128 => sys::EVP_aes_128_cbc(),
                Self::Aes192 => sys::EVP_aes_192_cbc(),
                Self::Aes256 => sys::EVP_aes_256_cbc(),
                Self::TripleDes => sys::EVP_des_ede3_cbc(),
                Self::Des => sys::EVP_des_cbc(),
                Self::Rc2 => sys::EVP_rc2_cbc(),
                Self::Rc2Weak => sys::EVP_rc2_40_cbc(),
            }
        }
    }

    /// Bytes of the key.
    pub(crate) const fn key_len(self) -> usize {
        match self {
            Self::Aes128 | Self::Rc2 => 16,
            Self::Aes192 | Self::TripleDes => 24,
            Self::Aes256 => 32,
            Self::Des => 8,
            Self::Rc2Weak => 5,
        }
    }

    /// Bytes of a block and of the initialisation vector.
    pub(crate) const fn block_len(self) -> usize {
        match self {
            Self::Aes128 | Self::Aes192 | Self::Aes256 => 16,
            Self::TripleDes | Self::Des | Self::Rc2 | Self::Rc2Weak => 8,
        }
    }

    /// Decrypts `data`; `None` if a length is wrong or the padding is, which a wrong key mostly shows in.
    pub(crate) fn decrypt(self, key: &[u8], iv: &[u8], data: &[u8]) -> Option<Secret> {
        if key.len() != self.key_len() || iv.len() != self.block_len() {
            return None;
        }
        let length = c_int::try_from(data.len()).ok()?;
        let mut plain = Zeroizing::new(vec![0; data.len().checked_add(self.block_len())?]);
        let (mut first, mut last) = (0, 0);
        // SAFETY: the context is created here, freed below and used by nobody else. Key and vector have the lengths
        // that the cipher reads. Update writes at most what it reads and Final one block more, for which there is room.
        let done = unsafe {
            let context = sys::EVP_CIPHER_CTX_new();
            let done = !context.is_null()
                && sys::EVP_DecryptInit_ex(context, self.evp(), ptr::null_mut(), key.as_ptr(), iv.as_ptr()) == 1
                && sys::EVP_DecryptUpdate(context, plain.as_mut_ptr(), &raw mut first, data.as_ptr(), length) == 1
                && usize::try_from(first).is_ok_and(|first| {
                    plain
                        .get_mut(first..)
                        .is_some_and(|rest| sys::EVP_DecryptFinal_ex(context, rest.as_mut_ptr(), &raw mut last) == 1)
                });
            sys::EVP_CIPHER_CTX_free(context);
            if !done {
                sys::ERR_clear_error();
            }
            done
        };
        let length = usize::try_from(first.checked_add(last)?).ok()?;
        done.then(|| plain.get(..length).map(Secret::from)).flatten()
    }
}

/// PBKDF2 (RFC 8018 §5.2) with HMAC; `None` for hashes that nobody uses there.
pub(crate) fn pbkdf2(
    hash: HashAlgorithm,
    passphrase: &[u8],
    salt: &[u8],
    iterations: u32,
    length: usize,
) -> Option<Zeroizing<Vec<u8>>> {
    let mut key = Zeroizing::new(vec![0; length]);
    // SAFETY: each slice is passed with its length, the digest is static.
    let done = unsafe {
        let digest = match hash {
            HashAlgorithm::Sha1 => sys::EVP_sha1(),
            HashAlgorithm::Sha2_224 => sys::EVP_sha224(),
            HashAlgorithm::Sha2_256 => sys::EVP_sha256(),
            HashAlgorithm::Sha2_384 => sys::EVP_sha384(),
            HashAlgorithm::Sha2_512 => sys::EVP_sha512(),
            _ => return None,
        };
        sys::PKCS5_PBKDF2_HMAC(
            passphrase.as_ptr().cast(),
            passphrase.len(),
            salt.as_ptr(),
            salt.len(),
            iterations,
            digest,
            key.len(),
            key.as_mut_ptr(),
        )
    };
    (done == 1).then_some(key)
}

/// Costs of scrypt (RFC 7914 §2): N, r and p.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScryptCost {
    pub(crate) n: u64,
    pub(crate) r: u64,
    pub(crate) p: u64,
}

/// Memory that a file may make us use for scrypt: OpenSSL's default takes 16 MiB.
const SCRYPT_MEMORY: usize = 256 << 20;

/// Passes over the memory that a file may demand.
const SCRYPT_PASSES: u64 = 16;

/// scrypt (RFC 7914); `None` if it would cost too much.
pub(crate) fn scrypt(cost: ScryptCost, passphrase: &[u8], salt: &[u8], length: usize) -> Option<Zeroizing<Vec<u8>>> {
    if cost.p > SCRYPT_PASSES {
        return None;
    }
    let mut key = Zeroizing::new(vec![0; length]);
    // SAFETY: each slice is passed with its length; the costs are checked against the memory by the function.
    let done = unsafe {
        sys::EVP_PBE_scrypt(
            passphrase.as_ptr().cast(),
            passphrase.len(),
            salt.as_ptr(),
            salt.len(),
            cost.n,
            cost.r,
            cost.p,
            SCRYPT_MEMORY,
            key.as_mut_ptr(),
            key.len(),
        )
    };
    if done != 1 {
        // SAFETY: touches thread-local state only.
        unsafe { sys::ERR_clear_error() }
    }
    (done == 1).then_some(key)
}
