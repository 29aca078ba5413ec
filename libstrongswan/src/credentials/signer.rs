//! Which of our private keys to sign with, and what to send along so that the peer can verify it.

use std::sync::Arc;

use super::certificate::Certificate;
use super::keys::{PrivateKey, PublicKey};
use super::store::Store;
use crate::identity::{IdType, Identity};

/// More CAs than this above a certificate are not sent.
const MAX_PATH_LEN: usize = 7;

/// A private key with the certificates that go with it.
#[derive(Debug, Clone)]
pub struct SigningKey {
    /// The key.
    pub key: Arc<PrivateKey>,
    /// Its certificate; none for a raw key.
    pub certificate: Option<Arc<Certificate>>,
    /// CAs above it, its issuer first, without the root.
    pub intermediates: Vec<Arc<Certificate>>,
}

impl SigningKey {
    fn raw(key: Arc<PrivateKey>) -> Self {
        Self { key, certificate: None, intermediates: Vec::new() }
    }
}

impl Store {
    /// The private key to authenticate `id` with. Configured certificates and raw keys come first, in their order,
    /// then any of the identity's; of several certificates the first whose chain leads to one of `anchors` (the CAs
    /// that the peer asked for), or else the first.
    pub fn signing_key(
        &self,
        id: &Identity,
        certificates: &[Arc<Certificate>],
        public_keys: &[PublicKey],
        anchors: &[Arc<Certificate>],
    ) -> Option<SigningKey> {
        if id.id_type() == IdType::KeyId
            && let Some(key) = self.private_key_by_id(id.encoding())
        {
            return Some(SigningKey::raw(key));
        }
        self.best_certificate(certificates.iter().map(Arc::clone), anchors)
            .or_else(|| self.first_raw_key(public_keys))
            .or_else(|| {
                let all = self.certificates_of(id).into_iter().map(|stored| stored.certificate);
                self.best_certificate(all, anchors)
            })
            .or_else(|| self.first_raw_key(&self.public_keys_of(id)))
    }

    fn first_raw_key(&self, keys: &[PublicKey]) -> Option<SigningKey> {
        keys.iter().find_map(|key| self.private_key_of(key)).map(SigningKey::raw)
    }

    fn best_certificate(
        &self,
        certificates: impl Iterator<Item = Arc<Certificate>>,
        anchors: &[Arc<Certificate>],
    ) -> Option<SigningKey> {
        let mut first = None;
        for certificate in certificates {
            let Some(key) = self.private_key_of(certificate.public_key()) else { continue };
            let (intermediates, leads_to_anchor) = self.chain_to_send(&certificate, anchors);
            let candidate = SigningKey { key, certificate: Some(certificate), intermediates };
            if anchors.is_empty() || leads_to_anchor {
                return Some(candidate);
            }
            first.get_or_insert(candidate);
        }
        first
    }

    /// The loaded CAs above a certificate, and whether one of `anchors` is among them. The chain ends there or at a
    /// root, which the peer has or will not believe.
    pub(super) fn chain_to_send(
        &self,
        certificate: &Arc<Certificate>,
        anchors: &[Arc<Certificate>],
    ) -> (Vec<Arc<Certificate>>, bool) {
        let mut chain: Vec<Arc<Certificate>> = Vec::new();
        let mut subject = Arc::clone(certificate);
        while chain.len() < MAX_PATH_LEN && !subject.is_self_issued() {
            let issuer =
                self.issuers_of(&subject).into_iter().find(|issuer| self.is_issued_by(&subject, issuer).is_ok());
            let Some(issuer) = issuer else { break };
            if anchors.contains(&issuer) {
                return (chain, true);
            }
            if issuer.is_self_issued() {
                break;
            }
            chain.push(Arc::clone(&issuer));
            subject = issuer;
        }
        (chain, anchors.contains(certificate))
    }
}
