//! The vici control protocol of strongSwan: message codec, blocking client and server.
//!
//! vici ("Versatile IKE Control Interface") carries commands and events between an IKE daemon and the programs that drive
//! it, over a Unix or TCP stream. This crate is the protocol and nothing else: it knows no command by name and has
//! no notion of IKE, so it serves any client of any daemon that speaks vici, and any daemon that wants to.
//!
//! - [`Message`] is the ordered tree of keys, lists and sections that requests, answers and events consist of.
//! - [`Packet`] is one framed unit on the wire.
//! - [`Client`] sends requests, reads streamed answers and subscribes to events.
//! - [`Server`] runs commands of a [`Handler`] for many clients at once and broadcasts events.
//!
//! ```no_run
//! use vici::{Client, Message};
//!
//! # fn main() -> Result<(), vici::ClientError> {
//! let mut client = Client::connect(&"unix:///var/run/charon.vici".parse()?)?;
//! let version = client.request("version", &Message::new())?;
//! println!("{}", version.str("version").unwrap_or("unknown"));
//!
//! let all = Message::new();
//! for sa in client.stream("list-sas", "list-sa", &all)? {
//!     for (connection, ike_sa) in sa?.sections() {
//!         println!("{connection}: {}", ike_sa.str("state").unwrap_or_default());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(doctest, doc = include_str!("../README.md"))]

mod client;
mod endpoint;
mod frame;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
pub mod message;
pub mod number;
mod packet;
mod server;

pub use client::{Client, ClientError, Event, Stream};
pub use endpoint::{Endpoint, EndpointError};
pub use frame::{Deframer, FrameTooLong, MAX_PACKET};
pub use message::{CommandFailed, DecodeError, EncodeError, Item, Message, Scalar, Value};
pub use packet::{Packet, PacketError};
pub use server::{
    Broadcaster, ClientId, Emitter, Handler, Notice, Permissions, Request, Responder, Server, ServerError,
    ServerOptions,
};
