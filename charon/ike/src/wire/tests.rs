//! Whole messages: written and read back, corrupted, forged and random.

use std::net::IpAddr;

use proptest::prelude::*;
use smallvec::SmallVec;
use strongswan::crypto::Rng;
use strongswan::crypto::cipher::Cipher;
use strongswan::crypto::proposal::Proposal;
use strongswan::crypto::transform::{KeyExchangeMethod, Protocol};
use strongswan::identity::Identity;
use strongswan::selectors::TrafficSelector;

use super::*;
use crate::ids::{IkeSpi, Spi};

/// A header with message ID 1.
pub(crate) fn header(exchange: ExchangeType, direction: Direction) -> Header {
    let flags = match direction {
        Direction::Request => HeaderFlags::INITIATOR,
        Direction::Response => HeaderFlags::RESPONSE,
    };
    Header {
        initiator_spi: IkeSpi::new([1; 8]).unwrap(),
        responder_spi: IkeSpi::new([2; 8]),
        exchange,
        flags,
        message_id: MessageId(1),
    }
}

/// Bytes that count up, so that padding and IVs show in failures.
pub(crate) struct CountingRng(pub(crate) u8);

impl Rng for CountingRng {
    fn fill(&mut self, buf: &mut [u8]) {
        for byte in buf {
            *byte = self.0;
            self.0 = self.0.wrapping_add(1);
        }
    }
}

fn proposal(protocol: Protocol, text: &str) -> Proposal {
    Proposal::parse(protocol, text).unwrap()
}

pub(crate) fn ike_sa_init() -> Message {
    let mut message = Message::new(Header {
        responder_spi: None,
        message_id: MessageId::ZERO,
        ..header(ExchangeType::IkeSaInit, Direction::Request)
    });
    let proposals =
        ["aes256gcm16-prfsha256-x25519", "aes128-sha256-modp3072"].map(|text| proposal(Protocol::Ike, text));
    message.push(Sa::offer(proposals, SpiField::NONE));
    message.push(Ke { method: KeyExchangeMethod::from(31), data: vec![7; 32] });
    message.push(Nonce::new(&[9; 32]).unwrap());
    message.push(Notify::with_data(NotifyType::NatDetectionSourceIp, &[1; 20]));
    message.push(Notify::with_data(NotifyType::NatDetectionDestinationIp, &[2; 20]));
    message.push(Notify::new(NotifyType::FragmentationSupported));
    message.push(Notify::signature_hashes([2, 3, 4, 5]));
    message.push(VendorId::strongswan());
    message
}

pub(crate) fn ike_auth() -> Message {
    let mut message = Message::new(header(ExchangeType::IkeAuth, Direction::Request));
    message.payloads.push(Payload::IdI(Id::new(&Identity::parse("moon.strongswan.org"))));
    message.push(Cert { encoding: CertEncoding::X509Signature, data: vec![0x30; 700] });
    message.push(CertReq::x509([[1; 20], [2; 20]]));
    message.payloads.push(Payload::IdR(Id::new(&Identity::parse("192.0.2.1"))));
    message.push(Auth { method: AuthMethod::SharedKey, data: vec![5; 32] });
    let address = CpAttribute::new(CpAttributeType::InternalIp4Address, &[]);
    message.push(Cp { kind: CpType::Request, attributes: vec![address] });
    message.push(Eap::new(vec![2, 1, 0, 6, 4, 9]).unwrap());
    message.push(Sa::offer([proposal(Protocol::Esp, "aes128gcm16")], Spi::new(0xc000_0001).unwrap().into()));
    let ts = |text| Ts::new(vec![TrafficSelector::parse(text).unwrap()]);
    message.payloads.push(Payload::TsI(ts("10.1.0.0/16")));
    message.payloads.push(Payload::TsR(ts("2001:db8::/32[tcp/443]")));
    message.push(Notify::additional_address("192.0.2.7".parse().unwrap()));
    let spis = vec![Spi::new(0xc000_0002).unwrap()];
    message.push(Delete::Child { protocol: Protocol::Esp, spis });
    message.push(Unknown { kind: PayloadType::Unknown(200), data: vec![1, 2] });
    message
}

