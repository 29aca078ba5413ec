//! Whether certificates were revoked: CRLs (RFC 5280 §6.3) and OCSP (RFC 6960).
//!
//! A trust decision looks only at what is in memory. What could be found out in addition is a [`StatusQuery`], which somebody
//! who has the time carries out over a [`Fetch`] before.

mod crl;
mod fetch;
mod ocsp;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use self::crl::ALL_REASONS;
pub use self::crl::{Crl, Reason};
pub use self::fetch::{Fetch, FetchError, StatusQuery};
pub use self::ocsp::OcspResponse;
use self::ocsp::Said;
use super::certificate::{Certificate, DistributionPoint, KeyUsage};
use super::store::Store;
use super::store::cache::Cache;
use super::trust::{Chain, TrustError, Utc};
use crate::clock::UnixTime;
use crate::identity::{IdType, Identity};
use crate::log;
use crate::sync::{Mutex, RwLock};

/// OCSP responses that are remembered.
const CACHED_RESPONSES: usize = 4096;

/// CRLs that are remembered without having been loaded.
const FETCHED_CRLS: usize = 256;

/// Why a CRL or an OCSP response could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// It is not what it should be.
    #[error("malformed")]
    Malformed,
    /// It is larger than anything reasonable.
    #[error("too large")]
    TooLarge,
    /// The responder has no answer (RFC 6960 §4.2.1).
    #[error("ocsp response status {0}")]
    ResponderFailed(u8),
}

impl From<der::Error> for RevocationError {
    fn from(_: der::Error) -> Self {
        Self::Malformed
    }
}

/// What is known about the status of a certificate that is not revoked, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Validation {
    /// It was not revoked.
    Good,
    /// Nobody says where to ask.
    Skipped,
    /// It was not revoked some time ago.
    Stale,
    /// There was no usable answer.
    Failed,
}

impl Validation {
    /// Its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "GOOD",
            Self::Skipped => "SKIPPED",
            Self::Stale => "STALE",
            Self::Failed => "FAILED",
        }
    }
}

/// What one source says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Not(Validation),
    Revoked(UnixTime, Reason),
}

/// Where to ask about the certificates of a CA, by configuration.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `crl_uris`
    pub crl_uris: Vec<String>,
    /// `ocsp_uris`
    pub ocsp_uris: Vec<String>,
}

/// A CRL with where it is from.
struct Listed {
    crl: Arc<Crl>,
    fetched: bool,
}

/// SHA-1 of a public key, as in SubjectPublicKeyInfo.
type KeyId = [u8; 20];

type Responses = Cache<(KeyId, Box<[u8]>), Arc<OcspResponse>>;

/// CRLs, OCSP responses and places to ask.
pub(super) struct Revocations {
    crls: RwLock<Vec<Listed>>,
    /// Verified responses by issuer key and serial number.
    responses: Mutex<Responses>,
    sources: RwLock<HashMap<KeyId, Sources>>,
}

impl Default for Revocations {
    fn default() -> Self {
        Self {
            crls: RwLock::default(),
            responses: Mutex::new(Cache::new(CACHED_RESPONSES)),
            sources: RwLock::default(),
        }
    }
}

impl Revocations {
    pub(super) fn clear(&self) {
        self.crls.write().clear();
        self.responses.lock().clear();
    }
}

/// Loading and listing.
impl Store {
    /// Adds a CRL. It replaces older ones about the same, and is itself dropped if there is a newer one.
    pub fn add_crl(&self, crl: Crl) -> Arc<Crl> {
        self.keep_crl(Arc::new(crl), false)
    }

    fn keep_crl(&self, crl: Arc<Crl>, fetched: bool) -> Arc<Crl> {
        let mut crls = self.revocation.crls.write();
        if let Some(newer) = crls.iter().find(|listed| !crl.supersedes(&listed.crl) && listed.crl.supersedes(&crl)) {
            return Arc::clone(&newer.crl);
        }
        crls.retain(|listed| !crl.supersedes(&listed.crl));
        if fetched
            && crls.iter().filter(|listed| listed.fetched).count() >= FETCHED_CRLS
            && let Some(oldest) = crls.iter().position(|listed| listed.fetched)
        {
            crls.remove(oldest);
        }
        crls.push(Listed { crl: Arc::clone(&crl), fetched });
        crl
    }

