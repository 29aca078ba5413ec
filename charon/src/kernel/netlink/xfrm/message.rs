//! XFRM messages as they may be sent and received: their keys are wiped, and what is too short for its type never reaches
//! the parser, which would panic.

use netlink_packet_core::{DecodeError, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable};
use netlink_packet_xfrm::constants::{
    XFRM_MSG_ACQUIRE, XFRM_MSG_ALLOCSPI, XFRM_MSG_EXPIRE, XFRM_MSG_MAPPING, XFRM_MSG_NEWAE, XFRM_MSG_NEWPOLICY,
    XFRM_MSG_NEWSA,
};
use netlink_packet_xfrm::{
    XFRM_ASYNC_EVENT_ID_LEN, XFRM_USER_ACQUIRE_LEN, XFRM_USER_EXPIRE_LEN, XFRM_USER_MAPPING_LEN,
    XFRM_USER_POLICY_INFO_LEN, XFRM_USER_SA_INFO_LEN, XFRM_USER_SPI_INFO_LEN, XfrmAttrs, XfrmMessage,
};
use zeroize::Zeroize;

/// An XFRM message. It has no `Debug`, which would print keys.
pub(super) struct Message(XfrmMessage);

impl Message {
    /// The message itself.
    pub(super) fn get(&self) -> &XfrmMessage {
        &self.0
    }
}

impl From<XfrmMessage> for Message {
    fn from(message: XfrmMessage) -> Self {
        Self(message)
    }
}

/// Length of the fixed part of what the kernel sends us; other messages are none of our business.
pub(super) fn fixed_len(message_type: u16) -> Option<usize> {
    match message_type {
        XFRM_MSG_NEWSA => Some(XFRM_USER_SA_INFO_LEN),
        XFRM_MSG_ALLOCSPI => Some(XFRM_USER_SPI_INFO_LEN),
        XFRM_MSG_NEWPOLICY => Some(XFRM_USER_POLICY_INFO_LEN),
        XFRM_MSG_NEWAE => Some(XFRM_ASYNC_EVENT_ID_LEN),
        XFRM_MSG_ACQUIRE => Some(XFRM_USER_ACQUIRE_LEN),
        XFRM_MSG_EXPIRE => Some(XFRM_USER_EXPIRE_LEN),
        XFRM_MSG_MAPPING => Some(XFRM_USER_MAPPING_LEN),
        _ => None,
    }
}

impl NetlinkDeserializable for Message {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        match fixed_len(header.message_type) {
            None => Ok(Self(XfrmMessage::Other((header.message_type, Vec::new())))),
            Some(len) if payload.len() < len => Err(DecodeError::buffer_too_small(payload.len(), len)),
            Some(_) => XfrmMessage::deserialize(header, payload).map(Self),
        }
    }
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.0.message_type()
    }

    fn buffer_len(&self) -> usize {
        NetlinkSerializable::buffer_len(&self.0)
    }

    fn serialize(&self, buffer: &mut [u8]) {
        NetlinkSerializable::serialize(&self.0, buffer);
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        if let XfrmMessage::AddSa(message) | XfrmMessage::UpdateSa(message) = &mut self.0 {
            message.nlas.iter_mut().for_each(wipe);
        }
    }
}

fn wipe(attribute: &mut XfrmAttrs) {
    match attribute {
        XfrmAttrs::EncryptionAlg(algorithm) | XfrmAttrs::AuthenticationAlg(algorithm) => algorithm.alg_key.zeroize(),
        XfrmAttrs::AuthenticationAlgTrunc(algorithm) => algorithm.alg_key.zeroize(),
        XfrmAttrs::EncryptionAlgAead(algorithm) => algorithm.alg_key.zeroize(),
        _ => {}
    }
}
