//! Whom to believe: public keys that are trusted to belong to an identity, through being configured or through a
//! chain of certificates to a loaded CA (RFC 5280 §6.1).
//!
//! What a peer may present is bounded by the size of its messages, what it costs by a budget of signature checks.

mod names;
#[cfg(test)]
mod pkits;
mod policies;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use der::asn1::ObjectIdentifier;
use thiserror::Error;

pub use self::names::NameViolation;
use super::certificate::{Certificate, IssueError, KeyUsage};
use super::keys::{KeyType, PublicKey};
use super::revocation::{Reason, StatusQuery, Validation};
use super::scheme::SignatureScheme;
use super::store::{Store, TrustOptions};
use crate::clock::UnixTime;
use crate::identity::Identity;
use crate::log;

/// CAs above an end entity, at most.
const MAX_PATH_LEN: usize = 7;

/// Signatures checked for one end entity certificate, at most. A real chain needs one for each certificate; a peer can
/// present many candidates with the right names that all turn out to be wrong.
const SIGNATURE_BUDGET: u32 = 32;

/// Why a certificate is not trusted. The texts are those of strongSwan's log.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum TrustError {
    /// Nobody known has issued it.
    #[error("no issuer certificate found for \"{0}\"")]
    NoIssuer(Identity),
    /// The chain ends at a root that is not loaded.
    #[error("self-signed certificate \"{0}\" is not trusted")]
    UntrustedRoot(Identity),
    /// The end entity or a CA is not yet or no longer valid.
    #[error("{role} certificate invalid (valid from {} to {})", Utc(*not_before), Utc(*not_after))]
    Expired {
        /// `subject` for the end entity, `issuer` for a CA.
        role: &'static str,
        /// Start of its life.
        not_before: UnixTime,
        /// End of its life.
        not_after: UnixTime,
    },
    /// More CAs than anybody needs.
    #[error("maximum path length of {MAX_PATH_LEN} exceeded")]
    PathTooLong,
    /// More CAs below a CA than it allows.
    #[error("path length of {is} violates constraint of {allowed}")]
    PathLen {
        /// CAs below.
        is: usize,
        /// CAs allowed.
        allowed: u8,
    },
    /// The key may not sign.
    #[error("rejecting certificate without digitalSignature or nonRepudiation keyUsage flags")]
    KeyUsage,
    /// A critical extension that is not supported.
    #[error("critical '{0}' extension not supported")]
    CriticalExtension(String),
    /// A name that a CA does not allow below it.
    #[error(transparent)]
    Name(#[from] NameViolation),
    /// A CA requires policies, and none is left.
    #[error("policy missing in certificate '{0}', but requireExplicitPolicy in effect")]
    PolicyMissing(Identity),
    /// A CA maps the policy that stands for all.
    #[error("certificate '{0}' maps anyPolicy")]
    PolicyMapping(Identity),
    /// Its issuer has taken it back.
    #[error("certificate was revoked on {}, reason: {reason}", Utc(*when))]
    Revoked {
        /// Since when.
        when: UnixTime,
        /// Why.
        reason: Reason,
    },
    /// Checking costs too much.
    #[error("too many signatures to check")]
    TooManySignatures,
}

/// A date as strongSwan prints it.
pub(super) struct Utc(pub(super) UnixTime);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let seconds = Duration::from_secs(u64::try_from(self.0.0).unwrap_or(0));
        let Ok(date) = der::DateTime::from_unix_duration(seconds) else { return write!(f, "{}", self.0.0) };
        let month = MONTHS.get(usize::from(date.month()).saturating_sub(1)).unwrap_or(&"");
        let (hour, minute, second) = (date.hour(), date.minutes(), date.seconds());
        write!(f, "{month} {:02} {hour:02}:{minute:02}:{second:02} UTC {}", date.day(), date.year())
    }
}

/// A certificate with those that vouch for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Whose key it is about.
    pub end_entity: Arc<Certificate>,
    /// CAs between it and the root, the end entity's issuer first.
    pub intermediates: Vec<Arc<Certificate>>,
    /// The loaded root CA; none if the end entity itself is trusted.
    pub root: Option<Arc<Certificate>>,
    /// The end entity's policies that are valid along the chain.
    pub policies: Box<[ObjectIdentifier]>,
}

impl Chain {
    /// The CAs, the end entity's issuer first.
    pub fn cas(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.intermediates.iter().chain(&self.root)
    }

    /// All certificates from the end entity to the root.
    pub fn certificates(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        std::iter::once(&self.end_entity).chain(self.cas())
    }