    /// All CRLs.
    pub fn crls(&self) -> Vec<Arc<Crl>> {
        self.revocation.crls.read().iter().map(|listed| Arc::clone(&listed.crl)).collect()
    }

    /// All OCSP responses that are remembered.
    pub fn ocsp_responses(&self) -> Vec<Arc<OcspResponse>> {
        self.revocation.responses.lock().values().cloned().collect()
    }

    /// Forgets the CRLs that were fetched.
    pub fn flush_crls(&self) {
        self.revocation.crls.write().retain(|listed| !listed.fetched);
    }

    /// Forgets the OCSP responses.
    pub fn flush_ocsp(&self) {
        self.revocation.responses.lock().clear();
    }

    /// Where to ask about the certificates of these CAs, instead of what was said before.
    pub fn set_sources(&self, sources: impl IntoIterator<Item = (Arc<Certificate>, Sources)>) {
        let mut all: HashMap<KeyId, Sources> = HashMap::new();
        for (ca, sources) in sources {
            let of_ca = all.entry(*ca.public_key().spki_sha1()).or_default();
            of_ca.crl_uris.extend(sources.crl_uris);
            of_ca.ocsp_uris.extend(sources.ocsp_uris);
        }
        *self.revocation.sources.write() = all;
    }

    fn sources_of(&self, issuer: &Certificate) -> Sources {
        self.revocation.sources.read().get(issuer.public_key().spki_sha1()).cloned().unwrap_or_default()
    }
}

/// A certificate of a chain with what is above it.
#[derive(Clone, Copy)]
struct Pair<'a> {
    subject: &'a Arc<Certificate>,
    issuer: &'a Arc<Certificate>,
    root: &'a Arc<Certificate>,
    presented: &'a [Arc<Certificate>],
    now: UnixTime,
}

/// The certificates of a chain with their issuers, from the end entity up. The root is trusted as it is.
fn pairs<'a>(chain: &'a Chain, presented: &'a [Arc<Certificate>], now: UnixTime) -> impl Iterator<Item = Pair<'a>> {
    let issued = chain.certificates().zip(chain.certificates().skip(1)).zip(chain.root.iter().cycle());
    issued.map(move |((subject, issuer), root)| Pair { subject, issuer, root, presented, now })
}

/// Decisions.
impl Store {
    /// What is known about a whole chain; nothing if there is nothing to check.
    pub(super) fn validate(
        &self,
        chain: &Chain,
        presented: &[Arc<Certificate>],
        now: UnixTime,
    ) -> Result<Option<Validation>, TrustError> {
        let options = self.options();
        if !options.enable_crl && !options.enable_ocsp {
            return Ok(None);
        }
        let mut worst = None;
        for pair in pairs(chain, presented, now) {
            log!(CFG, 1, "checking certificate status of \"{}\"", pair.subject.subject());
            let ocsp = if options.enable_ocsp { self.ocsp_status(pair) } else { Known::Not(Validation::Skipped) };
            let crl = match ocsp {
                Known::Not(Validation::Good) | Known::Revoked(..) => ocsp,
                Known::Not(_) if !options.enable_crl => ocsp,
                Known::Not(validation) => {
                    match validation {
                        Validation::Stale => log!(CFG, 1, "ocsp information stale, fallback to crl"),
                        Validation::Failed => log!(CFG, 1, "ocsp check failed, fallback to crl"),
                        Validation::Good | Validation::Skipped => {}
                    }
                    match self.crl_status(pair) {
                        Known::Not(Validation::Skipped) => ocsp,
                        known => known,
                    }
                }
            };
            let validation = match crl {
                Known::Revoked(when, reason) => return Err(TrustError::Revoked { when, reason }),
                Known::Not(validation) => validation,
            };
            match validation {
                Validation::Good => log!(CFG, 1, "certificate status is good"),
                Validation::Stale => log!(CFG, 1, "certificate status is unknown, crl is stale"),
                Validation::Skipped | Validation::Failed => log!(CFG, 1, "certificate status is not available"),
            }
            worst = worst.max(Some(validation));
        }
        Ok(worst)
    }

    /// Whether asking somebody could tell more about a chain.
    pub(super) fn needs_fetching(&self, chain: &Chain, presented: &[Arc<Certificate>], now: UnixTime) -> bool {
        pairs(chain, presented, now).any(|pair| self.wants(pair).any())
    }

