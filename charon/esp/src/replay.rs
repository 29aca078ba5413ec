//! Sequence numbers and the anti-replay window of an inbound SA (RFC 4303 §3.4.3, Appendix A).
//!
//! ```text
//!        top - size + 1                       top
//!   too old   |  marked or free, one bit each  |   always free
//!  -----------+--------------------------------+--------------->  sequence number
//! ```
//!
//! The bits live in a ring of words that is one word larger than the window needs, so that moving the window clears
//! whole words and never shifts (RFC 6479). Every number here has 64 bits: with extended sequence numbers the
//! packet carries the lower half only and [`ReplayWindow::extend`] finds the upper one.
//!
//! The caller looks before it decrypts ([`ReplayWindow::check`]), because a replay must not cost a decryption, and
//! marks after the packet proved authentic ([`ReplayWindow::mark`]), because a forgery must not move the window.

use thiserror::Error;

/// Largest window that may be configured: bounds the memory of an SA to 8 KiB and the work of one jump.
pub const MAX_WINDOW: u32 = 1 << 16;

/// Bits of a word of the ring.
const WORD_BITS: u64 = 64;

/// Window used to find the upper half of an extended sequence number if replay protection itself is off.
const MIN_ESN_WINDOW: u32 = 64;

/// Why a sequence number is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// The window shows that a packet with this number was received.
    #[error("sequence number was received before")]
    Duplicate,
    /// The number lies left of the window: it cannot be told whether it was received.
    #[error("sequence number is older than the replay window")]
    TooOld,
    /// The first packet of an SA has number 1 (RFC 4303 §3.3.3), so no packet has 0.
    #[error("sequence number is zero")]
    Zero,
    /// The upper half of an extended sequence number would not fit 32 bits.
    #[error("sequence numbers are exhausted")]
    Exhausted,
}

/// Which sequence numbers of an inbound SA were received.
#[derive(Debug, Clone)]
pub struct ReplayWindow {
    size: u32,
    /// Ring of bits; its length is a power of two.
    words: Box<[u64]>,
    /// Highest number marked; 0 if there is none yet.
    top: u64,
}

impl ReplayWindow {
    /// A window over `size` packets; 0 turns replay protection off, more than [`MAX_WINDOW`] is cut to that.
    pub fn new(size: u32) -> Self {
        let size = size.min(MAX_WINDOW);
        let words = if size == 0 { 0 } else { (u64::from(size).div_ceil(WORD_BITS) + 1).next_power_of_two() };
        let words = vec![0; usize::try_from(words).unwrap_or(0)].into_boxed_slice();
        Self { size, words, top: 0 }
    }

    /// Number of packets that the window covers.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Highest number marked so far, 0 if none.
    pub fn top(&self) -> u64 {
        self.top
    }

    /// The extended sequence number whose lower half a packet carries (RFC 4303 §A2.2).
    ///
    /// # Errors
    /// [`ReplayError::Exhausted`] if the SA would enter its 2^32nd subspace.
    pub fn extend(&self, low: u32) -> Result<u64, ReplayError> {
        let window = u64::from(self.size.max(MIN_ESN_WINDOW));
        let (high, top_low) = (self.top >> 32, self.top & u64::from(u32::MAX));
        let low = u64::from(low);
        let high = if top_low >= window - 1 {
            // Case A: the window lies within one subspace.
            if low + window > top_low { high } else { high + 1 }
        } else {
            // Case B: the window spans two. Before the first subspace there is none, so a number that would lie
            // there can only be far ahead.
            let left = (1 << 32) + top_low + 1 - window;
            if low >= left { high.saturating_sub(1) } else { high }
        };
        if high > u64::from(u32::MAX) {
            return Err(ReplayError::Exhausted);
        }
        Ok((high << 32) | low)
    }

    /// Whether a packet with number `seq` may be new.
    ///
    /// # Errors
    /// Why it may not.
    pub fn check(&self, seq: u64) -> Result<(), ReplayError> {
        if self.size == 0 {
            return Ok(());
        }
        if seq == 0 {
            return Err(ReplayError::Zero);
        }
        let Some(age) = self.top.checked_sub(seq) else {
            return Ok(());
        };
        if age >= u64::from(self.size) {
            return Err(ReplayError::TooOld);
        }
        let (index, bit) = self.position(seq);
        match self.words.get(index) {
            Some(word) if word & bit == 0 => Ok(()),
            _ => Err(ReplayError::Duplicate),
        }
    }

    /// Records that an authentic packet with number `seq` arrived. Checks again, as another thread may have marked it
    /// since [`check`](Self::check).
    ///
    /// # Errors
    /// As [`check`](Self::check); the window is then unchanged.
    pub fn mark(&mut self, seq: u64) -> Result<(), ReplayError> {
        self.check(seq)?;
        if seq > self.top {
            // Words that the window enters show numbers of the ring's previous round.
            let entered = (seq / WORD_BITS - self.top / WORD_BITS).min(self.ring());
            for step in 1..=entered {
                let (index, _) = self.position((self.top / WORD_BITS + step) * WORD_BITS);
                if let Some(word) = self.words.get_mut(index) {
                    *word = 0;
                }
            }
            self.top = seq;
        }
        let (index, bit) = self.position(seq);
        if let Some(word) = self.words.get_mut(index) {
            *word |= bit;
        }
        Ok(())
    }

    fn ring(&self) -> u64 {
        u64::try_from(self.words.len()).unwrap_or(u64::MAX)
    }

