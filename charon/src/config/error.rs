//! Why a connection is refused, in strongSwan's words.

/// What is wrong with a `load-conn` message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// A key that does not exist at its place, or a list where a value belongs or the other way round.
    #[error("unknown option: {0}, config discarded")]
    UnknownOption(String),
    /// A value its option does not accept.
    #[error("invalid value for: {0}, config discarded")]
    InvalidValue(String),
    /// A value that asks for what does not exist yet.
    #[error("invalid value for: {key}, config discarded: {reason}")]
    Unsupported {
        /// The option.
        key: &'static str,
        /// What there is not.
        reason: &'static str,
    },
    /// A list that is longer than what it is for allows.
    #[error("invalid value for: {key}, config discarded: no more than {max} are possible")]
    TooMany {
        /// The option.
        key: &'static str,
        /// How long it may be.
        max: usize,
    },
    /// A section that does not belong where it stands.
    #[error("invalid section: {0}")]
    InvalidSection(String),
    /// A certificate section that says nothing about where the certificate is.
    #[error("handle or file path missing: {0}")]
    HandleOrFileMissing(String),
    /// A certificate section that says so twice.
    #[error("handle and file path given: {0}")]
    HandleAndFile(String),
    /// A certificate that cannot be had.
    #[error("unable to load certificate: {0}")]
    CertificateNotLoaded(String),
    /// A message that is malformed, or a raw public key that cannot be parsed.
    #[error("parsing request failed")]
    Malformed,
}
