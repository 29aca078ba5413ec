//! Key exchanges behind IKE_SA_INIT: which are left, and what AUTH has to cover of the IKE_INTERMEDIATE exchanges that carry
//! them out (RFC 9242 §3.3, RFC 9370 §2.2.2).
//!
//! Each of them protects its messages with the keys that the one before has left, and its own keys count from the next
//! message on. As long as one is left there are no octets an AUTH payload could be made of or verified with.

use std::collections::VecDeque;

use strongswan::crypto::{KeyExchangeMethod, Prf, Secret};
use strongswan::log;

use super::keys::AuthKeys;
use super::{IkeKeys, IkeSa, IkeSeed, Phase, Role};
use crate::v2::Failure;
use crate::wire::MessageId;

/// State of an IKE_SA between IKE_SA_INIT and the first IKE_AUTH.
#[derive(Debug, Default)]
pub(crate) struct Intermediate {
    /// Methods that are agreed on and not carried out yet.
    outstanding: VecDeque<KeyExchangeMethod>,
    /// IntAuth_i and IntAuth_r so far; empty before the first exchange.
    covered: [Vec<u8>; 2],
    /// What is in front of the content in the first fragment of a message that is not complete.
    prefix: Vec<u8>,
    /// Message ID of the first IKE_AUTH exchange.
    auth_id: Option<MessageId>,
    /// The responder's next keys: its response still goes out under the current ones.
    next: Option<Box<(IkeKeys, AuthKeys)>>,
}

impl Intermediate {
    /// The methods agreed on in IKE_SA_INIT.
    pub(crate) fn expect(&mut self, methods: impl Iterator<Item = KeyExchangeMethod>) {
        self.outstanding = methods.collect();
    }

    /// The method whose turn it is.
    pub(crate) fn due(&self) -> Option<KeyExchangeMethod> {
        self.outstanding.front().copied()
    }

    /// IntAuth, empty without any IKE_INTERMEDIATE exchange. `None` if it is not known yet.
    pub(crate) fn int_auth(&self) -> Option<Vec<u8>> {
        if !self.outstanding.is_empty() || self.next.is_some() {
            return None;
        }
        let [initiator, responder] = &self.covered;
        if initiator.is_empty() && responder.is_empty() {
            return Some(Vec::new());
        }
        Some([initiator.as_slice(), responder, &self.auth_id?.0.to_be_bytes()].concat())
    }
}

impl IkeSa {
    /// The additional key exchange whose turn it is.
    pub(crate) fn due_key_exchange(&self) -> Option<KeyExchangeMethod> {
        match &self.phase {
            Phase::Handshake(handshake) => handshake.intermediate.due(),
            Phase::Authenticated(_) => None,
        }
    }

    /// An IKE_AUTH exchange starts: AUTH covers the message ID of the first one.
    pub(crate) fn note_auth_exchange(&mut self, id: MessageId) {
        if let Some(handshake) = self.handshake() {
            handshake.intermediate.auth_id.get_or_insert(id);
        }
    }

    /// Keeps what is in front of the content in the first fragment of an IKE_INTERMEDIATE message: headers, unless the
    /// peer means no good. Of more than `limit` nothing is kept, and authentication fails.
    pub(crate) fn keep_prefix(&mut self, prefix: Vec<u8>, limit: usize) {
        if let Some(handshake) = self.handshake() {
            handshake.intermediate.prefix = if prefix.len() > limit { Vec::new() } else { prefix };
        }
    }

    /// What [`keep_prefix`](Self::keep_prefix) has kept.
    pub(crate) fn take_prefix(&mut self) -> Vec<u8> {
        self.handshake().map(|handshake| std::mem::take(&mut handshake.intermediate.prefix)).unwrap_or_default()
    }

    /// Takes an IKE_INTERMEDIATE message that `sender` sent into IntAuth, under its current SK_p.
    pub(crate) fn cover(&mut self, sender: Role, message: &[u8]) -> Result<(), Failure> {
        // once both are authenticated there is nothing left to cover it
        let Phase::Handshake(handshake) = &mut self.phase else { return Ok(()) };
        let (Some(keys), Some(auth_keys)) = (&self.keys, &handshake.keys) else { return Err(Failure::Failed) };
        let [initiator, responder] = &mut handshake.intermediate.covered;
        let (covered, sk_p) = match sender {
            Role::Initiator => (initiator, &auth_keys.initiator),
            Role::Responder => (responder, &auth_keys.responder),
        };
        let prf = Prf::new(keys.prf(), sk_p.as_bytes()).map_err(|_| Failure::Failed)?;
        *covered = prf.compute(&[covered, message]).as_bytes().to_vec();
        Ok(())
    }

