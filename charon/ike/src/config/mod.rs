//! Configuration as the protocol sees it: what `swanctl.conf` calls a connection is a [`PeerConfig`] with its
//! [`IkeConfig`], authentication rounds ([`AuthRound`]) and [`ChildConfig`]s.
//!
//! Plain data, parsed and defaulted by whoever loads it, immutable and shared (`Arc`) from then on. `==` is content
//! equality with strongSwan's exceptions: names never count, nor do `dscp` and `dpd_timeout`, so that a reload with only
//! those changed leaves running SAs alone.

mod auth;
mod child;
mod ike;
mod lifetimes;
mod mark;
mod peer;

pub use auth::{AuthClass, AuthRound, EapMethod, KeyConstraints, Revocation};
pub use child::{Action, ChildConfig, CopyDscp, HwOffload, LabelMode, Mode, PerCpuSas, TfcPadding, UnknownWord};
pub use ike::{Childless, Fragmentation, IkeConfig, IkeVersion, Ocsp};
pub use lifetimes::{IkeLifetimes, Lifetimes, Limit};
pub use mark::{IfIdConfig, MarkConfig, MarkValue, SetMark};
pub use peer::{PeerConfig, SendCert, UniquePolicy};
