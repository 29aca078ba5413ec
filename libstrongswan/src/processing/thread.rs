//! Numbered threads. Every log line starts with the number of its thread: 0 is the main thread.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::sync::thread::{Builder, JoinHandle};

static LAST: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static NUMBER: Cell<u32> = const { Cell::new(0) };
}

/// Number of the calling thread: 0 unless it was started by [`spawn`].
pub fn thread_number() -> u32 {
    NUMBER.get()
}

/// Starts a thread with the next free number.
///
/// # Errors
/// If the system has no thread left.
pub fn spawn<T: Send + 'static>(name: &str, run: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.to_owned()).spawn(move || {
        NUMBER.set(LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1));
        run()
    })
}
