//! Key derivation: SKEYSEED and the seven secrets of an IKE_SA (RFC 7296 §2.14, §2.18), KEYMAT of a CHILD_SA (§2.17).

mod ppk;

use strongswan::crypto::cipher::Cipher;
use strongswan::crypto::prf::Prf;
use strongswan::crypto::{CryptoError, EncryptionAlgorithm, IntegrityAlgorithm, PrfAlgorithm, Secret};

use crate::ids::IkeSpi;
use crate::snapshot::Algorithms;
use crate::wire::IvSource;

/// What a proposal without cipher, one for AH, stands for.
const NO_ENCRYPTION: (EncryptionAlgorithm, Option<u16>) = (EncryptionAlgorithm::Null, None);

fn unsupported((algorithm, key_size): (EncryptionAlgorithm, Option<u16>)) -> CryptoError {
    CryptoError::UnsupportedEncryption(algorithm, key_size)
}

/// The keys of an IKE_SA.
///
/// Expanded keys take a kilobyte and half a microsecond to make, and most IKE_SAs are idle most of the time: they are made
/// when a message needs them and dropped when the IKE_SA comes to rest.
pub(crate) struct IkeKeys {
    prf: PrfAlgorithm,
    encryption: (EncryptionAlgorithm, Option<u16>),
    integrity: Option<IntegrityAlgorithm>,
    initiator: bool,
    /// SK_d, SK_ai, SK_ar, SK_ei, SK_er.
    keymat: Secret,
    channels: Option<Box<Channels>>,
    ivs: IvSource,
}

/// Expanded keys of both directions.
struct Channels {
    inbound: Cipher,
    outbound: Cipher,
}

/// SK_pi and SK_pr, needed until both sides are authenticated.
#[derive(Debug)]
pub(crate) struct AuthKeys {
    /// The initiator's.
    pub(crate) initiator: Secret,
    /// The responder's.
    pub(crate) responder: Secret,
}

/// What the secrets of an IKE_SA are derived from.
pub(crate) struct IkeSeed<'a> {
    /// Selected algorithms.
    pub(crate) algorithms: &'a Algorithms,
    /// The initiator's nonce.
    pub(crate) ni: &'a [u8],
    /// The responder's nonce.
    pub(crate) nr: &'a [u8],
    /// The initiator's SPI.
    pub(crate) spi_i: IkeSpi,
    /// The responder's SPI.
    pub(crate) spi_r: IkeSpi,
    /// The shared secret of the key exchange.
    pub(crate) shared: &'a Secret,
    /// Whether we are the initiator.
    pub(crate) initiator: bool,
}

/// What each nonce contributes to the key of SKEYSEED: all of it, unless the PRF's key has a fixed length (RFC 7296 §2.14).
fn nonce_share(prf: PrfAlgorithm, nonce: &[u8]) -> &[u8] {
    prf.nonce_key_share().and_then(|len| nonce.get(..len)).unwrap_or(nonce)
}

impl IkeKeys {
    /// Keys of a new IKE_SA.
    pub(crate) fn derive(seed: &IkeSeed<'_>) -> Result<(Self, AuthKeys), CryptoError> {
        let prf = seed.algorithms.prf.unwrap_or(PrfAlgorithm::Undefined);
        let key = [nonce_share(prf, seed.ni), nonce_share(prf, seed.nr)].concat();
        let skeyseed = Prf::new(prf, &key)?.compute(&[seed.shared.as_bytes()]);
        Self::expand(seed, prf, &skeyseed)
    }

    /// Keys of an IKE_SA that rekeys this one.
    pub(crate) fn derive_rekeyed(&self, seed: &IkeSeed<'_>) -> Result<(Self, AuthKeys), CryptoError> {
        let prf = seed.algorithms.prf.unwrap_or(PrfAlgorithm::Undefined);
        let old = Prf::new(self.prf, self.sk_d()?)?;
        let skeyseed = old.compute(&[seed.shared.as_bytes(), seed.ni, seed.nr]);
        Self::expand(seed, prf, &skeyseed)
    }

    fn expand(seed: &IkeSeed<'_>, prf: PrfAlgorithm, skeyseed: &Secret) -> Result<(Self, AuthKeys), CryptoError> {
        let encryption = seed.algorithms.encryption.unwrap_or(NO_ENCRYPTION);
        let integrity = seed.algorithms.integrity;
        let sizes = Self::sizes(prf, encryption, integrity)?;
        let prf_len = prf.key_len().ok_or(CryptoError::UnsupportedPrf(prf))?;
        let kept = sizes.iter().sum();
        let keymat = Prf::new(prf, skeyseed.as_bytes())?.expand(
            &[seed.ni, seed.nr, &seed.spi_i.to_bytes(), &seed.spi_r.to_bytes()],
            prf_len.saturating_mul(2).saturating_add(kept),
        )?;
        let [keymat, sk_pi, sk_pr] = split(&keymat, [kept, prf_len, prf_len]);
        let initiator = seed.initiator;
        let keymat = keymat.into();
        let mut keys = Self { prf, encryption, integrity, initiator, keymat, channels: None, ivs: IvSource::default() };
        keys.channels()?;
        Ok((keys, AuthKeys { initiator: sk_pi.into(), responder: sk_pr.into() }))
    }

