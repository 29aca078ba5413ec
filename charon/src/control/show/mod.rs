//! How SAs appear in messages: the blocks of keys that listings and events share.

mod child_sa;
mod explanation;
mod ike_sa;

use std::net::SocketAddr;
use std::time::Duration;

use strongswan::clock::MonoTime;
use vici::Message;

pub(super) use child_sa::child_sa;
pub(super) use explanation::explanation;
pub(super) use ike_sa::ike_sa;

/// A security label: hex of its bytes and the terminating NUL.
pub(super) fn label(label: &str) -> String {
    format!("{}00", hex::encode(label))
}

/// An address without its port; `%any` if there is none.
pub(super) fn host(address: SocketAddr) -> String {
    match address.ip() {
        ip if !ip.is_unspecified() => ip.to_string(),
        ip if ip.is_ipv6() => "%any6".to_owned(),
        _ => "%any".to_owned(),
    }
}

/// Seconds from now to a point in time, negative if it is past.
fn seconds_until(now: MonoTime, then: MonoTime) -> i64 {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    if then >= now { seconds(then.saturating_since(now)) } else { -seconds(now.saturating_since(then)) }
}

/// Seconds since a point in time.
fn seconds_since(now: MonoTime, then: MonoTime) -> u64 {
    now.saturating_since(then).as_secs()
}

/// `yes`, if so; nothing otherwise.
fn push_flag(message: &mut Message, key: &'static str, set: bool) {
    if set {
        message.push(key, true);
    }
}

/// A 32-bit number as eight hex digits, unless it is 0.
fn push_hex(message: &mut Message, key: &'static str, number: u32) {
    if number != 0 {
        message.push(key, format_args!("{number:08x}"));
    }
}

/// A list of printed items, unless it is empty.
fn push_list<T: ToString>(message: &mut Message, key: &'static str, items: &[T]) {
    if !items.is_empty() {
        message.push_list(key, items.iter().map(ToString::to_string));
    }
}
