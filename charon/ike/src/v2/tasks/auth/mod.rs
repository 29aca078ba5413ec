//! IKE_AUTH (RFC 7296 §1.2, RFC 4739): identities and AUTH payloads, in one or more rounds a side.

mod eap_client;
mod eap_server;
mod initiator;
mod ppk;
mod responder;
mod rounds;

pub(crate) use initiator::AuthInitiator;
pub(super) use initiator::concerns_child;
pub(crate) use responder::AuthResponder;
pub(in crate::v2) use rounds::check;