    /// Lengths of SK_d, SK_ai, SK_ar, SK_ei and SK_er.
    fn sizes(
        prf: PrfAlgorithm,
        encryption: (EncryptionAlgorithm, Option<u16>),
        integrity: Option<IntegrityAlgorithm>,
    ) -> Result<[usize; 5], CryptoError> {
        let lengths = Cipher::key_lengths(encryption, integrity).ok_or_else(|| unsupported(encryption))?;
        let prf_len = prf.key_len().ok_or(CryptoError::UnsupportedPrf(prf))?;
        Ok([prf_len, lengths.integrity, lengths.integrity, lengths.encryption, lengths.encryption])
    }

    /// SK_d, SK_ai, SK_ar, SK_ei and SK_er.
    fn parts(&self) -> Result<[&[u8]; 5], CryptoError> {
        Ok(split(&self.keymat, Self::sizes(self.prf, self.encryption, self.integrity)?))
    }

    fn channels(&mut self) -> Result<&mut Channels, CryptoError> {
        if self.channels.is_none() {
            let [_, sk_ai, sk_ar, sk_ei, sk_er] = self.parts()?;
            let initiators = Cipher::new(self.encryption, self.integrity, sk_ei, sk_ai)?;
            let responders = Cipher::new(self.encryption, self.integrity, sk_er, sk_ar)?;
            let (outbound, inbound) = if self.initiator { (initiators, responders) } else { (responders, initiators) };
            self.channels = Some(Box::new(Channels { inbound, outbound }));
        }
        self.channels.as_deref_mut().ok_or(CryptoError::Library)
    }

    fn sk_d(&self) -> Result<&[u8], CryptoError> {
        self.parts().map(|[sk_d, ..]| sk_d)
    }

    /// The negotiated PRF.
    pub(crate) fn prf(&self) -> PrfAlgorithm {
        self.prf
    }

    /// Opens what the peer sent.
    pub(crate) fn inbound(&mut self) -> Result<&Cipher, CryptoError> {
        self.channels().map(|channels| &channels.inbound)
    }

    /// Seals what we send, with the IVs used so far.
    pub(crate) fn outbound(&mut self) -> Result<(&Cipher, &mut IvSource), CryptoError> {
        self.channels()?;
        let channels = self.channels.as_deref().ok_or(CryptoError::Library)?;
        Ok((&channels.outbound, &mut self.ivs))
    }

    /// Nothing is going on for the moment.
    pub(crate) fn rest(&mut self) {
        self.channels = None;
    }

    /// Keys of a CHILD_SA; `shared` is the secret of its own key exchange, if it had one.
    pub(crate) fn derive_child(
        &self,
        algorithms: &Algorithms,
        shared: Option<&Secret>,
        ni: &[u8],
        nr: &[u8],
    ) -> Result<ChildKeys, CryptoError> {
        let encryption = algorithms.encryption.unwrap_or(NO_ENCRYPTION);
        let lengths = Cipher::key_lengths(encryption, algorithms.integrity).ok_or_else(|| unsupported(encryption))?;
        let sizes = [lengths.encryption, lengths.integrity, lengths.encryption, lengths.integrity];
        let shared = shared.map_or(&[][..], Secret::as_bytes);
        let keymat = Prf::new(self.prf, self.sk_d()?)?.expand(&[shared, ni, nr], sizes.iter().sum())?;
        let [encr_i, integ_i, encr_r, integ_r] = split(&keymat, sizes);
        Ok(ChildKeys {
            initiator: DirectionKeys { encryption: encr_i.into(), integrity: integ_i.into() },
            responder: DirectionKeys { encryption: encr_r.into(), integrity: integ_r.into() },
        })
    }
}

impl std::fmt::Debug for IkeKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IkeKeys").field("prf", &self.prf).finish_non_exhaustive()
    }
}

/// Keys of both directions of a CHILD_SA.
#[derive(Debug)]
pub(crate) struct ChildKeys {
    /// For SAs from the exchange's initiator to its responder.
    pub(crate) initiator: DirectionKeys,
    /// For SAs from the exchange's responder to its initiator.
    pub(crate) responder: DirectionKeys,
}

/// Keys of one direction of a CHILD_SA.
#[derive(Debug)]
pub(crate) struct DirectionKeys {
    /// Encryption key, salt included.
    pub(crate) encryption: Secret,
    /// Integrity key.
    pub(crate) integrity: Secret,
}

/// Cuts key material into consecutive parts.
fn split<const N: usize>(keymat: &Secret, sizes: [usize; N]) -> [&[u8]; N] {
    let mut rest = keymat.as_bytes();
    sizes.map(|size| {
        let (part, tail) = rest.split_at_checked(size).unwrap_or((rest, &[]));
        rest = tail;
        part
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_in_order() {
        let keymat = Secret::new(vec![1, 2, 2, 3]);
        assert_eq!(split(&keymat, [1, 2, 0, 1]), [&[1][..], &[2, 2], &[], &[3]]);
    }

    #[test]
    fn fixed_length_prfs_take_half_from_each_nonce() {
        let (ni, nr) = ([1; 32], [2; 32]);
        assert_eq!(nonce_share(PrfAlgorithm::Aes128Xcbc, &ni), [1; 8]);
        assert_eq!(nonce_share(PrfAlgorithm::HmacSha2_256, &nr), nr);
    }
}
