//! Certificates and raw public keys, indexed by everything they may be looked up by.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::credentials::certificate::Certificate;
use crate::credentials::keys::PublicKey;
use crate::identity::{IdType, Identity};

/// What a certificate is trusted for. A certificate without flags is an end entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CertificateFlags {
    /// Issues certificates.
    pub ca: bool,
    /// Issues attribute certificates.
    pub aa: bool,
    /// Signs OCSP responses.
    pub ocsp: bool,
}

impl CertificateFlags {
    /// Those that are in the certificate itself.
    pub fn of(certificate: &Certificate) -> Self {
        Self { ca: certificate.is_ca(), aa: false, ocsp: certificate.is_ocsp_signer() }
    }

    fn union(self, other: Self) -> Self {
        Self { ca: self.ca || other.ca, aa: self.aa || other.aa, ocsp: self.ocsp || other.ocsp }
    }
}

/// A certificate in the store.
#[derive(Debug, Clone)]
pub struct StoredCertificate {
    /// The certificate.
    pub certificate: Arc<Certificate>,
    /// What it may be used for.
    pub flags: CertificateFlags,
    /// Whether it was loaded, rather than seen in a handshake.
    pub trusted: bool,
}

/// A raw public key in the store: a certificate without an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The key.
    pub key: PublicKey,
    /// Whose key it is.
    pub subject: Identity,
}

/// Number of an entry, ascending in the order of loading.
type Number = u64;

/// Entries for a name: nearly always one.
type Numbers = SmallVec<[Number; 1]>;

/// A certificate with what keeps it here.
struct Entry {
    stored: StoredCertificate,
    /// It was added for its own sake.
    loaded: bool,
    /// How many others need it.
    pins: usize,
}

#[derive(Default)]
pub(super) struct Certificates {
    all: BTreeMap<Number, Entry>,
    by_fingerprint: HashMap<[u8; 32], Number>,
    /// By subject and alternative names, and by all that a KEY_ID may mean.
    by_name: HashMap<Identity, Numbers>,
    keys: Vec<StoredKey>,
    keys_by_name: HashMap<Identity, SmallVec<[PublicKey; 1]>>,
    next: Number,
}

fn key_id(id: &[u8]) -> Identity {
    Identity::from_encoding(IdType::KeyId, id)
}

/// Whether names that are not equal may be the same: then the index is of no use. What a peer claims is no pattern, so
/// wildcards do not count.
fn needs_scan(id: &Identity) -> bool {
    id.id_type() == IdType::DerAsn1Dn && !crate::identity::rdns_are_strict()
}

impl Certificates {
    pub(super) fn add(&mut self, certificate: Arc<Certificate>, flags: CertificateFlags) -> Arc<Certificate> {
        self.entry(certificate, |entry| {
            entry.loaded = true;
            entry.stored.flags = entry.stored.flags.union(flags);
        })
    }

    pub(super) fn pin(&mut self, certificate: Arc<Certificate>) -> Arc<Certificate> {
        self.entry(certificate, |entry| entry.pins += 1)
    }

    pub(super) fn unpin(&mut self, fingerprint: &[u8; 32]) {
        let Some(number) = self.by_fingerprint.get(fingerprint).copied() else { return };
        let Some(entry) = self.all.get_mut(&number) else { return };
        entry.pins = entry.pins.saturating_sub(1);
        if entry.pins > 0 || entry.loaded {
            return;
        }
        self.all.remove(&number);
        self.by_fingerprint.remove(fingerprint);
        self.by_name.retain(|_, numbers| {
            numbers.retain(|other| *other != number);
            !numbers.is_empty()
        });
    }

    /// Forgets everything that is not pinned.
    pub(super) fn clear(&mut self) {
        for entry in std::mem::take(self).all.into_values().filter(|entry| entry.pins > 0) {
            self.entry(entry.stored.certificate, |kept| kept.pins = entry.pins);
        }
    }

