//! The IKE_SA manager.

mod half_open;
mod table;

pub use half_open::{HalfOpen, HalfOpenEntry};
