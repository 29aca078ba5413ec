//! The screen in front of the IKE_SAs, over loopback sockets.

use std::net::UdpSocket;
use std::sync::mpsc;

use ike::wire::HEADER_LEN;
use strongswan::processing::{PerPriority, Priority, ProcessorSettings, job};

use super::super::sockets::SocketSettings;
use super::*;

const SOON: Duration = Duration::from_secs(20);

struct Esp(mpsc::Sender<Vec<u8>>);

impl EspSink for Esp {
    fn receive_esp(&self, _local: SocketAddr, _remote: SocketAddr, _class: Option<u8>, packet: &mut [u8]) {
        self.0.send(packet.to_vec()).unwrap();
    }
}

struct Setup {
    _receiver: Receiver,
    processor: Arc<Processor>,
    peer: UdpSocket,
    messages: mpsc::Receiver<Inbound>,
    esp: mpsc::Receiver<Vec<u8>>,
    half_open: Arc<HalfOpen>,
}

impl Setup {
    /// A receiver on a random port, where messages carry a non-ESP marker, and a peer.
    fn new(flood: FloodSettings) -> Self {
        let sockets = SocketSettings { port: 0, port_nat_t: 0, use_ipv6: false, ..SocketSettings::default() };
        let sender = Sender::new(Arc::new(Sockets::open(&sockets).unwrap()), DelaySettings::default());
        let port = sender.sockets().port(true).unwrap();
        let processor = Arc::new(Processor::new());
        processor.start(ProcessorSettings { threads: 1, reserved: PerPriority::default() }).unwrap();
        let (into, messages) = mpsc::channel();
        let (esp_into, esp) = mpsc::channel();
        let delivery = Delivery {
            processor: Arc::clone(&processor),
            job: Box::new(move |inbound| {
                let into = into.clone();
                job(Priority::Medium, move || into.send(inbound).unwrap())
            }),
            esp: Some(Arc::new(Esp(esp_into))),
            malformed: Box::new(|| ()),
        };
        let half_open = HalfOpen::new();
        let settings = ReceiverSettings { flood, ..ReceiverSettings::default() };
        let receiver = Receiver::start(sender, settings, Arc::clone(&half_open), delivery).unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.connect(("127.0.0.1", port)).unwrap();
        peer.set_read_timeout(Some(SOON)).unwrap();
        Self { _receiver: receiver, processor, peer, messages, esp, half_open }
    }

    fn send(&self, message: &[u8]) {
        self.peer.send(&[&NON_ESP_MARKER[..], message].concat()).unwrap();
    }

    fn answer(&self) -> Vec<u8> {
        let mut buffer = [0; 256];
        let length = self.peer.recv(&mut buffer).unwrap();
        buffer[..length].strip_prefix(&NON_ESP_MARKER[..]).unwrap().to_vec()
    }
}

/// An IKE message without payloads.
fn message(version: u8, exchange: u8, flags: u8) -> Vec<u8> {
    let mut message = vec![1; 8];
    message.extend([0; 8]);
    message.extend([0, version, exchange, flags, 0, 0, 0, 0, 0, 0, 0, 28]);
    assert_eq!(message.len(), HEADER_LEN);
    message
}

#[test]
fn messages_become_jobs_and_requests_are_counted() {
    let setup = Setup::new(FloodSettings::default());
    setup.send(&message(0x20, 34, 0x08));
    let inbound = setup.messages.recv_timeout(SOON).unwrap();
    assert_eq!(inbound.data, message(0x20, 34, 0x08));
    assert_eq!(inbound.remote, setup.peer.local_addr().unwrap());
    assert_eq!(inbound.local, setup.peer.peer_addr().unwrap());
    assert_eq!(setup.half_open.responder_from(inbound.remote.ip()), 1);
    drop(inbound);
    assert_eq!(setup.half_open.total(), 0);
}

#[test]
fn what_is_no_message_ends_here() {
    let setup = Setup::new(FloodSettings::default());
    setup.peer.send(&KEEPALIVE).unwrap();
    setup.peer.send(b"").unwrap();
    setup.send(b"too short for a header");
    setup.send(&message(0x20, 99, 0x08));
    // An IKE_SA_INIT request of a responder.
    setup.send(&message(0x20, 34, 0));
    setup.send(&message(0x20, 37, 0x08));
    assert_eq!(setup.messages.recv_timeout(SOON).unwrap().header.exchange, ExchangeType::Informational);
}

#[test]
fn packets_without_marker_are_esp() {
    let setup = Setup::new(FloodSettings::default());
    setup.peer.send(&[0xc0, 1, 2, 3, 4]).unwrap();
    assert_eq!(setup.esp.recv_timeout(SOON).unwrap(), [0xc0, 1, 2, 3, 4]);
}

#[test]
fn an_unknown_major_version_is_answered() {
    // RFC 7296 §2.5
    let setup = Setup::new(FloodSettings::default());
    // Nothing but a header is too little for an answer.
    setup.send(&message(0x30, 34, 0x08));
    let mut future = message(0x30, 34, 0x08);
    future[27] = 36;
    future.extend([0; 8]);
    setup.send(&future);
    let answer = setup.answer();
    let (header, _) = Header::parse(&answer).unwrap();
    assert!(header.is_response() && !header.from_initiator());
    assert_eq!(answer[HEADER_LEN + 4..], [0, 0, 0, 5]);
}

#[test]
fn a_returned_cookie_lets_a_request_in() {
    let setup = Setup::new(FloodSettings { cookie_threshold: 1, ..FloodSettings::default() });
    let _half_open = setup.half_open.responding("192.0.2.7:500".parse().unwrap());
    let mut request = message(0x20, 34, 0x08);
    // Only what is as large as a cookie gets one.
    setup.send(&request);
    let mut padded = request.clone();
    padded[27] = 60;
    padded.extend([0; 32]);
    setup.send(&padded);
    let notify = setup.answer().split_off(HEADER_LEN);
    assert_eq!((notify.len(), &notify[6..8]), (32, &[0x40, 0x06][..]));
    request[16] = 41;
    request[27] = 60;
    request.extend(notify);
    setup.send(&request);
    assert_eq!(setup.messages.recv_timeout(SOON).unwrap().data, request);
}

#[test]
fn messages_are_dropped_while_too_many_wait_for_workers() {
    let setup = Setup::new(FloodSettings::default());
    let (hold, held) = mpsc::channel::<()>();
    setup.processor.queue(job(Priority::Medium, move || {
        let _released = held.recv();
    }));
    let mut waiting: Vec<_> = (0..MAX_QUEUED + 1).map(|_| job(Priority::Medium, || ())).collect();
    setup.processor.queue_all(&mut waiting);
    setup.send(&message(0x20, 34, 0x08));
    assert!(setup.messages.recv_timeout(Duration::from_millis(200)).is_err());
    drop(hold);
    setup.processor.drain();
    assert!(setup.messages.try_recv().is_err(), "it was dropped");
    assert_eq!(setup.half_open.total(), 0, "and is not counted any more");
    setup.send(&message(0x20, 34, 0x08));
    setup.messages.recv_timeout(SOON).unwrap();
}
