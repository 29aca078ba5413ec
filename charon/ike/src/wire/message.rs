//! Whole messages: a header and a chain of payloads (RFC 7296 §3.1, §3.2), each linked to the next by its generic header.
//!
//! ```text
//!  | Next Payload  |C|  RESERVED   |         Payload Length        |
//! ```
//!
//! A datagram is read in two steps, because keys belong to the IKE_SA: [`parse`] tells IKE_SA_INIT messages, which are
//! complete at once, from protected ones, which continue in [`Protected`]. A [`Message`] that comes out at either end obeys
//! the payload rules of its exchange.

use super::error::{EncodeError, Malformed, ProtectionError, WireError};
use super::header::{HEADER_LEN, Header};
use super::payload::{Auth, Cert, CertReq, Cp, Delete, Eap, Id, Ke, Nonce, Notify, Payload, Sa, Ts, VendorId};
use super::reader::Reader;
use super::registry::{ExchangeType, PayloadType};
use super::rules;
use super::sk::Protected;
use super::writer::Writer;
use super::{NotifyType, order};

/// Payloads a message may have. Rules per type come later; this bounds what a datagram can make us keep before.
const MAX_PAYLOADS: usize = 256;

/// Critical bit of the generic header.
const CRITICAL: u8 = 0x80;

/// Bytes of a generic header.
pub(super) const GENERIC_LEN: usize = 4;

/// An IKEv2 message in the clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its header.
    pub header: Header,
    /// Its payloads; of a protected message those inside.
    pub payloads: Vec<Payload>,
}

/// A datagram that is an IKEv2 message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A message that needs no keys: IKE_SA_INIT.
    Plain(Message),
    /// A message, or a fragment of one, that needs keys.
    Protected(Protected),
}

/// Reads a datagram (without non-ESP marker) as far as that is possible without keys.
///
/// # Errors
/// See [`WireError::reaction`]. Of a protected message, only what is in front of the encrypted payload has been looked at;
/// as anyone could have sent that, each error in it is a [`ProtectionError`].
pub fn parse(datagram: &[u8]) -> Result<Received, WireError> {
    let (header, first) = Header::parse(datagram)?;
    rules::of(header.exchange, header.direction())?;
    let body = datagram.get(HEADER_LEN..).unwrap_or_default();
    if header.exchange == ExchangeType::IkeSaInit {
        let message = Message { header, payloads: parse_chain(first, body)? };
        rules::check(&message)?;
        return Ok(Received::Plain(message));
    }
    Protected::locate(header, first, body).map(Received::Protected).map_err(WireError::from)
}

/// One link of a chain.
pub(super) struct Link<'a> {
    pub(super) kind: PayloadType,
    pub(super) next: PayloadType,
    pub(super) critical: bool,
    pub(super) body: Reader<'a>,
}

/// Reads the generic header of a payload of type `kind` and bounds its body.
pub(super) fn read_link<'a>(kind: PayloadType, r: &mut Reader<'a>) -> Result<Link<'a>, Malformed> {
    let next = r.u8()?.into();
    let critical = r.u8()? & CRITICAL != 0;
    let len = usize::from(r.u16()?).checked_sub(GENERIC_LEN).ok_or(Malformed::LengthTooSmall)?;
    Ok(Link { kind, next, critical, body: r.sub(len)? })
}

/// Reads a chain of payloads that starts with type `first`.
///
/// # Errors
/// The first payload that cannot be read, or that is unknown and critical.
pub fn parse_chain(first: PayloadType, bytes: &[u8]) -> Result<Vec<Payload>, WireError> {
    let mut r = Reader::new(bytes);
    let mut payloads = Vec::with_capacity(12);
    let mut kind = first;
    while kind != PayloadType::NoNext {
        let at = |why| WireError::Malformed { payload: kind, why };
        let mut link = read_link(kind, &mut r).map_err(at)?;
        if payloads.len() == MAX_PAYLOADS {
            return Err(at(Malformed::TooManyPayloads));
        }
        // RFC 7296 §2.5: the critical bit of payloads we know is ignored.
        if matches!(kind, PayloadType::Unknown(_)) && link.critical {
            return Err(WireError::UnsupportedCritical(kind));
        }
        payloads.push(Payload::parse(kind, link.body.rest()).map_err(at)?);
        kind = link.next;
    }
    r.expect_end().map_err(|why| WireError::Malformed { payload: kind, why })?;
    Ok(payloads)
}

