//! IKE, sans I/O: messages in, messages and events out. Time, randomness, configuration, credentials and the data plane are
//! arguments; nothing in here can name a socket, a thread or a clock.

#![forbid(unsafe_code)]

pub mod config;
pub mod ids;
pub mod kernel;
pub mod settings;
pub mod wire;
