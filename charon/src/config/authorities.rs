//! The loaded certification authorities, in load order.
//!
//! Their CA certificates are in the credential store for as long as the authority is loaded, and so is where to ask about
//! the certificates they have issued.

use std::sync::Arc;

use parking_lot::Mutex;
use strongswan::credentials::Store;
use strongswan::credentials::revocation::Sources;
use strongswan::log;

use super::Authority;

/// The authorities of the daemon.
pub struct Authorities {
    credentials: Arc<Store>,
    /// Held while one is exchanged, the credential store's own locks inside it.
    list: Mutex<Vec<Arc<Authority>>>,
}

impl Authorities {
    /// No authorities yet; their certificates go to `credentials`.
    pub fn new(credentials: Arc<Store>) -> Self {
        Self { credentials, list: Mutex::default() }
    }

    /// Loads an authority, at the end of the list. One of the same name is replaced.
    pub fn load(&self, mut authority: Authority) {
        authority.certificate = self.credentials.pin_certificate(authority.certificate);
        log!(CFG, 1, "added vici authority: {}", authority.name);
        let mut list = self.list.lock();
        // The new one's certificate, which may be the same, was pinned before.
        self.remove(&mut list, &authority.name.clone());
        list.push(Arc::new(authority));
        self.publish(&list);
    }

    /// Unloads an authority, and says whether there was one of that name.
    pub fn unload(&self, name: &str) -> bool {
        let mut list = self.list.lock();
        let removed = self.remove(&mut list, name);
        self.publish(&list);
        removed
    }

    /// Says where to ask about certificates.
    fn publish(&self, list: &[Arc<Authority>]) {
        self.credentials.set_sources(list.iter().map(|authority| {
            let sources = Sources { crl_uris: authority.crl_uris.clone(), ocsp_uris: authority.ocsp_uris.clone() };
            (Arc::clone(&authority.certificate), sources)
        }));
    }

    fn remove(&self, list: &mut Vec<Arc<Authority>>, name: &str) -> bool {
        let Some(place) = list.iter().position(|authority| *authority.name == *name) else { return false };
        let removed = list.remove(place);
        self.credentials.unpin_certificate(&removed.certificate);
        true
    }

    /// All authorities in load order.
    pub fn all(&self) -> Vec<Arc<Authority>> {
        self.list.lock().clone()
    }
}
