//! What one packet costs, beside the cryptography that it cannot do without.
//!
//! `aes_gcm` seals or opens the same bytes with the same cipher and nothing else: the floor. `encap` and `decap` are one
//! SA, `plane_*` the whole way with policy and SA lookup among 10,000 of each. `cargo bench -p esp`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may panic")]

use std::net::{IpAddr, Ipv4Addr};

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use esp::ecn::Copying;
use esp::ids::{Reqid, Spi};
use esp::inbound::{Arrival, Inbound, InboundParams};
use esp::ip::Header;
use esp::lifetime::Lifetime;
use esp::outbound::{Outbound, OutboundParams, Path};
use esp::plane::Plane;
use esp::selector::Selectors;
use esp::spd::{Action, Class, Policy};
use esp::{HEADROOM, TAILROOM};
use strongswan::clock::MonoTime;
use strongswan::crypto::{Cipher, EncryptionAlgorithm, SystemRng};
use strongswan::selectors::TrafficSelector;

const SIZES: &[usize] = &[64, 1400];
const NOW: MonoTime = MonoTime::ZERO;
const COPYING: Copying = Copying { dscp_out: true, dscp_in: false, ecn: true };
const TUNNELS: u32 = 10_000;

fn main() {
    divan::main();
}

fn cipher() -> Cipher {
    Cipher::new((EncryptionAlgorithm::AesGcm16, Some(128)), None, &[7; 20], &[]).unwrap()
}

fn path() -> Path {
    Path { local: "192.0.2.1:4500".parse().unwrap(), remote: "192.0.2.2:4500".parse().unwrap(), udp: true }
}

fn reqid(number: u32) -> Reqid {
    Reqid::new(number + 1).unwrap()
}

fn spi(number: u32) -> Spi {
    Spi::new(0xc000_0000 + number).unwrap()
}

fn network(number: u32) -> TrafficSelector {
    let host = IpAddr::V4(Ipv4Addr::from_bits(0x0a80_0000 + number));
    TrafficSelector::new(0, host, host, 0, u16::MAX).unwrap()
}

fn everything() -> TrafficSelector {
    TrafficSelector::parse("0.0.0.0/0").unwrap()
}

fn outbound(number: u32) -> Outbound {
    Outbound::new(OutboundParams {
        spi: spi(number),
        reqid: reqid(number),
        cipher: cipher(),
        esn: true,
        path: path(),
        copying: COPYING,
        tfc: 0,
        lifetime: Lifetime::default(),
    })
}

/// Without replay protection, so that one packet can be opened again and again; the window is cheap beside the rest.
fn inbound(number: u32, replay_window: u32) -> Inbound {
    Inbound::new(InboundParams {
        spi: spi(number),
        reqid: reqid(number),
        cipher: cipher(),
        esn: true,
        replay_window,
        selectors: Selectors {
            local: [network(number)].into_iter().collect(),
            remote: [everything()].into_iter().collect(),
        },
        path: path(),
        copying: COPYING,
        lifetime: Lifetime::default(),
    })
}

/// A buffer with a UDP packet of `size` bytes to the host of a tunnel, and room around it.
fn buffer(size: usize, number: u32) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 1, 0, 1];
    packet[2..4].copy_from_slice(&u16::try_from(size).unwrap().to_be_bytes());
    packet.extend_from_slice(&(0x0a80_0000 + number).to_be_bytes());
    packet.resize(size, 0x5a);
    [vec![0; HEADROOM], packet, vec![0; TAILROOM]].concat()
}

/// An ESP packet for the SA of a tunnel.
fn sealed(size: usize, number: u32) -> Vec<u8> {
    let mut buf = buffer(size, number);
    let header = Header::parse(&buf[HEADROOM..HEADROOM + size]).unwrap();
    let done = outbound(number).encap(&mut buf, HEADROOM..HEADROOM + size, &header, NOW, &mut SystemRng).unwrap();
    buf[done.range].to_vec()
}

fn plane() -> Plane {
    let plane = Plane::default();
    for number in 0..TUNNELS {
        plane.sad.insert_outbound(outbound(number), NOW).unwrap();
        plane.sad.insert_inbound(inbound(number, 0), NOW).unwrap();
        plane.spd.insert(Policy {
            local: everything(),
            remote: network(number),
            action: Action::Protect(plane.sad.bundle(reqid(number))),
            class: Class::Default,
            priority: None,
        });
    }
    plane
}

#[divan::bench(args = SIZES)]
fn aes_gcm_seal(bencher: Bencher<'_, '_>, size: usize) {
    let (cipher, mut text, mut icv) = (cipher(), vec![0; size + 2], [0; 16]);
    bencher
        .counter(BytesCount::new(size))
        .bench_local(|| cipher.seal(black_box(&[1; 12]), &[2; 8], &mut text, &[], &mut icv));
}

#[divan::bench(args = SIZES)]
fn encap(bencher: Bencher<'_, '_>, size: usize) {
    let (sa, mut buf) = (outbound(1), buffer(size, 1));
    let packet = buf.clone();
    let header = Header::parse(&buf[HEADROOM..HEADROOM + size]).unwrap();
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        buf[HEADROOM..HEADROOM + 20].copy_from_slice(&packet[HEADROOM..HEADROOM + 20]);
        sa.encap(&mut buf, HEADROOM..HEADROOM + size, &header, NOW, &mut SystemRng)
    });
}

#[divan::bench(args = SIZES)]
fn plane_encap(bencher: Bencher<'_, '_>, size: usize) {
    let (plane, mut buf) = (plane(), buffer(size, 77));
    let packet = buf.clone();
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        buf[HEADROOM..HEADROOM + 40].copy_from_slice(&packet[HEADROOM..HEADROOM + 40]);
        plane.encap(&mut buf, HEADROOM..HEADROOM + size, NOW, &mut SystemRng)
    });
}

#[divan::bench(args = SIZES)]
fn aes_gcm_open(bencher: Bencher<'_, '_>, size: usize) {
    let (cipher, mut text, mut icv) = (cipher(), vec![0; size + 2], [0; 16]);
    cipher.seal(&[1; 12], &[2; 8], &mut text, &[], &mut icv).unwrap();
    let mut buf = text.clone();
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        buf.copy_from_slice(&text);
        cipher.open(black_box(&[1; 12]), &[2; 8], &mut buf, &[], &icv).unwrap();
    });
}

#[divan::bench(args = SIZES)]
fn decap(bencher: Bencher<'_, '_>, size: usize) {
    let (sa, esp) = (inbound(1, 0), sealed(size, 1));
    let arrival = Arrival { remote: path().remote, traffic_class: None };
    let mut buf = esp.clone();
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        buf.copy_from_slice(&esp);
        sa.decap(&mut buf, &arrival, NOW).unwrap()
    });
}

#[divan::bench(args = SIZES)]
fn plane_decap(bencher: Bencher<'_, '_>, size: usize) {
    let (plane, esp) = (plane(), sealed(size, 77));
    let arrival = Arrival { remote: path().remote, traffic_class: None };
    let mut buf = esp.clone();
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        buf.copy_from_slice(&esp);
        plane.decap(&mut buf, &arrival, NOW).unwrap()
    });
}

/// Numbers in order, as they mostly arrive.
#[divan::bench(args = [32, 4096])]
fn replay_window(bencher: Bencher<'_, '_>, size: u32) {
    let mut window = esp::replay::ReplayWindow::new(size);
    let mut sequence = 0;
    bencher.bench_local(|| {
        sequence += 1;
        window.check(sequence).unwrap();
        window.mark(sequence).unwrap();
    });
}
