//! The face of AWS-LC's EVP keys: parse, encode, sign and verify with any digest and padding.
//!
//! aws-lc-rs binds a key to one digest per curve and signs neither with SHA-1 nor with RSA keys below 2048 bits, but
//! RFC 7427 leaves the choice of the digest to what the peer announces, and peers without RFC 7427 expect SHA-1.
//! Hence this module, the only one here with `unsafe`: each call into C is checked, owns what it allocates, and
//! passes slices with their own lengths.

#![allow(unsafe_code, reason = "FFI: aws-lc-rs lacks these operations, see above")]

use std::ffi::{c_int, c_long};
use std::ptr::{self, NonNull};

use aws_lc_sys as sys;

use super::hash::HashAlgorithm;
use super::keys::KeyType;
use crate::crypto::Secret;

/// What is done to the data before the key is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The key's own: PKCS#1 v1.5 for RSA, DER-encoded ECDSA.
    Digest(HashAlgorithm),
    /// RSASSA-PSS with MGF1 over the same digest.
    Pss(HashAlgorithm, u16),
    /// EdDSA.
    Pure,
}

/// An owned `EVP_PKEY`, public or private.
pub(super) struct EvpKey(NonNull<sys::EVP_PKEY>);

// SAFETY: an EVP_PKEY may be used by many threads at once as long as none mutates it (AWS-LC's evp.h), and no function
// below does after construction. References it holds to RSA or EC keys are counted atomically.
unsafe impl Send for EvpKey {}
// SAFETY: as above.
unsafe impl Sync for EvpKey {}

impl Drop for EvpKey {
    fn drop(&mut self) {
        // SAFETY: the pointer came from a function that returned an owned key, and it is freed once, here.
        unsafe { sys::EVP_PKEY_free(self.0.as_ptr()) }
    }
}

/// An owned `EVP_MD_CTX`.
struct Context(NonNull<sys::EVP_MD_CTX>);

impl Context {
    fn new() -> Option<Self> {
        // SAFETY: no arguments; NULL is handled.
        NonNull::new(unsafe { sys::EVP_MD_CTX_new() }).map(Self)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: owned, and freed once.
        unsafe { sys::EVP_MD_CTX_free(self.0.as_ptr()) }
    }
}

/// Keeps the thread's error queue empty: nobody reads it, and stale entries would only pin memory.
fn forget_errors<T>(result: Option<T>) -> Option<T> {
    if result.is_none() {
        // SAFETY: touches thread-local state only.
        unsafe { sys::ERR_clear_error() }
    }
    result
}

fn digest(hash: HashAlgorithm) -> Option<*const sys::EVP_MD> {
    // SAFETY: these return pointers to static tables.
    unsafe {
        match hash {
            HashAlgorithm::Sha1 => Some(sys::EVP_sha1()),
            HashAlgorithm::Sha2_224 => Some(sys::EVP_sha224()),
            HashAlgorithm::Sha2_256 => Some(sys::EVP_sha256()),
            HashAlgorithm::Sha2_384 => Some(sys::EVP_sha384()),
            HashAlgorithm::Sha2_512 => Some(sys::EVP_sha512()),
            // MD4 and MD5 are broken; SHA-3 certificates do not occur and IKEv2 has no number for it.
            _ => None,
        }
    }
}

impl EvpKey {
    /// Reads a SubjectPublicKeyInfo with nothing after it.
    pub(super) fn public_from_spki(der: &[u8]) -> Option<Self> {
        let mut cbs = sys::CBS { data: der.as_ptr(), len: der.len() };
        // SAFETY: the CBS describes `der`, which outlives the call; the result is owned or NULL.
        let key = NonNull::new(unsafe { sys::EVP_parse_public_key(&raw mut cbs) }).map(Self);
        forget_errors(key.filter(|_| cbs.len == 0))
    }

    /// Reads an unencrypted PKCS#8, PKCS#1 or SEC 1 private key with nothing after it.
    pub(super) fn private_from_der(der: &[u8]) -> Option<Self> {
        let length = c_long::try_from(der.len()).ok()?;
        let mut position = der.as_ptr();
        // SAFETY: `position` points to `length` readable bytes; the function moves it, but not beyond their end, and
        // returns an owned key or NULL.
        let key = NonNull::new(unsafe { sys::d2i_AutoPrivateKey(ptr::null_mut(), &raw mut position, length) });
        forget_errors(key.map(Self).filter(|_| position == der.as_ptr_range().end))
    }

    /// What kind of key it is, if it is one we use: RSA, a NIST curve or Ed25519.
    pub(super) fn key_type(&self) -> Option<KeyType> {
        // SAFETY: the key is valid; EVP_PKEY_get0_EC_KEY borrows, and NULL is handled.
        unsafe {
            match sys::EVP_PKEY_id(self.0.as_ptr()) {
                sys::EVP_PKEY_RSA => Some(KeyType::Rsa),
                sys::EVP_PKEY_ED25519 => Some(KeyType::Ed25519),
                sys::EVP_PKEY_EC => {
                    let key = NonNull::new(sys::EVP_PKEY_get0_EC_KEY(self.0.as_ptr()))?;
                    match sys::EC_GROUP_get_curve_name(sys::EC_KEY_get0_group(key.as_ptr())) {
                        sys::NID_X9_62_prime256v1 | sys::NID_secp384r1 | sys::NID_secp521r1 => Some(KeyType::Ecdsa),
                        _ => None,
                    }
                }
                _ => None,
            }
        }
    }

