//! Pseudo-random functions.

use super::transform::PrfAlgorithm;

/// Whether a PRF works here.
pub fn is_supported(algorithm: PrfAlgorithm) -> bool {
    use PrfAlgorithm as P;
    matches!(
        algorithm,
        P::HmacMd5 | P::HmacSha1 | P::HmacSha2_256 | P::HmacSha2_384 | P::HmacSha2_512 | P::Aes128Xcbc | P::Aes128Cmac
    )
}
