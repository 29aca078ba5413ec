//! The key that an EAP method yields, as an AAA server hands it over: MS-MPPE-Recv-Key and MS-MPPE-Send-Key, hidden with
//! the shared secret (RFC 2548 §2.4.2, §2.4.3).

use strongswan::crypto::Secret;
use strongswan::crypto::hash::md5;
use zeroize::{Zeroize, Zeroizing};

use super::attribute::{MICROSOFT, MicrosoftType};
use super::packet::{Authenticator, Packet};

/// MSKs have at least as many octets (RFC 3748 §7.10).
const MIN_MSK: usize = 64;

/// The key in a response to the request with this authenticator. Both halves have to be there.
pub(super) fn msk(packet: &Packet, request: &Authenticator, secret: &Secret) -> Option<Secret> {
    let find = |wanted: MicrosoftType| {
        let mut all = packet.attributes().iter().flat_map(|attribute| attribute.of_vendor(MICROSOFT));
        all.find(|(kind, _)| MicrosoftType::from(*kind) == wanted).map(|(_, value)| value)
    };
    let recv = reveal(find(MicrosoftType::MppeRecvKey)?, request, secret)?;
    let send = reveal(find(MicrosoftType::MppeSendKey)?, request, secret)?;
    // large enough from the start: growing would leave copies behind
    let mut msk = vec![0; recv.len().saturating_add(send.len()).max(MIN_MSK)];
    msk.iter_mut().zip(recv.iter().chain(send.iter())).for_each(|(to, from)| *to = *from);
    Some(Secret::new(msk))
}

/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-
/// |             Salt              |  hidden: length of the key, key, padding to a multiple of 16
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-
/// ```
fn reveal(value: &[u8], request: &Authenticator, secret: &Secret) -> Option<Zeroizing<Vec<u8>>> {
    let (salt, hidden) = value.split_first_chunk::<2>()?;
    if hidden.is_empty() || !hidden.len().is_multiple_of(16) {
        return None;
    }
    let mut plain = Zeroizing::new(Vec::with_capacity(hidden.len()));
    let mut mask = md5(&[secret.as_bytes(), request, salt]);
    for block in hidden.chunks(16) {
        plain.extend(block.iter().zip(mask).map(|(hidden, mask)| hidden ^ mask));
        mask = md5(&[secret.as_bytes(), block]);
    }
    mask.zeroize();
    let (len, rest) = plain.split_first()?;
    Some(Zeroizing::new(rest.get(..usize::from(*len))?.to_vec()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::attribute::{AttributeType, Code};
    use super::*;

    /// The value of an attribute with this key in it.
    fn hide(key: &[u8], len: u8, salt: [u8; 2], request: &Authenticator, secret: &Secret) -> Vec<u8> {
        let mut plain = [&[len][..], key].concat();
        plain.resize(plain.len().next_multiple_of(16), 0);
        let mut out = salt.to_vec();
        let mut mask = md5(&[secret.as_bytes(), request, &salt]);
        for block in plain.chunks(16) {
            let hidden: Vec<_> = block.iter().zip(mask).map(|(a, b)| a ^ b).collect();
            mask = md5(&[secret.as_bytes(), &hidden]);
            out.extend(hidden);
        }
        out
    }

    /// Adds both halves of a key to a packet.
    pub(in crate::radius) fn push_keys(
        packet: &mut Packet,
        recv: &[u8],
        send: &[u8],
        request: &Authenticator,
        secret: &Secret,
    ) {
        for (kind, key, salt) in [(17, recv, [0x80, 1]), (16, send, [0x80, 2])] {
            let len = u8::try_from(key.len()).unwrap();
            push(packet, kind, &hide(key, len, salt, request, secret));
        }
    }

    fn push(packet: &mut Packet, kind: u8, value: &[u8]) {
        let len = u8::try_from(value.len() + 2).unwrap();
        packet.push(AttributeType::VendorSpecific, &[&MICROSOFT.to_be_bytes()[..], &[kind, len], value].concat());
    }

    #[test]
    fn keys_are_revealed() {
        let (request, secret) = ([3; 16], Secret::new(b"secret".to_vec()));
        for (len, total) in [(32, 64), (16, 64), (40, 80)] {
            let (recv, send) = (vec![1; len], vec![2; len]);
            let mut packet = Packet::new(Code::AccessAccept);
            push_keys(&mut packet, &recv, &send, &request, &secret);
            let msk = msk(&packet, &request, &secret).unwrap();
            assert_eq!(msk.len(), total);
            assert_eq!(msk.as_bytes()[..2 * len], [recv, send].concat());
            assert!(msk.as_bytes()[2 * len..].iter().all(|octet| *octet == 0));
        }
    }

    #[test]
    fn what_is_no_key_is_none() {
        let (request, secret) = ([3; 16], Secret::new(b"secret".to_vec()));
        let good = hide(&[1; 32], 32, [0x80, 1], &request, &secret);
        let msk_of = |recv: &[u8], send: Option<&[u8]>| {
            let mut packet = Packet::new(Code::AccessAccept);
            push(&mut packet, 17, recv);
            send.into_iter().for_each(|send| push(&mut packet, 16, send));
            msk(&packet, &request, &secret)
        };
        assert!(msk_of(&good, Some(&good)).is_some());
        assert!(msk_of(&good, None).is_none(), "half a key");
        for len in [0, 1, 2, 3, 17, 33, 49] {
            assert!(msk_of(&good[..len], Some(&good)).is_none(), "{len} bytes");
        }
        // a length that reaches beyond the end
        let beyond = hide(&[1; 15], 16, [0x80, 1], &request, &secret);
        assert!(msk_of(&beyond, Some(&good)).is_none());
        assert!(msk_of(&hide(&[], 0, [0x80, 1], &request, &secret), Some(&good)).is_some(), "an empty half is one");
    }
}