    fn ocsp_status(&self, pair: Pair<'_>) -> Known {
        let key = (*pair.issuer.public_key().spki_sha1(), pair.subject.serial().into());
        let cached = self.revocation.responses.lock().get(&key);
        if let Some((said, until)) = cached.and_then(|response| response.says(pair.subject, pair.issuer, pair.now)) {
            return match (said, until) {
                // a revocation is not taken back by time
                (Said::Revoked(when, reason), _) => Known::Revoked(when, reason),
                (Said::Good, Ok(_)) => Known::Not(Validation::Good),
                (Said::Good, Err(_)) => Known::Not(Validation::Stale),
                (Said::Unknown, _) => Known::Not(Validation::Failed),
            };
        }
        let sources = !pair.subject.ocsp_uris().is_empty() || !self.sources_of(pair.issuer).ocsp_uris.is_empty();
        Known::Not(if sources { Validation::Failed } else { Validation::Skipped })
    }

    fn crl_status(&self, pair: Pair<'_>) -> Known {
        let Pair { subject, issuer, now, .. } = pair;
        let mut covered = 0;
        let mut stale = false;
        let (bases, deltas): (Vec<_>, Vec<_>) = self
            .crls_about(subject)
            .into_iter()
            .filter(|crl| self.is_usable(crl, pair))
            .partition(|crl| !crl.is_delta());
        for crl in &bases {
            let Some(reasons) = scope_of(crl, subject) else { continue };
            let delta = deltas.iter().filter(|delta| crl.is_base_of(delta)).max_by_key(|delta| delta.this_update());
            let changed = delta.and_then(|delta| delta.entry(subject.serial(), issuer.subject()));
            let entry = changed.or_else(|| crl.entry(subject.serial(), issuer.subject()));
            if let Some(entry) = entry.filter(|entry| entry.reason != Reason::REMOVE) {
                return Known::Revoked(entry.when, entry.reason);
            }
            // RFC 5280 §5.2: what is not understood may have meant that others are revoked, too
            if crl.is_unsupported() || delta.is_some_and(|delta| delta.is_unsupported()) {
                log!(CFG, 1, "critical extension in crl of \"{}\" not supported", crl.issuer());
                continue;
            }
            let current = delta.map_or_else(|| crl.is_current(now), |delta| delta.is_current(now));
            match crl.next_update() {
                Some(next) if !current => log!(CFG, 1, "  crl is stale: since {}", Utc(next)),
                Some(next) => log!(CFG, 1, "  crl is valid: until {}", Utc(next)),
                None => {}
            }
            stale |= !current;
            covered |= reasons;
        }
        // of a certificate on hold nobody else can know
        if covered & ALL_REASONS == ALL_REASONS {
            return Known::Not(if stale { Validation::Stale } else { Validation::Good });
        }
        let sources = subject.distribution_points().iter().any(|point| point.uris().next().is_some());
        let named = sources || !subject.distribution_points().is_empty() || !bases.is_empty();
        let named = named || !self.sources_of(issuer).crl_uris.is_empty();
        Known::Not(if named { Validation::Failed } else { Validation::Skipped })
    }

    /// CRLs by those who may revoke a certificate.
    fn crls_about(&self, subject: &Certificate) -> Vec<Arc<Crl>> {
        let indirect = || subject.distribution_points().iter().filter_map(DistributionPoint::issuer);
        let crls = self.revocation.crls.read();
        let about = crls.iter().filter(|listed| {
            listed.crl.issuer() == subject.issuer() || indirect().any(|issuer| issuer == listed.crl.issuer())
        });
        about.map(|listed| Arc::clone(&listed.crl)).collect()
    }

    /// Whether a CRL is from somebody who may say it, and not from the future.
    fn is_usable(&self, crl: &Arc<Crl>, pair: Pair<'_>) -> bool {
        if crl.this_update() > pair.now {
            log!(CFG, 1, "  crl is not valid: until {}", Utc(crl.this_update()));
            return false;
        }
        self.is_signed(crl, pair)
    }

