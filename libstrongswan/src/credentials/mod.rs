//! Keys, certificates, shared secrets, the store that holds them, and the trust chains between them.
//!
//! Primitives come from AWS-LC, ASN.1 from the `der` and `x509-cert` crates; their types do not leave this module.

mod evp;
pub mod hash;
pub mod keys;
pub mod pem;
pub mod scheme;

pub use hash::HashAlgorithm;
pub use keys::{KeyError, KeyType, PrivateKey, PublicKey, SignatureError};
pub use scheme::{SchemeError, SignatureScheme};
