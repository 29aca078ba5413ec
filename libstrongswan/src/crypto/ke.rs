//! Key exchange methods.

use super::transform::KeyExchangeMethod;

/// Whether a key exchange method works here.
pub fn is_supported(method: KeyExchangeMethod) -> bool {
    use KeyExchangeMethod as K;
    !matches!(
        method,
        K::None | K::Ecp192 | K::Curve448 | K::Gost256 | K::Gost512 | K::ModpNull | K::ModpCustom | K::Unknown(_)
    )
}
