//! Two IKE daemons' worth of IKE_SAs on a simulated wire with a virtual clock.

mod certificates;
mod handshake;
mod pair;
mod path;
mod rekey;
mod trace;
