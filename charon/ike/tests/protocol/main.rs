//! Protocol tests: IkeSa's talking to each other through a simulated network under a virtual clock.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::or_fun_call,
    reason = "a test crate"
)]
#![allow(unreachable_pub, reason = "modules of a test crate")]

mod actions;
mod admission;
mod answers;
mod auth_lifetime;
mod certificates;
mod child;
mod delete;
mod drain;
mod eap;
mod eap_tls;
mod eap_tunnel;
mod handshake;
mod ipcomp;
mod limits;
mod liveness;
mod malformed;
mod mid_sync;
mod mobility;
mod mobility_answers;
mod modes;
mod multiple_ke;
mod ppk;
mod redirect;
mod regressions;
mod rekey;
mod replays;
mod revocation;
mod scripts;
mod sim;
mod soak;
mod succession;
mod unauthenticated;
mod uniqueness;
mod virtual_ips;
mod withdraw;
