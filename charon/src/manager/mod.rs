//! The IKE_SA manager.

mod half_open;

pub use half_open::{HalfOpen, HalfOpenEntry};
