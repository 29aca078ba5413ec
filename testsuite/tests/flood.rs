//! What strangers can make us do: a flood of IKE_SA_INIT requests from spoofed addresses, and whatever else asks for an
//! answer. Nobody has returned a cookie here, so no answer may be larger than what it answers, nothing may pile up in
//! memory or in the log, and real peers get through.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use testsuite::Result;
use testsuite::config::Files;
use testsuite::daemon::{Daemon, Make};
use testsuite::lab::Lab;

/// A request for an IKE_SA, in part.
struct Request {
    spi: u64,
    version: u8,
    exchange: u8,
    flags: u8,
    /// Types and contents of its payloads.
    payloads: Vec<(u8, Vec<u8>)>,
}

const SA: u8 = 33;
const KE: u8 = 34;
const NONCE: u8 = 40;

impl Request {
    /// What an initiator sends at least: one proposal, X25519, a nonce.
    fn new(spi: u64) -> Self {
        let mut ke = vec![0, 31, 0, 0, 9];
        ke.resize(36, 0);
        let payloads = vec![(SA, proposal(12, 31)), (KE, ke), (NONCE, vec![7; 32])];
        Self { spi, version: 0x20, exchange: 34, flags: 0x08, payloads }
    }

    fn with(mut self, kind: u8, content: Vec<u8>) -> Self {
        self.payloads.retain(|(other, _)| *other != kind);
        self.payloads.push((kind, content));
        self.payloads.sort_by_key(|(kind, _)| *kind);
        self
    }

    fn encode(&self) -> Vec<u8> {
        let mut payloads = Vec::new();
        for (index, (kind, content)) in self.payloads.iter().enumerate() {
            let next = self.payloads.get(index + 1).map_or(0, |(next, _)| *next);
            let critical = if *kind < SA || *kind > 60 { 0x80 } else { 0 };
            payloads.extend([next, critical]);
            payloads.extend(u16::try_from(content.len() + 4).unwrap_or(u16::MAX).to_be_bytes());
            payloads.extend(content);
        }
        let mut message = self.spi.to_be_bytes().to_vec();
        message.extend([0; 8]);
        message.extend([self.payloads.first().map_or(0, |(kind, _)| *kind), self.version, self.exchange, self.flags]);
        message.extend([0; 4]);
        message.extend(u32::try_from(28 + payloads.len()).unwrap_or(u32::MAX).to_be_bytes());
        message.extend(payloads);
        message
    }
}

/// An SA payload's content: one proposal of AES-CBC-128 or another cipher, HMAC-SHA-256 and a key exchange method.
fn proposal(encryption: u8, ke: u8) -> Vec<u8> {
    let mut content = vec![0, 0, 0, 44, 1, 1, 0, 4];
    content.extend([3, 0, 0, 12, 1, 0, 0, encryption, 0x80, 0x0e, 0, 128]);
    content.extend([3, 0, 0, 8, 2, 0, 0, 5]);
    content.extend([3, 0, 0, 8, 3, 0, 0, 12]);
    content.extend([0, 0, 0, 8, 4, 0, 0, ke]);
    content
}

fn connection(me: &str, other: &str, addresses: &str, nets: [&str; 2]) -> Files {
    let [local_ts, remote_ts] = nets;
    let swanctl = format!(
        "connections {{\n gw {{\n{addresses}\n local {{\n auth = psk\n id = {me}\n }}\n remote {{\n auth = psk\n id = {other}\n }}\n \
         children {{\n net {{\n local_ts = {local_ts}\n remote_ts = {remote_ts}\n }}\n }}\n }}\n}}\nsecrets {{\n ike-gw {{\n secret = \"the quick brown fox\"\n }}\n}}\n"
    );
    Files { swanctl, ..Files::default() }
}

fn gateway(lab: &Lab) -> Result<Daemon> {
    let moon =
        Daemon::start(lab, &lab.right, Make::Ours, &connection("moon", "carol", "", ["10.2.0.0/16", "10.1.0.0/16"]))?;
    moon.swanctl(&["--load-all"])?;
    Ok(moon)
}

