//! An inbound SA: makes IP packets of ESP packets, in place (RFC 4303 §3.4).
//!
//! The order is that of the RFC: sequence number against the window, integrity and decryption, window update, padding,
//! and then what is inside: it must be a whole IP packet that this SA's selectors allow (RFC 4301 §5.2, step 4).
//! Anything else is dropped.

use std::net::SocketAddr;
use std::ops::Range;

use strongswan::clock::MonoTime;
use strongswan::crypto::CryptoError;
use strongswan::crypto::cipher::Cipher;
use strongswan::sync::Mutex;
use thiserror::Error;

use crate::ecn::Copying;
use crate::ids::{Reqid, Spi};
use crate::ip::{Flow, Header, IpError, set_traffic_class};
use crate::lifetime::{Expiry, Lifetime, Meter, Usage};
use crate::outbound::Path;
use crate::packet::{self, ESP_HEADER_LEN, EspPacket, NO_NEXT_HEADER, TRAILER_LEN, associated_data};
use crate::replay::{ReplayError, ReplayWindow};
use crate::selector::Selectors;

/// Why a packet was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecapError {
    /// Shorter than an empty packet, or no whole number of cipher blocks.
    #[error("ESP packet has an impossible length")]
    Length,
    /// The hard lifetime was reached.
    #[error("the SA expired")]
    Expired,
    /// The sequence number is not acceptable.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The packet is not authentic, or the cipher failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// Padding is not 1, 2, 3, ... or longer than the packet.
    #[error("ESP packet has invalid padding")]
    Padding,
    /// The content is not what tunnel mode carries.
    #[error("ESP packet has unsupported next header {0}")]
    NextHeader(u8),
    /// The content is no well-formed IP packet.
    #[error(transparent)]
    Ip(#[from] IpError),
    /// The SA was not negotiated for this packet.
    #[error("packet does not match the SA's selectors")]
    Policy(Flow),
    /// Congestion was met on the way and the inner sender does not know ECN (RFC 6040 §4.2).
    #[error("packet met congestion and does not support ECN")]
    Congestion,
}

/// How a packet reached us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Sender of the outer packet; port 0 if it was not encapsulated in UDP.
    pub remote: SocketAddr,
    /// DSCP and ECN of the outer header, where the socket tells.
    pub traffic_class: Option<u8>,
}

/// An authentic packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decapsulated {
    /// Where in the buffer the IP packet is; `None` if there is none: a dummy packet (RFC 4303 §2.6).
    pub packet: Option<Range<usize>>,
    /// A limit that this packet reached.
    pub expiry: Option<Expiry>,
    /// The peer's new address or port, told once: a NAT between us changed its mapping.
    pub moved: Option<SocketAddr>,
}

/// What an inbound SA is made of.
#[derive(Debug)]
pub struct InboundParams {
    /// Its SPI, chosen by us.
    pub spi: Spi,
    /// The CHILD_SA's reqid.
    pub reqid: Reqid,
    /// The keyed cipher.
    pub cipher: Cipher,
    /// Extended sequence numbers were negotiated.
    pub esn: bool,
    /// Replay window in packets, 0 for no protection.
    pub replay_window: u32,
    /// What it may carry.
    pub selectors: Selectors,
    /// Where its packets come from, and whether inside UDP.
    pub path: Path,
    /// Traffic class handling.
    pub copying: Copying,
    /// Limits.
    pub lifetime: Lifetime,
}

/// An inbound SA. Any number of threads decapsulate at once; they meet in the window only.
#[derive(Debug)]
pub struct Inbound {
    spi: Spi,
    reqid: Reqid,
    cipher: Cipher,
    esn: bool,
    selectors: Selectors,
    copying: Copying,
    lifetime: Lifetime,
    meter: Meter,
    /// Never held across cryptography.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    window: ReplayWindow,
    path: Path,
    /// Sender of the last authentic packet.
    sender: SocketAddr,
}

impl Inbound {
    /// An SA that has received nothing yet.
    pub fn new(params: InboundParams) -> Self {
        let InboundParams { spi, reqid, cipher, esn, replay_window, selectors, path, copying, lifetime } = params;
        Self {
            spi,
            reqid,
            cipher,
            esn,
            selectors,
            copying,
            meter: Meter::new(lifetime.bytes, lifetime.packets),
            lifetime,
            state: Mutex::new(State { window: ReplayWindow::new(replay_window), path, sender: path.remote }),
        }
    }