    /// Index of the word and the bit in it that stand for `seq`.
    fn position(&self, seq: u64) -> (usize, u64) {
        // The length is a power of two, or 0 and then nothing is found at any index.
        let index = (seq / WORD_BITS) & self.ring().wrapping_sub(1);
        (usize::try_from(index).unwrap_or(usize::MAX), 1 << (seq % WORD_BITS))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The rule itself: a set of all numbers ever marked.
    #[derive(Default)]
    struct Naive {
        marked: BTreeSet<u64>,
    }

    impl Naive {
        fn mark(&mut self, size: u32, seq: u64) -> Result<(), ReplayError> {
            if seq == 0 {
                return Err(ReplayError::Zero);
            }
            let top = self.marked.last().copied().unwrap_or(0);
            if seq + u64::from(size) <= top {
                return Err(ReplayError::TooOld);
            }
            if self.marked.insert(seq) { Ok(()) } else { Err(ReplayError::Duplicate) }
        }
    }

    fn window_at(size: u32, top: u64) -> ReplayWindow {
        let mut window = ReplayWindow::new(size);
        window.mark(top).unwrap();
        window
    }

    #[test]
    fn numbers_are_accepted_once() {
        let mut window = ReplayWindow::new(32);
        assert_eq!(window.mark(0), Err(ReplayError::Zero));
        for seq in 1..500 {
            assert_eq!(window.check(seq), Ok(()));
            assert_eq!(window.mark(seq), Ok(()));
            assert_eq!(window.check(seq), Err(ReplayError::Duplicate));
            assert_eq!(window.mark(seq), Err(ReplayError::Duplicate));
        }
    }

    #[test]
    fn the_left_edge_is_exact() {
        for size in [1, 31, 32, 33, 63, 64, 65, 128, 1000, 4096] {
            let top = 100_000;
            let window = window_at(size, top);
            let left = top - u64::from(size) + 1;
            if size > 1 {
                assert_eq!(window.check(left), Ok(()), "size {size}");
            }
            assert_eq!(window.check(left - 1), Err(ReplayError::TooOld), "size {size}");
            assert_eq!(window.check(top), Err(ReplayError::Duplicate));
            assert_eq!(window.check(top + 1), Ok(()));
        }
    }

    #[test]
    fn a_jump_over_the_whole_ring_forgets_everything() {
        let mut window = ReplayWindow::new(128);
        (1..=128).for_each(|seq| window.mark(seq).unwrap());
        window.mark(1_000_000).unwrap();
        assert!((1_000_000 - 127..1_000_000).all(|seq| window.check(seq).is_ok()));
        window.mark(u64::MAX).unwrap();
        assert_eq!(window.check(u64::MAX), Err(ReplayError::Duplicate));
        assert_eq!(window.check(u64::MAX - 1), Ok(()));
    }

    #[test]
    fn size_zero_accepts_all() {
        let mut window = ReplayWindow::new(0);
        assert_eq!(window.mark(7), Ok(()));
        assert_eq!(window.mark(7), Ok(()));
        assert_eq!(window.mark(1), Ok(()));
        assert_eq!(window.top(), 7);
    }

    #[test]
    fn size_is_bounded() {
        assert_eq!(ReplayWindow::new(u32::MAX).size(), MAX_WINDOW);
    }

    #[test]
    fn extended_numbers_cross_subspaces() {
        const HIGH: u64 = 1 << 32;
        // Case A: everything left of the window belongs to the next subspace.
        let window = window_at(64, 5 * HIGH + 1000);
        assert_eq!(window.extend(1001), Ok(5 * HIGH + 1001));
        assert_eq!(window.extend(1000 - 63), Ok(5 * HIGH + 1000 - 63));
        assert_eq!(window.extend(1000 - 64), Ok(6 * HIGH + 1000 - 64));
        // Case B: the window reaches back into the previous subspace.
        let window = window_at(64, 5 * HIGH + 10);
        assert_eq!(window.extend(0), Ok(5 * HIGH));
        assert_eq!(window.extend(u32::MAX), Ok(5 * HIGH - 1));
        assert_eq!(window.extend(u32::MAX - 52), Ok(4 * HIGH + u64::from(u32::MAX) - 52));
        assert_eq!(window.extend(u32::MAX - 53), Ok(5 * HIGH + u64::from(u32::MAX) - 53));
        // At the start nothing lies before number 0.
        assert_eq!(ReplayWindow::new(64).extend(1), Ok(1));
        assert_eq!(ReplayWindow::new(64).extend(u32::MAX), Ok(HIGH - 1));
        // And at the end nothing lies after.
        assert_eq!(window_at(64, u64::MAX).extend(5), Err(ReplayError::Exhausted));
    }

    proptest! {
        #[test]
        fn behaves_like_the_naive_model(
            size in 1u32..300,
            steps in proptest::collection::vec((0u64..700, any::<bool>()), 1..400),
        ) {
            let (mut window, mut naive) = (ReplayWindow::new(size), Naive::default());
            let mut base = 0u64;
            for (delta, forward) in steps {
                let seq = if forward { base + delta } else { base.saturating_sub(delta) };
                let expected = naive.mark(size, seq);
                prop_assert_eq!(window.check(seq), expected);
                prop_assert_eq!(window.mark(seq), expected);
                base = base.max(seq);
            }
        }

        #[test]
        fn extension_restores_what_the_sender_dropped(
            size in 1u32..5000, top in 1u64..1 << 40, ahead in 0u64..1 << 31, behind in 0u64..5000,
        ) {
            let window = window_at(size, top);
            for seq in [top + ahead, top.saturating_sub(behind.min(u64::from(size) - 1))] {
                prop_assert_eq!(window.extend(u32::try_from(seq & 0xffff_ffff).unwrap()), Ok(seq));
            }
        }
    }
}
