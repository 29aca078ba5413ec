//! Two IKE daemons' worth of IKE_SAs on a simulated wire with a virtual clock.

mod handshake;
mod pair;
mod rekey;
mod trace;
