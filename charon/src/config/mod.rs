//! Connections: read from `load-conn` messages, kept by name in load order, and found for a peer.
//!
//! [`load`] turns a message into the protocol's plain data ([`ike::config`]), naming the first option it cannot use.
//! [`Connections`] keeps what was loaded and answers the questions of an IKE_SA: which configurations fit these
//! addresses, which connections these identities. Both are indexed, so that a handshake costs the same with ten thousand
//! connections as with ten.

mod auth;
mod authorities;
mod authority;
mod certificate;
mod child;
mod connection;
mod connections;
mod error;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod matching;
mod names;
mod options;
mod table;
mod unsupported;
mod value;

pub use authorities::Authorities;
pub use authority::{Authority, AuthorityError, load_authority};
pub use connection::load;
pub use connections::{Change, ChangeKind, Connections};
pub use error::LoadError;
pub use names::{NameCache, Names, NoNames};
pub use unsupported::check_supported;
