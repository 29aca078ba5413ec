//! The synchronisation primitives of this project, under one name, so that a schedule explorer can take their place.
//!
//! A normal build uses `parking_lot` and `std`. With `RUSTFLAGS="--cfg shuttle"` the same names are those of `shuttle`,
//! which runs a test many times under different, replayable interleavings. Code that is explored that way (processor,
//! scheduler, IKE_SA manager) takes every lock, atomic and thread from here.

#[cfg(not(shuttle))]
mod primitive {
    pub use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
    pub use std::sync::Arc;
    pub use std::sync::atomic;

    /// Threads.
    pub mod thread {
        pub use std::thread::{Builder, JoinHandle, current, yield_now};
    }

    /// Waits on `condvar` for at most `timeout`.
    pub fn wait_for<T>(condvar: &Condvar, guard: &mut MutexGuard<'_, T>, timeout: std::time::Duration) {
        let _timed_out = condvar.wait_for(guard, timeout);
    }
}

#[cfg(shuttle)]
mod primitive {
    //! `shuttle`'s primitives behind the face of `parking_lot`: no poisoning, and a condition variable that takes
    //! the guard by reference.

    use std::ops::{Deref, DerefMut};

    pub use shuttle::sync::{Arc, atomic};

    /// Threads.
    pub mod thread {
        pub use shuttle::thread::{Builder, JoinHandle, current, yield_now};
    }

    /// A mutex.
    #[derive(Debug, Default)]
    pub struct Mutex<T>(shuttle::sync::Mutex<T>);

    /// Access to what a [`Mutex`] protects. `None` only while a condition variable waits.
    pub struct MutexGuard<'a, T>(Option<shuttle::sync::MutexGuard<'a, T>>, &'a Mutex<T>);

    impl<T> Mutex<T> {
        /// Protects `value`.
        pub const fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        /// Waits for the lock.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)), self)
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        #[allow(clippy::expect_used)]
        fn deref(&self) -> &T {
            self.0.as_ref().expect("a guard is only empty inside wait()")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        #[allow(clippy::expect_used)]
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().expect("a guard is only empty inside wait()")
        }
    }

    /// A condition variable.
    #[derive(Debug, Default)]
    pub struct Condvar(shuttle::sync::Condvar);

    impl Condvar {
        /// A condition variable nobody waits on.
        pub const fn new() -> Self {
            Self(shuttle::sync::Condvar::new())
        }

        /// Gives the lock up until notified.
        pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            if let Some(inner) = guard.0.take() {
                guard.0 = Some(self.0.wait(inner).unwrap_or_else(std::sync::PoisonError::into_inner));
            }
        }

        /// Wakes one waiter.
        pub fn notify_one(&self) {
            self.0.notify_one();
        }

        /// Wakes all waiters.
        pub fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// A readers-writer lock.
    #[derive(Debug, Default)]
    pub struct RwLock<T>(shuttle::sync::RwLock<T>);

    pub use shuttle::sync::{RwLockReadGuard, RwLockWriteGuard};

    impl<T> RwLock<T> {
        /// Protects `value`.
        pub const fn new(value: T) -> Self {
            Self(shuttle::sync::RwLock::new(value))
        }

        /// Waits until nobody writes.
        pub fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner)
        }

        /// Waits until nobody reads or writes.
        pub fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }

    /// Time does not pass under the explorer: a bounded wait yields and lets the caller look again.
    pub fn wait_for<T>(_condvar: &Condvar, guard: &mut MutexGuard<'_, T>, _timeout: std::time::Duration) {
        drop(guard.0.take());
        shuttle::thread::yield_now();
        guard.0 = guard.1.lock().0;
    }
}

pub use primitive::*;