/// Bytes sent on the gateway's wire so far.
fn sent_bytes(lab: &Lab) -> Result<u64> {
    let counters = lab.right.run(&["ip", "-s", "link", "show", "eth0"])?;
    let after = counters.split("TX:").nth(1).ok_or("no TX")?;
    Ok(after.lines().nth(1).and_then(|line| line.split_whitespace().next()).ok_or("no bytes")?.parse()?)
}

fn half_open(daemon: &Daemon) -> Result<usize> {
    let stats = daemon.swanctl(&["--stats", "--raw"])?;
    let value = stats.split("half-open=").nth(1).and_then(|rest| rest.split([' ', '}']).next());
    Ok(value.ok_or_else(|| stats.clone())?.parse()?)
}

/// Headers of Ethernet, IP and UDP.
const HEADERS: u64 = 14 + 20 + 8;

#[test]
fn a_hundred_thousand_spoofed_requests_leave_nothing() -> Result<()> {
    const REQUESTS: u32 = 100_000;
    let lab = Lab::direct("flood")?;
    // Everything in this network is left, as far as right can tell.
    lab.left.run(&["ip", "addr", "add", "198.18.0.0/15", "dev", "lo"])?;
    lab.right.run(&["ip", "route", "add", "198.18.0.0/15", "via", "192.0.2.1"])?;
    let moon = gateway(&lab)?;
    let target = SocketAddr::new(lab.right.addr, 500);
    let flood = |from: u32, count: u32| -> Result<u64> {
        lab.left.inside(|| {
            let mut bytes = 0;
            for number in from..from + count {
                let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 1)) + number);
                let request = Request::new(u64::from(number) + 1).encode();
                let socket = UdpSocket::bind((source, 500))?;
                socket.send_to(&request, target)?;
                bytes += u64::try_from(request.len())? + HEADERS;
            }
            Ok(bytes)
        })
    };
    flood(0, 2_000)?;
    let (memory, log, sent) = (moon.resident_memory()?, moon.log().len(), sent_bytes(&lab)?);
    let asked = flood(2_000, REQUESTS)?;
    assert!(half_open(&moon)? <= 40, "{} half open", half_open(&moon)?);

    // In the middle of it a real peer returns its cookie.
    let addresses = format!("local_addrs = {}\nremote_addrs = {}", lab.left.addr, lab.right.addr);
    let files = connection("carol", "moon", &addresses, ["10.1.0.0/16", "10.2.0.0/16"]);
    let carol = Daemon::start(&lab, &lab.left, Make::StrongSwan, &files)?;
    carol.swanctl(&["--load-all"])?;
    let said = carol.swanctl(&["--initiate", "--child", "net"])?;
    assert!(said.contains("initiate completed successfully"), "{said}");
    assert!(said.contains("N(COOKIE)"), "{said}");

    let grown = moon.resident_memory()?.saturating_sub(memory);
    assert!(grown < 4 << 20, "{grown} bytes of memory for {REQUESTS} requests");
    let answered = sent_bytes(&lab)? - sent;
    assert!(answered < asked, "{answered} bytes for {asked}");
    let logged = moon.log().len() - log;
    assert!(logged < 1 << 20, "{logged} bytes of log");
    assert!(moon.logged("too many messages of unknown peers"), "the log says what it leaves out");
    Ok(())
}

