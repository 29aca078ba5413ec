//! Against servers that do what a script says: lose, repeat, forge and delay.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use ike::eap::{AaaAnswer, AaaRequest};
use ike::ids::UniqueId;
use strongswan::crypto::Secret;
use strongswan::identity::Identity;
use strongswan::processing::{Processor, spawn};
use strongswan::settings::Settings;

use super::attribute::{AttributeType, Code};
use super::packet::{Authenticator, Packet};
use super::server::{NoAnswer, Response, Server, test_settings};
use super::{Radius, mppe};
use crate::bus::Bus;
use crate::manager::{Aaa, Asker};

const WAIT: Duration = Duration::from_secs(10);

fn secret() -> Secret {
    Secret::new(b"secret".to_vec())
}

/// A request as the server sees it.
struct Request {
    packet: Packet,
    identifier: u8,
    authenticator: Authenticator,
}

impl Request {
    fn reply(&self, code: Code, secret: &Secret) -> Vec<u8> {
        Packet::new(code).seal_response(self.identifier, &self.authenticator, secret).unwrap()
    }
}

/// What a server does about its nth request: the datagrams it sends.
type Script = Box<dyn FnMut(usize, &Request) -> Vec<Vec<u8>> + Send>;

/// A server on a port of its own; tells what it got. It is there until the test ends.
fn serve(mut script: Script) -> (u16, Receiver<Vec<u8>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let (tell, told) = channel();
    spawn("server", move || {
        for number in 0.. {
            let mut buffer = [0; 4096];
            let (len, from): (usize, SocketAddr) = socket.recv_from(&mut buffer).unwrap();
            let bytes = buffer[..len].to_vec();
            let parsed = Packet::parse(&bytes).unwrap();
            let (identifier, authenticator) = (parsed.identifier, parsed.authenticator);
            let request = Request { packet: parsed.packet_unverified(), identifier, authenticator };
            let _over = tell.send(bytes);
            for answer in script(number, &request) {
                socket.send_to(&answer, from).unwrap();
            }
        }
    })
    .unwrap();
    (port, told)
}

fn access() -> Packet {
    let mut packet = Packet::new(Code::AccessRequest);
    packet.push(AttributeType::UserName, b"alice");
    packet
}

fn ask(server: &Arc<Server>, packet: Packet) -> Receiver<Result<Response, NoAnswer>> {
    let (tell, told): (Sender<_>, _) = channel();
    server.request(packet, Box::new(move |result| drop(tell.send(result))));
    told
}

fn code(result: Result<Response, NoAnswer>) -> Option<Code> {
    result.ok().map(|response| response.packet.code)
}

fn idle(server: &Server) {
    while !server.is_idle() {
        std::thread::yield_now();
    }
}

#[test]
fn lost_requests_are_sent_again_as_they_are() {
    let (port, got) = serve(Box::new(|number, request| match number {
        0 | 1 => vec![],
        _ => vec![request.reply(Code::AccessReject, &secret())],
    }));
    let server = Server::new(test_settings("a", port));
    assert_eq!(code(ask(&server, access()).recv_timeout(WAIT).unwrap()), Some(Code::AccessReject));
    let all: Vec<_> = got.try_iter().collect();
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|bytes| *bytes == all[0]));
    idle(&server);
    assert_eq!(server.score(), 210);
}

#[test]
fn a_server_that_is_silent_is_given_up_and_tried_now_and_then() {
    let (port, got) = serve(Box::new(|_, _| vec![]));
    let server = Server::new(test_settings("a", port));
    assert_eq!(ask(&server, access()).recv_timeout(WAIT).unwrap().err(), Some(NoAnswer));
    assert_eq!(got.try_iter().count(), 3);
    idle(&server);
    let scores: Vec<_> = (0..128).map(|_| server.score()).collect();
    assert_eq!((scores[0], scores[7], scores[31], scores[127]), (100, 110, 190, 210));
}

