//! Asking about certificates: OCSP responders, then CRLs, of the configured places first.

use std::sync::Arc;

use super::crl::Crl;
use super::ocsp::{self, OcspResponse};
use super::{Known, Pair, Validation, pairs, scope_of};
use crate::clock::UnixTime;
use crate::credentials::certificate::{Certificate, DistributionPoint};
use crate::credentials::store::Store;
use crate::credentials::trust::Chain;
use crate::crypto::Rng;
use crate::log;

/// Length of OCSP nonces (RFC 8954 §2.1: 1 to 32 octets).
const NONCE_LEN: usize = 32;

/// Places that are asked about one certificate, at most of each kind. The certificate's own come from whoever it is from.
const MAX_URIS: usize = 8;

/// Why nothing could be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FetchError(pub String);

/// Transport for queries; it bounds time and size.
pub trait Fetch {
    /// The contents of a resource.
    ///
    /// # Errors
    /// If there is none.
    fn get(&self, uri: &str) -> Result<Vec<u8>, FetchError>;

    /// The answer to an OCSP request.
    ///
    /// # Errors
    /// If there is none.
    fn post_ocsp(&self, uri: &str, request: &[u8]) -> Result<Vec<u8>, FetchError>;

    /// A CRL was fetched and is in use: whoever wants to may keep it for later.
    fn keep(&self, _crl: &Crl) {}
}

/// A chain of which more should be known. Only chains to a loaded CA get into one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusQuery {
    chain: Chain,
    presented: Vec<Arc<Certificate>>,
}

impl StatusQuery {
    pub(in crate::credentials) fn new(chain: Chain, presented: &[Arc<Certificate>]) -> Self {
        Self { chain, presented: presented.to_vec() }
    }
}

/// What is worth asking for.
pub(super) struct Wants {
    ocsp: Vec<String>,
    crl: Vec<String>,
    delta: Vec<String>,
}

impl Wants {
    pub(super) fn any(&self) -> bool {
        !self.ocsp.is_empty() || !self.crl.is_empty() || !self.delta.is_empty()
    }
}

fn uris(points: &[DistributionPoint]) -> impl Iterator<Item = String> {
    points.iter().flat_map(DistributionPoint::uris).map(str::to_owned)
}

fn bounded(uris: impl Iterator<Item = String>) -> Vec<String> {
    let mut list = Vec::new();
    for uri in uris {
        if !list.contains(&uri) && list.len() < MAX_URIS {
            list.push(uri);
        }
    }
    list
}

impl Store {
    /// Whom to ask about a certificate; nobody if enough is known.
    pub(super) fn wants(&self, pair: Pair<'_>) -> Wants {
        let options = self.options();
        let mut wants = Wants { ocsp: Vec::new(), crl: Vec::new(), delta: Vec::new() };
        let sources = self.sources_of(pair.issuer);
        if options.enable_ocsp {
            match self.ocsp_status(pair) {
                Known::Not(Validation::Good) | Known::Revoked(..) => return wants,
                Known::Not(_) => {
                    let own = pair.subject.ocsp_uris().iter().map(|uri| uri.clone().into_string());
                    wants.ocsp = bounded(sources.ocsp_uris.into_iter().chain(own));
                }
            }
        }
        if options.enable_crl {
            match self.crl_status(pair) {
                Known::Revoked(..) => wants.ocsp.clear(),
                Known::Not(Validation::Good) => wants.delta = self.missing_deltas(pair),
                Known::Not(_) => {
                    wants.crl = bounded(sources.crl_uris.into_iter().chain(uris(pair.subject.distribution_points())));
                }
            }
        }
        wants
    }

    /// Where a delta is for a CRL that has none.
    fn missing_deltas(&self, pair: Pair<'_>) -> Vec<String> {
        let crls = self.crls_about(pair.subject);
        let base = crls.iter().find(|crl| !crl.is_delta() && scope_of(crl, pair.subject).is_some());
        let Some(base) = base else { return Vec::new() };
        if crls.iter().any(|delta| base.is_base_of(delta) && delta.is_current(pair.now)) {
            return Vec::new();
        }
        bounded(uris(pair.subject.freshest_crl()).chain(uris(base.freshest())))
    }

    /// Asks everybody who could tell more about a chain, until enough is known. This takes as long as the transport allows.
    pub fn ask(&self, query: &StatusQuery, fetch: &dyn Fetch, rng: &mut dyn Rng, now: UnixTime) {
        for pair in pairs(&query.chain, &query.presented, now) {
            let wants = self.wants(pair);
            let answered = wants.ocsp.iter().any(|uri| self.ask_responder(uri, pair, fetch, rng));
            if answered {
                if matches!(self.ocsp_status(pair), Known::Revoked(..)) {
                    return;
                }
                continue;
            }
            for uri in &wants.crl {
                self.fetch_crl(uri, pair, fetch);
                match self.crl_status(pair) {
                    Known::Revoked(..) => return,
                    Known::Not(Validation::Good) => break,
                    Known::Not(_) => {}
                }
            }
            let deltas = if wants.crl.is_empty() { wants.delta } else { self.missing_deltas(pair) };
            let _found = deltas.iter().any(|uri| self.fetch_crl(uri, pair, fetch));
        }
    }

    fn ask_responder(&self, uri: &str, pair: Pair<'_>, fetch: &dyn Fetch, rng: &mut dyn Rng) -> bool {
        log!(CFG, 1, "  requesting ocsp status from '{uri}' ...");
        let mut nonce = [0; NONCE_LEN];
        rng.fill(&mut nonce);
        let answer = match fetch.post_ocsp(uri, &ocsp::request(pair.subject, pair.issuer, &nonce)) {
            Ok(answer) => answer,
            Err(error) => {
                log!(CFG, 1, "ocsp request to {uri} failed: {error}");
                return false;
            }
        };
        match OcspResponse::from_der(&answer) {
            Ok(response) if !response.answers(&nonce) => {
                log!(CFG, 1, "nonce in ocsp response doesn't match");
                false
            }
            Ok(response) => self.accept_response(response, pair),
            Err(error) => {
                log!(CFG, 1, "parsing ocsp response failed: {error}");
                false
            }
        }
    }

    fn fetch_crl(&self, uri: &str, pair: Pair<'_>, fetch: &dyn Fetch) -> bool {
        log!(CFG, 1, "  fetching crl from '{uri}' ...");
        let crl = match fetch.get(uri) {
            Ok(data) => Crl::from_der_or_pem(&data).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let crl = match crl {
            Ok(crl) => Arc::new(crl),
            Err(error) => {
                log!(CFG, 1, "crl fetching failed: {error}");
                return false;
            }
        };
        if !self.crl_is_about(&crl, pair) {
            let (is, wanted) = (crl.issuer(), pair.subject.issuer());
            log!(CFG, 1, "issuer of fetched CRL '{is}' does not match certificate's issuer '{wanted}'");
            return false;
        }
        if !self.is_usable(&crl, pair) {
            return false;
        }
        if crl.is_current(pair.now) {
            fetch.keep(&crl);
        }
        self.keep_crl(crl, true);
        true
    }
}
