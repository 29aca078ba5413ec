//! ECDH on curves that aws-lc-rs does not offer: brainpool (RFC 6954) and P-224.
#![allow(unsafe_code)]

use std::os::raw::c_int;
use std::ptr::{self, NonNull};

use aws_lc_sys::{
    EC_GROUP, EC_KEY, EC_KEY_free, EC_KEY_generate_key, EC_KEY_get0_group, EC_KEY_get0_public_key,
    EC_KEY_new_by_curve_name, EC_POINT_free, EC_POINT_new, EC_POINT_oct2point, EC_POINT_point2oct, ECDH_compute_key,
    NID_brainpoolP224r1, NID_brainpoolP256r1, NID_brainpoolP384r1, NID_brainpoolP512r1, NID_secp224r1,
    point_conversion_form_t,
};

use super::{done, non_null};
use crate::crypto::{CryptoError, Secret};

/// SEC 1 §2.3.3: uncompressed point.
const UNCOMPRESSED: u8 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::crypto) enum Curve {
    P224,
    Brainpool224,
    Brainpool256,
    Brainpool384,
    Brainpool512,
}

impl Curve {
    fn nid(self) -> c_int {
        match self {
            Self::P224 => NID_secp224r1,
            Self::Brainpool224 => NID_brainpoolP224r1,
            Self::Brainpool256 => NID_brainpoolP256r1,
            Self::Brainpool384 => NID_brainpoolP384r1,
            Self::Brainpool512 => NID_brainpoolP512r1,
        }
    }

    /// Length of one coordinate in bytes.
    fn field_len(self) -> usize {
        match self {
            Self::P224 | Self::Brainpool224 => 28,
            Self::Brainpool256 => 32,
            Self::Brainpool384 => 48,
            Self::Brainpool512 => 64,
        }
    }
}

/// An ephemeral key pair.
pub(in crate::crypto) struct PrivateKey {
    curve: Curve,
    key: NonNull<EC_KEY>,
}

// SAFETY: the key is owned, and nothing in it is bound to a thread.
unsafe impl Send for PrivateKey {}
// SAFETY: `&self` methods use the key as const, which the library allows concurrently.
unsafe impl Sync for PrivateKey {}

impl PrivateKey {
    pub(in crate::crypto) fn generate(curve: Curve) -> Result<Self, CryptoError> {
        let key = Self::empty(curve)?;
        // SAFETY: the key has its group.
        done(unsafe { EC_KEY_generate_key(key.key.as_ptr()) })?;
        Ok(key)
    }

    fn empty(curve: Curve) -> Result<Self, CryptoError> {
        // SAFETY: allocates, or returns null for a curve that is not there.
        let key = non_null(unsafe { EC_KEY_new_by_curve_name(curve.nid()) })?;
        Ok(Self { curve, key })
    }

    /// For published vectors.
    #[cfg(test)]
    pub(in crate::crypto) fn from_bytes(curve: Curve, bytes: &[u8]) -> Self {
        use aws_lc_sys::{BN_bin2bn, BN_clear_free, EC_KEY_set_private_key, EC_KEY_set_public_key, EC_POINT_mul};
        let key = Self::empty(curve).expect("curve");
        // SAFETY: all pointers are checked or come from the key; the number and the point are copied and freed.
        unsafe {
            let scalar = BN_bin2bn(bytes.as_ptr(), bytes.len(), ptr::null_mut());
            let point = EC_POINT_new(key.group());
            assert!(!scalar.is_null() && !point.is_null());
            assert_eq!(1, EC_POINT_mul(key.group(), point, scalar, ptr::null(), ptr::null(), ptr::null_mut()));
            assert_eq!(1, EC_KEY_set_private_key(key.key.as_ptr(), scalar));
            assert_eq!(1, EC_KEY_set_public_key(key.key.as_ptr(), point));
            EC_POINT_free(point);
            BN_clear_free(scalar);
        }
        key
    }

    fn group(&self) -> *const EC_GROUP {
        // SAFETY: the key was made with its group, which lives as long as the key.
        unsafe { EC_KEY_get0_group(self.key.as_ptr()) }
    }

    /// x and y, without the leading octet of the uncompressed form (RFC 5903 §7, RFC 6954 §2.1).
    pub(in crate::crypto) fn public_value(&self) -> Result<Vec<u8>, CryptoError> {
        let mut point = vec![0; 1 + 2 * self.curve.field_len()];
        // SAFETY: the key is complete; at most `point.len()` bytes are written.
        let written = unsafe {
            EC_POINT_point2oct(
                self.group(),
                EC_KEY_get0_public_key(self.key.as_ptr()),
                point_conversion_form_t::POINT_CONVERSION_UNCOMPRESSED,
                point.as_mut_ptr(),
                point.len(),
                ptr::null_mut(),
            )
        };
        if written != point.len() {
            return Err(CryptoError::Library);
        }
        point.remove(0);
        Ok(point)
    }

    /// The x coordinate of the shared point; `None` if the peer's value is not on the curve.
    pub(in crate::crypto) fn agree(&self, peer: &[u8]) -> Option<Secret> {
        let len = self.curve.field_len();
        if peer.len() != 2 * len {
            return None;
        }
        let encoded = [&[UNCOMPRESSED], peer].concat();
        let mut secret = vec![0; len];
        // SAFETY: the group is valid; the point is checked for null and freed on every path. oct2point reads `encoded` and
        // refuses what is not on the curve, compute_key writes at most `len` bytes.
        let written = unsafe {
            let point = NonNull::new(EC_POINT_new(self.group()))?.as_ptr();
            let read = EC_POINT_oct2point(self.group(), point, encoded.as_ptr(), encoded.len(), ptr::null_mut());
            let written = match read {
                1 => ECDH_compute_key(secret.as_mut_ptr().cast(), len, point, self.key.as_ptr(), None),
                _ => -1,
            };
            EC_POINT_free(point);
            written
        };
        // Wiped in any case.
        let secret = Secret::new(secret);
        (usize::try_from(written) == Ok(len)).then_some(secret)
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        // SAFETY: the key came from EC_KEY_new_by_curve_name and is freed once; that wipes it.
        unsafe { EC_KEY_free(self.key.as_ptr()) }
    }
}
