//! What can go wrong when algorithms are set up and used.

use thiserror::Error;

use super::transform::{EncryptionAlgorithm, IntegrityAlgorithm, KeyExchangeMethod, PrfAlgorithm};

/// Why a cryptographic operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CryptoError {
    /// Local: the proposal names a cipher that this build cannot do.
    #[error("encryption algorithm {0} with key size {size} not supported", size = .1.unwrap_or_default())]
    UnsupportedEncryption(EncryptionAlgorithm, Option<u16>),
    /// Local: the proposal names an integrity algorithm that this build cannot do, or none where one is needed.
    #[error("integrity algorithm {0} not supported")]
    UnsupportedIntegrity(IntegrityAlgorithm),
    /// Local: the proposal names a PRF that this build cannot do.
    #[error("{0} not supported")]
    UnsupportedPrf(PrfAlgorithm),
    /// Local: the proposal names a key exchange method that this build cannot do.
    #[error("key exchange method {0} not supported")]
    UnsupportedKeyExchange(KeyExchangeMethod),
    /// Internal: key material of the wrong length.
    #[error("key of {actual} bytes where {expected} are needed")]
    KeyLength {
        /// What the algorithm takes.
        expected: usize,
        /// What it was given.
        actual: usize,
    },
    /// Malformed: an IV, ICV or text that does not fit the algorithm.
    #[error("{what} of {actual} bytes does not fit the algorithm")]
    Length {
        /// Which of them.
        what: &'static str,
        /// Its length.
        actual: usize,
    },
    /// The ICV is wrong: the message was changed, or the keys differ.
    #[error("integrity check failed")]
    Integrity,
    /// The peer's public value is malformed or weak (RFC 6989).
    #[error("invalid {0} public value")]
    InvalidPublicValue(KeyExchangeMethod),
    /// More output asked of prf+ than its counter allows (RFC 7296 §2.13).
    #[error("prf+ cannot deliver {0} bytes")]
    PrfPlusLength(usize),
    /// Internal: the library refused an operation that does not depend on the peer.
    #[error("cryptographic library failure")]
    Library,
}

impl From<aws_lc_rs::error::Unspecified> for CryptoError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Library
    }
}
