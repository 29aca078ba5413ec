//! Numbered threads. Every log line starts with the number of its thread: 0 is the main thread.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::sync::thread::{Builder, JoinHandle};

static LAST: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static NUMBER: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Number of the calling thread: 0 for the main thread, for others the next one when they first ask.
pub fn thread_number() -> u32 {
    NUMBER.get().unwrap_or_else(|| {
        let is_main = std::thread::current().name() == Some("main");
        let number = if is_main { 0 } else { LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1) };
        NUMBER.set(Some(number));
        number
    })
}

/// Starts a thread, with the next number.
///
/// # Errors
/// If the system has no thread left.
pub fn spawn<T: Send + 'static>(name: &str, run: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.to_owned()).spawn(move || {
        thread_number();
        run()
    })
}
