//! All credentials of the daemon in memory: certificates, raw public keys, private keys and shared secrets.
//!
//! Reading takes a lock for as long as it takes to clone a few `Arc`s out of hash tables, writing changes the tables
//! in place: both cost the same with ten thousand entries as with ten. No lock is held while a signature is checked,
//! and no two at once.

pub(super) mod cache;
mod certificates;
mod keys;
mod secrets;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use super::certificate::{Certificate, CertificateError, IssueError};
use super::keys::{PrivateKey, PublicKey};
use super::revocation::Revocations;
use super::shared::{SecretKind, SharedSecret};
use crate::crypto::hash::sha256;
use crate::identity::Identity;
use crate::sync::{Mutex, RwLock};
use cache::Cache;
use certificates::Certificates;
use keys::Keys;
use secrets::Secrets;

pub use certificates::{CertificateFlags, StoredCertificate, StoredKey};
pub use secrets::SharedSecrets;

/// Certificates of peers that are remembered: enough for a busy gateway's regulars, some megabytes at most.
const CACHED_CERTIFICATES: usize = 4096;

/// Verified pairs of subject and issuer that are remembered.
const CACHED_RELATIONS: usize = 8192;

/// SHA-256 of a certificate.
type Fingerprint = [u8; 32];

/// Settings of trust decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustOptions {
    /// `charon.reject_trusted_end_entity`: end entity certificates are not trusted for being loaded, only CAs are.
    pub reject_trusted_end_entity: bool,
    /// `charon.x509.enforce_critical`: refuse certificates with critical extensions that are not supported.
    pub enforce_critical: bool,
    /// `charon.plugins.revocation.enable_crl`
    pub enable_crl: bool,
    /// `charon.plugins.revocation.enable_ocsp`
    pub enable_ocsp: bool,
}

impl Default for TrustOptions {
    fn default() -> Self {
        Self { reject_trusted_end_entity: false, enforce_critical: true, enable_crl: true, enable_ocsp: true }
    }
}

/// The credential store.
pub struct Store {
    certificates: RwLock<Certificates>,
    keys: RwLock<Keys>,
    secrets: RwLock<Secrets>,
    /// Certificates of peers whose chain was valid once, so that they need not be parsed again.
    peers: Mutex<Cache<Fingerprint, Arc<Certificate>>>,
    /// Fingerprints of subject and issuer whose signature was right.
    relations: Mutex<Cache<(Fingerprint, Fingerprint), ()>>,
    options: RwLock<TrustOptions>,
    /// What is known about revoked certificates.
    pub(super) revocation: Revocations,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            certificates: RwLock::default(),
            keys: RwLock::default(),
            secrets: RwLock::default(),
            peers: Mutex::new(Cache::new(CACHED_CERTIFICATES)),
            relations: Mutex::new(Cache::new(CACHED_RELATIONS)),
            options: RwLock::default(),
            revocation: Revocations::default(),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

/// Loading and listing.
impl Store {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes the settings of trust decisions.
    pub fn set_options(&self, options: TrustOptions) {
        *self.options.write() = options;
    }

    /// The settings of trust decisions.
    pub fn options(&self) -> TrustOptions {
        *self.options.read()
    }

    /// Adds a certificate that is trusted as far as its kind goes: a CA to issue others, an end entity as itself.
    /// An equal one gets the flags in addition. Returns the one in the store.
    pub fn add_certificate(&self, certificate: Arc<Certificate>, flags: CertificateFlags) -> Arc<Certificate> {
        self.certificates.write().add(certificate, flags)
    }

    /// Adds a certificate as above on behalf of something that needs it: it stays, whatever is cleared, until it is
    /// [unpinned](Self::unpin_certificate) as often.
    pub fn pin_certificate(&self, certificate: Arc<Certificate>) -> Arc<Certificate> {
        self.certificates.write().pin(certificate)
    }

    /// Takes back a [pin](Self::pin_certificate). A certificate that was not added for its own sake goes with its last.
    pub fn unpin_certificate(&self, certificate: &Certificate) {
        self.certificates.write().unpin(certificate.fingerprint());
        self.flush_cache();
    }

    /// Adds a raw public key that is trusted to be the key of `subject`.
    pub fn add_public_key(&self, key: PublicKey, subject: Identity) {
        self.certificates.write().add_key(StoredKey { key, subject });
    }

    /// All certificates in the order of loading, then those that are merely remembered.
    pub fn certificates(&self) -> Vec<StoredCertificate> {
        let mut list = self.certificates.read().list();
        let remembered: Vec<_> = self.peers.lock().values().cloned().collect();
        for certificate in remembered {
            if !list.iter().any(|stored| stored.certificate == certificate) {
                let flags = CertificateFlags::of(&certificate);
                list.push(StoredCertificate { certificate, flags, trusted: false });
            }
        }
        list
    }

    /// All raw public keys in the order of loading.
    pub fn public_keys(&self) -> Vec<StoredKey> {
        self.certificates.read().list_keys()
    }

    /// CA certificates in the order of loading: whom certificate requests ask for.
    pub fn trusted_cas(&self) -> Vec<Arc<Certificate>> {
        self.certificates.read().cas()
    }

    /// The CA certificate whose SubjectPublicKeyInfo has this SHA-1 hash: whom a certificate request means.
    pub fn ca_by_spki_sha1(&self, hash: &[u8]) -> Option<Arc<Certificate>> {
        self.certificates.read().ca_by_spki_sha1(hash)
    }