    /// The schemes of the signatures that trust is based on: those of all certificates but the root's own.
    pub fn signature_schemes(&self) -> impl Iterator<Item = SignatureScheme> {
        let signed = usize::from(self.root.is_some()) + self.intermediates.len();
        self.certificates().take(signed).filter_map(|certificate| certificate.signature_scheme())
    }
}

/// A public key that is trusted to belong to an identity. Only this module makes them.
#[derive(Debug, Clone)]
pub struct TrustedKey {
    key: PublicKey,
    chain: Option<Chain>,
    validation: Option<Validation>,
}

impl TrustedKey {
    /// The key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// What is known about whether a certificate of its chain was revoked; `None` if nobody asked.
    pub fn validation(&self) -> Option<Validation> {
        self.validation
    }

    /// Why it is trusted; `None` for raw public keys.
    pub fn chain(&self) -> Option<&Chain> {
        self.chain.as_ref()
    }
}

/// Candidates for an identity's key, each checked when it is asked for.
pub struct TrustedKeys<'a> {
    store: &'a Store,
    presented: &'a [Arc<Certificate>],
    now: UnixTime,
    options: TrustOptions,
    candidates: std::vec::IntoIter<Candidate>,
    failure: Option<TrustError>,
}

impl TrustedKeys<'_> {
    /// Why the first certificate that was looked at and not trusted was not.
    pub fn failure(&self) -> Option<&TrustError> {
        self.failure.as_ref()
    }
}

enum Candidate {
    Key(PublicKey),
    Certificate { certificate: Arc<Certificate>, trusted: bool },
}

impl Store {
    /// The trusted public keys of `id`, as far as possible of `key_type`: configured ones first, then those of
    /// certificates with a valid chain. `presented` are the certificates of the peer, the end entity's first.
    pub fn trusted_keys<'a>(
        &'a self,
        id: &Identity,
        key_type: Option<KeyType>,
        presented: &'a [Arc<Certificate>],
        now: UnixTime,
    ) -> TrustedKeys<'a> {
        let options = self.options();
        let fits = |key: &PublicKey| key_type.is_none_or(|key_type| key_type == key.key_type());
        let mut loaded = self.certificates_of(id);
        loaded.retain(|stored| fits(stored.certificate.public_key()));
        let keys = self.public_keys_of(id).into_iter().filter(fits);
        let mut candidates: Vec<_> = keys.map(Candidate::Key).collect();
        candidates.extend(
            loaded.into_iter().map(|stored| Candidate::Certificate { certificate: stored.certificate, trusted: true }),
        );
        if options.reject_trusted_end_entity
            && let Some(rejected) = candidates.first()
        {
            log!(CFG, 1, "rejecting trusted certificate \"{}\"", rejected.subject(id));
            candidates.clear();
            let candidates = candidates.into_iter();
            return TrustedKeys { store: self, presented, now, options, candidates, failure: None };
        }
        // RFC 7296 §3.6: the first certificate holds the key that AUTH is made with.
        if let Some(certificate) = presented.first()
            && fits(certificate.public_key())
            && certificate.confirms_identity(id)
            && !candidates.iter().any(|candidate| candidate.is(certificate))
        {
            candidates.push(Candidate::Certificate { certificate: Arc::clone(certificate), trusted: false });
        }
        TrustedKeys { store: self, presented, now, options, candidates: candidates.into_iter(), failure: None }
    }

    /// The valid chain of an end entity's certificate to a loaded root CA, through loaded CAs and those in `presented`.
    ///
    /// # Errors
    /// What is wrong with the best candidate.
    pub fn verify_chain(
        &self,
        certificate: &Arc<Certificate>,
        presented: &[Arc<Certificate>],
        now: UnixTime,
    ) -> Result<Chain, TrustError> {
        let mut search = Search::new(self, presented, now, self.options());
        search.chain(certificate)
    }

    /// What would have to be fetched to know whether the certificates were revoked with which a peer may prove to be
    /// `id`. Nothing is said about those without a chain to a loaded CA.
    pub fn status_queries(&self, id: &Identity, presented: &[Arc<Certificate>], now: UnixTime) -> Vec<StatusQuery> {
        let options = self.options();
        if !options.enable_crl && !options.enable_ocsp {
            return Vec::new();
        }
        let mut candidates: Vec<_> = self.certificates_of(id).into_iter().map(|stored| stored.certificate).collect();
        if let Some(first) =
            presented.first().filter(|first| first.confirms_identity(id) && !candidates.contains(first))
        {
            candidates.push(Arc::clone(first));
        }
        candidates.retain(|certificate| !certificate.is_self_issued());
        let search = |certificate: &Arc<Certificate>| {
            let mut search = Search { quiet: true, ..Search::new(self, presented, now, options) };
            let chain = search.chain(certificate).ok()?;
            self.needs_fetching(&chain, presented, now).then(|| StatusQuery::new(chain, presented))
        };
        candidates.iter().filter_map(search).collect()
    }

    /// The chain of a signer of CRLs.
    pub(super) fn chain_above(
        &self,
        signer: &Arc<Certificate>,
        presented: &[Arc<Certificate>],
        now: UnixTime,
    ) -> Option<Chain> {
        let mut search = Search { quiet: true, ..Search::new(self, presented, now, self.options()) };
        search.anchored(signer).ok()
    }
}

