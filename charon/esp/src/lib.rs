//! The userspace ESP data plane (RFC 4303), sans I/O: SAs and their databases, the anti-replay window,
//! encapsulation and decapsulation in the caller's buffers.
#![forbid(unsafe_code)]

pub mod ip;
pub mod replay;
