//! Certificate (RFC 7296 §3.6): one encoding octet and the certificate.

use crate::wire::error::Malformed;
use crate::wire::reader::Reader;
use crate::wire::registry::CertEncoding;
use crate::wire::writer::Writer;

/// A certificate, CRL, OCSP response, raw key or the URL of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cert {
    /// What `data` is.
    pub encoding: CertEncoding,
    /// The certificate data.
    pub data: Vec<u8>,
}

impl Cert {
    pub(super) fn parse(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { encoding: r.u8()?.into(), data: r.rest().to_vec() })
    }

    pub(super) fn emit(&self, w: &mut Writer) {
        w.u8(self.encoding.number());
        w.bytes(&self.data);
    }

    /// Hash and URL of a certificate to be fetched (RFC 7296 §3.6), if this payload is one: SHA-1 hash, then the URL
    /// without control characters.
    pub fn hash_and_url(&self) -> Option<(&[u8], &str)> {
        if !matches!(self.encoding, CertEncoding::HashAndUrl | CertEncoding::HashAndUrlBundle) {
            return None;
        }
        let (hash, url) = self.data.split_at_checked(20)?;
        let url = std::str::from_utf8(url).ok()?.trim_end_matches('\0');
        (!url.is_empty() && url.chars().all(|c| c.is_ascii_graphic())).then_some((hash, url))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_payload, parse_error};
    use super::*;
    use crate::wire::{Payload, PayloadType};

    #[test]
    fn bytes() {
        let cert = Cert { encoding: CertEncoding::X509Signature, data: vec![0x30, 0x00] };
        check_payload(Payload::Cert(cert), &[4, 0x30, 0x00]);
        assert_eq!(parse_error(PayloadType::Cert, &[]), Malformed::Truncated);
    }

    #[test]
    fn hash_and_url() {
        let mut data = vec![7; 20];
        data.extend_from_slice(b"http://ca/1.der");
        let mut cert = Cert { encoding: CertEncoding::HashAndUrl, data };
        assert_eq!(cert.hash_and_url(), Some((&[7; 20][..], "http://ca/1.der")));
        cert.data.push(b'\n');
        assert_eq!(cert.hash_and_url(), None);
        cert.data.truncate(19);
        assert_eq!(cert.hash_and_url(), None);
        cert.encoding = CertEncoding::X509Signature;
        assert_eq!(cert.hash_and_url(), None);
    }
}
