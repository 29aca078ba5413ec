//! Algorithms by their IANA identifiers, thin over aws-lc-rs.

mod available;
pub mod cipher;
mod des;
mod error;
mod ffi;
pub mod hash;
pub mod ke;
mod mac;
pub mod prf;
pub mod proposal;
mod rng;
mod secret;
pub mod transform;
#[cfg(test)]
mod vectors;

pub use available::{PROVIDER, Section, available};
pub use cipher::{Cipher, KeyLengths};
pub use des::des_encrypt;
pub use error::CryptoError;
pub use ke::KeyExchange;
pub use prf::Prf;
pub use proposal::{Proposal, ProposalError, SelectOptions, Selection};
pub use rng::{Rng, SystemRng};
pub use secret::Secret;
pub use transform::{
    EncryptionAlgorithm, ExtendedSequenceNumbers, IntegrityAlgorithm, KeyExchangeMethod, PrfAlgorithm, Protocol,
    Transform, TransformType,
};
