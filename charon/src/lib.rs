//! The daemon around the pure cores `ike` and `esp`: threads, sockets, data plane and control.

pub mod bus;
pub mod config;
pub mod control;
pub mod controller;
pub mod daemon;
pub mod fetch;
pub mod jobs;
pub mod kernel;
pub mod manager;
pub mod net;
pub mod pools;
pub mod radius;
pub mod settings;
pub mod traps;
pub mod updown;
