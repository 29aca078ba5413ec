//! AES-CCM, GMAC and 3DES-CBC through EVP_CIPHER: aws-lc-rs has none of them.
//!
//! An EVP_CIPHER_CTX holds the expanded key next to the state of a message, so each message needs `&mut`; callers put it
//! behind a lock. Every message sets its own IV before anything else, so a failed one leaves nothing behind.
#![allow(unsafe_code)]

use std::os::raw::c_int;
use std::ptr::{self, NonNull};

use aws_lc_sys::{
    EVP_CIPHER, EVP_CIPHER_CTX, EVP_CIPHER_CTX_ctrl, EVP_CIPHER_CTX_free, EVP_CIPHER_CTX_new,
    EVP_CIPHER_CTX_set_padding, EVP_CTRL_AEAD_GET_TAG, EVP_CTRL_AEAD_SET_IVLEN, EVP_CTRL_AEAD_SET_TAG,
    EVP_CipherFinal_ex, EVP_CipherInit_ex, EVP_CipherUpdate, EVP_aes_128_ccm, EVP_aes_128_gcm, EVP_aes_192_ccm,
    EVP_aes_192_gcm, EVP_aes_256_ccm, EVP_aes_256_gcm, EVP_des_ede3_cbc,
};
use subtle::ConstantTimeEq;

use super::{done, non_null};
use crate::crypto::CryptoError;

/// An owned EVP_CIPHER_CTX.
struct Context(NonNull<EVP_CIPHER_CTX>);

// SAFETY: the context is owned, and nothing in it is bound to a thread.
unsafe impl Send for Context {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Decrypt,
    Encrypt,
}

impl Direction {
    fn raw(self) -> c_int {
        match self {
            Self::Decrypt => 0,
            Self::Encrypt => 1,
        }
    }
}

fn length(len: usize, what: &'static str) -> Result<c_int, CryptoError> {
    c_int::try_from(len).map_err(|_| CryptoError::Length { what, actual: len })
}

impl Context {
    fn new(cipher: *const EVP_CIPHER) -> Result<Self, CryptoError> {
        // SAFETY: allocates, or returns null.
        let context = Self(non_null(unsafe { EVP_CIPHER_CTX_new() })?);
        // SAFETY: the context is fresh, `cipher` is one of the library's statics; key and IV follow later.
        done(unsafe { EVP_CipherInit_ex(context.0.as_ptr(), cipher, ptr::null_mut(), ptr::null(), ptr::null(), 1) })?;
        Ok(context)
    }

    /// The key must have the length of the cipher, which callers choose by that length.
    fn set_key(&mut self, key: &[u8]) -> Result<(), CryptoError> {
        // SAFETY: a cipher is set and reads as many bytes of `key` as it is long.
        done(unsafe { EVP_CipherInit_ex(self.0.as_ptr(), ptr::null(), ptr::null_mut(), key.as_ptr(), ptr::null(), 1) })
    }

    /// Begins a message. The IV must have the length of the cipher, or that set by `set_iv_len`.
    fn set_iv(&mut self, iv: &[u8], direction: Direction) -> Result<(), CryptoError> {
        // SAFETY: cipher and key are set; as many bytes of `iv` are read as it is long.
        done(unsafe {
            EVP_CipherInit_ex(self.0.as_ptr(), ptr::null(), ptr::null_mut(), ptr::null(), iv.as_ptr(), direction.raw())
        })
    }

    /// Makes the context encrypt or decrypt from the next IV on.
    fn set_direction(&mut self, direction: Direction) -> Result<(), CryptoError> {
        // SAFETY: a cipher is set; nothing is read.
        done(unsafe {
            EVP_CipherInit_ex(self.0.as_ptr(), ptr::null(), ptr::null_mut(), ptr::null(), ptr::null(), direction.raw())
        })
    }

    fn set_iv_len(&mut self, len: usize) -> Result<(), CryptoError> {
        // SAFETY: the command takes its argument by value.
        done(unsafe {
            EVP_CIPHER_CTX_ctrl(self.0.as_ptr(), EVP_CTRL_AEAD_SET_IVLEN, length(len, "IV")?, ptr::null_mut())
        })
    }