    /// Changes the entry of a certificate, a new one if there is none, and returns the certificate in it.
    fn entry(&mut self, certificate: Arc<Certificate>, change: impl FnOnce(&mut Entry)) -> Arc<Certificate> {
        let known = self.by_fingerprint.get(certificate.fingerprint()).and_then(|number| self.all.get_mut(number));
        if let Some(known) = known {
            change(known);
            return Arc::clone(&known.stored.certificate);
        }
        let number = self.next;
        self.next += 1;
        self.by_fingerprint.insert(*certificate.fingerprint(), number);
        let sha1 = certificate.sha1();
        let key_ids = certificate.key_ids().chain([sha1.as_slice(), certificate.serial()]).map(key_id);
        for name in certificate.names().cloned().chain(key_ids) {
            let numbers = self.by_name.entry(name).or_default();
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        let flags = CertificateFlags::of(&certificate);
        let stored = StoredCertificate { certificate: Arc::clone(&certificate), flags, trusted: true };
        let mut entry = Entry { stored, loaded: false, pins: 0 };
        change(&mut entry);
        self.all.insert(number, entry);
        certificate
    }

    pub(super) fn add_key(&mut self, stored: StoredKey) {
        if self.keys_by_name.get(&stored.subject).is_some_and(|keys| keys.contains(&stored.key)) {
            return;
        }
        let key_ids = [stored.key.fingerprint_sha1(), stored.key.spki_sha1()].map(|id| key_id(id));
        for name in key_ids.into_iter().chain([stored.subject.clone()]) {
            let keys = self.keys_by_name.entry(name).or_default();
            if !keys.contains(&stored.key) {
                keys.push(stored.key.clone());
            }
        }
        self.keys.push(stored);
    }

    pub(super) fn list(&self) -> Vec<StoredCertificate> {
        self.stored().cloned().collect()
    }

    fn stored(&self) -> impl Iterator<Item = &StoredCertificate> {
        self.all.values().map(|entry| &entry.stored)
    }

    pub(super) fn list_keys(&self) -> Vec<StoredKey> {
        self.keys.clone()
    }

    pub(super) fn cas(&self) -> Vec<Arc<Certificate>> {
        self.stored().filter(|stored| stored.flags.ca).map(|stored| Arc::clone(&stored.certificate)).collect()
    }

    pub(super) fn by_fingerprint(&self, fingerprint: &[u8; 32]) -> Option<Arc<Certificate>> {
        let number = self.by_fingerprint.get(fingerprint)?;
        self.all.get(number).map(|entry| Arc::clone(&entry.stored.certificate))
    }

    fn named(&self, name: &Identity) -> impl Iterator<Item = &StoredCertificate> {
        self.by_name.get(name).into_iter().flatten().filter_map(|number| Some(&self.all.get(number)?.stored))
    }

    /// The CA whose SubjectPublicKeyInfo has this SHA-1 hash.
    pub(super) fn ca_by_spki_sha1(&self, hash: &[u8]) -> Option<Arc<Certificate>> {
        self.named(&key_id(hash))
            .find(|stored| stored.flags.ca && stored.certificate.public_key().spki_sha1() == hash)
            .map(|stored| Arc::clone(&stored.certificate))
    }

    pub(super) fn of_identity(&self, id: &Identity) -> Vec<StoredCertificate> {
        if needs_scan(id) {
            let matches = |stored: &&StoredCertificate| stored.certificate.confirms_identity(id);
            self.stored().filter(matches).cloned().collect()
        } else {
            self.named(id).cloned().collect()
        }
    }

    pub(super) fn keys_of_identity(&self, id: &Identity) -> Vec<PublicKey> {
        if needs_scan(id) {
            let is_subject = |stored: &&StoredKey| {
                stored.subject == *id || (!id.contains_wildcards() && stored.subject.matches(id).is_match())
            };
            self.keys.iter().filter(is_subject).map(|stored| stored.key.clone()).collect()
        } else {
            self.keys_by_name.get(id).map(|keys| keys.to_vec()).unwrap_or_default()
        }
    }

    pub(super) fn issuers_of(&self, certificate: &Certificate) -> Vec<Arc<Certificate>> {
        self.named(certificate.issuer())
            .filter(|stored| stored.flags.ca && certificate.may_be_issued_by(&stored.certificate))
            .map(|stored| Arc::clone(&stored.certificate))
            .collect()
    }
}
