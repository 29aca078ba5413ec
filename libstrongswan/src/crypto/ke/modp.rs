//! Diffie-Hellman in prime fields.
//!
//! Exponents are as long as the strength of the group asks for, not as long as the prime: twice the bits of security that
//! RFC 7919 §A grants it, rounded up, or the order's length for the RFC 5114 groups. This is safe in these groups and
//! saves most of the time.

mod groups;

use std::sync::OnceLock;

use zeroize::Zeroizing;

use crate::crypto::ffi::modexp::Modulus;
use crate::crypto::{CryptoError, Secret};
use groups::Parameters;

/// Which group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Modp768,
    Modp1024,
    Modp1536,
    Modp2048,
    Modp3072,
    Modp4096,
    Modp6144,
    Modp8192,
    Modp1024_160,
    Modp2048_224,
    Modp2048_256,
}

/// A group with what is precomputed for it; shared by all exchanges.
struct Precomputed {
    prime: Vec<u8>,
    modulus: Modulus,
    generator: Vec<u8>,
    order: Option<Vec<u8>>,
    exponent_len: usize,
}

impl Precomputed {
    fn new(parameters: &Parameters) -> Result<Self, CryptoError> {
        let bytes = |hex: &str| hex::decode(hex).map_err(|_| CryptoError::Library);
        let prime = bytes(parameters.prime)?;
        Ok(Self {
            modulus: Modulus::new(&prime)?,
            prime,
            generator: bytes(parameters.generator)?,
            order: parameters.order.map(bytes).transpose()?,
            exponent_len: parameters.exponent_len,
        })
    }

    /// RFC 6989 §2.1 and §2.2: as long as the prime, between 1 and p - 1, and in the subgroup if that is small.
    fn is_valid(&self, peer: &[u8]) -> bool {
        // Of equal length and big-endian, numbers compare as the bytes do. p is odd, so p - 1 differs in the last bit only.
        let Some((last, rest)) = self.prime.split_last() else { return false };
        let Some((peer_last, peer_rest)) = peer.split_last() else { return false };
        let in_range = peer.len() == self.prime.len()
            && (peer_rest, *peer_last) < (rest, last & !1)
            && (*peer_last > 1 || peer_rest.iter().any(|octet| *octet != 0));
        let is_one =
            |power: Vec<u8>| power.split_last().is_some_and(|(last, rest)| *last == 1 && rest.iter().all(|o| *o == 0));
        in_range && self.order.as_ref().is_none_or(|order| self.modulus.exp(peer, order).is_ok_and(is_one))
    }
}

impl Group {
    fn parameters(self) -> (&'static OnceLock<Precomputed>, &'static Parameters) {
        macro_rules! row {
            ($name:ident) => {{
                static CACHE: OnceLock<Precomputed> = OnceLock::new();
                (&CACHE, &groups::$name)
            }};
        }
        match self {
            Self::Modp768 => row!(MODP_768),
            Self::Modp1024 => row!(MODP_1024),
            Self::Modp1536 => row!(MODP_1536),
            Self::Modp2048 => row!(MODP_2048),
            Self::Modp3072 => row!(MODP_3072),
            Self::Modp4096 => row!(MODP_4096),
            Self::Modp6144 => row!(MODP_6144),
            Self::Modp8192 => row!(MODP_8192),
            Self::Modp1024_160 => row!(MODP_1024_160),
            Self::Modp2048_224 => row!(MODP_2048_224),
            Self::Modp2048_256 => row!(MODP_2048_256),
        }
    }

    fn precomputed(self) -> Result<&'static Precomputed, CryptoError> {
        let (cache, parameters) = self.parameters();
        match cache.get() {
            Some(group) => Ok(group),
            None => {
                let group = Precomputed::new(parameters)?;
                Ok(cache.get_or_init(|| group))
            }
        }
    }
}

/// A secret exponent.
pub(super) struct PrivateKey {
    group: &'static Precomputed,
    exponent: Zeroizing<Vec<u8>>,
}

impl PrivateKey {
    pub(super) fn generate(group: Group) -> Result<Self, CryptoError> {
        let group = group.precomputed()?;
        let mut exponent = Zeroizing::new(vec![0; group.exponent_len]);
        aws_lc_rs::rand::fill(&mut exponent)?;
        if let (Some(first), None) = (exponent.first_mut(), &group.order) {
            // All exponents have the same number of bits, so the time does not tell the length. In the RFC 5114 groups they
            // are reduced implicitly: an exponent above the order is as good as one below.
            *first |= 0x80;
        }
        Ok(Self { group, exponent })
    }

    #[cfg(test)]
    pub(super) fn from_bytes(group: Group, bytes: &[u8]) -> Self {
        Self { group: group.precomputed().expect("group"), exponent: Zeroizing::new(bytes.to_vec()) }
    }

    pub(super) fn public_value(&self) -> Result<Vec<u8>, CryptoError> {
        self.group.modulus.exp(&self.group.generator, &self.exponent)
    }

    /// `None` if the peer's value is not a good element of the group. The secret is as long as the prime (RFC 7296 §2.14).
    pub(super) fn agree(&self, peer: &[u8]) -> Option<Secret> {
        if !self.group.is_valid(peer) {
            return None;
        }
        self.group.modulus.exp(peer, &self.exponent).ok().map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Group; 11] = [
        Group::Modp768,
        Group::Modp1024,
        Group::Modp1536,
        Group::Modp2048,
        Group::Modp3072,
        Group::Modp4096,
        Group::Modp6144,
        Group::Modp8192,
        Group::Modp1024_160,
        Group::Modp2048_224,
        Group::Modp2048_256,
    ];

    /// The generator generates the subgroup of prime order: g^q = 1, and by that the table is free of typing errors.
    #[test]
    fn generators_have_the_stated_order() {
        for group in ALL {
            let group = group.precomputed().unwrap();
            let order = group.order.clone().unwrap_or_else(|| {
                // (p - 1) / 2 for p ending in a one bit: shift right by one.
                let mut carry = 0;
                let halve = |octet: &u8| {
                    let half = octet >> 1 | carry;
                    carry = octet << 7;
                    half
                };
                group.prime.iter().map(halve).collect()
            });
            let mut one = vec![0; group.prime.len()];
            *one.last_mut().unwrap() = 1;
            assert_eq!(group.modulus.exp(&group.generator, &order).unwrap(), one);
        }
    }

    #[test]
    fn the_ends_of_the_range_are_invalid() {
        for group in ALL {
            let group = group.precomputed().unwrap();
            let prime = &group.prime;
            let with = |bytes: &[u8], last: i16| {
                let mut bytes = bytes.to_vec();
                let end = bytes.last_mut().unwrap();
                *end = u8::try_from(i16::from(*end) + last).unwrap();
                bytes
            };
            let zero = vec![0; prime.len()];
            for invalid in [zero.clone(), with(&zero, 1), with(prime, -1), prime.clone()] {
                assert!(!group.is_valid(&invalid));
            }
            let safe_prime = group.order.is_none();
            // In a group with a small subgroup, most elements are not in it.
            assert_eq!(group.is_valid(&with(&zero, 2)), safe_prime);
            assert_eq!(group.is_valid(&with(prime, -2)), safe_prime);
        }
    }
}
