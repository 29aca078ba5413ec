//! Fuzz targets of this crate (`testsuite/fuzz`), called by a unit test, too.

use std::sync::LazyLock;

use smallvec::SmallVec;
use strongswan::clock::MonoTime;
use strongswan::crypto::{Cipher, EncryptionAlgorithm};
use strongswan::selectors::TrafficSelector;

use crate::ecn::Copying;
use crate::ids::{Reqid, Spi};
use crate::inbound::{Arrival, Inbound, InboundParams};
use crate::lifetime::Lifetime;
use crate::outbound::Path;
use crate::packet::ESP_HEADER_LEN;
use crate::plane::Plane;
use crate::selector::Selectors;

/// SPI of the SA that packets without authentication reach.
const OPEN: u32 = 0x100;
/// SPI of an SA with an AEAD and extended sequence numbers.
const AEAD: u32 = 0x101;

fn plane() -> Option<Plane> {
    let path = Path { local: "192.0.2.1:4500".parse().ok()?, remote: "192.0.2.2:4500".parse().ok()?, udp: true };
    let everything: SmallVec<[TrafficSelector; 1]> =
        ["0.0.0.0/0", "::/0"].map(TrafficSelector::parse).into_iter().collect::<Result<_, _>>().ok()?;
    let plane = Plane::default();
    let suites = [(OPEN, (EncryptionAlgorithm::AesCtr, Some(128))), (AEAD, (EncryptionAlgorithm::AesGcm16, Some(128)))];
    for (spi, encryption) in suites {
        let lengths = Cipher::key_lengths(encryption, None)?;
        let cipher = Cipher::new(encryption, None, &vec![0; lengths.encryption], &[]).ok()?;
        let sa = Inbound::new(InboundParams {
            spi: Spi::new(spi)?,
            reqid: Reqid::new(1)?,
            cipher,
            esn: spi == AEAD,
            replay_window: 0,
            selectors: Selectors { local: everything.clone(), remote: everything.clone() },
            path,
            copying: Copying { dscp_out: true, dscp_in: true, ecn: true },
            lifetime: Lifetime::default(),
        });
        plane.sad.insert_inbound(sa, MonoTime::ZERO).ok()?;
    }
    Some(plane)
}

/// Hands a datagram to a plane. The first byte chooses the SA; in counter mode without a MAC everything is authentic, and a
/// changed byte of the input changes one byte of padding, next header or inner packet.
pub fn datagram(input: &[u8]) {
    static PLANE: LazyLock<Option<Plane>> = LazyLock::new(plane);
    let (Some(plane), Some((choice, rest))) = (PLANE.as_ref(), input.split_first()) else { return };
    let mut packet = if choice & 1 == 0 { OPEN } else { AEAD }.to_be_bytes().to_vec();
    packet.extend_from_slice(rest);
    let remote = std::net::SocketAddr::from(([192, 0, 2, 2], 4500));
    let arrival = Arrival { remote, traffic_class: Some(*choice) };
    if let Ok(delivery) = plane.decap(&mut packet, &arrival, MonoTime::ZERO)
        && let Some(range) = delivery.decapsulated.packet
    {
        assert!(range.start >= ESP_HEADER_LEN && packet.get(range).is_some_and(|inner| inner.len() >= 20));
    }
}

/// Parses an IP packet and looks it up.
pub fn inner(input: &[u8]) {
    if let Ok(header) = crate::ip::Header::parse(input) {
        assert!(header.total_len <= input.len());
        let _ = Plane::default().spd.lookup(&header.flow);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn targets_hold(input in proptest::collection::vec(any::<u8>(), 0..200)) {
            super::datagram(&input);
            super::inner(&input);
        }
    }
}
