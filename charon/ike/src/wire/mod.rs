//! IKEv2 on the wire (RFC 7296 §3, RFC 7383): datagrams to typed messages and back.
//!
//! The way in: [`parse`] reads a datagram as far as that goes without keys. An IKE_SA_INIT message is complete then; any
//! other is a [`Protected`] one, which [`Protected::unprotect`] opens with a cipher, or, if it is a fragment,
//! [`Protected::open`] and a [`Reassembler`]. The way out: fill a [`Message`], [`Message::sort`] it, and encode it with
//! [`Message::encode_plain`] or a [`Sealer`].
//!
//! Nothing in here keeps state or knows what a message is for; that is `sa`. No input can make it panic, and
//! whatever it refuses says how to react ([`WireError::reaction`]).

mod covered;
mod error;
mod fragment;
#[cfg(any(test, fuzzing))]
#[allow(clippy::expect_used, reason = "assertions of tests and fuzz targets")]
pub mod fuzzing;
mod header;
mod message;
mod notation;
mod notify_type;
mod order;
mod payload;
mod reader;
mod registry;
mod rules;
mod sk;
mod writer;

pub(crate) use covered::{covered, covered_by_us};
pub use error::{
    EncodeError, FragmentError, HeaderError, Malformed, ProtectionError, Reaction, RuleViolation, WireError,
};
pub use fragment::{DEFAULT_MAX_PACKET, MAX_FRAGMENTS, Progress, Reassembler, message_limit};
pub use header::{Direction, HEADER_LEN, Header, HeaderFlags, MessageId};
pub use message::{Message, Received, emit_chain, parse, parse_chain};
pub use notation::Notation;
pub use notify_type::NotifyType;
pub use payload::{
    Auth, Cert, CertReq, Cp, CpAttribute, Delete, Eap, Gateway, Id, Ke, MessageIdSync, Nonce, Notify, NumberedProposal,
    Payload, Sa, SpiField, Ts, Unknown, VendorId,
};
pub use reader::Reader;
pub use registry::{
    AuthMethod, CertEncoding, CpAttributeType, CpType, EapCode, EapType, ExchangeType, GatewayType, PayloadType, TsType,
};
pub use sk::{FragmentNumber, IvSource, Protected, Sealer};
pub use writer::Writer;

#[cfg(test)]
mod tests;