impl Candidate {
    fn subject<'a>(&'a self, id: &'a Identity) -> &'a Identity {
        match self {
            Self::Key(_) => id,
            Self::Certificate { certificate, .. } => certificate.subject(),
        }
    }

    fn is(&self, other: &Certificate) -> bool {
        matches!(self, Self::Certificate { certificate, .. } if **certificate == *other)
    }
}

impl Iterator for TrustedKeys<'_> {
    type Item = TrustedKey;

    fn next(&mut self) -> Option<TrustedKey> {
        loop {
            let (certificate, trusted) = match self.candidates.next()? {
                Candidate::Key(key) => return Some(TrustedKey { key, chain: None, validation: None }),
                Candidate::Certificate { certificate, trusted } => (certificate, trusted),
            };
            let word = if trusted { "trusted certificate" } else { "certificate" };
            log!(CFG, 1, "  using {word} \"{}\"", certificate.subject());
            let mut search = Search::new(self.store, self.presented, self.now, self.options);
            let chain = if trusted { search.trusted(&certificate) } else { search.chain(&certificate) };
            let checked = chain.and_then(|chain| {
                let validation = self.store.validate(&chain, self.presented, self.now)?;
                Ok((chain, validation))
            });
            match checked {
                Ok((chain, validation)) => {
                    let key = certificate.public_key().clone();
                    return Some(TrustedKey { key, chain: Some(chain), validation });
                }
                Err(error) => {
                    log!(CFG, 1, "{error}");
                    self.failure.get_or_insert(error);
                }
            }
        }
    }
}

/// A root CA, and the end entity's policies that are valid below it.
type Anchored = (Arc<Certificate>, Box<[ObjectIdentifier]>);

/// The search for a chain, depth first with a bound on everything.
struct Search<'a> {
    store: &'a Store,
    presented: &'a [Arc<Certificate>],
    now: UnixTime,
    options: TrustOptions,
    budget: u32,
    /// Nobody wants to read about it.
    quiet: bool,
}

impl<'a> Search<'a> {
    fn new(store: &'a Store, presented: &'a [Arc<Certificate>], now: UnixTime, options: TrustOptions) -> Self {
        Self { store, presented, now, options, budget: SIGNATURE_BUDGET, quiet: false }
    }

    /// A chain for a certificate that is trusted itself: with an issuer it has to be in order, without one it is
    /// taken as it is. What is self-signed is not even looked at, as strongSwan has it.
    fn trusted(&mut self, certificate: &Arc<Certificate>) -> Result<Chain, TrustError> {
        let alone = || Chain {
            end_entity: Arc::clone(certificate),
            intermediates: Vec::new(),
            root: None,
            policies: certificate.policies().into(),
        };
        if certificate.is_self_issued() {
            return Ok(alone());
        }
        match self.chain(certificate) {
            Err(TrustError::NoIssuer(_) | TrustError::UntrustedRoot(_)) => {
                log!(
                    CFG,
                    1,
                    "  reached end of incomplete trust chain for trusted certificate \"{}\"",
                    certificate.subject()
                );
                Ok(alone())
            }
            result => result,
        }
    }

    fn chain(&mut self, certificate: &Arc<Certificate>) -> Result<Chain, TrustError> {
        if !certificate.key_usage().is_none_or(KeyUsage::allows_signing) {
            return Err(TrustError::KeyUsage);
        }
        self.anchored(certificate)
    }

    fn say(&self, what: fmt::Arguments<'_>) {
        if !self.quiet {
            log!(CFG, 1, "{what}");
        }
    }

    fn anchored(&mut self, certificate: &Arc<Certificate>) -> Result<Chain, TrustError> {
        let mut path = vec![Arc::clone(certificate)];
        self.check(certificate, "subject")?;
        let (root, policies) = self.extend(&mut path)?;
        self.say(format_args!("  reached self-signed root ca with a path length of {}", path.len() - 1));
        for policy in certificate.policies().iter().filter(|policy| !policies.contains(policy)) {
            let subject = certificate.subject();
            self.say(format_args!("certificate policy {policy} for '{subject}' not allowed by trustchain, ignored"));
        }
        self.store.remember(certificate);
        let intermediates = path.split_off(1);
        intermediates.iter().for_each(|intermediate| self.store.remember(intermediate));
        Ok(Chain { end_entity: Arc::clone(certificate), intermediates, root: Some(root), policies })
    }