#[test]
fn no_answer_is_larger_than_its_request() -> Result<()> {
    let lab = Lab::direct("amplify")?;
    let moon = gateway(&lab)?;
    let target = SocketAddr::new(lab.right.addr, 500);
    let whole = Request::new(1).encode();
    let mut group14 = vec![0, 14, 0, 0];
    group14.resize(4 + 256, 5);
    let plain = |spi, version, exchange| Request { version, exchange, payloads: vec![], ..Request::new(spi) };
    let mut cases = vec![
        ("nothing but a header", plain(2, 0x20, 34).encode()),
        ("a version to come", plain(3, 0x30, 34).encode()),
        ("a version to come with more", Request { version: 0x30, ..Request::new(4) }.encode()),
        ("an exchange nobody knows", plain(5, 0x20, 99).encode()),
        ("IKE_AUTH of no IKE_SA", plain(6, 0x20, 35).encode()),
        ("INFORMATIONAL of no IKE_SA", plain(7, 0x20, 37).encode()),
        ("IKEv1 Main Mode", plain(8, 0x10, 2).encode()),
        ("no common proposal", Request::new(9).with(SA, proposal(2, 31)).encode()),
        ("another key exchange method", Request::new(10).with(SA, proposal(12, 31)).with(KE, group14).encode()),
        ("a key exchange of zeros", Request::new(11).with(KE, [&[0, 31, 0, 0][..], &[0; 32]].concat()).encode()),
        ("a critical payload", Request::new(12).with(200, vec![]).encode()),
        ("nothing but a critical payload", Request { payloads: vec![(200, vec![])], ..Request::new(13) }.encode()),
        ("a nonce of three bytes", Request::new(14).with(NONCE, vec![1; 3]).encode()),
        ("one byte", vec![0]),
        ("a response", { Request { flags: 0x28, ..Request::new(15) } }.encode()),
    ];
    for length in [28, 36, 60, 80, 100, 140, whole.len() - 1] {
        let mut cut = whole[..length].to_vec();
        cut[24..28].copy_from_slice(&u32::try_from(length)?.to_be_bytes());
        cut[7] = u8::try_from(length)?;
        cases.push(("a part of a request", cut));
    }
    let answers = |request: &[u8], times: usize, patience: u64| -> Result<Vec<usize>> {
        lab.left.inside(|| {
            let socket = UdpSocket::bind((lab.left.addr, 500))?;
            socket.set_read_timeout(Some(Duration::from_millis(patience)))?;
            for _ in 0..times {
                socket.send_to(request, target)?;
                std::thread::sleep(Duration::from_millis(1));
            }
            let mut buffer = [0; 4096];
            let mut sizes = Vec::new();
            while let Ok(size) = socket.recv(&mut buffer) {
                sizes.push(size);
            }
            Ok(sizes)
        })
    };
    let mut answered = 0;
    for (what, request) in &cases {
        let sizes = answers(request, 1, 300)?;
        answered += sizes.len();
        assert!(sizes.iter().sum::<usize>() <= request.len(), "{what}: {sizes:?} bytes for {}", request.len());
    }
    assert!(answered >= 5, "some are worth an answer: {answered}");
    assert_eq!(half_open(&moon)?, 0, "and nothing of it stays");

    // A request that is served leads to a response about as large, as often as somebody who loses packets needs it.
    // After that it is for a cookie to come back.
    let mut sizes = answers(&whole, 500, 500)?;
    sizes.retain(|size| *size > 60);
    assert!(!sizes.is_empty() && sizes.len() <= 13, "{} responses", sizes.len());
    assert!(sizes.iter().all(|size| *size <= whole.len() + 64), "{sizes:?} bytes for {}", whole.len());
    assert_eq!(half_open(&moon)?, 1);
    Ok(())
}

/// Somebody who is who he says, and whose requests all fail, is in the log with some of them. Whoever gets in is seen.
#[test]
fn failures_of_one_host_do_not_fill_the_log() -> Result<()> {
    let lab = Lab::direct("noise")?;
    let moon = gateway(&lab)?;
    let target = SocketAddr::new(lab.right.addr, 500);
    let before = moon.log().len();
    lab.left.inside(|| {
        let socket = UdpSocket::bind((lab.left.addr, 500))?;
        for spi in 1..=280 {
            socket.send_to(&Request::new(spi).with(SA, proposal(2, 31)).encode(), target)?;
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    })?;
    let failed = || Ok(moon.logged("too many IKE_SAs from 192.0.2.1 fail, not logging them for 10s"));
    testsuite::wait_for("silence", 5, failed)?;
    std::thread::sleep(Duration::from_millis(500));
    let log = moon.log();
    let lines = log.get(before..).unwrap_or_default();
    let told = lines.matches("received proposals unacceptable").count();
    assert!((20..=30).contains(&told), "{told} of 280");

    let addresses = format!("local_addrs = {}\nremote_addrs = {}", lab.left.addr, lab.right.addr);
    let files = connection("carol", "moon", &addresses, ["10.1.0.0/16", "10.2.0.0/16"]);
    let carol = Daemon::start(&lab, &lab.left, Make::StrongSwan, &files)?;
    carol.swanctl(&["--load-all"])?;
    carol.swanctl(&["--initiate", "--child", "net"])?;
    assert!(moon.logged("established between 192.0.2.2[moon]...192.0.2.1[carol]"), "{}", moon.log());
    Ok(())
}