    /// CCM needs to know the tag's length before it begins.
    fn set_tag_len(&mut self, len: usize) -> Result<(), CryptoError> {
        // SAFETY: with a null pointer the command takes the length only.
        done(unsafe {
            EVP_CIPHER_CTX_ctrl(self.0.as_ptr(), EVP_CTRL_AEAD_SET_TAG, length(len, "ICV")?, ptr::null_mut())
        })
    }

    /// The tag to expect when decrypting.
    fn set_tag(&mut self, tag: &[u8]) -> Result<(), CryptoError> {
        // SAFETY: the command reads `tag.len()` bytes through the pointer, it does not write.
        done(unsafe {
            let tag_ptr = tag.as_ptr().cast_mut().cast();
            EVP_CIPHER_CTX_ctrl(self.0.as_ptr(), EVP_CTRL_AEAD_SET_TAG, length(tag.len(), "ICV")?, tag_ptr)
        })
    }

    fn tag(&mut self, tag: &mut [u8]) -> Result<(), CryptoError> {
        // SAFETY: the command writes `tag.len()` bytes.
        done(unsafe {
            let tag_ptr = tag.as_mut_ptr().cast();
            EVP_CIPHER_CTX_ctrl(self.0.as_ptr(), EVP_CTRL_AEAD_GET_TAG, length(tag.len(), "ICV")?, tag_ptr)
        })
    }

    /// Announces the length of the text (CCM only).
    fn announce(&mut self, len: usize) -> Result<(), CryptoError> {
        let mut written = 0;
        // SAFETY: with both pointers null, CCM takes the length only.
        done(unsafe {
            let len = length(len, "text")?;
            EVP_CipherUpdate(self.0.as_ptr(), ptr::null_mut(), &mut written, ptr::null(), len)
        })
    }

    fn aad(&mut self, aad: &[u8]) -> Result<(), CryptoError> {
        let mut written = 0;
        // SAFETY: without an output the AEAD ciphers read `aad.len()` bytes and write none.
        done(unsafe {
            let len = length(aad.len(), "AAD")?;
            EVP_CipherUpdate(self.0.as_ptr(), ptr::null_mut(), &mut written, aad.as_ptr(), len)
        })
    }

    /// Encrypts or decrypts in place. With block ciphers, `text` is a multiple of the block and padding is off, so exactly as
    /// much is written as is read.
    fn update(&mut self, text: &mut [u8]) -> Result<(), CryptoError> {
        let mut written = 0;
        let len = length(text.len(), "text")?;
        // SAFETY: input and output are the same buffer of `len` bytes, which the function allows.
        done(unsafe { EVP_CipherUpdate(self.0.as_ptr(), text.as_mut_ptr(), &mut written, text.as_ptr(), len) })?;
        if written == len { Ok(()) } else { Err(CryptoError::Library) }
    }

    fn finish(&mut self) -> Result<(), CryptoError> {
        let (mut rest, mut written) = ([0; 32], 0);
        // SAFETY: at most one block is written, of which no cipher here has more than 16 bytes.
        done(unsafe { EVP_CipherFinal_ex(self.0.as_ptr(), rest.as_mut_ptr(), &mut written) })
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the context came from EVP_CIPHER_CTX_new and is freed once; that wipes the key.
        unsafe { EVP_CIPHER_CTX_free(self.0.as_ptr()) }
    }
}

/// AES-CCM with a nonce of 11 bytes (RFC 4309 §4).
pub(in crate::crypto) struct Ccm {
    context: Context,
    tag_len: usize,
}

impl Ccm {
    /// A key of 16, 24 or 32 bytes; a tag of 8, 12 or 16.
    pub(in crate::crypto) fn new(key: &[u8], tag_len: usize) -> Result<Self, CryptoError> {
        // SAFETY: these return pointers to statics.
        let cipher = unsafe {
            match key.len() {
                16 => EVP_aes_128_ccm(),
                24 => EVP_aes_192_ccm(),
                32 => EVP_aes_256_ccm(),
                actual => return Err(CryptoError::KeyLength { expected: 32, actual }),
            }
        };
        let mut context = Context::new(cipher)?;
        context.set_iv_len(11)?;
        context.set_tag_len(tag_len)?;
        context.set_key(key)?;
        Ok(Self { context, tag_len })
    }

