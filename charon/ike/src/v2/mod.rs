//! IKEv2 (RFC 7296): exchanges, and the tasks they consist of.
//!
//! `admission` has the table of messages that count, `receive` decides whether a datagram is one of them, `respond` and `initiate` run tasks over it,
//! `send` puts messages on their way and `retransmit` repeats them. None of these knows a payload: those belong to the
//! `tasks`. How identities are proven is in `auth`.

pub(crate) mod admission;
mod auth;
mod exchanges;
pub(crate) mod explain;
mod initiate;
mod inquire;
mod mid_sync;
mod receive;
mod respond;
mod retransmit;
mod send;
mod suspend;
mod task;
pub(crate) mod tasks;

pub(crate) use auth::{AuthVerified, PendingPpk};
pub(crate) use exchanges::{Exchanges, Queued};
pub(crate) use task::{Failure, Incoming, Task};
