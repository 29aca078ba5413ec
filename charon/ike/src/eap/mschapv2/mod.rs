//! EAP-MSCHAPv2 (draft-kamath-pppext-eap-mschapv2, RFC 2759, RFC 3079): client and server show each other that they know
//! the password or its NT hash, and share a key.
//!
//! ```text
//!  |   OpCode      |  MS-CHAPv2-ID |           MS-Length           |
//!  |  Value-Size   |  Value (challenge or response), Name          |
//! ```

mod client;
mod crypto;
mod message;
mod server;
#[cfg(test)]
mod tests;

pub(super) use client::create as client;
pub(super) use server::create as server;

use strongswan::credentials::SecretKind;
use strongswan::crypto::Secret;
use strongswan::identity::Identity;

use super::method::Context;

/// The NT hash for these identities: one that is loaded as such, else that of a password.
fn nt_hash(context: &Context<'_>, me: &Identity, other: &Identity) -> Option<Secret> {
    let find = |kind| context.credentials.shared_secrets(kind, Some(me), Some(other)).next();
    if let Some(hash) = find(SecretKind::Ntlm).filter(|secret| secret.data.len() == crypto::HASH_LEN) {
        return Some(hash.data.clone());
    }
    find(SecretKind::Eap).map(|secret| crypto::nt_password_hash(secret.data.as_bytes()))
}
