//! The IKE sockets: datagrams in and out, and what can be decided about them without an IKE_SA.

mod batch;
mod cookie;
mod delay;
mod flood;
mod interfaces;
mod quiet;
mod receiver;
mod sender;
mod sockets;
mod source;

use ike::Transmit;
use std::fmt;
use std::net::SocketAddr;

pub use delay::DelaySettings;
pub use flood::FloodSettings;
pub use receiver::{Delivery, EspSink, Inbound, Receiver, ReceiverSettings};
pub use sender::Sender;
pub use sockets::{IkeSockets, NoSockets, SocketSettings, Sockets};
pub(crate) use source::source_address;

/// An address with its port in brackets, as in log lines: `192.0.2.1[500]`.
pub(crate) struct Bracketed(pub(crate) SocketAddr);

impl fmt::Display for Bracketed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.0.ip(), self.0.port())
    }
}