#[test]
fn forged_answers_are_ignored_and_the_genuine_one_counts() {
    let (port, _) = serve(Box::new(|_, request| {
        let forged = request.reply(Code::AccessAccept, &Secret::new(b"guess".to_vec()));
        let mut other = request.reply(Code::AccessAccept, &secret());
        other[1] ^= 1;
        let mut cut = request.reply(Code::AccessAccept, &secret());
        cut.truncate(19);
        vec![vec![], forged, other, cut, vec![2; 4096], request.reply(Code::AccessReject, &secret())]
    }));
    let server = Server::new(test_settings("a", port));
    assert_eq!(code(ask(&server, access()).recv_timeout(WAIT).unwrap()), Some(Code::AccessReject));
}

#[test]
fn answers_that_are_late_or_come_twice_are_not_taken_for_others() {
    let mut held = Vec::new();
    let (port, _) = serve(Box::new(move |number, request| match number {
        // answered only when the next one is there
        0..3 => {
            held.push(request.reply(Code::AccessAccept, &secret()));
            vec![]
        }
        3 => {
            let reply = request.reply(Code::AccessReject, &secret());
            held.drain(..).chain([reply.clone(), reply]).collect()
        }
        _ => vec![request.reply(Code::AccessChallenge, &secret())],
    }));
    let server = Server::new(test_settings("a", port));
    let answers: Vec<_> = (0..3).map(|_| ask(&server, access())).collect();
    let codes: Vec<_> = answers.iter().map(|answer| code(answer.recv_timeout(WAIT).unwrap())).collect();
    assert_eq!(codes, [None, Some(Code::AccessReject), Some(Code::AccessChallenge)]);
}

#[test]
fn one_socket_is_used_for_one_request_at_a_time() {
    let (port, got) = serve(Box::new(|_, _| vec![]));
    let server = Server::new(test_settings("a", port));
    let first = ask(&server, access());
    let second = ask(&server, access());
    assert!(first.recv_timeout(WAIT).unwrap().is_err());
    assert_eq!(got.try_iter().take(3).collect::<std::collections::HashSet<_>>().len(), 1);
    assert!(second.recv_timeout(WAIT).unwrap().is_err());
}

/// A RADIUS client with servers on these ports, the first preferred.
fn radius(ports: &[u16], options: &str) -> Arc<Radius> {
    let mut text = format!(
        "charon {{ plugins {{ eap-radius {{\n retransmit_tries = 2\n retransmit_timeout = 0.2\n {options}\n servers {{\n"
    );
    for (index, port) in ports.iter().enumerate() {
        let preference = 900 - 300 * index;
        text += &format!(
            "s{index} {{ address = 127.0.0.1\n secret = secret\n auth_port = {port}\n acct_port = {port}\n preference = {preference}\n }}\n"
        );
    }
    let settings = Settings::parse_str(&(text + "} } } }")).unwrap();
    Radius::new(&settings, &Bus::new(), &Arc::new(Processor::new()))
}

fn question(radius: &Arc<Radius>, first: bool, state: &[u8]) -> AaaAnswer {
    let asker = Asker {
        ike_sa: UniqueId::new(7).unwrap(),
        connection: "gw".into(),
        local: "192.0.2.2:4500".parse().unwrap(),
        remote: "192.0.2.1:4500".parse().unwrap(),
    };
    let request =
        AaaRequest { first, identity: Identity::parse("alice"), packet: vec![2, 1, 0, 4], state: state.to_vec() };
    let (tell, told) = channel();
    radius.ask(asker, request, Box::new(move |answer| drop(tell.send(answer))));
    told.recv_timeout(WAIT).unwrap()
}

