//! Clients of every kind against a server whose handler shows each way of answering.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Instant;

use parking_lot::Mutex;

use super::*;
use crate::client::{Client, ClientError};
use crate::frame::Deframer;
use crate::packet::{Packet, request_frame};

/// A daemon to test with: each command shows one way of answering.
#[derive(Default)]
struct Toy {
    waiting: Mutex<Vec<Responder>>,
    listed: Arc<AtomicUsize>,
    interest: Mutex<Vec<(&'static str, bool)>>,
    notices: Mutex<Vec<String>>,
}

impl Handler for Toy {
    fn events(&self) -> &'static [&'static str] {
        &["log", "item"]
    }

    fn handle(&self, request: Request, responder: Responder) {
        match request.command.as_str() {
            "echo" => responder.reply(&request.message),
            "wait" => self.waiting.lock().push(responder),
            "progress" => {
                for n in 0..3_u32 {
                    responder.emitter().emit("log", || Message::new().with("n", n));
                }
                responder.reply(&Message::success());
            }
            "list" => {
                let size = usize::try_from(request.message.int("size").unwrap_or(0)).unwrap();
                let count = request.message.int("count").unwrap_or(0);
                let listed = Arc::clone(&self.listed);
                let items = (0..count).map(move |n| {
                    listed.fetch_add(1, Ordering::Relaxed);
                    Message::new().with("n", n).with("pad", vec![b'x'; size])
                });
                responder.stream("item", items, Message::new().with("count", count));
            }
            "list-panic" => responder.stream("item", (0..9).map(|_| panic!("while listing")), Message::new()),
            "big-value" => responder.reply(&Message::new().with("v", vec![0; 70_000])),
            "big-packet" => responder.reply(&Message::new().with_list("l", vec![vec![0; 60_000]; 10])),
            "forget" => drop(responder),
            "panic" => panic!("on request"),
            _ => responder.unknown(),
        }
    }

    fn interest(&self, event: &'static str, wanted: bool) {
        self.interest.lock().push((event, wanted));
    }

    fn notice(&self, notice: Notice) {
        self.notices.lock().push(notice.to_string());
    }
}

struct Fixture {
    toy: Arc<Toy>,
    server: Server,
    endpoint: Endpoint,
}

fn socket_path() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("vici-test-{}-{number}.sock", std::process::id()))
}

impl Fixture {
    fn new() -> Self {
        Self::with_options(ServerOptions::default())
    }

    fn with_options(options: ServerOptions) -> Self {
        let endpoint = Endpoint::Unix(socket_path());
        let toy = Arc::new(Toy::default());
        let server = Server::start(&endpoint, Arc::<Toy>::clone(&toy), options).unwrap();
        Self { toy, server, endpoint }
    }

    fn client(&self) -> Client {
        let mut client = Client::connect(&self.endpoint).unwrap();
        client.set_timeout(Some(Duration::from_secs(20)));
        client
    }