    /// Size of the modulus or the curve in bits.
    pub(super) fn bits(&self) -> u32 {
        // SAFETY: the key is valid.
        u32::try_from(unsafe { sys::EVP_PKEY_bits(self.0.as_ptr()) }).unwrap_or(0)
    }

    /// The SubjectPublicKeyInfo, also of a private key.
    pub(super) fn spki(&self) -> Option<Vec<u8>> {
        self.marshal(sys::EVP_marshal_public_key).map(|secret| secret.as_bytes().to_vec())
    }

    /// The unencrypted PKCS#8 form of a private key.
    pub(super) fn pkcs8(&self) -> Option<Secret> {
        self.marshal(sys::EVP_marshal_private_key)
    }

    fn marshal(&self, encode: unsafe extern "C" fn(*mut sys::CBB, *const sys::EVP_PKEY) -> c_int) -> Option<Secret> {
        let mut cbb = std::mem::MaybeUninit::<sys::CBB>::uninit();
        let (mut data, mut length) = (ptr::null_mut(), 0);
        // SAFETY: CBB_init initialises the builder, and only then it is used. CBB_finish moves the buffer out, which
        // is copied, wiped by OPENSSL_free and released; on failure CBB_cleanup releases it.
        unsafe {
            if sys::CBB_init(cbb.as_mut_ptr(), 256) != 1 {
                return forget_errors(None);
            }
            if encode(cbb.as_mut_ptr(), self.0.as_ptr()) != 1
                || sys::CBB_finish(cbb.as_mut_ptr(), &raw mut data, &raw mut length) != 1
            {
                sys::CBB_cleanup(cbb.as_mut_ptr());
                return forget_errors(None);
            }
            let encoded = Secret::from(std::slice::from_raw_parts(data, length));
            sys::OPENSSL_free(data.cast());
            Some(encoded)
        }
    }

    /// Signs `data`.
    pub(super) fn sign(&self, mode: Mode, data: &[u8]) -> Option<Vec<u8>> {
        let context = Context::new()?;
        self.init(&context, mode, sys::EVP_DigestSignInit)?;
        // SAFETY: the key is valid.
        let mut length = usize::try_from(unsafe { sys::EVP_PKEY_size(self.0.as_ptr()) }).ok()?;
        let mut signature = vec![0; length];
        // SAFETY: the context is initialised for signing; `signature` has room for `length` bytes, which the function
        // lowers to what it wrote.
        let done = unsafe {
            sys::EVP_DigestSign(context.0.as_ptr(), signature.as_mut_ptr(), &raw mut length, data.as_ptr(), data.len())
        };
        forget_errors((done == 1).then(|| {
            signature.truncate(length);
            signature
        }))
    }

    /// Whether `signature` over `data` is this key's.
    pub(super) fn verify(&self, mode: Mode, data: &[u8], signature: &[u8]) -> Option<()> {
        let context = Context::new()?;
        self.init(&context, mode, sys::EVP_DigestVerifyInit)?;
        // SAFETY: the context is initialised for verification, and both slices are passed with their lengths.
        let done = unsafe {
            sys::EVP_DigestVerify(context.0.as_ptr(), signature.as_ptr(), signature.len(), data.as_ptr(), data.len())
        };
        forget_errors((done == 1).then_some(()))
    }

    fn init(
        &self,
        context: &Context,
        mode: Mode,
        init: unsafe extern "C" fn(
            *mut sys::EVP_MD_CTX,
            *mut *mut sys::EVP_PKEY_CTX,
            *const sys::EVP_MD,
            *mut sys::ENGINE,
            *mut sys::EVP_PKEY,
        ) -> c_int,
    ) -> Option<()> {
        let (digest, salt) = match mode {
            Mode::Digest(hash) => (digest(hash)?, None),
            Mode::Pss(hash, salt) => (digest(hash)?, Some(salt)),
            Mode::Pure => (ptr::null(), None),
        };
        let mut settings = ptr::null_mut();
        // SAFETY: the context is fresh, the digest static or NULL, the key valid and only borrowed: the context takes
        // a reference of its own. `settings` then belongs to the context and is used while that lives.
        let done = unsafe {
            init(context.0.as_ptr(), &raw mut settings, digest, ptr::null_mut(), self.0.as_ptr()) == 1
                && salt.is_none_or(|salt| {
                    sys::EVP_PKEY_CTX_set_rsa_padding(settings, sys::RSA_PKCS1_PSS_PADDING) == 1
                        && sys::EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, salt.into()) == 1
                })
        };
        forget_errors(done.then_some(()))
    }
}
