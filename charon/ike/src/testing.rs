//! What tests of malformed input need: the inside of protected messages. Not for anything else.
//!
//! An authenticated peer can send anything, and a test that cannot is blind to it.

use strongswan::crypto::Rng;

use crate::IkeSa;
pub use crate::v2::admission::{Direction, Pending, admits};
use crate::wire::{self, EncodeError, ExchangeType, Header, IvSource, MessageId, PayloadType, Received, Sealer};

/// Decrypts a datagram as the IKE_SA it is addressed to would: header, type of the first payload inside, content.
/// `None` if it is not protected, a fragment, or not for this IKE_SA.
pub fn open(receiver: &mut IkeSa, datagram: &[u8]) -> Option<(Header, PayloadType, Vec<u8>)> {
    let Ok(Received::Protected(protected)) = wire::parse(datagram) else { return None };
    let cipher = receiver.keys.as_mut()?.inbound().ok()?;
    let mut datagram = datagram.to_vec();
    let content = protected.open(cipher, &mut datagram).ok().filter(|_| protected.fragment().is_none())?;
    Some((*protected.header(), protected.first(), content.to_vec()))
}

/// Protects any content as the IKE_SA that sends it would.
///
/// # Errors
/// If the content is too long.
pub fn seal(
    sender: &mut IkeSa,
    rng: &mut dyn Rng,
    header: &Header,
    first: PayloadType,
    content: &[u8],
) -> Result<Vec<u8>, EncodeError> {
    let keys = sender.keys.as_mut().ok_or(EncodeError::Cipher)?;
    let (cipher, ivs) = keys.outbound().map_err(|_| EncodeError::Cipher)?;
    Sealer { cipher, ivs, rng }.protect_content(header, first, content)
}

/// Protects any content as the peer of the IKE_SA would that receives it: someone who knows its keys.
///
/// # Errors
/// If the content is too long.
pub fn forge(
    receiver: &mut IkeSa,
    rng: &mut dyn Rng,
    header: &Header,
    first: PayloadType,
    content: &[u8],
) -> Result<Vec<u8>, EncodeError> {
    let keys = receiver.keys.as_mut().ok_or(EncodeError::Cipher)?;
    let cipher = keys.inbound().map_err(|_| EncodeError::Cipher)?;
    Sealer { cipher, ivs: &mut IvSource::default(), rng }.protect_content(header, first, content)
}

/// Message IDs an IKE_SA is at: of its next request, and of the peer's.
pub fn message_ids(sa: &IkeSa) -> (MessageId, MessageId) {
    (sa.exchanges.next_id, sa.exchanges.expected_id)
}

/// The exchange of our request that is not answered.
pub fn in_the_air(sa: &IkeSa) -> Option<ExchangeType> {
    sa.exchanges.request.as_ref().map(|request| request.exchange)
}
