//! A million random packets: parsers and server survive them, and a server goes on serving others.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests, outside of test functions")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use vici::{
    Client, Deframer, Endpoint, Handler, MAX_PACKET, Message, Packet, Request, Responder, Server, ServerOptions,
};

/// Bounds the run on slow machines; it takes a few seconds on fast ones.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// xorshift64*, seeded: a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> usize {
        usize::try_from(self.next() % bound).unwrap()
    }

    fn byte(&mut self, bound: u64) -> u8 {
        u8::try_from(self.next() % bound).unwrap()
    }

    /// Mostly plausible bytes: small numbers act as types and lengths, some text, some rubbish.
    fn packet(&mut self) -> Vec<u8> {
        let length = self.below(48);
        let mut packet: Vec<u8> = (0..length)
            .map(|_| match self.below(4) {
                0 => self.byte(256),
                1 => b'a' + self.byte(26),
                _ => self.byte(8),
            })
            .collect();
        if self.below(2) == 0 {
            packet.splice(0..0, *b"\x00\x04echo");
        }
        packet
    }
}

#[test]
fn a_million_random_packets_are_parsed() {
    let mut random = Random(0x5eed_1234_5678_9abc);
    let start = Instant::now();
    for number in 0..1_000_000 {
        let bytes = random.packet();
        if let Ok(packet) = Packet::parse(&bytes) {
            let (Packet::CommandRequest { message, .. } | Packet::Event { message, .. }) = packet else { continue };
            let (message, _) = Message::decode_prefix(message);
            // whatever was understood can be said again
            assert_eq!(Message::decode(&message.encode().unwrap()).unwrap(), message, "packet {number}: {bytes:?}");
        }
        if start.elapsed() > TIME_LIMIT {
            return;
        }
    }
}

struct Echo;

impl Handler for Echo {
    fn events(&self) -> &'static [&'static str] {
        &["log"]
    }

    fn handle(&self, request: Request, responder: Responder) {
        match request.command.as_str() {
            "echo" => responder.reply(&request.message),
            _ => responder.unknown(),
        }
    }
}

#[test]
fn a_server_survives_random_packets() {
    let path = std::env::temp_dir().join(format!("vici-random-{}.sock", std::process::id()));
    let endpoint = Endpoint::Unix(path.clone());
    let server = Server::start(&endpoint, Arc::new(Echo), ServerOptions::default()).unwrap();
    let clients: Vec<_> = (1..=4_u64)
        .map(|seed| {
            let path = path.clone();
            thread::spawn(move || bombard(&path, seed))
        })
        .collect();
    let mut client = Client::connect(&endpoint).unwrap();
    client.set_timeout(Some(Duration::from_secs(20)));
    let message = Message::new().with("a", "b");
    while !clients.iter().all(thread::JoinHandle::is_finished) {
        assert_eq!(client.request("echo", &message).unwrap(), message);
    }
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(client.request("echo", &message).unwrap(), message);
    drop(server);
    std::fs::remove_file(path).unwrap();
}

/// Sends random packets, reading what is answered, and checks that an honest request at the end still is.
fn bombard(path: &std::path::Path, seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut stream = UnixStream::connect(path).unwrap();
    let mut reading = stream.try_clone().unwrap();
    let reader = thread::spawn(move || {
        let (mut deframer, mut buffer, mut last) = (Deframer::new(), vec![0; 65536], Vec::new());
        loop {
            let length = reading.read(&mut buffer).unwrap();
            if length == 0 {
                return last;
            }
            deframer.feed(&buffer[..length]);
            while let Some(packet) = deframer.next_packet().unwrap() {
                packet.clone_into(&mut last);
                if packet == b"\x01\x03\x03end\x00\x00" {
                    return last;
                }
            }
        }
    });
    for _ in 0..20_000 {
        let packet = random.packet();
        assert!(packet.len() <= MAX_PACKET);
        stream.write_all(&u32::try_from(packet.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&packet).unwrap();
    }
    let message = Message::new().with("end", "").encode().unwrap();
    stream.write_all(&Packet::CommandRequest { name: "echo", message: &message }.to_frame().unwrap()).unwrap();
    assert_eq!(reader.join().unwrap(), b"\x01\x03\x03end\x00\x00");
}
