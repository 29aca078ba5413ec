//! A panic is a bug, and one job's bug: the worker catches it. Here it gets into the log, with its backtrace.

use std::backtrace::Backtrace;
use std::panic::{self, PanicHookInfo};

/// Writes every panic of this process to the log (group DMN, level 0 for the cause, 1 for the backtrace) instead of
/// standard error.
pub fn log_panics() {
    panic::set_hook(Box::new(write));
}

fn write(info: &PanicHookInfo<'_>) {
    let what = message(info.payload());
    match info.location() {
        Some(at) => crate::log!(DMN, 0, "thread {} panicked at {at}: {what}", super::thread_number()),
        None => crate::log!(DMN, 0, "thread {} panicked: {what}", super::thread_number()),
    }
    crate::log!(DMN, 1, "{}", Backtrace::force_capture());
}

/// The text of a panic's payload.
pub(super) fn message(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}