/// Writes a chain of payloads; returns the type of the first.
pub fn emit_chain(payloads: &[Payload], w: &mut Writer) {
    let mut rest = payloads.iter().peekable();
    while let Some(payload) = rest.next() {
        let mark = w.begin(chain_type(rest.peek().copied()).number(), 0);
        payload.emit(w);
        w.end(mark);
    }
}

/// What the field before a chain says.
pub(super) fn chain_type(first: Option<&Payload>) -> PayloadType {
    first.map_or(PayloadType::NoNext, Payload::kind)
}

impl Message {
    /// A message without payloads.
    pub const fn new(header: Header) -> Self {
        Self { header, payloads: Vec::new() }
    }

    /// Appends a payload.
    pub fn push(&mut self, payload: impl Into<Payload>) {
        self.payloads.push(payload.into());
    }

    /// Brings the payloads into the order of transmission.
    pub fn sort(&mut self) {
        order::sort(&self.header, &mut self.payloads);
    }

    /// Reads the decrypted payloads of a protected message and checks the rules of its exchange.
    ///
    /// # Errors
    /// As [`parse_chain`], or a violated rule.
    pub fn parse_inner(header: Header, first: PayloadType, plaintext: &[u8]) -> Result<Self, WireError> {
        let message = Self { header, payloads: parse_chain(first, plaintext)? };
        rules::check(&message)?;
        Ok(message)
    }

    /// Encodes a message that is not protected: IKE_SA_INIT, and answers outside of any IKE_SA.
    ///
    /// # Errors
    /// If a payload outgrows its length field.
    pub fn encode_plain(&self) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::with_capacity(512);
        self.header.emit(chain_type(self.payloads.first()), &mut w);
        emit_chain(&self.payloads, &mut w);
        let len = w.len();
        Header::set_length(&mut w, len);
        w.finish()
    }

    /// The first notify of this type.
    pub fn notify(&self, kind: NotifyType) -> Option<&Notify> {
        self.notifies().find(|notify| notify.kind == kind)
    }

    /// Whether there is a notify of this type.
    pub fn has_notify(&self, kind: NotifyType) -> bool {
        self.notify(kind).is_some()
    }

    /// The first notify that announces an error.
    pub fn error_notify(&self) -> Option<&Notify> {
        self.notifies().find(|notify| notify.kind.is_error())
    }
}

macro_rules! accessors {
    ($($single:ident $plural:ident $pattern:pat => $value:ident: $kind:ty, $doc:literal;)+) => {
        impl Message {
            $(
                #[doc = concat!("All ", $doc, " payloads.")]
                pub fn $plural(&self) -> impl Iterator<Item = &$kind> {
                    self.payloads.iter().filter_map(|payload| match payload { $pattern => Some($value), _ => None })
                }

                #[doc = concat!("The first ", $doc, " payload.")]
                pub fn $single(&self) -> Option<&$kind> {
                    self.$plural().next()
                }
            )+
        }
    };
}

accessors! {
    sa sas Payload::Sa(p) => p: Sa, "Security Association";
    ke kes Payload::Ke(p) => p: Ke, "Key Exchange";
    id_i ids_i Payload::IdI(p) => p: Id, "IDi";
    id_r ids_r Payload::IdR(p) => p: Id, "IDr";
    cert certs Payload::Cert(p) => p: Cert, "Certificate";
    certreq certreqs Payload::CertReq(p) => p: CertReq, "Certificate Request";
    auth auths Payload::Auth(p) => p: Auth, "Authentication";
    nonce nonces Payload::Nonce(p) => p: Nonce, "Nonce";
    first_notify notifies Payload::Notify(p) => p: Notify, "Notify";
    delete deletes Payload::Delete(p) => p: Delete, "Delete";
    vendor_id vendor_ids Payload::VendorId(p) => p: VendorId, "Vendor ID";
    ts_i tss_i Payload::TsI(p) => p: Ts, "TSi";
    ts_r tss_r Payload::TsR(p) => p: Ts, "TSr";
    cp cps Payload::Cp(p) => p: Cp, "Configuration";
    eap eaps Payload::Eap(p) => p: Eap, "EAP";
}

impl From<Malformed> for ProtectionError {
    /// What is in front of the encrypted payload is nobody's word.
    fn from(why: Malformed) -> Self {
        Self::Outer(why)
    }
}