    /// Whether a CRL is signed by the issuer or another certificate of the CRL's issuer below the same root.
    fn is_signed(&self, crl: &Crl, pair: Pair<'_>) -> bool {
        let Pair { issuer, root, presented, .. } = pair;
        let mut signers = vec![Arc::clone(issuer)];
        signers.extend(self.certificates_named(crl.issuer()).into_iter().map(|stored| stored.certificate));
        signers.extend(presented.iter().cloned());
        let may_sign = |signer: &Arc<Certificate>| {
            signer.subject() == crl.issuer()
                && signer.key_usage().is_none_or(KeyUsage::allows_crls)
                && crl.authority_key_id().zip(signer.subject_key_id()).is_none_or(|(wanted, key)| wanted == key)
        };
        // somebody may present many with the right name
        let mut budget = 8_u32;
        for signer in signers.iter().filter(|signer| may_sign(signer)) {
            let known = self.relation(crl.fingerprint(), signer.fingerprint());
            if !known {
                let Some(left) = budget.checked_sub(1) else { break };
                budget = left;
                if !crl.is_signed_by(signer.public_key()) {
                    continue;
                }
                self.remember_relation(*crl.fingerprint(), *signer.fingerprint());
            }
            if signer == issuer || signer == root || self.is_below(signer, pair) {
                log!(CFG, 1, "  crl correctly signed by \"{}\"", signer.subject());
                return true;
            }
        }
        log!(CFG, 1, "crl response verification failed");
        false
    }

    /// Whether a signer of CRLs has a chain to the root, without a certificate that is known to be revoked. Nothing is fetched
    /// for it, and only CRLs count that the issuers in this chain have signed themselves: the end of every regress.
    fn is_below(&self, signer: &Arc<Certificate>, pair: Pair<'_>) -> bool {
        let Some(chain) = self.chain_above(signer, pair.presented, pair.now) else { return false };
        let crls = self.revocation.crls.read();
        let revoked = |above: Pair<'_>| {
            let own = crls.iter().filter(|listed| listed.crl.issuer() == above.subject.issuer());
            own.into_iter().any(|Listed { crl, .. }| {
                crl.entry(above.subject.serial(), above.issuer.subject()).is_some()
                    && crl.is_signed_by(above.issuer.public_key())
            })
        };
        chain.root.as_ref() == Some(pair.root) && !pairs(&chain, pair.presented, pair.now).any(revoked)
    }

    /// Remembers an OCSP response about a certificate if it is signed by somebody who may.
    fn accept_response(&self, response: OcspResponse, pair: Pair<'_>) -> bool {
        let Some(signer) = response.signer(pair.issuer, &self.ocsp_signers(), pair.now) else {
            let responder = response.responder();
            log!(CFG, 1, "ocsp response verification failed, no signer certificate '{responder}' found");
            return false;
        };
        log!(CFG, 1, "  ocsp response correctly signed by \"{}\"", signer.subject());
        match response.says(pair.subject, pair.issuer, pair.now) {
            None => {
                log!(CFG, 1, "  ocsp response contains no status on our certificate");
                false
            }
            Some((said, Ok(until))) => {
                log!(CFG, 1, "  ocsp response is valid: until {}", Utc(until));
                self.keep_response(response, pair);
                said != Said::Unknown
            }
            Some((said, Err(since))) => {
                log!(CFG, 1, "  ocsp response is stale: since {}", Utc(since));
                if matches!(said, Said::Revoked(..)) {
                    self.keep_response(response, pair);
                }
                false
            }
        }
    }

    fn keep_response(&self, response: OcspResponse, pair: Pair<'_>) {
        let key = (*pair.issuer.public_key().spki_sha1(), pair.subject.serial().into());
        self.revocation.responses.lock().insert(key, Arc::new(response));
    }

    /// The OCSP responses there are about a chain of ours, to be sent along (RFC 4806), and what to ask for to have them all.
    pub fn staples(
        &self,
        end_entity: &Arc<Certificate>,
        intermediates: &[Arc<Certificate>],
        now: UnixTime,
    ) -> (Vec<Arc<OcspResponse>>, Option<StatusQuery>) {
        let Ok(chain) = self.verify_chain(end_entity, intermediates, now) else { return (Vec::new(), None) };
        let mut responses = Vec::new();
        for pair in pairs(&chain, intermediates, now) {
            if matches!(self.ocsp_status(pair), Known::Not(Validation::Good) | Known::Revoked(..)) {
                let key = (*pair.issuer.public_key().spki_sha1(), pair.subject.serial().into());
                responses.extend(self.revocation.responses.lock().get(&key));
            }
        }
        let more = self.options().enable_ocsp && self.needs_fetching(&chain, intermediates, now);
        (responses, more.then(|| StatusQuery::new(chain, intermediates)))
    }

    /// Takes note of what a peer sent along about its own certificates (RFC 4806), as far as that is proven to be right.
    pub fn offer(
        &self,
        id: &Identity,
        presented: &[Arc<Certificate>],
        responses: &[&[u8]],
        crls: &[&[u8]],
        now: UnixTime,
    ) {
        let Some(first) = presented.first().filter(|first| first.confirms_identity(id)) else { return };
        let Ok(chain) = self.verify_chain(first, presented, now) else { return };
        for response in responses {
            for pair in pairs(&chain, presented, now) {
                let Ok(response) = OcspResponse::from_der(response) else { break };
                if response.says(pair.subject, pair.issuer, now).is_some() && self.accept_response(response, pair) {
                    break;
                }
            }
        }
        for crl in crls.iter().filter_map(|crl| Crl::from_der_or_pem(crl).ok().map(Arc::new)) {
            let signed = |pair: Pair<'_>| self.crl_is_about(&crl, pair) && self.is_usable(&crl, pair);
            if pairs(&chain, presented, now).any(signed) {
                self.keep_crl(Arc::clone(&crl), true);
            }
        }
    }

    fn crl_is_about(&self, crl: &Crl, pair: Pair<'_>) -> bool {
        let indirect = pair.subject.distribution_points().iter().filter_map(DistributionPoint::issuer);
        crl.issuer() == pair.subject.issuer() || indirect.into_iter().any(|issuer| issuer == crl.issuer())
    }
}

