//! Negotiations that fail, each with the explanation an operator gets: the right field of the configuration, both values,
//! and the change. Where the change is ours to make, it is made, to the configuration as it would be written, and the
//! next attempt must succeed; where the other side has to act, the case says how, and that is proven as well.
//!
//! Two hosts in one thread, each with the daemon's own connections, loaded as over vici, and its credentials; datagrams
//! are carried by hand. [`host`] is one side, [`config`] what it is configured with, [`case`] how a case runs.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test crate")]
#![allow(unreachable_pub, reason = "modules of a test crate")]

#[macro_use]
mod case;

mod addresses;
mod certificates;
mod children;
mod config;
mod host;
mod identities;
mod limits;
mod policies;
mod proposals;
