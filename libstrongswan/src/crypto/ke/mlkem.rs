//! ML-KEM (FIPS 203): the initiator sends an encapsulation key, the responder answers with a ciphertext.

use aws_lc_rs::kem::{Algorithm, AlgorithmId, Ciphertext, DecapsulationKey, EncapsulationKey};
use aws_lc_rs::kem::{ML_KEM_512, ML_KEM_768, ML_KEM_1024};

use crate::crypto::{CryptoError, Secret};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ParameterSet {
    MlKem512,
    MlKem768,
    MlKem1024,
}

impl ParameterSet {
    fn algorithm(self) -> &'static Algorithm<AlgorithmId> {
        match self {
            Self::MlKem512 => &ML_KEM_512,
            Self::MlKem768 => &ML_KEM_768,
            Self::MlKem1024 => &ML_KEM_1024,
        }
    }

    /// FIPS 203 table 3.
    fn ciphertext_len(self) -> usize {
        match self {
            Self::MlKem512 => 768,
            Self::MlKem768 => 1088,
            Self::MlKem1024 => 1568,
        }
    }
}

/// The initiator's secret.
pub(super) struct PrivateKey {
    set: ParameterSet,
    key: DecapsulationKey,
}

impl PrivateKey {
    pub(super) fn generate(set: ParameterSet) -> Result<Self, CryptoError> {
        Ok(Self { set, key: DecapsulationKey::generate(set.algorithm())? })
    }

    #[cfg(test)]
    pub(super) fn from_bytes(set: ParameterSet, bytes: &[u8]) -> Self {
        Self { set, key: DecapsulationKey::new(set.algorithm(), bytes).expect("valid key") }
    }

    pub(super) fn public_value(&self) -> Result<Vec<u8>, CryptoError> {
        Ok(self.key.encapsulation_key()?.key_bytes()?.as_ref().to_vec())
    }

    /// `None` if the ciphertext has the wrong length; one that is wrong otherwise yields a secret that nobody shares.
    pub(super) fn agree(&self, ciphertext: &[u8]) -> Option<Secret> {
        if ciphertext.len() != self.set.ciphertext_len() {
            return None;
        }
        let secret = self.key.decapsulate(Ciphertext::from(ciphertext)).ok()?;
        Some(Secret::from(secret.as_ref()))
    }
}

/// The responder's ciphertext and secret; `None` if the key has the wrong length or coefficients that are not reduced
/// (FIPS 203 §7.2).
pub(super) fn encapsulate(set: ParameterSet, key: &[u8]) -> Option<(Vec<u8>, Secret)> {
    let key = EncapsulationKey::new(set.algorithm(), key).ok()?;
    let (ciphertext, secret) = key.encapsulate().ok()?;
    Some((ciphertext.as_ref().to_vec(), Secret::from(secret.as_ref())))
}
