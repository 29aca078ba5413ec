//! The credential store as IKE_SAs see it.

use std::sync::Arc;

use ike::Credentials;
use strongswan::credentials::{SecretKind, Store};
use strongswan::crypto::Secret;
use strongswan::identity::Identity;

/// The daemon's credentials.
#[derive(Clone, Default)]
pub struct StoredCredentials(pub Arc<Store>);

impl Credentials for StoredCredentials {
    fn shared_secrets(&self, me: &Identity, other: &Identity) -> Vec<Arc<Secret>> {
        let found = self.0.shared_secrets(SecretKind::Ike, Some(me), Some(other));
        found.map(|secret| Arc::new(secret.data.clone())).collect()
    }
}
