//! Certificate Request (RFC 7296 §3.7): an encoding and the SHA-1 hashes of trusted CAs' public keys.

use crate::wire::error::Malformed;
use crate::wire::reader::Reader;
use crate::wire::registry::CertEncoding;
use crate::wire::writer::Writer;

/// Which certificates the peer can verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertReq {
    /// What kind of certificate is wanted.
    pub encoding: CertEncoding,
    /// The certification authority field: for X.509 encodings concatenated key identifiers.
    pub data: Vec<u8>,
}

impl CertReq {
    /// A request for certificates issued below the CAs with these key identifiers.
    pub fn x509(key_ids: impl IntoIterator<Item = [u8; 20]>) -> Self {
        Self { encoding: CertEncoding::X509Signature, data: key_ids.into_iter().flatten().collect() }
    }

    /// The 20-byte key identifiers; an incomplete one at the end is ignored, an unknown encoding has none.
    pub fn key_ids(&self) -> impl Iterator<Item = &[u8]> {
        let known = matches!(self.encoding, CertEncoding::X509Signature | CertEncoding::OcspContent);
        let data = if known { self.data.as_slice() } else { &[] };
        data.chunks_exact(20)
    }

    pub(super) fn parse(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { encoding: r.u8()?.into(), data: r.rest().to_vec() })
    }

    pub(super) fn emit(&self, w: &mut Writer) {
        w.u8(self.encoding.number());
        w.bytes(&self.data);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_payload, parse_error};
    use super::*;
    use crate::wire::{Payload, PayloadType};

    #[test]
    fn bytes() {
        let req = CertReq::x509([[1; 20], [2; 20]]);
        assert_eq!(req.key_ids().collect::<Vec<_>>(), [[1; 20], [2; 20]]);
        let mut bytes = vec![4];
        bytes.extend([1; 20]);
        bytes.extend([2; 20]);
        check_payload(Payload::CertReq(req), &bytes);
        assert_eq!(parse_error(PayloadType::CertReq, &[]), Malformed::Truncated);
        let other = CertReq { encoding: CertEncoding::Pgp, data: vec![0; 20] };
        assert_eq!(other.key_ids().count(), 0);
    }
}
