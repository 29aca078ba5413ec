//! The daemon around the pure cores `ike` and `esp`: threads, sockets, data plane and control.

pub mod bus;
pub mod config;
pub mod control;
pub mod kernel;
pub mod manager;
pub mod net;
