//! Inbound and outbound SAs against each other, published packets, and packets that no honest peer sends.

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
fn a_new_nat_mapping_is_told_although_the_packet_that_showed_it_was_dropped() {
    let (out, into) = pair(false, 0);
    let moved = "192.0.2.2:1025".parse().unwrap();
    let from = |mut esp: Vec<u8>| into.decap(&mut esp, &Arrival { remote: moved, traffic_class: None }, NOW);
    // Authentic, and no IP packet.
    assert_eq!(from(craft(0, 1, &[0x15, 1, 1, 4])), Err(DecapError::Ip(IpError::Version)));
    let later = encap(&out, &udp4([1; 4], [2; 4], (1, 2), 4));
    assert!(matches!(from(later), Err(DecapError::Replay(_))), "number 1 is taken");
    assert_eq!(from(encap(&out, &udp4([1; 4], [2; 4], (1, 2), 4))).unwrap().moved, Some(moved));
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