    /// Encrypts in place and writes the tag.
    pub(in crate::crypto) fn seal(
        &mut self,
        nonce: &[u8; 11],
        aad: &[u8],
        text: &mut [u8],
        tag: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.context.set_direction(Direction::Encrypt)?;
        self.context.set_tag_len(self.tag_len)?;
        self.context.set_iv(nonce, Direction::Encrypt)?;
        self.context.announce(text.len())?;
        self.context.aad(aad)?;
        self.context.update(text)?;
        self.context.tag(tag)
    }

    /// Checks the tag and decrypts in place.
    pub(in crate::crypto) fn open(
        &mut self,
        nonce: &[u8; 11],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8],
    ) -> Result<(), CryptoError> {
        self.context.set_direction(Direction::Decrypt)?;
        self.context.set_tag(tag)?;
        self.context.set_iv(nonce, Direction::Decrypt)?;
        self.context.announce(text.len())?;
        self.context.aad(aad)?;
        // CCM checks the tag while it decrypts, in constant time.
        self.context.update(text).map_err(|_| CryptoError::Integrity)
    }
}

/// AES-GMAC (RFC 4543): GCM over nothing but additional data.
pub(in crate::crypto) struct Gmac(Context);

impl Gmac {
    /// A key of 16, 24 or 32 bytes.
    pub(in crate::crypto) fn new(key: &[u8]) -> Result<Self, CryptoError> {
        // SAFETY: these return pointers to statics.
        let cipher = unsafe {
            match key.len() {
                16 => EVP_aes_128_gcm(),
                24 => EVP_aes_192_gcm(),
                32 => EVP_aes_256_gcm(),
                actual => return Err(CryptoError::KeyLength { expected: 32, actual }),
            }
        };
        let mut context = Context::new(cipher)?;
        context.set_key(key)?;
        Ok(Self(context))
    }

    /// The tag over the concatenation of `parts`.
    pub(in crate::crypto) fn sign(&mut self, nonce: &[u8; 12], parts: &[&[u8]]) -> Result<[u8; 16], CryptoError> {
        self.0.set_iv(nonce, Direction::Encrypt)?;
        for part in parts {
            self.0.aad(part)?;
        }
        self.0.finish()?;
        let mut tag = [0; 16];
        self.0.tag(&mut tag)?;
        Ok(tag)
    }

    /// Compares the tag in constant time.
    pub(in crate::crypto) fn verify(
        &mut self,
        nonce: &[u8; 12],
        parts: &[&[u8]],
        tag: &[u8],
    ) -> Result<(), CryptoError> {
        let expected = self.sign(nonce, parts)?;
        if bool::from(expected.ct_eq(tag)) { Ok(()) } else { Err(CryptoError::Integrity) }
    }
}

/// 3DES-CBC without padding (RFC 2451).
pub(in crate::crypto) struct TripleDesCbc(Context);

impl TripleDesCbc {
    pub(in crate::crypto) fn new(key: &[u8; 24]) -> Result<Self, CryptoError> {
        // SAFETY: returns a pointer to a static.
        let mut context = Context::new(unsafe { EVP_des_ede3_cbc() })?;
        context.set_key(key)?;
        // SAFETY: the context is initialised.
        done(unsafe { EVP_CIPHER_CTX_set_padding(context.0.as_ptr(), 0) })?;
        Ok(Self(context))
    }

    /// `text` is a multiple of 8 bytes.
    pub(in crate::crypto) fn encrypt(&mut self, iv: &[u8; 8], text: &mut [u8]) -> Result<(), CryptoError> {
        self.run(iv, text, Direction::Encrypt)
    }

    /// `text` is a multiple of 8 bytes.
    pub(in crate::crypto) fn decrypt(&mut self, iv: &[u8; 8], text: &mut [u8]) -> Result<(), CryptoError> {
        self.run(iv, text, Direction::Decrypt)
    }

    fn run(&mut self, iv: &[u8; 8], text: &mut [u8], direction: Direction) -> Result<(), CryptoError> {
        if !text.len().is_multiple_of(8) {
            return Err(CryptoError::Length { what: "text", actual: text.len() });
        }
        self.0.set_iv(iv, direction)?;
        self.0.update(text)
    }
}
