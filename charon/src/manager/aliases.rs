//! SPIs that IKE_SAs have taken since they were entered into the table.
//!
//! An initiator that begins again, because nobody answered or because the gateway sent it elsewhere, does so under another
//! SPI: whoever got the first request must not take the second for a part of it. The IKE_SA stays where it is in the table;
//! answers find it by its new SPI here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::table::KeyMap;

/// The table's keys by SPI, as far as they differ.
#[derive(Default)]
pub(crate) struct Aliases {
    keys: Mutex<KeyMap<u64>>,
    /// Their number, so that looking for one costs no lock while there is none.
    count: AtomicUsize,
}

/// Keeps an SPI known.
pub(crate) struct Alias {
    aliases: Arc<Aliases>,
    spi: u64,
}

impl Aliases {
    /// From now on `spi` stands for `key`.
    pub(crate) fn add(self: &Arc<Self>, spi: u64, key: u64) -> Alias {
        self.keys.lock().insert(spi, key);
        self.count.fetch_add(1, Ordering::Release);
        Alias { aliases: Arc::clone(self), spi }
    }

    /// The key that belongs to an SPI: mostly the SPI itself.
    pub(crate) fn key(&self, spi: u64) -> u64 {
        if self.count.load(Ordering::Acquire) == 0 {
            return spi;
        }
        self.keys.lock().get(&spi).copied().unwrap_or(spi)
    }
}

impl Drop for Alias {
    fn drop(&mut self) {
        self.aliases.keys.lock().remove(&self.spi);
        self.aliases.count.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_spi_stands_for_another_one_while_it_is_in_use() {
        let aliases = Arc::new(Aliases::default());
        let first = aliases.add(7, 1);
        let second = aliases.add(8, 1);
        assert_eq!([1, 7, 8, 9].map(|spi| aliases.key(spi)), [1, 1, 1, 9]);
        drop(first);
        assert_eq!([1, 7, 8].map(|spi| aliases.key(spi)), [1, 7, 1]);
        drop(second);
        assert_eq!(aliases.key(8), 8);
    }
}
