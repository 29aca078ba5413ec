//! Mixing a post-quantum pre-shared key into the keys of an IKE_SA (RFC 8784 §3): SK_d, SK_pi and SK_pr become
//! `prf+(PPK, SK_x)`. SK_a and SK_e stay; the first rekeying replaces them by keys derived from the new SK_d.

use strongswan::crypto::prf::Prf;
use strongswan::crypto::{CryptoError, PrfAlgorithm, Secret};

use super::{AuthKeys, IkeKeys};

fn mix(prf: PrfAlgorithm, ppk: &Secret, key: &[u8]) -> Result<Secret, CryptoError> {
    Prf::new(prf, ppk.as_bytes())?.expand(&[key], key.len())
}

impl IkeKeys {
    /// Everything that is derived from now on depends on the PPK, too.
    pub(crate) fn mix_ppk(&mut self, ppk: &Secret) -> Result<(), CryptoError> {
        let [sk_d, sk_ai, sk_ar, sk_ei, sk_er] = self.parts()?;
        let sk_d = mix(self.prf, ppk, sk_d)?;
        self.keymat = Secret::new([sk_d.as_bytes(), sk_ai, sk_ar, sk_ei, sk_er].concat());
        Ok(())
    }
}

impl AuthKeys {
    /// SK_pi' and SK_pr'.
    pub(crate) fn with_ppk(&self, prf: PrfAlgorithm, ppk: &Secret) -> Result<Self, CryptoError> {
        let [initiator, responder] = [&self.initiator, &self.responder].map(|key| mix(prf, ppk, key.as_bytes()));
        Ok(Self { initiator: initiator?, responder: responder? })
    }
}

#[cfg(test)]
mod tests {
    use strongswan::crypto::EncryptionAlgorithm;

    use super::*;
    use crate::wire::IvSource;

    #[test]
    fn only_sk_d_changes_in_place() {
        let prf = PrfAlgorithm::HmacSha2_256;
        let encryption = (EncryptionAlgorithm::AesGcm16, Some(128));
        let keymat = Secret::new((0..32 + 2 * 20).collect());
        let mut keys = IkeKeys {
            prf,
            encryption,
            integrity: None,
            initiator: true,
            keymat: keymat.clone(),
            channels: None,
            ivs: IvSource::default(),
        };
        let ppk = Secret::from(&b"post-quantum"[..]);
        keys.mix_ppk(&ppk).unwrap();
        // prf+ of 32 bytes is one block: prf(PPK, SK_d | 0x01)
        let (sk_d, rest) = keymat.as_bytes().split_at(32);
        let expected = Prf::new(prf, ppk.as_bytes()).unwrap().compute(&[sk_d, &[1]]);
        assert_eq!(keys.keymat.as_bytes(), [expected.as_bytes(), rest].concat());

        let auth = AuthKeys { initiator: sk_d.into(), responder: rest.into() };
        let mixed = auth.with_ppk(prf, &ppk).unwrap();
        assert_eq!(mixed.initiator, expected);
        assert_eq!(mixed.responder.len(), rest.len());
    }
}
