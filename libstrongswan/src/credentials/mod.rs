//! Keys, certificates, shared secrets, the store that holds them, and the trust chains between them.
//!
//! Primitives come from AWS-LC, ASN.1 from the `der` and `x509-cert` crates; their types do not leave this module.

pub mod auth;
pub mod certificate;
mod evp;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod hash;
pub mod keys;
pub mod pem;
mod pkcs12;
mod requirements;
pub mod revocation;
pub mod scheme;
mod shared;
mod signer;
pub mod store;
mod trust;

pub use auth::{Auth, AuthClass, AuthOptions, ConstraintError, EapMethod, KeyConstraints, Revocation};
pub use certificate::{Certificate, CertificateError, DistributionPoint, IssueError};
pub use hash::HashAlgorithm;
pub use keys::{KeyError, KeyType, PrivateKey, PublicKey, SignatureError};
pub use pkcs12::Pkcs12;
pub use requirements::{Proven, Requirements};
pub use scheme::{SchemeError, SignatureScheme};
pub use shared::{SecretKind, SharedSecret};
pub use signer::SigningKey;
pub use store::{CertificateFlags, Store, StoredCertificate, StoredKey, TrustOptions};
pub use trust::{Chain, NameViolation, TrustError, TrustedKey, TrustedKeys};