    /// An additional key exchange is done: derives the keys that follow from its secret. They count from
    /// [`roll_keys`](Self::roll_keys) on.
    pub(crate) fn stir_in(&mut self, shared: &Secret) -> Result<(), Failure> {
        let (spi_i, spi_r) = (self.id.initiator, self.id.responder.ok_or(Failure::Failed)?);
        let initiator = self.id.role == Role::Initiator;
        let Phase::Handshake(handshake) = &mut self.phase else { return Err(Failure::Failed) };
        let (Some(keys), Some(algorithms)) = (&self.keys, &self.algorithms) else { return Err(Failure::Failed) };
        let nonces = handshake.own_nonce.as_ref().zip(handshake.peer_nonce.as_ref());
        let (own, peer) = nonces.ok_or(Failure::Failed)?;
        let (ni, nr) = if initiator { (own, peer) } else { (peer, own) };
        let (ni, nr) = (ni.as_bytes(), nr.as_bytes());
        let seed = IkeSeed { algorithms, ni, nr, spi_i, spi_r, shared, additional: &[], initiator };
        match keys.derive_rekeyed(&seed) {
            Ok(next) => {
                handshake.intermediate.outstanding.pop_front();
                handshake.intermediate.next = Some(Box::new(next));
                Ok(())
            }
            Err(error) => {
                log!(IKE, 1, "key derivation failed: {error}");
                Err(Failure::Failed)
            }
        }
    }

    /// The exchange is over: its keys replace those it was protected with.
    pub(crate) fn roll_keys(&mut self) {
        let Phase::Handshake(handshake) = &mut self.phase else { return };
        if let Some(next) = handshake.intermediate.next.take() {
            let (keys, auth_keys) = *next;
            self.keys = Some(Box::new(keys));
            handshake.keys = Some(auth_keys);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{IkeSpi, UniqueId};
    use crate::snapshot::Algorithms;
    use crate::wire::Nonce;
    use strongswan::clock::MonoTime;
    use strongswan::crypto::{EncryptionAlgorithm, PrfAlgorithm};

    /// An IKE_SA after IKE_SA_INIT with the secrets of the known answers in `keys`.
    fn after_init(role: Role, methods: usize) -> IkeSa {
        let [spi_i, spi_r] = [0xaa, 0xbb].map(|byte| IkeSpi::new([byte; 8]).unwrap());
        let mut sa = IkeSa::responder(UniqueId::new(1).unwrap(), spi_i, spi_r, MonoTime::ZERO);
        sa.id.role = role;
        let algorithms = Algorithms {
            encryption: Some((EncryptionAlgorithm::AesGcm16, Some(128))),
            prf: Some(PrfAlgorithm::HmacSha2_256),
            ..Algorithms::default()
        };
        let (ni, nr) = (Nonce::new(&[0x11; 32]).unwrap(), Nonce::new(&[0x22; 32]).unwrap());
        let shared = Secret::new(vec![1; 32]);
        let initiator = role == Role::Initiator;
        let seed = IkeSeed {
            algorithms: &algorithms,
            ni: ni.as_bytes(),
            nr: nr.as_bytes(),
            spi_i,
            spi_r,
            shared: &shared,
            additional: &[],
            initiator,
        };
        let (keys, auth_keys) = IkeKeys::derive(&seed).unwrap();
        let (own, peer) = if initiator { (ni, nr) } else { (nr, ni) };
        let handshake = sa.handshake().unwrap();
        (handshake.own_nonce, handshake.peer_nonce) = (Some(own), Some(peer));
        handshake.keys = Some(auth_keys);
        handshake.intermediate.expect(std::iter::repeat_n(KeyExchangeMethod::MlKem768, methods));
        (sa.keys, sa.algorithms) = (Some(Box::new(keys)), Some(algorithms));
        sa
    }

    #[test]
    fn known_answer() {
        // Both messages of an exchange count under the keys that the one before has left.
        for role in [Role::Initiator, Role::Responder] {
            let mut sa = after_init(role, 2);
            for (number, byte) in [(1, 2), (2, 3)] {
                sa.cover(Role::Initiator, format!("request {number}").as_bytes()).unwrap();
                sa.stir_in(&Secret::new(vec![byte; 32])).unwrap();
                sa.cover(Role::Responder, format!("response {number}").as_bytes()).unwrap();
                sa.roll_keys();
            }
            sa.note_auth_exchange(MessageId(3));
            sa.note_auth_exchange(MessageId(4));
            let int_auth = sa.handshake().unwrap().intermediate.int_auth().unwrap();
            let hex: String = int_auth.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(
                hex,
                "5be67f912ffb4159419a2cdde87d3ff1accab5d8f7cc070b7cba8899d434a25b\
                 02669579d8e4ae7f23c4c0c267f272b4b8e8d15088b1c695708f74507242824d\
                 00000003"
            );
        }
    }

    #[test]
    fn nothing_to_sign_while_one_is_left() {
        let mut sa = after_init(Role::Responder, 1);
        sa.note_auth_exchange(MessageId(1));
        assert_eq!(sa.handshake().unwrap().intermediate.int_auth(), None);
        sa.cover(Role::Initiator, b"request").unwrap();
        sa.stir_in(&Secret::new(vec![2; 32])).unwrap();
        assert_eq!(sa.handshake().unwrap().intermediate.int_auth(), None);
        sa.roll_keys();
        assert_eq!(sa.handshake().unwrap().intermediate.int_auth().map(|octets| octets.len()), Some(32 + 4));
    }

    #[test]
    fn nothing_to_add_without_any() {
        let mut sa = after_init(Role::Initiator, 0);
        sa.note_auth_exchange(MessageId(1));
        assert_eq!(sa.handshake().unwrap().intermediate.int_auth(), Some(Vec::new()));
    }
}
