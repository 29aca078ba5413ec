//! Algorithms by their IANA identifiers, thin over aws-lc-rs.

mod rng;
mod secret;

pub use rng::{Rng, SystemRng};
pub use secret::Secret;
