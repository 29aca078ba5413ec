//! Keyed MACs behind one face: HMAC, AES-CMAC and AES-XCBC-MAC. PRFs and integrity algorithms are made of them.
//!
//! The key schedule is computed once; each message starts from a copy on the stack.

mod cbc_mac;

use zeroize::Zeroizing;

pub(super) use cbc_mac::CbcMac;
use cbc_mac::CbcMacContext;

use super::CryptoError;
use super::ffi::hmac::{Digest, Hmac, HmacKey};

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
    Hmac(HmacKey),
    Cbc(Box<CbcMac>),
}

impl Mac {
    /// HMAC takes any key, the AES based ones exactly 16 bytes.
    pub(super) fn new(algorithm: MacAlgorithm, key: &[u8]) -> Result<Self, CryptoError> {
        let hmac = |digest| HmacKey::new(digest, key).map(Self::Hmac);
        match algorithm {
            MacAlgorithm::HmacMd5 => hmac(Digest::Md5),
            MacAlgorithm::HmacSha1 => hmac(Digest::Sha1),
            MacAlgorithm::HmacSha256 => hmac(Digest::Sha256),
            MacAlgorithm::HmacSha384 => hmac(Digest::Sha384),
            MacAlgorithm::HmacSha512 => hmac(Digest::Sha512),
            MacAlgorithm::AesXcbc => Ok(Self::Cbc(Box::new(CbcMac::xcbc(key)?))),
            MacAlgorithm::AesCmac => Ok(Self::Cbc(Box::new(CbcMac::cmac(key)?))),
        }
    }

    /// Begins a message.
    pub(super) fn start(&self) -> Result<MacContext<'_>, CryptoError> {
        match self {
            Self::Hmac(key) => key.start().map(MacContext::Hmac),
            Self::Cbc(key) => Ok(MacContext::Cbc(key.start())),
        }
    }

    /// The tag of a message given in parts.
    pub(super) fn compute(&self, parts: &[&[u8]]) -> Result<Tag, CryptoError> {
        let mut context = self.start()?;
        for part in parts {
            context.update(part)?;
        }
        context.finish()
    }
}

/// A message being authenticated.
#[expect(clippy::large_enum_variant, reason = "lives on the stack while one message is processed")]
pub(super) enum MacContext<'a> {
    Hmac(Hmac),
    Cbc(CbcMacContext<'a>),
}

impl MacContext<'_> {
    /// Adds data.
    pub(super) fn update(&mut self, data: &[u8]) -> Result<(), CryptoError> {
        match self {
            Self::Hmac(context) => context.update(data),
            Self::Cbc(context) => context.update(data),
        }
    }

    /// The tag.
    pub(super) fn finish(self) -> Result<Tag, CryptoError> {
        let mut tag = Tag { bytes: Zeroizing::new([0; MAX_LEN]), len: 0 };
        match self {
            Self::Hmac(context) => tag.len = context.finish(&mut tag.bytes)?,
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