    /// Its SPI.
    pub fn spi(&self) -> Spi {
        self.spi
    }

    /// The CHILD_SA's reqid.
    pub fn reqid(&self) -> Reqid {
        self.reqid
    }

    /// Where its packets come from.
    pub fn path(&self) -> Path {
        self.state.lock().path
    }

    /// Expects its packets from elsewhere from now on.
    pub fn set_path(&self, path: Path) {
        let mut state = self.state.lock();
        state.path = path;
        state.sender = path.remote;
    }

    /// What it has carried.
    pub fn usage(&self) -> Usage {
        self.meter.usage()
    }

    /// Whether its hard lifetime was reached.
    pub fn is_expired(&self) -> bool {
        self.meter.is_expired()
    }

    pub(crate) fn lifetime(&self) -> &Lifetime {
        &self.lifetime
    }

    pub(crate) fn expire(&self, expiry: Expiry) -> Option<Expiry> {
        self.meter.expire(expiry)
    }

    /// Decapsulates the ESP packet in `esp`, which begins with its SPI.
    ///
    /// # Errors
    /// If the packet must be dropped. What `esp` then holds is unspecified.
    pub fn decap(&self, esp: &mut [u8], arrival: &Arrival, now: MonoTime) -> Result<Decapsulated, DecapError> {
        if self.meter.is_expired() {
            return Err(DecapError::Expired);
        }
        let low = EspPacket::new(esp).ok_or(DecapError::Length)?.sequence();
        let (head, rest) = esp.split_first_chunk_mut::<ESP_HEADER_LEN>().ok_or(DecapError::Length)?;
        let (iv, rest) = rest.split_at_mut_checked(self.cipher.iv_len()).ok_or(DecapError::Length)?;
        let text_len = rest.len().checked_sub(self.cipher.icv_len()).ok_or(DecapError::Length)?;
        if text_len < TRAILER_LEN || text_len.checked_rem(self.cipher.block_len()).unwrap_or(0) != 0 {
            return Err(DecapError::Length);
        }
        let (text, icv) = rest.split_at_mut_checked(text_len).ok_or(DecapError::Length)?;

        let sequence = self.look_up(low)?;
        let (aad, mac_tail) = associated_data(head, sequence, self.esn, self.cipher.is_aead());
        self.cipher.open(aad.as_ref(), iv, text, mac_tail.as_ref(), icv)?;
        let moved = self.mark(sequence, arrival.remote)?;

        let offset = ESP_HEADER_LEN.saturating_add(iv.len());
        let Some((len, expiry)) = self.unwrap_text(text, arrival, now)? else {
            return Ok(Decapsulated { packet: None, expiry: self.meter.count(0, now), moved });
        };
        Ok(Decapsulated { packet: Some(offset..offset.saturating_add(len)), expiry, moved })
    }

    /// The full sequence number of a packet, if it may be new.
    fn look_up(&self, low: u32) -> Result<u64, ReplayError> {
        let state = self.state.lock();
        let sequence = if self.esn { state.window.extend(low)? } else { low.into() };
        state.window.check(sequence)?;
        Ok(sequence)
    }

    /// Records an authentic packet; the sender's address if that is news.
    fn mark(&self, sequence: u64, remote: SocketAddr) -> Result<Option<SocketAddr>, ReplayError> {
        let mut state = self.state.lock();
        let newest = sequence > state.window.top();
        state.window.mark(sequence)?;
        // Late packets may still come from the old mapping.
        if state.path.udp && newest && state.sender != remote {
            state.sender = remote;
            return Ok(Some(remote));
        }
        Ok(None)
    }

