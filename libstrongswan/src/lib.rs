//! The vocabulary that every other crate of this workspace speaks: settings, identities, addresses, traffic
//! selectors, cryptography, credentials, and the job processor.
//!
//! It holds no protocol: IKE lives in crate `ike`, ESP in crate `esp`, the control protocol in crate `vici`.

pub mod calendar;
pub mod clock;
pub mod credentials;
pub mod crypto;
pub mod host;
pub mod identity;
pub mod ids;
pub mod log;
pub mod processing;
mod registry;
pub mod selectors;
pub mod settings;
pub mod sync;

/// The version of strongSwan whose configuration, control protocol and behaviour this is.
pub const VERSION: &str = "6.0.6";
