//! Algorithms by their IANA identifiers, thin over aws-lc-rs.

pub mod cipher;
pub mod ke;
pub mod prf;
pub mod proposal;
mod rng;
mod secret;
pub mod transform;

pub use proposal::{Proposal, ProposalError, SelectOptions, Selection};
pub use rng::{Rng, SystemRng};
pub use secret::Secret;
pub use transform::{
    EncryptionAlgorithm, ExtendedSequenceNumbers, IntegrityAlgorithm, KeyExchangeMethod, PrfAlgorithm, Protocol,
    Transform, TransformType,
};