#[test]
fn a_conversation_stays_with_the_server_that_answers() {
    let (dead, got_by_dead) = serve(Box::new(|_, _| vec![]));
    let (alive, got) = serve(Box::new(|number, request| {
        let mut packet = Packet::new(if number == 0 { Code::AccessChallenge } else { Code::AccessAccept });
        packet.push(AttributeType::EapMessage, &[1; 253]).push(AttributeType::EapMessage, &[2; 7]);
        packet.push(AttributeType::State, b"abc");
        if number == 1 {
            assert_eq!(request.packet.get(AttributeType::State).unwrap().value(), b"abc");
            packet.push(AttributeType::Class, b"staff").push(AttributeType::FramedIpAddress, &[10, 3, 0, 9]);
            mppe::tests::push_keys(&mut packet, &[1; 32], &[2; 32], &request.authenticator, &secret());
        }
        vec![packet.seal_response(request.identifier, &request.authenticator, &secret()).unwrap()]
    }));
    let radius = radius(&[dead, alive], "class_group = yes\n accounting = yes\n id_prefix = vpn-\n");
    let AaaAnswer::Challenge { packet, state } = question(&radius, true, b"") else { panic!("no challenge") };
    assert_eq!((packet.len(), state.as_slice()), (260, &b"abc"[..]));
    assert_eq!(got_by_dead.try_iter().count(), 2);
    let AaaAnswer::Accept(accept) = question(&radius, false, &state) else { panic!("no accept") };
    assert_eq!(got_by_dead.try_iter().count(), 0, "the first server has no part in it any more");
    assert_eq!(accept.msk.unwrap().as_bytes(), [[1; 32], [2; 32]].concat());
    assert_eq!(accept.groups, [Identity::parse("staff")]);
    let request = got.recv().unwrap();
    let request = Packet::parse(&request).unwrap().packet_unverified();
    let text = |kind| String::from_utf8_lossy(request.get(kind).unwrap().value()).into_owned();
    assert_eq!(text(AttributeType::UserName), "vpn-alice");
    assert_eq!(text(AttributeType::NasPortId), "gw");
    assert_eq!(text(AttributeType::NasIdentifier), "strongSwan");
    assert_eq!(text(AttributeType::CallingStationId), "192.0.2.1[4500]");
    assert!(text(AttributeType::AcctSessionId).ends_with("-7"));
    assert_eq!(request.get(AttributeType::NasIpAddress).unwrap().value(), [192, 0, 2, 2]);
    assert_eq!(request.attributes().first().unwrap().kind, AttributeType::MessageAuthenticator);
    assert_eq!(radius.granted.lock().len(), 1);
    radius.forget(UniqueId::new(7).unwrap());
    assert!(radius.granted.lock().is_empty() && radius.conversations.lock().is_empty());
}

#[test]
fn without_an_answer_there_is_none() {
    let (dead, _) = serve(Box::new(|_, _| vec![]));
    assert!(matches!(question(&radius(&[dead], ""), true, b""), AaaAnswer::Unavailable));
    assert!(matches!(question(&radius(&[], ""), true, b""), AaaAnswer::Unavailable));
}

#[test]
fn a_conversation_may_begin_with_the_servers_question() {
    let (port, got) = serve(Box::new(|_, request| vec![request.reply(Code::AccessReject, &secret())]));
    let radius = radius(&[port], "eap_start = yes\n station_id_with_port = no\n");
    assert!(matches!(question(&radius, true, b""), AaaAnswer::Reject));
    assert!(matches!(question(&radius, false, b""), AaaAnswer::Reject));
    let messages: Vec<_> = got
        .try_iter()
        .map(|bytes| Packet::parse(&bytes).unwrap().packet_unverified().joined(AttributeType::EapMessage))
        .collect();
    assert_eq!(messages, [vec![], vec![2, 1, 0, 4]]);
}

#[test]
fn a_reload_keeps_what_is_known_about_servers() {
    let (dead, _) = serve(Box::new(|_, _| vec![]));
    let radius = radius(&[dead], "");
    question(&radius, true, b"");
    let before = Arc::clone(&radius.servers.load()[0]);
    let text = |secret| {
        Settings::parse_str(&format!(
            "charon {{ plugins {{ eap-radius {{ class_group = yes\n retransmit_tries = 2\n retransmit_timeout = 0.2\n \
             servers {{ s0 {{ address = 127.0.0.1\n secret = {secret}\n auth_port = {dead}\n acct_port = {dead}\n preference = 900\n }} }} }} }} }}"
        ))
        .unwrap()
    };
    radius.reload(&text("secret"));
    assert!(Arc::ptr_eq(&before, &radius.servers.load()[0]) && radius.options.load().class_group);
    radius.reload(&text("other"));
    assert!(!Arc::ptr_eq(&before, &radius.servers.load()[0]));
}
