//! `authorities.<name>`: a section of a `load-authority` message to an [`Authority`].

use std::sync::Arc;

use strongswan::credentials::Certificate;
use strongswan::log;
use vici::{Message, Value};

use super::{certificate, value};

/// A certification authority: its certificate, and where to ask about those it has issued.
#[derive(Debug, Clone)]
pub struct Authority {
    /// The section's name.
    pub name: Arc<str>,
    /// Its CA certificate.
    pub certificate: Arc<Certificate>,
    /// `crl_uris`
    pub crl_uris: Vec<String>,
    /// `ocsp_uris`
    pub ocsp_uris: Vec<String>,
    /// `cert_uri_base`
    pub cert_uri_base: Option<String>,
}

/// Why an authority is refused, in strongSwan's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// A key that does not exist, or a list where a value belongs or the other way round.
    #[error("unknown option: {0}, authority discarded")]
    UnknownOption(String),
    /// A value its option does not accept.
    #[error("invalid value for: {0}, authority discarded")]
    InvalidValue(String),
    /// There is no certificate, or none that is a CA's.
    #[error("CA certificate missing: {0}")]
    CertificateMissing(String),
    /// A section within the section.
    #[error("parsing request failed")]
    Malformed,
}

/// Where the certificate is, in the order of precedence.
#[derive(Default)]
struct Place<'a> {
    data: Option<&'a [u8]>,
    file: Option<&'a str>,
    handle: Option<&'a str>,
}

/// Reads one authority of a `load-authority` message.
///
/// # Errors
/// The first thing that cannot be used; nothing is loaded then.
pub fn load_authority(name: &str, section: &Message) -> Result<Authority, AuthorityError> {
    let mut place = Place::default();
    let (mut crl_uris, mut ocsp_uris, mut cert_uri_base) = (Vec::new(), Vec::new(), None);
    for item in section.items() {
        let key = item.name();
        match (key, item.value()) {
            ("cacert", Value::Scalar(data)) => place.data = Some(data),
            ("file", Value::Scalar(text)) => place.file = Some(text_of(key, text)?),
            ("handle", Value::Scalar(text)) => place.handle = Some(text_of(key, text)?),
            // These two say more about a handle; without one they say nothing.
            ("slot", Value::Scalar(number)) => {
                value::uint32(text_of(key, number)?).map_err(|_| AuthorityError::InvalidValue(key.to_owned()))?;
            }
            ("module", Value::Scalar(text)) => drop(text_of(key, text)?),
            ("cert_uri_base", Value::Scalar(uri)) => cert_uri_base = Some(text_of(key, uri)?.to_owned()),
            ("crl_uris", Value::List(uris)) => crl_uris.extend(texts(key, uris)?),
            ("ocsp_uris", Value::List(uris)) => ocsp_uris.extend(texts(key, uris)?),
            (_, Value::Section(_)) => return Err(AuthorityError::Malformed),
            (key, _) => return Err(AuthorityError::UnknownOption(key.to_owned())),
        }
    }
    let certificate = place.certificate().filter(Certificate::is_ca);
    let certificate = certificate.ok_or_else(|| AuthorityError::CertificateMissing(name.to_owned()))?;
    Ok(Authority { name: Arc::from(name), certificate: Arc::new(certificate), crl_uris, ocsp_uris, cert_uri_base })
}

impl Place<'_> {
    fn certificate(&self) -> Option<Certificate> {
        match *self {
            Self { data: Some(data), .. } => Certificate::from_der_or_pem(data)
                .inspect_err(|error| log!(CFG, 1, "loading CA certificate failed: {error}"))
                .ok(),
            Self { file: Some(file), .. } => certificate::from_file(file),
            Self { handle: Some(handle), .. } => {
                log!(CFG, 1, "loading certificate with handle '{handle}' failed: tokens are not supported");
                None
            }
            Self { data: None, file: None, handle: None } => None,
        }
    }
}

fn text_of<'a>(key: &str, text: &'a [u8]) -> Result<&'a str, AuthorityError> {
    value::text(text).map_err(|_| AuthorityError::InvalidValue(key.to_owned()))
}

fn texts(key: &str, items: &[Vec<u8>]) -> Result<Vec<String>, AuthorityError> {
    items.iter().map(|item| text_of(key, item).map(str::to_owned)).collect()
}