fn seal(cipher: &Cipher, message: &Message) -> Vec<u8> {
    let (mut ivs, mut rng) = (IvSource::default(), CountingRng(0));
    Sealer { cipher, ivs: &mut ivs, rng: &mut rng }.protect(&message.header, &message.payloads).unwrap()
}

fn unseal(cipher: &Cipher, mut datagram: Vec<u8>) -> Result<Message, WireError> {
    match parse(&datagram)? {
        Received::Protected(protected) => protected.unprotect(cipher, &mut datagram),
        Received::Plain(_) => panic!("not protected"),
    }
}

/// The plaintext of a chain, preceded by the type of its first payload.
fn chain(message: &Message) -> Vec<u8> {
    let mut w = Writer::default();
    w.u8(message.payloads[0].kind().number());
    emit_chain(&message.payloads, &mut w);
    w.finish().unwrap()
}

/// Calls `check` with every prefix of `bytes` and with every byte replaced by some others.
fn corrupt(bytes: &[u8], mut check: impl FnMut(&[u8])) {
    for len in 0..bytes.len() {
        check(&bytes[..len]);
    }
    let mut copy = bytes.to_vec();
    for at in 0..bytes.len() {
        for value in [0, 1, 3, 4, 0x7f, 0x80, 0xff, !bytes[at], bytes[at].wrapping_add(1), bytes[at].wrapping_sub(1)] {
            copy[at] = value;
            check(&copy);
        }
        copy[at] = bytes[at];
    }
}

#[test]
fn a_plain_message_reads_as_written() {
    let message = ike_sa_init();
    let bytes = message.encode_plain().unwrap();
    assert_eq!(usize::from(bytes[26]) << 8 | usize::from(bytes[27]), bytes.len());
    assert_eq!(parse(&bytes), Ok(Received::Plain(message.clone())));
    assert_eq!(
        message.notation().to_string(),
        "IKE_SA_INIT request 0 [ SA KE No N(NATD_S_IP) N(NATD_D_IP) N(FRAG_SUP) N(HASH_ALG) V ]"
    );
}

#[test]
fn a_protected_message_reads_as_written() {
    for cipher in fuzzing::ciphers() {
        let message = ike_auth();
        assert_eq!(unseal(&cipher, seal(&cipher, &message)), Ok(message));
        let empty = Message::new(header(ExchangeType::Informational, Direction::Request));
        assert_eq!(unseal(&cipher, seal(&cipher, &empty)), Ok(empty));
    }
}

#[test]
fn payloads_are_found_by_type() {
    let message = ike_auth();
    assert_eq!(message.id_i().unwrap().identity().to_string(), "moon.strongswan.org");
    assert!(message.sa().is_some() && message.ts_i().is_some() && message.eap().is_some());
    assert!(message.ke().is_none() && message.error_notify().is_none());
    assert!(message.has_notify(NotifyType::AdditionalIp4Address));
    assert_eq!(message.certs().count(), 1);
}

