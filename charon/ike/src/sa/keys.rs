//! Key derivation: SKEYSEED and the seven secrets of an IKE_SA (RFC 7296 §2.14, §2.18), KEYMAT of a CHILD_SA (§2.17).

mod ppk;

use strongswan::crypto::cipher::Cipher;
use strongswan::crypto::prf::Prf;
use strongswan::crypto::{CryptoError, EncryptionAlgorithm, IntegrityAlgorithm, PrfAlgorithm, Secret};

use crate::ids::IkeSpi;
use crate::snapshot::Algorithms;
use crate::v2::AuthVerified;
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
    /// Those of additional key exchanges (RFC 9370), in their order. IKE_INTERMEDIATE exchanges have one seed each.
    pub(crate) additional: &'a [Secret],
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

    /// Keys that take the place of these: of an IKE_SA that rekeys this one, or of the same one after an IKE_INTERMEDIATE
    /// exchange. Both are prf(SK_d, secret | Ni | Nr), of all secrets in the one case (RFC 9370 §2.2.4), of the latest
    /// in the other (§2.2.2).
    pub(crate) fn derive_rekeyed(&self, seed: &IkeSeed<'_>) -> Result<(Self, AuthKeys), CryptoError> {
        let prf = seed.algorithms.prf.unwrap_or(PrfAlgorithm::Undefined);
        let old = Prf::new(self.prf, self.sk_d()?)?;
        let additional = seed.additional.iter().map(Secret::as_bytes);
        let parts: Vec<&[u8]> = [seed.shared.as_bytes(), seed.ni, seed.nr].into_iter().chain(additional).collect();
        let skeyseed = old.compute(&parts);
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

    /// Keys of a CHILD_SA; `shared` is the secret of its own key exchange, if it had one, and `additional` are those of
    /// the key exchanges after that. There are none without proof that the peers are authenticated, and nothing can be
    /// installed without keys: so there is no CHILD_SA on an IKE_SA that is not.
    pub(crate) fn derive_child(
        &self,
        _proof: &AuthVerified,
        algorithms: &Algorithms,
        shared: Option<&Secret>,
        additional: &[Secret],
        ni: &[u8],
        nr: &[u8],
    ) -> Result<ChildKeys, CryptoError> {
        let encryption = algorithms.encryption.unwrap_or(NO_ENCRYPTION);
        let lengths = Cipher::key_lengths(encryption, algorithms.integrity).ok_or_else(|| unsupported(encryption))?;
        let sizes = [lengths.encryption, lengths.integrity, lengths.encryption, lengths.integrity];
        let shared = shared.map_or(&[][..], Secret::as_bytes);
        let additional = additional.iter().map(Secret::as_bytes);
        let seed: Vec<&[u8]> = [shared, ni, nr].into_iter().chain(additional).collect();
        let keymat = Prf::new(self.prf, self.sk_d()?)?.expand(&seed, sizes.iter().sum())?;
        let [encr_i, integ_i, encr_r, integ_r] = split(&keymat, sizes);
        Ok(ChildKeys {
            initiator: DirectionKeys { encryption: encr_i.into(), integrity: integ_i.into() },
            responder: DirectionKeys { encryption: encr_r.into(), integrity: integ_r.into() },
            derived: Derived,
        })
    }
}

impl std::fmt::Debug for IkeKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IkeKeys").field("prf", &self.prf).finish_non_exhaustive()
    }
}

/// Only this module makes one.
#[derive(Debug)]
struct Derived;

/// Keys of both directions of a CHILD_SA, which only [`IkeKeys::derive_child`] makes.
#[derive(Debug)]
pub(crate) struct ChildKeys {
    /// For SAs from the exchange's initiator to its responder.
    pub(crate) initiator: DirectionKeys,
    /// For SAs from the exchange's responder to its initiator.
    pub(crate) responder: DirectionKeys,
    #[expect(dead_code, reason = "it says where the keys come from")]
    derived: Derived,
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

    /// Computed from the formulas of RFC 7296 and RFC 9370 with another implementation of HMAC.
    mod known_answers {
        use super::*;

