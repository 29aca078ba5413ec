//! Where randomness comes from: an argument, so that the simulator can replay a seed.

/// A source of unpredictable bytes for SPIs, nonces, IVs and jitter.
pub trait Rng: Send {
    /// Fills `buf` with random bytes.
    fn fill(&mut self, buf: &mut [u8]);

    /// A random 64-bit number.
    fn next_u64(&mut self) -> u64 {
        let mut buf = [0; 8];
        self.fill(&mut buf);
        u64::from_ne_bytes(buf)
    }

    /// A random 32-bit number.
    fn next_u32(&mut self) -> u32 {
        let mut buf = [0; 4];
        self.fill(&mut buf);
        u32::from_ne_bytes(buf)
    }

    /// A number uniformly distributed in `0..bound`, or 0 if `bound` is 0. The bias is below 2^-32 for bounds that fit
    /// 32 bits, which is all that timers need.
    fn below(&mut self, bound: u64) -> u64 {
        self.next_u64().checked_rem(bound).unwrap_or(0)
    }
}

/// The operating system's generator through aws-lc.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemRng;

impl Rng for SystemRng {
    /// # Panics
    /// If the operating system cannot deliver randomness: there is no safe way to go on.
    #[expect(clippy::expect_used, reason = "a daemon without entropy must not negotiate keys")]
    fn fill(&mut self, buf: &mut [u8]) {
        aws_lc_rs::rand::fill(buf).expect("the system's random number generator works");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_and_bounds() {
        let mut rng = SystemRng;
        let (mut a, mut b) = ([0; 32], [0; 32]);
        rng.fill(&mut a);
        rng.fill(&mut b);
        assert_ne!(a, b);
        assert_eq!(rng.below(0), 0);
        assert!((0..100).all(|_| rng.below(10) < 10));
    }
}