    /// What holds for each certificate of a chain.
    fn check(&self, certificate: &Certificate, role: &'static str) -> Result<(), TrustError> {
        if let Some(oid) = certificate.unsupported_critical_extension().filter(|_| self.options.enforce_critical) {
            return Err(TrustError::CriticalExtension(oid.to_string()));
        }
        if !certificate.is_valid_at(self.now) {
            let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
            return Err(TrustError::Expired { role, not_before, not_after });
        }
        Ok(())
    }

    /// Extends `path`, whose last certificate needs an issuer, up to a loaded root, which is returned. On failure the
    /// path is as it was.
    fn extend(&mut self, path: &mut Vec<Arc<Certificate>>) -> Result<Anchored, TrustError> {
        let Some(subject) = path.last().map(Arc::clone) else { return Err(TrustError::PathTooLong) };
        let loaded = self.store.issuers_of(&subject);
        let mut untrusted: Vec<Arc<Certificate>> = Vec::new();
        for issuer in self.presented {
            if subject.may_be_issued_by(issuer) && !loaded.contains(issuer) && !untrusted.contains(issuer) {
                untrusted.push(Arc::clone(issuer));
            }
        }
        let mut failure = None;
        let candidates = loaded.into_iter().map(|issuer| (issuer, true));
        for (issuer, trusted) in candidates.chain(untrusted.into_iter().map(|issuer| (issuer, false))) {
            if path.contains(&issuer) && !(trusted && issuer.is_self_issued()) {
                continue;
            }
            match self.issued(&subject, &issuer) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => return Err(error),
            }
            match self.step(path, &issuer, trusted) {
                Ok(root) => return Ok(root),
                Err(error @ TrustError::TooManySignatures) => return Err(error),
                // The first failure is that of the most trusted candidate.
                Err(error) => drop(failure.get_or_insert(error)),
            }
        }
        Err(failure.unwrap_or_else(|| {
            self.say(format_args!("no issuer certificate found for \"{}\"", subject.subject()));
            self.say(format_args!("  issuer is \"{}\"", subject.issuer()));
            TrustError::NoIssuer(subject.subject().clone())
        }))
    }

    /// Whether `issuer` has issued `subject`.
    fn issued(&mut self, subject: &Certificate, issuer: &Certificate) -> Result<bool, TrustError> {
        self.budget = self.budget.checked_sub(1).ok_or(TrustError::TooManySignatures)?;
        match self.store.is_issued_by(subject, issuer) {
            Ok(()) => Ok(true),
            Err(
                IssueError::Unrelated | IssueError::NotCa | IssueError::UnsupportedSignature | IssueError::BadSignature,
            ) => Ok(false),
        }
    }

    /// Goes on from the path's last certificate to its issuer.
    fn step(
        &mut self,
        path: &mut Vec<Arc<Certificate>>,
        issuer: &Arc<Certificate>,
        trusted: bool,
    ) -> Result<Anchored, TrustError> {
        self.check(issuer, "issuer")?;
        // RFC 5280 §4.2.1.9: certificates between the issuer and the end entity, self-issued ones not counted.
        let below = path.iter().skip(1).filter(|ca| !ca.is_self_issued()).count();
        if let Some(allowed) = issuer.path_len().filter(|allowed| below > usize::from(*allowed)) {
            return Err(TrustError::PathLen { is: below, allowed });
        }
        let is_root = issuer.is_self_issued() && self.issued(issuer, issuer)?;
        match (trusted, is_root) {
            (true, true) => {
                self.say(format_args!("  using trusted ca certificate \"{}\"", issuer.subject()));
                let below = || path.iter().rev().map(|certificate| &**certificate);
                names::check(issuer, below())?;
                let policies = policies::evaluate(issuer, below())?;
                return Ok((Arc::clone(issuer), policies));
            }
            (false, true) => return Err(TrustError::UntrustedRoot(issuer.subject().clone())),
            (true, false) => {
                self.say(format_args!("  using trusted intermediate ca certificate \"{}\"", issuer.subject()));
            }
            (false, false) => {
                self.say(format_args!("  using untrusted intermediate certificate \"{}\"", issuer.subject()))
            }
        }
        if path.len() > MAX_PATH_LEN {
            return Err(TrustError::PathTooLong);
        }
        path.push(Arc::clone(issuer));
        let root = self.extend(path);
        if root.is_err() {
            path.pop();
        }
        root
    }
}