#[test]
fn counter_ivs_never_repeat_and_block_ivs_are_random() {
    let [gcm, cbc] = fuzzing::ciphers();
    let header = header(ExchangeType::Informational, Direction::Request);
    let (mut ivs, mut rng) = (IvSource::default(), CountingRng(0x80));
    let mut iv = |cipher: &Cipher, len: usize| {
        let datagram = Sealer { cipher, ivs: &mut ivs, rng: &mut rng }.protect(&header, &[]).unwrap();
        datagram[32..32 + len].to_vec()
    };
    assert_eq!(iv(&gcm, 8), [0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(iv(&gcm, 8), [0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(iv(&cbc, 16), (0x80..0x90).collect::<Vec<u8>>());
}

#[test]
fn forgeries_are_ignored() {
    for cipher in fuzzing::ciphers() {
        let message = Message::new(header(ExchangeType::Informational, Direction::Request));
        let datagram = seal(&cipher, &message);
        for at in 0..datagram.len() {
            let mut forged = datagram.clone();
            forged[at] ^= 1;
            let error = unseal(&cipher, forged).unwrap_err();
            assert!(!matches!(error.reaction(), Reaction::Reply(_)), "byte {at}: {error}");
        }
        let too_short = [&datagram[..24], &[0, 0, 0, 36, 0, 0, 0, 8, 1, 2, 3, 4]].concat();
        assert_eq!(unseal(&cipher, too_short), Err(ProtectionError::TooShort.into()));
    }
}

#[test]
fn authentic_but_wrong_padding_is_the_peers_fault() {
    let [cipher, _] = fuzzing::ciphers();
    let message = Message::new(header(ExchangeType::Informational, Direction::Request));
    let mut datagram = seal(&cipher, &message);
    // A pad length octet of 9 with nothing to pad.
    let (aad, rest) = datagram.split_at_mut(32);
    let (iv, rest) = rest.split_at_mut(8);
    let (text, icv) = rest.split_at_mut(1);
    text[0] = 9;
    cipher.seal(aad, iv, text, &[], icv).unwrap();
    let error = unseal(&cipher, datagram).unwrap_err();
    assert_eq!(error, WireError::Malformed { payload: PayloadType::Encrypted, why: Malformed::InvalidLength });
}

#[test]
fn what_must_be_encrypted_is() {
    let [cipher, _] = fuzzing::ciphers();
    let error = |first: u8, body: &[u8]| {
        let mut datagram = seal(&cipher, &Message::new(header(ExchangeType::Informational, Direction::Request)));
        datagram.truncate(28);
        datagram[16] = first;
        datagram.extend(body);
        datagram[27] = u8::try_from(datagram.len()).unwrap();
        parse(&datagram).unwrap_err()
    };
    // RFC 7296 §2.21.2 and spec §3.2: nothing of this is answered.
    let notify = [0, 0, 0, 8, 0, 0, 0x40, 0];
    assert_eq!(error(41, &notify), ProtectionError::NotEncrypted(PayloadType::Notify).into());
    assert_eq!(error(0, &[]), ProtectionError::Missing.into());
    assert_eq!(error(200, &[46, 0x80, 0, 4]), ProtectionError::NotEncrypted(PayloadType::Unknown(200)).into());
    assert_eq!(error(200, &[0, 0, 0, 4]), ProtectionError::Missing.into());
    assert_eq!(error(46, &[0, 0, 0, 3]), ProtectionError::Outer(Malformed::LengthTooSmall).into());
    assert_eq!(error(46, &[0, 0, 0, 4, 0]), ProtectionError::Outer(Malformed::TrailingBytes).into());
    assert_eq!(error(53, &[0, 0, 0, 6, 0, 1]), ProtectionError::Outer(Malformed::Truncated).into());
    assert_eq!(error(46, &[0, 0, 0, 3]).reaction(), Reaction::Ignore);
}

#[test]
fn an_unknown_payload_in_front_of_the_encrypted_one_is_skipped() {
    let [cipher, _] = fuzzing::ciphers();
    let message = ike_auth();
    let datagram = seal(&cipher, &message);
    let mut longer = [&datagram[..28], &[46, 0, 0, 5, 9], &datagram[28..]].concat();
    longer[16] = 200;
    let len = u16::try_from(longer.len()).unwrap();
    longer[26..28].copy_from_slice(&len.to_be_bytes());
    let Ok(Received::Protected(_)) = parse(&longer) else { panic!("not located") };
    // It is part of what the ICV covers, so it cannot be added on the way.
    assert_eq!(unseal(&cipher, longer), Err(ProtectionError::Integrity.into()));
}

#[test]
fn all_payload_types_are_read_skipped_or_refused() {
    for kind in 0..=u8::MAX {
        for critical in [0, 0x80] {
            let bytes = [0, critical, 0, 8, 1, 2, 3, 4];
            let result = parse_chain(kind.into(), &bytes);
            match PayloadType::from(kind) {
                PayloadType::Unknown(_) if critical == 0 => {
                    assert_eq!(result.unwrap()[0].kind(), PayloadType::Unknown(kind));
                }
                PayloadType::Unknown(_) => {
                    let error = result.unwrap_err();
                    assert_eq!(error, WireError::UnsupportedCritical(kind.into()));
                    let notify = Notify::with_data(NotifyType::UnsupportedCriticalPayload, &[kind]);
                    assert_eq!(error.reaction(), Reaction::Reply(notify));
                }
                // RFC 7296 §2.5: the critical bit of known payloads is ignored.
                known => {
                    assert_eq!(result.is_ok(), parse_chain(kind.into(), &[0, 0, 0, 8, 1, 2, 3, 4]).is_ok(), "{known}")
                }
            }
        }
    }
}

#[test]
fn broken_chains_are_named() {
    let error = |bytes: &[u8]| parse_chain(PayloadType::VendorId, bytes).unwrap_err();
    let vendor_id = |why| WireError::Malformed { payload: PayloadType::VendorId, why };
    assert_eq!(error(&[]), vendor_id(Malformed::Truncated));
    assert_eq!(error(&[0, 0, 0, 3]), vendor_id(Malformed::LengthTooSmall));
    assert_eq!(error(&[0, 0, 0, 5]), vendor_id(Malformed::Truncated));
    assert_eq!(error(&[43, 0, 0, 4]), vendor_id(Malformed::Truncated));
    let trailing = WireError::Malformed { payload: PayloadType::NoNext, why: Malformed::TrailingBytes };
    assert_eq!(error(&[0, 0, 0, 4, 0]), trailing);
    assert_eq!(trailing.reaction(), Reaction::Reply(Notify::new(NotifyType::InvalidSyntax)));
    assert_eq!(error(&[43, 0, 0, 4].repeat(257)), vendor_id(Malformed::TooManyPayloads));
    assert_eq!(
        error(&[46, 0, 0, 4, 0, 0, 0, 4]),
        WireError::Malformed { payload: PayloadType::Encrypted, why: Malformed::MisplacedEncrypted }
    );
}

#[test]
fn every_error_has_one_reaction() {
    let bytes = ike_sa_init().encode_plain().unwrap();
    let reaction = |at: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        parse(&bytes).unwrap_err().reaction()
    };
    let stateless = Reaction::Stateless(Notify::new(NotifyType::InvalidMajorVersion));
    assert_eq!(reaction(17, 0x30), stateless);
    assert_eq!(reaction(18, 99), Reaction::Ignore);
    assert_eq!(reaction(18, 38), Reaction::Ignore); // IKE_SESSION_RESUME has no rules
    let invalid_syntax = Reaction::Reply(Notify::new(NotifyType::InvalidSyntax));
    assert_eq!(reaction(31, 3), invalid_syntax);
    assert_eq!(reaction(16, 43), invalid_syntax); // no SA payload any more
    assert_eq!(WireError::from(FragmentError::TooMany).reaction(), Reaction::Ignore);
}

#[test]
fn corrupted_samples_never_panic() {
    corrupt(&ike_sa_init().encode_plain().unwrap(), fuzzing::message);
    corrupt(&chain(&ike_auth()), fuzzing::chain);
    for cipher in fuzzing::ciphers() {
        // Without the large certificate, to keep it quick.
        let mut message = ike_auth();
        message.payloads.truncate(1);
        let datagram = seal(&cipher, &message);
        corrupt(&datagram, |bytes| {
            if bytes != datagram {
                let _ = unseal(&cipher, bytes.to_vec()).map(|_| panic!("forged {bytes:02x?}"));
            }
        });
    }
    let mut fragmented = header(ExchangeType::IkeAuth, Direction::Request);
    fragmented.message_id = MessageId(7);
    let (mut ivs, mut rng) = (IvSource::default(), CountingRng(0));
    let [cipher, _] = fuzzing::ciphers();
    let message = Message { header: fragmented, payloads: ike_auth().payloads };
    let datagrams = Sealer { cipher: &cipher, ivs: &mut ivs, rng: &mut rng }.protect_fragmented(&message, 200).unwrap();
    for datagram in datagrams {
        corrupt(&datagram, |bytes| {
            if let Ok(Received::Protected(protected)) = parse(bytes) {
                assert_eq!(protected.open(&cipher, &mut bytes.to_vec()).is_ok(), bytes == datagram);
            }
        });
    }
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..max)
}

fn small(max: usize) -> impl Strategy<Value = SmallVec<[u8; 24]>> {
    bytes(max).prop_map(SmallVec::from_vec)
}

fn spi() -> impl Strategy<Value = Spi> {
    (256..=u32::MAX).prop_map(|number| Spi::new(number).unwrap())
}

fn ts() -> impl Strategy<Value = Ts> {
    let selector = prop_oneof![
        any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| (IpAddr::from(a.min(b)), IpAddr::from(a.max(b)))),
        any::<([u8; 16], [u8; 16])>().prop_map(|(a, b)| (IpAddr::from(a.min(b)), IpAddr::from(a.max(b)))),
    ];
    let selector = (selector, any::<(u8, u16, u16)>()).prop_map(|((start, end), (protocol, a, b))| {
        TrafficSelector::new(protocol, start, end, a.min(b), a.max(b)).unwrap()
    });
    let label = prop::collection::vec(any::<u8>(), 1..20);
    (prop::collection::vec(selector, 0..5), prop::collection::vec(label, 0..2))
        .prop_map(|(selectors, labels)| Ts { selectors, labels })
}

fn sa() -> impl Strategy<Value = Sa> {
    let texts = prop::sample::select(vec!["aes128gcm16", "aes256-sha256", "aes128ctr-sha384-esn", "chacha20poly1305"]);
    (prop::collection::vec(texts, 1..5), spi())
        .prop_map(|(texts, spi)| Sa::offer(texts.into_iter().map(|text| proposal(Protocol::Esp, text)), spi.into()))
}

fn notify() -> impl Strategy<Value = Notify> {
    let kind = any::<u16>().prop_map(NotifyType::from);
    let protocol = prop::sample::select(vec![Protocol::None, Protocol::Ike, Protocol::Ah, Protocol::Esp]);
    (kind, protocol, bytes(10), small(40))
        .prop_map(|(kind, protocol, spi, data)| Notify { protocol, spi: SpiField::from(&spi[..]), kind, data })
        .prop_filter("length rule", |notify| notify.kind.data_length_valid(notify.data.len()))
}

fn id() -> impl Strategy<Value = Id> {
    prop::sample::select(vec!["moon.strongswan.org", "192.0.2.1", "C=CH, CN=moon", "carol@strongswan.org", "%any"])
        .prop_map(|text| Id::new(&Identity::parse(text)))
}

fn payload() -> impl Strategy<Value = Payload> {
    let attribute = (200_u16..20_000, small(30)).prop_map(|(kind, value)| CpAttribute { kind: kind.into(), value });
    let cp = (any::<u8>(), prop::collection::vec(attribute, 0..6))
        .prop_map(|(kind, attributes)| Cp { kind: kind.into(), attributes });
    let eap = bytes(50).prop_map(|data| {
        let len = u16::try_from(data.len() + 4).unwrap().to_be_bytes();
        Eap::new([&[1, 2], &len[..], &data].concat()).unwrap()
    });
    prop_oneof![
        sa().prop_map(Payload::Sa),
        (any::<u16>(), bytes(100)).prop_map(|(method, data)| Ke { method: method.into(), data }.into()),
        id().prop_map(Payload::IdI),
        id().prop_map(Payload::IdR),
        (any::<u8>(), bytes(100)).prop_map(|(kind, data)| Cert { encoding: kind.into(), data }.into()),
        (any::<u8>(), bytes(100)).prop_map(|(kind, data)| CertReq { encoding: kind.into(), data }.into()),
        (any::<u8>(), bytes(100)).prop_map(|(method, data)| Auth { method: method.into(), data }.into()),
        prop::collection::vec(any::<u8>(), 16..=256).prop_map(|data| Nonce::new(&data).unwrap().into()),
        notify().prop_map(Payload::Notify),
        Just(Delete::Ike.into()),
        prop::collection::vec(spi(), 0..5).prop_map(|spis| Delete::Child { protocol: Protocol::Ah, spis }.into()),
        bytes(50).prop_map(|data| VendorId(data).into()),
        ts().prop_map(Payload::TsI),
        ts().prop_map(Payload::TsR),
        cp.prop_map(Payload::Cp),
        eap.prop_map(Payload::Eap),
        (54_u8..=255, bytes(50)).prop_map(|(kind, data)| Unknown { kind: kind.into(), data }.into()),
    ]
}

proptest! {
    #[test]
    fn what_is_written_reads_the_same(payloads in prop::collection::vec(payload(), 0..10)) {
        let mut w = Writer::default();
        emit_chain(&payloads, &mut w);
        let first = payloads.first().map_or(PayloadType::NoNext, Payload::kind);
        prop_assert_eq!(parse_chain(first, &w.finish().unwrap()), Ok(payloads));
    }

    #[test]
    fn fragments_reassemble(payloads in prop::collection::vec(payload(), 0..10), limit in 120_usize..600, cbc in any::<bool>()) {
        let [gcm, cbc_cipher] = fuzzing::ciphers();
        let cipher = if cbc { cbc_cipher } else { gcm };
        let message = Message { header: header(ExchangeType::IkeAuth, Direction::Request), payloads };
        let (mut ivs, mut rng) = (IvSource::default(), CountingRng(0));
        let datagrams = Sealer { cipher: &cipher, ivs: &mut ivs, rng: &mut rng }.protect_fragmented(&message, limit).unwrap();
        let mut reassembler = Reassembler::new(DEFAULT_MAX_PACKET);
        let (mut whole, count) = (None, datagrams.len());
        for mut datagram in datagrams.into_iter().rev() {
            prop_assert!(datagram.len() <= limit);
            let Ok(Received::Protected(protected)) = parse(&datagram) else { panic!("not protected") };
            let content = protected.open(&cipher, &mut datagram).unwrap();
            match protected.fragment() {
                None => whole = Some((protected.first(), content.to_vec())),
                Some(place) => match reassembler.add(protected.header(), place, protected.first(), content).unwrap() {
                    Progress::Waiting => {}
                    Progress::Complete(first, content) => whole = Some((first, content)),
                }
            }
        }
        let (first, content) = whole.unwrap_or_else(|| panic!("incomplete after {count}"));
        prop_assert_eq!(parse_chain(first, &content), Ok(message.payloads));
    }

    #[test]
    fn no_bytes_panic(kind in any::<u8>(), data in bytes(200)) {
        fuzzing::payload(&[&[kind], &data[..]].concat());
        fuzzing::chain(&[&[kind], &data[..]].concat());
        fuzzing::message(&data);
        // Most random bytes fail in the header; give the rest a chance too.
        let mut message = ike_sa_init().encode_plain().unwrap();
        message.truncate(28);
        message.extend(&data);
        message[16] = kind;
        let len = u16::try_from(message.len()).unwrap();
        message[26..28].copy_from_slice(&len.to_be_bytes());
        fuzzing::message(&message);
        message[18] = 36;
        fuzzing::message(&message);
    }
}

#[test]
fn block_lengths_tell_counter_modes_from_block_modes() {
    // Guards the assumption of `IvSource` that a block length of 1 means a counter-mode cipher.
    let [gcm, cbc] = fuzzing::ciphers();
    assert_eq!((gcm.block_len(), cbc.block_len()), (1, 16));
}

#[test]
fn payloads_stay_small() {
    // A message is a vector of them; the large ones keep their content on the heap.
    assert!(size_of::<Payload>() <= 80, "{}", size_of::<Payload>());
}
