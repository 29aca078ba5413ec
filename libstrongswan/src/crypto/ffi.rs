//! What aws-lc can do and aws-lc-rs does not offer, one file each, with a safe face.
//!
//! The functions used here are those of the bindings that every platform has.

pub(super) mod md5;
