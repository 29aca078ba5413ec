//! Log groups and levels of strongSwan, carried by `tracing`.
//!
//! A line is written with [`log!`](crate::log!): a group, a level from 0 to 4 and a format string. The group becomes the
//! `tracing` target, the level one of its five levels (0 is `ERROR`, 4 is `TRACE`), so a line that nobody listens to
//! costs one load and is never formatted. Sinks are `tracing-subscriber` layers in crate `charon`.
//!
//! The IKE_SA a thread works on is thread-local [`Context`], set by whoever checks an IKE_SA out and updated when
//! a responder learns its connection's name.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

macro_rules! groups {
    ($($variant:ident $name:literal $lower:literal $doc:literal,)*) => {
        /// A log group; the order is that of strongSwan's configuration reference.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Group { $(#[doc = $doc] $variant,)* }

        impl Group {
            /// Every group, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Name in log lines: three upper-case letters, the `tracing` target of the group's lines.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Name in configuration: three lower-case letters.
            pub const fn keyword(self) -> &'static str {
                match self { $(Self::$variant => $lower,)* }
            }

            /// Position in [`Self::ALL`].
            // A fieldless enum's discriminant is its position.
            #[allow(clippy::as_conversions)]
            pub const fn index(self) -> usize {
                self as usize
            }

            /// The group of a `tracing` target, if it is one of ours.
            pub fn from_target(target: &str) -> Option<Self> {
                match target { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

groups! {
    Dmn "DMN" "dmn" "daemon set-up, shutdown and signals",
    Mgr "MGR" "mgr" "IKE_SA manager",
    Ike "IKE" "ike" "IKE_SA",
    Chd "CHD" "chd" "CHILD_SA",
    Job "JOB" "job" "job processing and scheduling",
    Wch "WCH" "wch" "file descriptor watcher",
    Cfg "CFG" "cfg" "configuration and credentials",
    Knl "KNL" "knl" "kernel and data plane",
    Net "NET" "net" "IKE sockets",
    Asn "ASN" "asn" "ASN.1, X.509",
    Enc "ENC" "enc" "packet encoding and encryption",
    Tnc "TNC" "tnc" "trusted network connect (unused)",
    Imc "IMC" "imc" "integrity measurement collector (unused)",
    Imv "IMV" "imv" "integrity measurement verifier (unused)",
    Pts "PTS" "pts" "platform trust service (unused)",
    Tls "TLS" "tls" "TLS",
    App "APP" "app" "applications other than daemons",
    Esp "ESP" "esp" "userspace ESP",
    Lib "LIB" "lib" "this library",
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The IKE_SA a log line belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Connection name, or `(unnamed)` before a responder has chosen one.
    pub name: Arc<str>,
    /// Unique id of the IKE_SA.
    pub id: u32,
}

thread_local! {
    static CURRENT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// Replaces the calling thread's context and returns the previous one.
pub fn set_context(context: Option<Context>) -> Option<Context> {
    CURRENT.with(|current| current.replace(context))
}

/// Runs `f` with the calling thread's context.
pub fn with_context<R>(f: impl FnOnce(Option<&Context>) -> R) -> R {
    CURRENT.with(|current| f(current.borrow().as_ref()))
}

/// Runs `f` without writing any of the calling thread's lines, for what must not fill the log.
pub fn silently<R>(f: impl FnOnce() -> R) -> R {
    tracing::dispatcher::with_default(&tracing::Dispatch::none(), f)
}

#[doc(hidden)]
pub use tracing as __tracing;

/// Writes a log line: `log!(IKE, 1, "retransmit {n} of request with message ID {mid}")`.
///
/// The group is one of the upper-case names of [`Group`](crate::log::Group), the level a literal from 0 (audit) over
/// 1 (control), 2 (diagnostics) and 3 (raw data) to 4 (private data, keys included).
#[macro_export]
macro_rules! log {
    ($group:ident, 0, $($arg:tt)+) => { $crate::log::__tracing::event!(target: stringify!($group), $crate::log::__tracing::Level::ERROR, $($arg)+) };
    ($group:ident, 1, $($arg:tt)+) => { $crate::log::__tracing::event!(target: stringify!($group), $crate::log::__tracing::Level::WARN, $($arg)+) };
    ($group:ident, 2, $($arg:tt)+) => { $crate::log::__tracing::event!(target: stringify!($group), $crate::log::__tracing::Level::INFO, $($arg)+) };
    ($group:ident, 3, $($arg:tt)+) => { $crate::log::__tracing::event!(target: stringify!($group), $crate::log::__tracing::Level::DEBUG, $($arg)+) };
    ($group:ident, 4, $($arg:tt)+) => { $crate::log::__tracing::event!(target: stringify!($group), $crate::log::__tracing::Level::TRACE, $($arg)+) };
}

/// strongSwan's number of a `tracing` level: 0 (audit) to 4 (private).
pub fn level_number(level: &tracing::Level) -> u8 {
    match *level {
        tracing::Level::ERROR => 0,
        tracing::Level::WARN => 1,
        tracing::Level::INFO => 2,
        tracing::Level::DEBUG => 3,
        tracing::Level::TRACE => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_groups_agree() {
        for group in Group::ALL {
            assert_eq!(Group::from_target(group.name()), Some(*group));
            assert_eq!(Group::ALL[group.index()], *group);
            assert_eq!(group.name().to_ascii_lowercase(), group.keyword());
        }
        assert_eq!(Group::from_target("h2"), None);
    }

    #[test]
    fn context_is_replaced_and_restored() {
        let sa = Context { name: "gw".into(), id: 3 };
        assert_eq!(set_context(Some(sa.clone())), None);
        with_context(|c| assert_eq!(c, Some(&sa)));
        assert_eq!(set_context(None), Some(sa));
    }
}