    fn raw(&self) -> UnixStream {
        let Endpoint::Unix(path) = &self.endpoint else { unreachable!() };
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn noticed(&self, text: &str) -> bool {
        self.toy.notices.lock().iter().any(|notice| notice.contains(text))
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Endpoint::Unix(path) = &self.endpoint {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(2));
    }
}

fn read_packets(stream: &mut UnixStream, count: usize) -> Vec<Vec<u8>> {
    let mut deframer = Deframer::new();
    let mut packets = Vec::new();
    let mut buffer = [0; 4096];
    while packets.len() < count {
        let length = stream.read(&mut buffer).unwrap();
        assert_ne!(length, 0, "connection closed after {packets:?}");
        deframer.feed(&buffer[..length]);
        while let Some(packet) = deframer.next_packet().unwrap() {
            packets.push(packet.to_vec());
        }
    }
    packets
}

#[test]
fn requests_are_answered() {
    let fixture = Fixture::new();
    let mut client = fixture.client();
    let message = Message::new().with("a", "b").with_list("l", ["1", "2"]);
    assert_eq!(client.request("echo", &message).unwrap(), message);
    assert!(matches!(client.request("no-such", &message), Err(ClientError::UnknownCommand(name)) if name == "no-such"));
    assert_eq!(client.request("echo", &message).unwrap(), message);
}

#[test]
fn pipelined_packets_are_answered_in_order() {
    let fixture = Fixture::new();
    let mut stream = fixture.raw();
    let mut bytes = Packet::EventRegister { name: "item" }.to_frame().unwrap();
    bytes.extend(request_frame("list", &Message::new().with("count", 2_u32)).unwrap());
    bytes.extend(Packet::EventUnregister { name: "item" }.to_frame().unwrap());
    bytes.extend(request_frame("wait", &Message::new()).unwrap());
    bytes.extend(request_frame("nope", &Message::new()).unwrap());
    bytes.extend(Packet::EventUnregister { name: "item" }.to_frame().unwrap());
    for byte in bytes.chunks(3) {
        stream.write_all(byte).unwrap();
    }
    let kinds: Vec<u8> = read_packets(&mut stream, 5).iter().map(|packet| packet[0]).collect();
    assert_eq!(kinds, [5, 7, 7, 1, 5]);
    eventually("request waits", || fixture.toy.waiting.lock().len() == 1);
    fixture.toy.waiting.lock().pop().unwrap().reply(&Message::success());
    let kinds: Vec<u8> = read_packets(&mut stream, 3).iter().map(|packet| packet[0]).collect();
    assert_eq!(kinds, [1, 2, 6]);
}

#[test]
fn a_waiting_command_blocks_its_own_client_only() {
    let fixture = Fixture::new();
    let mut waiting: Vec<_> = (0..20).map(|_| fixture.raw()).collect();
    for stream in &mut waiting {
        stream.write_all(&request_frame("wait", &Message::new()).unwrap()).unwrap();
        stream.write_all(&request_frame("echo", &Message::new()).unwrap()).unwrap();
    }
    eventually("all wait", || fixture.toy.waiting.lock().len() == 20);
    assert!(fixture.client().request("echo", &Message::new()).is_ok());
    for responder in fixture.toy.waiting.lock().drain(..) {
        assert!(responder.is_connected());
        responder.reply(&Message::success());
    }
    for stream in &mut waiting {
        assert_eq!(read_packets(stream, 2).len(), 2);
    }
}

#[test]
fn streamed_events_reach_the_asking_subscriber_only() {
    let fixture = Fixture::new();
    let (mut asking, mut other) = (fixture.client(), fixture.client());
    other.subscribe("log").unwrap();
    let mut seen = Vec::new();
    let answer =
        asking.request_streamed("progress", "log", &Message::new(), |event| seen.push(event.int("n"))).unwrap();
    assert_eq!(answer, Message::success());
    assert_eq!(seen, [Some(0), Some(1), Some(2)]);
    assert_eq!(asking.request("progress", &Message::new()).unwrap(), Message::success());
    assert!(other.next_event(Some(Duration::from_millis(50))).unwrap().is_none());
    assert!(asking.next_event(Some(Duration::from_millis(50))).unwrap().is_none());
}

#[test]
fn subscriptions_are_counted() {
    let fixture = Fixture::new();
    let (mut client, events) = (fixture.client(), fixture.server.broadcaster());
    assert!(!events.is_wanted("log"));
    client.subscribe("log").unwrap();
    client.subscribe("log").unwrap();
    events.emit("log", || Message::new().with("msg", "twice"));
    events.emit("item", || panic!("nobody wants it"));
    client.unsubscribe("log").unwrap();
    events.emit("log", || Message::new().with("msg", "once"));
    client.unsubscribe("log").unwrap();
    assert!(!events.is_wanted("log"));
    events.emit("log", || panic!("nobody wants it"));
    assert!(matches!(client.unsubscribe("log"), Err(ClientError::UnknownEvent(_))));
    assert!(matches!(client.subscribe("no-such"), Err(ClientError::UnknownEvent(_))));
    let mut texts = Vec::new();
    while let Some(event) = client.next_event(Some(Duration::from_millis(50))).unwrap() {
        texts.push(event.message.str("msg").unwrap().to_owned());
    }
    assert_eq!(texts, ["twice", "twice", "once"]);
    client.subscribe("log").unwrap();
    drop(client);
    eventually("subscription ends with the connection", || !events.is_wanted("log"));
    eventually("interest is reported", || fixture.toy.interest.lock().len() == 4);
    let changes = [("log", true), ("log", false), ("log", true), ("log", false)];
    assert_eq!(*fixture.toy.interest.lock(), changes);
}

#[test]
fn subscriptions_are_bounded() {
    let fixture = Fixture::new();
    let mut client = fixture.client();
    let accepted = (0..1000).take_while(|_| client.subscribe("log").is_ok()).count();
    assert_eq!(accepted, 64);
    client.subscribe("item").unwrap();
    (0..accepted).for_each(|_| client.unsubscribe("log").unwrap());
    client.subscribe("log").unwrap();
}

#[test]
fn malformed_packets_get_the_documented_reaction() {
    let fixture = Fixture::new();
    let mut stream = fixture.raw();
    for ignored in
        [&b""[..], b"\x01", b"\x02", b"\x05", b"\x06", b"\x07\x01a", b"\x08", b"\x00", b"\x00\x05ab", b"\x03\x01\x80"]
    {
        stream.write_all(&u32::try_from(ignored.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(ignored).unwrap();
    }
    for answered in [&b"\x00\x00"[..], b"\x03\x00", b"\x04\x00", b"\x00\x04echo\xff\xff"] {
        stream.write_all(&u32::try_from(answered.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(answered).unwrap();
    }
    assert_eq!(read_packets(&mut stream, 4), [vec![2], vec![6], vec![6], vec![1]]);
}

#[test]
fn an_oversized_packet_ends_the_connection() {
    let fixture = Fixture::new();
    let mut stream = fixture.raw();
    stream.write_all(&[0, 8, 0, 1]).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    assert!(fixture.noticed("more than 512 KiB"));
}

#[test]
fn what_cannot_be_answered_becomes_an_error() {
    let fixture = Fixture::new();
    let mut client = fixture.client();
    for (command, text) in [
        ("big-value", "more than 65535"),
        ("big-packet", "exceeds 512 KiB"),
        ("forget", "not answered"),
        ("panic", "not answered"),
    ] {
        let failed = client.command(command, &Message::new());
        assert!(matches!(&failed, Err(ClientError::Failed(failed)) if failed.errmsg.contains(text)), "{failed:?}");
    }
    let answer = client.request_streamed("list-panic", "item", &Message::new(), |_| {}).unwrap();
    assert!(answer.into_result().is_err());
    eventually("panics are reported", || fixture.noticed("on request") && fixture.noticed("while listing"));
}

#[test]
fn a_listing_waits_for_its_reader_and_loses_nothing() {
    let fixture = Fixture::new();
    let mut client = fixture.client();
    let request = Message::new().with("count", 20_000_u32).with("size", 1000_u32);
    let mut stream = client.stream("list", "item", &request).unwrap();
    assert!(stream.next().is_some());
    sleep(Duration::from_millis(100));
    let drawn = fixture.toy.listed.load(Ordering::Relaxed);
    assert!(drawn < 2_000, "{drawn} items drawn for a client that reads nothing");
    assert!(fixture.client().request("echo", &Message::new()).is_ok());
    let rest = stream.by_ref().map(|item| item.unwrap().int("n").unwrap());
    assert!(rest.eq(1..20_000));
    assert_eq!(stream.finish().unwrap().int("count"), Some(20_000));
}

#[test]
fn an_unwanted_listing_is_not_drawn() {
    let fixture = Fixture::new();
    let answer = fixture.client().request("list", &Message::new().with("count", 1000_u32)).unwrap();
    assert_eq!(answer.int("count"), Some(1000));
    assert_eq!(fixture.toy.listed.load(Ordering::Relaxed), 0);
}

#[test]
fn a_listing_ends_with_its_client() {
    let fixture = Fixture::new();
    let mut client = fixture.client();
    let request = Message::new().with("count", 1_000_000_u32).with("size", 1000_u32);
    let mut stream = client.stream("list", "item", &request).unwrap();
    assert!(stream.next().is_some());
    drop(stream);
    drop(client);
    eventually("disconnect is noticed", || fixture.noticed("disconnected"));
    let drawn = fixture.toy.listed.load(Ordering::Relaxed);
    assert!(drawn < 10_000, "{drawn}");
}

#[test]
fn a_dropped_stream_leaves_the_client_usable() {
    let fixture = Fixture::new();
    let mut client = fixture.client();
    for _ in 0..3 {
        let request = Message::new().with("count", 3000_u32).with("size", 500_u32);
        drop(client.stream("list", "item", &request).unwrap());
        let echoed = client.request("echo", &Message::new().with("a", 1_u32)).unwrap();
        assert_eq!(echoed.int("a"), Some(1));
    }
    assert!(client.next_event(Some(Duration::from_millis(20))).unwrap().is_none());
}

#[test]
fn a_slow_subscriber_loses_events_and_then_its_connection() {
    let options = ServerOptions { stall_timeout: Duration::from_millis(200), ..ServerOptions::default() };
    let fixture = Fixture::with_options(options);
    let (mut fast, mut slow, events) = (fixture.client(), fixture.client(), fixture.server.broadcaster());
    fast.subscribe("log").unwrap();
    slow.subscribe("log").unwrap();
    for n in 0..4000_u32 {
        events.emit("log", || Message::new().with("n", n).with("pad", vec![b'x'; 1000]));
        let event = fast.next_event(Some(Duration::from_secs(20))).unwrap().unwrap();
        assert_eq!(event.message.int("n"), Some(i64::from(n)));
    }
    eventually("the slow client is disconnected", || fixture.noticed("lost"));
    let mut got = 0;
    while let Ok(Some(_)) = slow.next_event(Some(Duration::from_secs(20))) {
        got += 1;
    }
    assert!(got < 4000);
    assert!(fast.request("echo", &Message::new()).is_ok());
}

#[test]
fn a_client_that_never_reads_its_answers_is_not_served_without_bound() {
    let fixture = Fixture::new();
    let mut stream = fixture.raw();
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let request = request_frame("echo", &Message::new().with("pad", vec![b'x'; 60_000])).unwrap();
    let mut sent = 0;
    while sent < 2000 && stream.write_all(&request).is_ok() {
        sent += 1;
    }
    assert!(sent < 100, "{sent} requests taken");
    assert!(fixture.client().request("echo", &Message::new()).is_ok());
}

#[test]
fn emitters_fall_silent_with_the_answer() {
    let fixture = Fixture::new();
    let mut client = fixture.client();
    client.subscribe("log").unwrap();
    let emitter = {
        let mut stream = client.stream("wait", "log", &Message::new()).unwrap();
        eventually("request waits", || !fixture.toy.waiting.lock().is_empty());
        let responder = fixture.toy.waiting.lock().pop().unwrap();
        let emitter = responder.emitter();
        assert!(emitter.is_wanted("log") && !emitter.is_wanted("item"));
        emitter.emit("log", || Message::new().with("n", 1_u32));
        responder.reply(&Message::success());
        emitter.emit("log", || panic!("answered"));
        // subscribed twice: once by the test, once by the stream
        assert_eq!(stream.by_ref().count(), 2);
        stream.finish().unwrap();
        emitter
    };
    assert!(!emitter.is_wanted("log"));
}

#[test]
fn a_timed_out_client_refuses_further_use() {
    let fixture = Fixture::new();
    let mut client = fixture.client();
    client.set_timeout(Some(Duration::from_millis(20)));
    assert!(matches!(client.request("wait", &Message::new()), Err(ClientError::TimedOut)));
    assert!(matches!(client.request("echo", &Message::new()), Err(ClientError::Unusable)));
}

#[test]
fn the_unix_socket_is_private_and_replaced_only_if_stale() {
    let fixture = Fixture::new();
    let Endpoint::Unix(path) = fixture.endpoint.clone() else { unreachable!() };
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let again = Server::start(&fixture.endpoint, Arc::new(Toy::default()), ServerOptions::default());
    assert!(matches!(again, Err(ServerError::InUse(_))));
    drop(fixture);

    let path = socket_path();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let endpoint = Endpoint::Unix(path.clone());
    let server = Server::start(&endpoint, Arc::new(Toy::default()), ServerOptions::default()).unwrap();
    assert!(Client::connect(&endpoint).is_ok());
    drop(server);
    assert!(path.exists(), "the file is left behind");
    std::fs::remove_file(&path).unwrap();

    std::fs::write(&path, "precious").unwrap();
    let refused = Server::start(&endpoint, Arc::new(Toy::default()), ServerOptions::default());
    assert!(matches!(refused, Err(ServerError::NotASocket(_))));
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn tcp_serves_as_well() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = Endpoint::Tcp { host: "127.0.0.1".into(), port };
    let server = Server::start(&endpoint, Arc::new(Toy::default()), ServerOptions::default()).unwrap();
    assert!(Client::connect(&endpoint).unwrap().request("echo", &Message::new()).is_ok());
    drop(server);
}

#[test]
fn clients_beyond_the_limit_are_turned_away() {
    let fixture = Fixture::with_options(ServerOptions { max_clients: 1, ..ServerOptions::default() });
    let mut first = fixture.client();
    assert!(first.request("echo", &Message::new()).is_ok());
    assert!(fixture.client().request("echo", &Message::new()).is_err());
    assert!(first.request("echo", &Message::new()).is_ok());
}

#[test]
fn stopping_lets_pending_answers_out() {
    let fixture = Fixture::new();
    let mut stream = fixture.raw();
    stream.write_all(&request_frame("wait", &Message::new()).unwrap()).unwrap();
    eventually("request waits", || !fixture.toy.waiting.lock().is_empty());
    let responder = fixture.toy.waiting.lock().pop().unwrap();
    let events = fixture.server.broadcaster();
    let answering = thread::spawn(move || {
        sleep(Duration::from_millis(50));
        responder.reply(&Message::success());
    });
    fixture.server.shared.request_stop(Duration::from_secs(20));
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"\0\0\0\x0f\x01\x03\x07success\x00\x03yes");
    answering.join().unwrap();
    events.emit("log", || panic!("nobody is left"));
}