    /// Reads a certificate in DER, or finds that it is known already.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse_certificate(&self, der: &[u8]) -> Result<Arc<Certificate>, CertificateError> {
        let fingerprint = sha256(&[der]);
        let loaded = self.certificates.read().by_fingerprint(&fingerprint);
        match loaded.or_else(|| self.peers.lock().get(&fingerprint)) {
            Some(certificate) => Ok(certificate),
            None => Certificate::from_der(der).map(Arc::new),
        }
    }

    /// Adds a private key; an equal one is replaced. Returns its id, the SHA-1 hash of the public key's bits.
    pub fn add_private_key(&self, key: PrivateKey) -> [u8; 20] {
        self.keys.write().add(Arc::new(key))
    }

    /// Removes the private key with that id, and says whether there was one.
    pub fn remove_private_key(&self, id: &[u8]) -> bool {
        self.keys.write().remove(id)
    }

    /// Ids of all private keys, newest first.
    pub fn private_key_ids(&self) -> Vec<[u8; 20]> {
        self.keys.read().ids()
    }

    /// The private key that belongs to a public one.
    pub fn private_key_of(&self, key: &PublicKey) -> Option<Arc<PrivateKey>> {
        self.keys.read().get(key.fingerprint_sha1())
    }

    /// The private key one of whose ids is `id`: SHA-1 of the key's bits or of its SubjectPublicKeyInfo.
    pub fn private_key_by_id(&self, id: &[u8]) -> Option<Arc<PrivateKey>> {
        self.keys.read().get(id)
    }

    /// Adds a secret. It replaces the one with its unique id or, without an id, an identical one.
    pub fn add_secret(&self, secret: SharedSecret) {
        self.secrets.write().add(secret);
    }

    /// Removes the secret with a unique id, and says whether there was one.
    pub fn remove_secret(&self, id: &str) -> bool {
        self.secrets.write().remove(id)
    }

    /// Whether there is any secret of a kind.
    pub fn has_secret(&self, kind: SecretKind) -> bool {
        self.secrets.read().has(kind)
    }

    /// Unique ids of the secrets that have one, newest first.
    pub fn secret_ids(&self) -> Vec<String> {
        self.secrets.read().ids()
    }

    /// The secrets of a kind for these two, best first: by how well the other side matches an owner, then by how well
    /// we do, then newest first (spec of `secrets` in swanctl.conf). `None` matches nobody.
    pub fn shared_secrets<'a>(
        &'a self,
        kind: SecretKind,
        me: Option<&'a Identity>,
        other: Option<&'a Identity>,
    ) -> SharedSecrets<'a> {
        SharedSecrets::new(&self.secrets, kind, me, other)
    }

    /// Forgets everything that was loaded or is remembered, except pinned certificates.
    pub fn clear(&self) {
        self.certificates.write().clear();
        *self.keys.write() = Keys::default();
        *self.secrets.write() = Secrets::default();
        self.revocation.clear();
        self.flush_cache();
    }

    /// Forgets the certificates of peers and what was verified about them.
    pub fn flush_cache(&self) {
        self.peers.lock().clear();
        self.relations.lock().clear();
    }
}

/// Lookups of [`super::trust`] and [`super::signer`].
impl Store {
    /// Certificates that belong to an identity.
    pub(super) fn certificates_of(&self, id: &Identity) -> Vec<StoredCertificate> {
        self.certificates.read().of_identity(id)
    }

    /// Raw keys that belong to an identity.
    pub(super) fn public_keys_of(&self, id: &Identity) -> Vec<PublicKey> {
        self.certificates.read().keys_of_identity(id)
    }

    /// Loaded CA certificates that bear the name of a certificate's issuer.
    pub(super) fn issuers_of(&self, certificate: &Certificate) -> Vec<Arc<Certificate>> {
        self.certificates.read().issuers_of(certificate)
    }

    /// Loaded certificates of a subject.
    pub(super) fn certificates_named(&self, subject: &Identity) -> Vec<StoredCertificate> {
        self.certificates.read().of_identity(subject)
    }

    /// Loaded certificates that sign OCSP responses.
    pub(super) fn ocsp_signers(&self) -> Vec<Arc<Certificate>> {
        let list = self.certificates.read().list();
        list.into_iter().filter(|stored| stored.flags.ocsp).map(|stored| stored.certificate).collect()
    }

    /// Whether a relation was remembered; for what is no certificate.
    pub(super) fn relation(&self, subject: &Fingerprint, issuer: &Fingerprint) -> bool {
        self.relations.lock().get(&(*subject, *issuer)).is_some()
    }

    /// Remembers that `issuer` has signed `subject`.
    pub(super) fn remember_relation(&self, subject: Fingerprint, issuer: Fingerprint) {
        self.relations.lock().insert((subject, issuer), ());
    }

    /// Whether this very certificate was loaded.
    pub(super) fn is_loaded(&self, certificate: &Certificate) -> bool {
        self.certificates.read().by_fingerprint(certificate.fingerprint()).is_some()
    }

    /// Whether `issuer` has issued `subject`, from memory if possible.
    pub(super) fn is_issued_by(&self, subject: &Certificate, issuer: &Certificate) -> Result<(), IssueError> {
        let relation = (*subject.fingerprint(), *issuer.fingerprint());
        if self.relations.lock().get(&relation).is_some() {
            return Ok(());
        }
        subject.issued_by(issuer)?;
        self.relations.lock().insert(relation, ());
        Ok(())
    }

    /// Remembers the certificate of a peer. Only those with a valid chain are worth it: others could be made up to
    /// push them out.
    pub(super) fn remember(&self, certificate: &Arc<Certificate>) {
        if !self.is_loaded(certificate) {
            self.peers.lock().insert(*certificate.fingerprint(), Arc::clone(certificate));
        }
    }
}