/// The reasons for which a CRL would name a certificate, if it is about such (RFC 5280 §6.3.3 (b), (e)).
fn scope_of(crl: &Crl, subject: &Certificate) -> Option<u16> {
    let by_issuer = crl.issuer() == subject.issuer();
    let scope = crl.scope.as_ref();
    let wrong_kind = scope.is_some_and(|scope| {
        scope.only_attribute || (scope.only_user && subject.is_ca()) || (scope.only_ca && !subject.is_ca())
    });
    if wrong_kind || (!by_issuer && !scope.is_some_and(|scope| scope.indirect)) {
        return None;
    }
    let own_reasons = scope.and_then(|scope| scope.some_reasons).unwrap_or(ALL_REASONS);
    let names = scope.filter(|scope| !scope.names.is_empty() || scope.relative.is_some());
    let own = names.map(|scope| full_names(&scope.names, scope.relative.as_deref(), crl.issuer()));
    let points = subject.distribution_points();
    if points.is_empty() {
        let named = own.is_none_or(|own| own.contains(subject.issuer()));
        return (by_issuer && named).then_some(own_reasons);
    }
    let mut reasons = 0;
    for point in points {
        match point.issuer() {
            Some(issuer) if issuer != crl.issuer() => continue,
            None if !by_issuer => continue,
            _ => {}
        }
        let fits = own.as_ref().is_none_or(|own| {
            let issuer = point.issuer().unwrap_or_else(|| subject.issuer());
            let names = full_names(&point.names, point.relative.as_deref(), issuer);
            let unnamed = names.is_empty() && own.contains(issuer);
            unnamed || names.iter().any(|name| own.contains(name))
        });
        if fits {
            reasons |= point.some_reasons.unwrap_or(ALL_REASONS) & own_reasons;
        }
    }
    // points that name other CRLs say nothing against one that is about everything
    if reasons == 0 && by_issuer && own.is_none() {
        return Some(own_reasons);
    }
    (reasons != 0).then_some(reasons)
}

/// The names of a distribution point, also of one that is named relative to its issuer.
fn full_names(names: &[Identity], relative: Option<&[u8]>, issuer: &Identity) -> Vec<Identity> {
    let mut all = names.to_vec();
    if let Some(rdn) = relative {
        use der::asn1::AnyRef;
        use der::{Decode, Encode, Tag};
        let base = AnyRef::from_der(issuer.encoding()).map(|name| name.value().to_vec()).unwrap_or_default();
        let rdn = AnyRef::new(Tag::Set, rdn).and_then(|rdn| rdn.to_der()).unwrap_or_default();
        let name = [base, rdn].concat();
        let name = AnyRef::new(Tag::Sequence, &name).and_then(|name| name.to_der()).unwrap_or_default();
        all.push(Identity::from_encoding(IdType::DerAsn1Dn, &name));
    }
    all
}
