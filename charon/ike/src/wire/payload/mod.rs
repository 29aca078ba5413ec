//! The payloads of IKEv2 (RFC 7296 §3), one file each, and the enum of them.
//!
//! Each payload parses its body from a [`Reader`] bounded by the generic header and emits it into a [`Writer`]; generic
//! headers belong to the chain ([`Message`](super::Message)). Fields named RESERVED are ignored on receipt and zero on
//! sending, except in identities, where AUTH covers them.

mod auth;
mod cert;
mod certreq;
mod cp;
mod delete;
mod eap;
mod id;
mod ke;
mod mid_sync;
mod nonce;
mod notify;
mod redirect;
mod sa;
mod spi;
mod ts;
mod unknown;
mod vendor_id;

pub use auth::Auth;
pub use cert::Cert;
pub use certreq::CertReq;
pub use cp::{Cp, CpAttribute};
pub use delete::Delete;
pub use eap::Eap;
pub use id::Id;
pub use ke::Ke;
pub use mid_sync::MessageIdSync;
pub use nonce::Nonce;
pub use notify::Notify;
pub use redirect::Gateway;
pub use sa::{NumberedProposal, Sa};
pub use spi::SpiField;
pub use ts::Ts;
pub use unknown::Unknown;
pub use vendor_id::VendorId;

use super::error::Malformed;
use super::reader::Reader;
use super::registry::PayloadType;
use super::writer::Writer;

/// Any payload that carries meaning of its own; the encrypted ones are containers and handled by `sk`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Security Association.
    Sa(Sa),
    /// Key Exchange.
    Ke(Ke),
    /// Identification of the initiator.
    IdI(Id),
    /// Identification of the responder.
    IdR(Id),
    /// Certificate.
    Cert(Cert),
    /// Certificate Request.
    CertReq(CertReq),
    /// Authentication.
    Auth(Auth),
    /// Nonce.
    Nonce(Nonce),
    /// Notify.
    Notify(Notify),
    /// Delete.
    Delete(Delete),
    /// Vendor ID.
    VendorId(VendorId),
    /// Traffic Selectors of the initiator.
    TsI(Ts),
    /// Traffic Selectors of the responder.
    TsR(Ts),
    /// Configuration.
    Cp(Cp),
    /// EAP.
    Eap(Eap),
    /// Not known, not critical.
    Unknown(Unknown),
}

impl Payload {
    /// Its number in the "next payload" field before it.
    pub const fn kind(&self) -> PayloadType {
        match self {
            Self::Sa(_) => PayloadType::Sa,
            Self::Ke(_) => PayloadType::Ke,
            Self::IdI(_) => PayloadType::IdI,
            Self::IdR(_) => PayloadType::IdR,
            Self::Cert(_) => PayloadType::Cert,
            Self::CertReq(_) => PayloadType::CertReq,
            Self::Auth(_) => PayloadType::Auth,
            Self::Nonce(_) => PayloadType::Nonce,
            Self::Notify(_) => PayloadType::Notify,
            Self::Delete(_) => PayloadType::Delete,
            Self::VendorId(_) => PayloadType::VendorId,
            Self::TsI(_) => PayloadType::TsI,
            Self::TsR(_) => PayloadType::TsR,
            Self::Cp(_) => PayloadType::Cp,
            Self::Eap(_) => PayloadType::Eap,
            Self::Unknown(unknown) => unknown.kind,
        }
    }

    /// Reads the body of a payload of type `kind`.
    ///
    /// # Errors
    /// The violated encoding rule.
    pub fn parse(kind: PayloadType, body: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(body);
        let payload = match kind {
            PayloadType::Sa => Self::Sa(Sa::parse(&mut r)?),
            PayloadType::Ke => Self::Ke(Ke::parse(&mut r)?),
            PayloadType::IdI => Self::IdI(Id::parse(&mut r)?),
            PayloadType::IdR => Self::IdR(Id::parse(&mut r)?),
            PayloadType::Cert => Self::Cert(Cert::parse(&mut r)?),
            PayloadType::CertReq => Self::CertReq(CertReq::parse(&mut r)?),
            PayloadType::Auth => Self::Auth(Auth::parse(&mut r)?),
            PayloadType::Nonce => Self::Nonce(Nonce::parse(&mut r)?),
            PayloadType::Notify => Self::Notify(Notify::parse(&mut r)?),
            PayloadType::Delete => Self::Delete(Delete::parse(&mut r)?),
            PayloadType::VendorId => Self::VendorId(VendorId::parse(&mut r)),
            PayloadType::TsI => Self::TsI(Ts::parse(&mut r)?),
            PayloadType::TsR => Self::TsR(Ts::parse(&mut r)?),
            PayloadType::Cp => Self::Cp(Cp::parse(&mut r)?),
            PayloadType::Eap => Self::Eap(Eap::parse(&mut r)?),
            PayloadType::Encrypted | PayloadType::EncryptedFragment => return Err(Malformed::MisplacedEncrypted),
            PayloadType::NoNext | PayloadType::Unknown(_) => Self::Unknown(Unknown::parse(kind, &mut r)),
        };
        r.expect_end()?;
        Ok(payload)
    }

    /// Writes the body, without the generic header.
    pub fn emit(&self, w: &mut Writer) {
        match self {
            Self::Sa(sa) => sa.emit(w),
            Self::Ke(ke) => ke.emit(w),
            Self::IdI(id) | Self::IdR(id) => id.emit(w),
            Self::Cert(cert) => cert.emit(w),
            Self::CertReq(certreq) => certreq.emit(w),
            Self::Auth(auth) => auth.emit(w),
            Self::Nonce(nonce) => nonce.emit(w),
            Self::Notify(notify) => notify.emit(w),
            Self::Delete(delete) => delete.emit(w),
            Self::VendorId(vendor_id) => vendor_id.emit(w),
            Self::TsI(ts) | Self::TsR(ts) => ts.emit(w),
            Self::Cp(cp) => cp.emit(w),
            Self::Eap(eap) => eap.emit(w),
            Self::Unknown(unknown) => unknown.emit(w),
        }
    }
}

macro_rules! from_payload {
    ($($name:ident)+) => {
        $(impl From<$name> for Payload {
            fn from(payload: $name) -> Self {
                Self::$name(payload)
            }
        })+
    };
}

from_payload!(Sa Ke Cert CertReq Auth Nonce Notify Delete VendorId Cp Eap Unknown);

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The payload emits exactly `bytes`, and they parse back to it.
    #[track_caller]
    pub(crate) fn check_payload(payload: Payload, bytes: &[u8]) {
        let mut w = Writer::default();
        payload.emit(&mut w);
        assert_eq!(w.finish().unwrap(), bytes);
        assert_eq!(Payload::parse(payload.kind(), bytes), Ok(payload));
    }

    /// Why `bytes` are no payload of type `kind`.
    #[track_caller]
    pub(crate) fn parse_error(kind: PayloadType, bytes: &[u8]) -> Malformed {
        Payload::parse(kind, bytes).unwrap_err()
    }

    #[test]
    fn unknown_payloads_round_trip() {
        check_payload(Unknown { kind: PayloadType::Unknown(200), data: vec![1, 2, 3] }.into(), &[1, 2, 3]);
    }

    #[test]
    fn encrypted_payloads_do_not_nest() {
        assert_eq!(parse_error(PayloadType::Encrypted, &[0; 40]), Malformed::MisplacedEncrypted);
        assert_eq!(parse_error(PayloadType::EncryptedFragment, &[0; 40]), Malformed::MisplacedEncrypted);
    }
}
