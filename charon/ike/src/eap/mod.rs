//! EAP (RFC 3748) within IKE_AUTH, sans I/O: packets in, packets out, and what a conversation has proven.
//!
//! An [`Authenticator`] is the server's end of a conversation, a [`Supplicant`] the client's. They own the rules every
//! method is subject to: which packet may come when, who chooses the method, how long it may take, and that success
//! counts only after the method itself is satisfied. Methods have a file each, with client and server side by side; a
//! method proves something and never decides on access: IKE_AUTH compares what was proven with the connection.
//!
//! What must be asked elsewhere (a RADIUS server) or must take time (an answer to a wrong password) is a [`Wait`]: the
//! conversation goes on when the [`Answer`] comes, and nobody is kept busy meanwhile.

mod authenticator;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gtc;
mod identity;
mod md5;
mod method;
mod mschapv2;
mod packet;
mod proof;
mod relay;
mod settings;
mod supplicant;
mod tls;
mod tunnel;
mod wait;

pub(crate) use authenticator::{Authenticator, Reply};
pub(crate) use method::Context;
pub(crate) use proof::Completed;
pub(crate) use supplicant::{Supplicant, Turn};
pub(crate) use wait::{Answer, Wait};

pub use identity::emit as identity_octets;
pub use method::is_supported;
pub use packet::MethodType;
pub use settings::{EapSettings, GtcBackend};
pub use tls::settings::{FramingSettings, TlsSettings, TlsVersion, TunnelSettings};
pub use wait::{AaaAccept, AaaAnswer, AaaRequest};