    /// Checks and counts the IP packet at the start of the decrypted `text`: its length, or `None` for a dummy.
    fn unwrap_text(
        &self,
        text: &mut [u8],
        arrival: &Arrival,
        now: MonoTime,
    ) -> Result<Option<(usize, Option<Expiry>)>, DecapError> {
        let (rest, &mut [pad_len, next_header]) =
            text.split_last_chunk_mut::<TRAILER_LEN>().ok_or(DecapError::Length)?;
        let payload_len = rest.len().checked_sub(pad_len.into()).ok_or(DecapError::Padding)?;
        let (payload, padding) = rest.split_at_mut_checked(payload_len).ok_or(DecapError::Padding)?;
        // RFC 4303 §2.4: the receiver SHOULD inspect the padding.
        if padding.iter().zip(1..).any(|(byte, expected): (&u8, u8)| *byte != expected) {
            return Err(DecapError::Padding);
        }
        if next_header == NO_NEXT_HEADER {
            return Ok(None);
        }
        // What follows the packet's own length is TFC padding.
        let header = Header::parse(payload)?;
        if next_header != packet::next_header(header.family) {
            return Err(DecapError::NextHeader(next_header));
        }
        if !self.selectors.accept_inbound(&header.flow) {
            return Err(DecapError::Policy(header.flow));
        }
        if let Some(outer) = arrival.traffic_class {
            let class = self.copying.inner(header.traffic_class, outer).ok_or(DecapError::Congestion)?;
            if class != header.traffic_class {
                set_traffic_class(payload, class);
            }
        }
        Ok(Some((header.total_len, self.meter.count(header.total_len, now))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use strongswan::crypto::{EncryptionAlgorithm as E, SystemRng};
    use strongswan::selectors::TrafficSelector;

    use super::*;
    use crate::ip::samples::{udp4, udp6};
    use crate::lifetime::Limit;
    use crate::outbound::{EncapError, Outbound, OutboundParams};
    use crate::testing::{CBC, SUITES, cipher, inbound, outbound, path};
    use crate::{HEADROOM, TAILROOM};

    const NOW: MonoTime = MonoTime::ZERO;

    fn arrival() -> Arrival {
        Arrival { remote: path().remote, traffic_class: None }
    }

    /// ESP packet that `sa` makes of `packet`.
    fn encap(sa: &Outbound, packet: &[u8]) -> Vec<u8> {
        let mut buf = vec![0xa5; HEADROOM];
        buf.extend_from_slice(packet);
        buf.resize(buf.len() + TAILROOM + 1500, 0xa5);
        let range = HEADROOM..HEADROOM + packet.len();
        let header = Header::parse(packet).unwrap();
        let sealed = sa.encap(&mut buf, range, &header, NOW, &mut SystemRng).unwrap();
        buf[sealed.range].to_vec()
    }

    fn pair(esn: bool, suite: usize) -> (Outbound, Inbound) {
        let out = OutboundParams { esn, cipher: cipher(&SUITES[suite]), ..outbound(1, 0x1234) };
        let into = InboundParams { esn, cipher: cipher(&SUITES[suite]), ..inbound(1, 0x1234) };
        (Outbound::new(out), Inbound::new(into))
    }

    fn decap(sa: &Inbound, esp: &[u8]) -> Result<Vec<u8>, DecapError> {
        let mut esp = esp.to_vec();
        let packet = sa.decap(&mut esp, &arrival(), NOW)?.packet.unwrap();
        Ok(esp[packet].to_vec())
    }

    /// An ESP packet with any content, authentic.
    fn craft(suite: usize, sequence: u32, text: &[u8]) -> Vec<u8> {
        let cipher = cipher(&SUITES[suite]);
        let mut esp = 0x1234_u32.to_be_bytes().to_vec();
        esp.extend_from_slice(&sequence.to_be_bytes());
        let iv = vec![7; cipher.iv_len()];
        let (mut text, mut icv) = (text.to_vec(), vec![0; cipher.icv_len()]);
        cipher.seal(&esp, &iv, &mut text, &[], &mut icv).unwrap();
        [esp, iv, text, icv].concat()
    }

    #[test]
    fn every_suite_carries_packets_of_every_length() {
        for (suite, name) in SUITES.iter().enumerate() {
            for esn in [false, true] {
                let (out, into) = pair(esn, suite);
                for len in 0..70 {
                    let packet = if len % 2 == 0 {
                        udp4([10, 1, 0, 1], [10, 2, 0, 1], (1, 2), len)
                    } else {
                        udp6(1, 2, (3, 4), len)
                    };
                    assert_eq!(decap(&into, &encap(&out, &packet)).unwrap(), packet, "{name:?} {len}");
                }
            }
        }
    }

    #[test]
    fn length_is_a_multiple_of_blocks_and_of_four() {
        for (suite, block) in [(0, 4), (CBC, 16)] {
            let (out, _) = pair(false, suite);
            let cipher = cipher(&SUITES[suite]);
            for len in 0..40 {
                let esp = encap(&out, &udp4([1; 4], [2; 4], (1, 2), len));
                assert_eq!((esp.len() - 8 - cipher.iv_len() - cipher.icv_len()) % block, 0);
            }
        }
    }

    #[test]
    fn sequence_numbers_start_at_one_and_counter_ivs_follow_them() {
        let (out, _) = pair(true, 0);
        let packet = udp4([1; 4], [2; 4], (1, 2), 10);
        assert_eq!(encap(&out, &packet)[..16], [0, 0, 0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(encap(&out, &packet)[..16], [0, 0, 0x12, 0x34, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2]);
    }

    #[test]
    fn cbc_ivs_do_not_repeat() {
        let (out, _) = pair(false, CBC);
        let packet = udp4([1; 4], [2; 4], (1, 2), 10);
        assert_ne!(encap(&out, &packet)[8..24], encap(&out, &packet)[8..24]);
    }

    /// draft-mcgrew-gcm-test-01, one case with and one without extended sequence numbers. They are not tunnel mode
    /// packets: one has next header 1, the other a cut IP packet. That this is seen at all proves that the packet was
    /// authenticated and decrypted.
    #[test]
    fn published_packets_are_authentic() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
        };
        let cipher = |size, key: &str| Cipher::new((E::AesGcm16, Some(size)), None, &hex(key), &[]).unwrap();

        let key = "abbccddef00112233445566778899aababbccddef00112233445566778899aab11223344";
        let sa = Inbound::new(InboundParams { cipher: cipher(256, key), ..inbound(1, 0x4a2c_bfe3) });
        let esp = hex(concat!(
            "4a2cbfe3000000020102030405060708",
            "ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763",
            "748a637985771d347f0545659f14e99def842d8eb335f4eecfdbf831824b4c4915956c96",
        ));
        let mut bad = esp.clone();
        *bad.last_mut().unwrap() ^= 1;
        assert_eq!(decap(&sa, &bad), Err(DecapError::Crypto(CryptoError::Integrity)));
        assert_eq!(decap(&sa, &esp), Err(DecapError::NextHeader(1)));

        // Extended sequence number 0x8765432100000000.
        let key = "4c80cdefbb5d10da906ac73c3613a6342e443b68";
        let sa = Inbound::new(InboundParams { cipher: cipher(128, key), esn: true, ..inbound(1, 0x4321) });
        let esp = hex(concat!(
            "00004321000000004956ed7e3b244cfe",
            "fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34",
            "cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce",
            "61bc17d768fd9732459018148f6cbe722fd04796562dfdb4",
        ));
        sa.state.lock().window.mark(0x8765_4320_ffff_ffff).unwrap();
        assert_eq!(decap(&sa, &esp), Err(DecapError::Ip(IpError::Truncated)));
    }

    #[test]
    fn replays_are_refused_and_forgeries_leave_no_trace() {
        let (out, into) = pair(false, 0);
        let packet = udp4([1; 4], [2; 4], (1, 2), 10);
        let first = encap(&out, &packet);
        let mut forged = first.clone();
        forged[4..8].copy_from_slice(&1000_u32.to_be_bytes());
        assert_eq!(decap(&into, &forged), Err(DecapError::Crypto(CryptoError::Integrity)));
        assert_eq!(decap(&into, &first), Ok(packet.clone()));
        assert_eq!(decap(&into, &first), Err(DecapError::Replay(ReplayError::Duplicate)));
        let late = encap(&out, &packet);
        for _ in 0..32 {
            decap(&into, &encap(&out, &packet)).unwrap();
        }
        assert_eq!(decap(&into, &late), Err(DecapError::Replay(ReplayError::TooOld)));
        assert_eq!(into.usage().packets, 33);
    }

    #[test]
    fn extended_sequence_numbers_pass_the_subspace_border() {
        for suite in [0, CBC] {
            let (out, into) = pair(true, suite);
            out.skip_to(0xffff_fffe);
            into.state.lock().window.mark(0xffff_fff0).unwrap();
            let packet = udp4([1; 4], [2; 4], (1, 2), 10);
            let esp: Vec<_> = (0..4).map(|_| encap(&out, &packet)).collect();
            assert_eq!(esp[1][4..8], [0; 4]);
            for index in [0, 2, 1, 3] {
                assert_eq!(decap(&into, &esp[index]), Ok(packet.clone()), "suite {suite} packet {index}");
            }
        }
    }

    #[test]
    fn sequence_numbers_do_not_cycle() {
        let (out, _) = pair(false, 0);
        out.skip_to(0xffff_fffe);
        let packet = udp4([1; 4], [2; 4], (1, 2), 10);
        encap(&out, &packet);
        let mut buf = vec![0; 200];
        let header = Header::parse(&packet).unwrap();
        buf[40..40 + packet.len()].copy_from_slice(&packet);
        let result = out.encap(&mut buf, 40..40 + packet.len(), &header, NOW, &mut SystemRng);
        assert_eq!(result, Err(EncapError::SequenceExhausted));
    }

    #[test]
    fn a_buffer_without_room_costs_no_sequence_number() {
        let (out, _) = pair(false, 0);
        let packet = udp4([1; 4], [2; 4], (1, 2), 10);
        let header = Header::parse(&packet).unwrap();
        let mut buf = [vec![0; 15], packet.clone(), vec![0; 100]].concat();
        let result = out.encap(&mut buf, 15..15 + packet.len(), &header, NOW, &mut SystemRng);
        assert_eq!(result, Err(EncapError::NoRoom));
        let mut buf = [vec![0; 16], packet.clone(), vec![0; 17]].concat();
        let result = out.encap(&mut buf, 16..16 + packet.len(), &header, NOW, &mut SystemRng);
        assert_eq!(result, Err(EncapError::NoRoom));
        assert_eq!(encap(&out, &packet)[7], 1);
    }

    #[test]
    fn tfc_padding_hides_the_length_and_is_removed() {
        let (_, into) = pair(false, 0);
        let out = Outbound::new(OutboundParams { tfc: 500, ..outbound(1, 0x1234) });
        let packets: Vec<_> = [0, 10, 400].map(|len| udp4([1; 4], [2; 4], (1, 2), len)).into();
        let esp: Vec<_> = packets.iter().map(|packet| encap(&out, packet)).collect();
        assert!(esp.iter().all(|one| one.len() == esp[0].len()));
        for (packet, esp) in packets.iter().zip(&esp) {
            assert_eq!(decap(&into, esp).as_ref(), Ok(packet));
        }
    }

    #[test]
    fn packets_outside_the_selectors_are_dropped() {
        let parse = |text| [TrafficSelector::parse(text).unwrap()].into_iter().collect();
        let into = Inbound::new(InboundParams {
            selectors: Selectors { local: parse("10.2.0.0/16[udp/53]"), remote: parse("10.1.0.0/16") },
            ..inbound(1, 0x1234)
        });
        let (out, _) = pair(false, 0);
        let try_packet = |packet: Vec<u8>| decap(&into, &encap(&out, &packet)).is_ok();
        assert!(try_packet(udp4([10, 1, 0, 1], [10, 2, 0, 1], (99, 53), 4)));
        assert!(!try_packet(udp4([10, 1, 0, 1], [10, 2, 0, 1], (99, 54), 4)));
        assert!(!try_packet(udp4([10, 3, 0, 1], [10, 2, 0, 1], (99, 53), 4)));
        assert!(!try_packet(udp4([10, 1, 0, 1], [10, 3, 0, 1], (99, 53), 4)));
        assert!(!try_packet(udp6(1, 2, (99, 53), 4)));
        assert_eq!(into.usage().packets, 1);
    }

    #[test]
    fn dummy_packets_are_taken_and_dropped() {
        let into = Inbound::new(inbound(1, 0x1234));
        let mut esp = craft(0, 1, &[9, 9, 9, 9, 9, 9, 0, NO_NEXT_HEADER]);
        assert_eq!(into.decap(&mut esp, &arrival(), NOW).unwrap().packet, None);
        assert_eq!(decap(&into, &craft(0, 1, &[0, 59])), Err(DecapError::Replay(ReplayError::Duplicate)));
    }

    #[test]
    fn malformed_contents_are_refused() {
        let into = Inbound::new(inbound(1, 0x1234));
        let packet = udp4([1; 4], [2; 4], (1, 2), 0);
        let with = |trailer: &[u8]| [&packet[..], trailer].concat();
        for (sequence, text, error) in [
            (1, with(&[1, 2, 2, 4]), None),
            (2, with(&[1, 3, 2, 4]), Some(DecapError::Padding)),
            (3, with(&[200, 4]), Some(DecapError::Padding)),
            (4, with(&[0, 41]), Some(DecapError::NextHeader(41))),
            (5, vec![0, 4], Some(DecapError::Ip(IpError::Truncated))),
            (6, packet[..24].iter().copied().chain([0, 4]).collect(), Some(DecapError::Ip(IpError::Truncated))),
            (7, vec![4], Some(DecapError::Length)),
        ] {
            assert_eq!(decap(&into, &craft(0, sequence, &text)).err(), error, "packet {sequence}");
        }
        for len in 0..26 {
            assert_eq!(decap(&into, &craft(0, 9, &[])[..len.min(24)]), Err(DecapError::Length));
        }
    }

    #[test]
    fn congestion_is_shown_to_the_inner_receiver() {
        let (out, into) = pair(false, 0);
        let mut packet = udp4([1; 4], [2; 4], (1, 2), 4);
        let ce = Arrival { traffic_class: Some(3), ..arrival() };
        let mut esp = encap(&out, &packet);
        assert_eq!(into.decap(&mut esp, &ce, NOW), Err(DecapError::Congestion));
        set_traffic_class(&mut packet, 2);
        let mut esp = encap(&out, &packet);
        let range = into.decap(&mut esp, &ce, NOW).unwrap().packet.unwrap();
        assert_eq!(Header::parse(&esp[range]).unwrap().traffic_class, 3);
    }

    #[test]
    fn a_new_nat_mapping_is_told_once() {
        let (out, into) = pair(false, 0);
        let packet = udp4([1; 4], [2; 4], (1, 2), 4);
        let moved = "192.0.2.2:1025".parse().unwrap();
        let from = |remote, esp: &[u8]| {
            into.decap(&mut esp.to_vec(), &Arrival { remote, traffic_class: None }, NOW).unwrap().moved
        };
        let late = encap(&out, &packet);
        assert_eq!(from(path().remote, &encap(&out, &packet)), None);
        assert_eq!(from(moved, &encap(&out, &packet)), Some(moved));
        assert_eq!(from(moved, &encap(&out, &packet)), None);
        assert_eq!(from(path().remote, &late), None, "an old packet from the old mapping is no news");
    }

    #[test]
    fn volume_limits_end_the_sa() {
        let mut params = inbound(1, 0x1234);
        params.lifetime.packets = Limit { soft: Some(2), hard: Some(3) };
        let into = Inbound::new(params);
        let (out, _) = pair(false, 0);
        let packet = udp4([1; 4], [2; 4], (1, 2), 4);
        let next = || into.decap(&mut encap(&out, &packet), &arrival(), NOW).map(|done| done.expiry);
        assert_eq!(next(), Ok(None));
        assert_eq!(next(), Ok(Some(Expiry::Soft)));
        assert_eq!(next(), Ok(Some(Expiry::Hard)));
        assert_eq!(next(), Err(DecapError::Expired));
    }

    proptest! {
        #[test]
        fn hostile_packets_never_panic(
            suite in 0..SUITES.len(), esn: bool, mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let (_, into) = pair(esn, suite);
            prop_assert!(into.decap(&mut bytes, &arrival(), NOW).is_err());
        }

        #[test]
        fn authentic_nonsense_never_panics(text in proptest::collection::vec(any::<u8>(), 0..100), v6: bool) {
            let mut text = text;
            if let Some(first) = text.first_mut() {
                *first = if v6 { 0x60 } else { 0x45 };
            }
            if let Some(last) = text.last_mut() {
                *last = if v6 { 41 } else { 4 };
            }
            let _ = decap(&Inbound::new(inbound(1, 0x1234)), &craft(0, 1, &text));
        }
    }
}
