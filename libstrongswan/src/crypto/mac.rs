//! Keyed MACs behind one face: HMAC, AES-CMAC and AES-XCBC-MAC. PRFs and integrity algorithms are made of them.
//!
//! The key schedule is computed once; each message starts from a copy on the stack.

mod cbc_mac;

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

pub(super) use cbc_mac::CbcMac;
use cbc_mac::CbcMacContext;

use super::CryptoError;
use super::ffi::md5::HmacMd5;

/// Longest output: HMAC-SHA2-512.
pub(super) const MAX_LEN: usize = 64;

/// Which MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MacAlgorithm {
    HmacMd5,
    HmacSha1,
    HmacSha256,
    HmacSha384,
    HmacSha512,
    AesXcbc,
    AesCmac,
}

impl MacAlgorithm {
    /// Length of the untruncated output.
    pub(super) const fn output_len(self) -> usize {
        match self {
            Self::HmacMd5 | Self::AesXcbc | Self::AesCmac => 16,
            Self::HmacSha1 => 20,
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }
}

/// A keyed MAC.
pub(super) enum Mac {
    Hmac(hmac::Key),
    HmacMd5(HmacMd5),
    Cbc(CbcMac),
}

impl Mac {
    /// HMAC takes any key, the AES based ones exactly 16 bytes.
    pub(super) fn new(algorithm: MacAlgorithm, key: &[u8]) -> Result<Self, CryptoError> {
        let sha = |algorithm| Ok(Self::Hmac(hmac::Key::new(algorithm, key)));
        match algorithm {
            MacAlgorithm::HmacMd5 => HmacMd5::new(key).map(Self::HmacMd5),
            MacAlgorithm::HmacSha1 => sha(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            MacAlgorithm::HmacSha256 => sha(hmac::HMAC_SHA256),
            MacAlgorithm::HmacSha384 => sha(hmac::HMAC_SHA384),
            MacAlgorithm::HmacSha512 => sha(hmac::HMAC_SHA512),
            MacAlgorithm::AesXcbc => CbcMac::xcbc(key).map(Self::Cbc),
            MacAlgorithm::AesCmac => CbcMac::cmac(key).map(Self::Cbc),
        }
    }

    /// Begins a message.
    pub(super) fn start(&self) -> MacContext<'_> {
        match self {
            Self::Hmac(key) => MacContext::Hmac(hmac::Context::with_key(key)),
            Self::HmacMd5(key) => MacContext::HmacMd5(key.start()),
            Self::Cbc(key) => MacContext::Cbc(key.start()),
        }
    }

    /// The tag of a message given in parts.
    pub(super) fn compute(&self, parts: &[&[u8]]) -> Result<Tag, CryptoError> {
        let mut context = self.start();
        for part in parts {
            context.update(part)?;
        }
        context.finish()
    }
}

/// A message being authenticated.
pub(super) enum MacContext<'a> {
    Hmac(hmac::Context),
    HmacMd5(HmacMd5),
    Cbc(CbcMacContext<'a>),
}

impl MacContext<'_> {
    /// Adds data.
    pub(super) fn update(&mut self, data: &[u8]) -> Result<(), CryptoError> {
        match self {
            Self::Hmac(context) => context.update(data),
            Self::HmacMd5(context) => context.update(data),
            Self::Cbc(context) => context.update(data)?,
        }
        Ok(())
    }

    /// The tag.
    pub(super) fn finish(self) -> Result<Tag, CryptoError> {
        let mut tag = Tag { bytes: Zeroizing::new([0; MAX_LEN]), len: 0 };
        match self {
            Self::Hmac(context) => tag.set(context.sign().as_ref()),
            Self::HmacMd5(context) => tag.set(&context.finish()),
            Self::Cbc(context) => tag.set(&*context.finish()?),
        }
        Ok(tag)
    }
}

/// A MAC's full output, wiped on drop: it may be key material.
pub(super) struct Tag {
    bytes: Zeroizing<[u8; MAX_LEN]>,
    len: usize,
}

impl Tag {
    fn set(&mut self, bytes: &[u8]) {
        self.len = bytes.len().min(MAX_LEN);
        for (to, from) in self.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}
