//! IKE, sans I/O: messages in, messages and events out. Time, randomness, configuration, credentials and the data plane are
//! arguments; nothing in here can name a socket, a thread or a clock.
//!
//! An [`IkeSa`] is plain data with one entry point, [`IkeSa::handle`]: it takes an [`Input`] and its surroundings
//! ([`Env`]), and leaves [`Output`]s to be drained with [`IkeSa::poll_output`] and a deadline in
//! [`IkeSa::next_timeout`].

#![forbid(unsafe_code)]

pub mod attributes;
pub mod config;
pub mod eap;
mod env;
pub mod explain;
pub mod ids;
mod input;
pub mod kernel;
mod output;
mod sa;
pub mod settings;
mod snapshot;
mod task;
#[doc(hidden)]
pub mod testing;
mod v2;
pub mod wire;

pub use env::{ConfigSource, Duplicate, Env, Peers, ReqidKey, UniqueIds};
pub use input::{DuplicateAction, InitiateChild, Input, PreviousChild};
pub use output::{Alert, Event, Output, Transmit};
pub use sa::{ChildSaState, IkeSa, IkeSaId, IkeSaState, Role};
pub use settings::IkeSettings;
pub use snapshot::{Algorithms, ChildSaSnapshot, IkeSaSnapshot, NatSituation};
pub use task::TaskType;
