//! What can be wrong with a message, split by blame, and the one place that says how to react.
//!
//! | who | type | reaction (RFC 7296 §2.21, §3) |
//! |---|---|---|
//! | nobody we can trust | [`HeaderError`] | silence, or a stateless INVALID_MAJOR_VERSION |
//! | the peer's encoder | [`Malformed`] in a payload | INVALID_SYNTAX |
//! | the peer's protocol | [`RuleViolation`] | INVALID_SYNTAX |
//! | a newer peer | critical unknown payload | UNSUPPORTED_CRITICAL_PAYLOAD |
//! | an attacker, or the line | [`ProtectionError`], [`FragmentError`] | silence |
//! | ourselves | [`EncodeError`] | nothing was received |

use super::header::Header;
use super::notify_type::NotifyType;
use super::payload::Notify;
use super::registry::PayloadType;

/// A violated encoding rule inside a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A field reaches past the end of what contains it.
    #[error("truncated")]
    Truncated,
    /// Bytes are left over behind the last field.
    #[error("trailing bytes")]
    TrailingBytes,
    /// A length field is smaller than the header it counts.
    #[error("length field too small")]
    LengthTooSmall,
    /// A field has a length that its type forbids.
    #[error("field of invalid length")]
    InvalidLength,
    /// A count field disagrees with what follows.
    #[error("count does not match")]
    CountMismatch,
    /// Proposals are not numbered 1, 2, 3 …
    #[error("invalid proposal number")]
    ProposalNumber,
    /// A protocol identifier that the payload cannot name.
    #[error("invalid protocol")]
    InvalidProtocol,
    /// The "last substructure" octet of a proposal or transform is neither more nor last, or contradicts the length.
    #[error("invalid substructure chain")]
    SubstructureChain,
    /// A range that ends before it starts.
    #[error("inverted range")]
    InvertedRange,
    /// An encrypted payload inside an encrypted payload, or not at the end.
    #[error("misplaced encrypted payload")]
    MisplacedEncrypted,
    /// More payloads than any exchange allows.
    #[error("too many payloads")]
    TooManyPayloads,
}

/// Why a datagram is no IKEv2 message at all. Nothing of this can be attributed to an IKE_SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Fewer than 28 bytes, or a length field that is not the datagram's length.
    #[error("length does not match")]
    Length,
    /// The initiator SPI is zero (RFC 7296 §3.1).
    #[error("initiator SPI is zero")]
    ZeroInitiatorSpi,
    /// An exchange type this version of IKE does not know.
    #[error("unknown exchange type {0}")]
    UnknownExchange(u8),
    /// A major version we do not speak; the header is kept for the answer (RFC 7296 §2.5).
    #[error("unsupported version {major}.{minor}")]
    MajorVersion {
        /// Major version.
        major: u8,
        /// Minor version.
        minor: u8,
        /// The rest of the header, read by the rules of version 2.
        header: Header,
    },
}

/// A payload in a place or number that its exchange forbids (RFC 7296 Appendix C; spec of exchanges in `rules`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleViolation {
    /// More than the exchange allows.
    #[error("payload of type {payload} more than {max} times ({count}) occurred in current message")]
    TooMany {
        /// The payload.
        payload: PayloadType,
        /// What is allowed.
        max: usize,
        /// What was there.
        count: usize,
    },
    /// Fewer than the exchange demands.
    #[error("payload of type {payload} not occurred {min} times ({count})")]
    TooFew {
        /// The payload.
        payload: PayloadType,
        /// What is demanded.
        min: usize,
        /// What was there.
        count: usize,
    },
    /// An exchange without rules.
    #[error("exchange type has no payload rules")]
    UnsupportedExchange,
}

/// Why the protected part of a message could not be opened. Anyone can cause it, so nothing is ever answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtectionError {
    /// Too short for IV, padding length and ICV.
    #[error("encrypted payload too short")]
    TooShort,
    /// The ICV is wrong.
    #[error("integrity check failed")]
    Integrity,
    /// The chain in front of the encrypted payload is broken.
    #[error("unprotected part: {0}")]
    Outer(Malformed),
    /// A payload that must be encrypted was not.
    #[error("payload type {0} was not encrypted")]
    NotEncrypted(PayloadType),
    /// The message has no encrypted payload although its exchange demands one.
    #[error("no encrypted payload")]
    Missing,
}

/// Why a fragment was refused (RFC 7383 §2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// Number 0, or beyond the total.
    #[error("invalid fragment number")]
    InvalidNumber,
    /// More fragments than we reassemble.
    #[error("maximum fragment count exceeded")]
    TooMany,
    /// The reassembled message would exceed the limit.
    #[error("fragmented IKE message is too large")]
    TooLarge,
    /// This fragment is already there.
    #[error("received duplicate fragment #{0}")]
    Duplicate(u16),
    /// Fewer fragments in total than what is already collected announced.
    #[error("fragment of an abandoned split")]
    SmallerTotal,
    /// Only the first fragment may name an inner payload.
    #[error("inner payload type in a later fragment")]
    UnexpectedFirstPayload,
}

/// Any reason why a received message is not processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// No IKEv2 message.
    #[error("invalid IKE header: {0}")]
    Header(#[from] HeaderError),
    /// A payload that breaks its encoding.
    #[error("{payload} payload: {why}")]
    Malformed {
        /// The payload that could not be read.
        payload: PayloadType,
        /// The rule it breaks.
        why: Malformed,
    },
    /// A payload we do not know and must not skip (RFC 7296 §2.5).
    #[error("payload type {0} is not supported, but payload is critical!")]
    UnsupportedCritical(PayloadType),
    /// A forbidden set of payloads.
    #[error(transparent)]
    Rule(#[from] RuleViolation),
    /// Protection is missing or broken.
    #[error(transparent)]
    Protection(#[from] ProtectionError),
    /// A useless fragment.
    #[error(transparent)]
    Fragment(#[from] FragmentError),
}

/// How a request with an error is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reaction {
    /// As if it had never arrived.
    Ignore,
    /// Answered with this notify, and the message ID is used up.
    Reply(Notify),
    /// Answered without state, from the header alone.
    Stateless(Notify),
}

impl WireError {
    /// The answer to a *request* with this error; responses with errors are ignored (RFC 7296 §2.21).
    pub fn reaction(&self) -> Reaction {
        match self {
            Self::Header(HeaderError::MajorVersion { .. }) => {
                Reaction::Stateless(Notify::new(NotifyType::InvalidMajorVersion))
            }
            Self::Header(HeaderError::Length | HeaderError::ZeroInitiatorSpi | HeaderError::UnknownExchange(_))
            | Self::Protection(_)
            | Self::Fragment(_) => Reaction::Ignore,
            // Found before any key was used, so anyone may have sent it.
            Self::Rule(RuleViolation::UnsupportedExchange) => Reaction::Ignore,
            Self::Malformed { .. } | Self::Rule(RuleViolation::TooMany { .. } | RuleViolation::TooFew { .. }) => {
                Reaction::Reply(Notify::new(NotifyType::InvalidSyntax))
            }
            Self::UnsupportedCritical(payload) => {
                Reaction::Reply(Notify::with_data(NotifyType::UnsupportedCriticalPayload, &[payload.number()]))
            }
        }
    }
}

/// Why a message of our own could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A part exceeds its 16-bit length field.
    #[error("message part exceeds its length field")]
    TooLong,
    /// The cipher refused.
    #[error("encryption failed")]
    Cipher,
    /// The size limit leaves no room for content, or more than 65535 fragments would be needed.
    #[error("fragment size too small")]
    FragmentSize,
}