        const NI: [u8; 32] = [0x11; 32];
        const NR: [u8; 32] = [0x22; 32];

        fn algorithms() -> Algorithms {
            Algorithms {
                encryption: Some((EncryptionAlgorithm::AesGcm16, Some(128))),
                prf: Some(PrfAlgorithm::HmacSha2_256),
                ..Algorithms::default()
            }
        }

        fn secret(byte: u8) -> Secret {
            Secret::new(vec![byte; 32])
        }

        fn seed<'a>(
            algorithms: &'a Algorithms,
            spis: [u8; 2],
            shared: &'a Secret,
            additional: &'a [Secret],
        ) -> IkeSeed<'a> {
            let [spi_i, spi_r] = spis.map(|byte| IkeSpi::new([byte; 8]).unwrap());
            IkeSeed { algorithms, ni: &NI, nr: &NR, spi_i, spi_r, shared, additional, initiator: true }
        }

        fn initial(algorithms: &Algorithms) -> IkeKeys {
            IkeKeys::derive(&seed(algorithms, [0xaa, 0xbb], &secret(1), &[])).unwrap().0
        }

        fn hex(bytes: &[u8]) -> String {
            bytes.iter().map(|byte| format!("{byte:02x}")).collect()
        }

        #[test]
        fn of_one_key_exchange_after_the_other() {
            // SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr)
            let algorithms = algorithms();
            let mut keys = initial(&algorithms);
            assert_eq!(hex(keys.sk_d().unwrap()), "e231e4eaeef343c2aa95315c121be87dd051fdf016504cf5b89550b8ce490a71");
            let mut sk_pi = Vec::new();
            for byte in [2, 3] {
                let (next, auth) = keys.derive_rekeyed(&seed(&algorithms, [0xaa, 0xbb], &secret(byte), &[])).unwrap();
                (keys, sk_pi) = (next, auth.initiator.as_bytes().to_vec());
            }
            assert_eq!(hex(keys.sk_d().unwrap()), "9cb1dc8cff589f73125ba2a1dc67db0d832f3c9b4b70004e6664a63471e7361f");
            assert_eq!(hex(&sk_pi), "7b3adc630bfb6691fcc7a05ff56a2cc4953d1cf790f4e26564beb38ba1e46a47");
            assert_eq!(hex(keys.parts().unwrap()[4]), "2d171d7c70dd8cf5ad3498fcf863e36c914eb715");
        }

        #[test]
        fn of_several_key_exchanges_at_once() {
            // SKEYSEED = prf(SK_d, SK(0) | Ni | Nr | SK(1) | SK(2)), KEYMAT = prf+ of the same
            let algorithms = algorithms();
            let keys = initial(&algorithms);
            let additional = [secret(2), secret(3)];
            let (rekeyed, _) = keys.derive_rekeyed(&seed(&algorithms, [0xcc, 0xdd], &secret(1), &additional)).unwrap();
            assert_eq!(
                hex(rekeyed.sk_d().unwrap()),
                "c17c78976c9438791316a39c546c9b93bd401544cf8e8df043b0005bd7e8acd2"
            );
            assert_eq!(hex(rekeyed.parts().unwrap()[3]), "f69b1287128230b278fbac27e1021e649c42d8a1");
            let child = keys
                .derive_child(&AuthVerified::assumed(), &algorithms, Some(&secret(1)), &additional, &NI, &NR)
                .unwrap();
            assert_eq!(hex(child.initiator.encryption.as_bytes()), "8e4bde05fa43fc42ce9b34e875b9a3f3bcb15621");
            assert_eq!(hex(child.responder.encryption.as_bytes()), "bc97905b88dbc5265490388f744ca19cfa7f06a3");
            let child =
                keys.derive_child(&AuthVerified::assumed(), &algorithms, None, &additional[..1], &NI, &NR).unwrap();
            assert_eq!(hex(child.responder.encryption.as_bytes()), "6b2cf3ae955b9c663ed8f6a67cd6aceae47a3b07");
        }
    }
}
