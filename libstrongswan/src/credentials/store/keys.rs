//! Private keys by their fingerprints.

use std::collections::HashMap;
use std::sync::Arc;

use crate::credentials::keys::PrivateKey;

#[derive(Default)]
pub(super) struct Keys {
    /// Under the SHA-1 hash of the key's bits, with the order of loading.
    by_id: HashMap<[u8; 20], (u64, Arc<PrivateKey>)>,
    /// SHA-1 of the SubjectPublicKeyInfo to SHA-1 of the bits.
    by_spki: HashMap<[u8; 20], [u8; 20]>,
    next: u64,
}

impl Keys {
    pub(super) fn add(&mut self, key: Arc<PrivateKey>) -> [u8; 20] {
        let id = *key.public_key().fingerprint_sha1();
        self.by_spki.insert(*key.public_key().spki_sha1(), id);
        self.by_id.insert(id, (self.next, key));
        self.next += 1;
        id
    }

    pub(super) fn get(&self, id: &[u8]) -> Option<Arc<PrivateKey>> {
        let id = <[u8; 20]>::try_from(id).ok()?;
        let id = self.by_spki.get(&id).unwrap_or(&id);
        self.by_id.get(id).map(|(_, key)| Arc::clone(key))
    }

    pub(super) fn remove(&mut self, id: &[u8]) -> bool {
        let Some((_, key)) = <[u8; 20]>::try_from(id).ok().and_then(|id| self.by_id.remove(&id)) else { return false };
        self.by_spki.remove(key.public_key().spki_sha1());
        true
    }

    pub(super) fn ids(&self) -> Vec<[u8; 20]> {
        let mut list: Vec<_> = self.by_id.iter().map(|(id, (order, _))| (*order, *id)).collect();
        list.sort_unstable_by(|a, b| b.cmp(a));
        list.into_iter().map(|(_, id)| id).collect()
    }
}
