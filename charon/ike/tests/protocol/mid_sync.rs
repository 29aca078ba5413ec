//! Message IDs after the failover of a cluster (RFC 6311): the new member asks, we answer and go on from there.

use std::time::Duration;

use ike::wire::{ExchangeType, Header, HeaderFlags, MessageId, MessageIdSync, Notify, NotifyType, Payload};
use ike::{IkeSaState, Input};

use crate::sim::net::{Conditions, Datagram, Fate};
use crate::sim::{A, B, Sim, seed_of_environment};

fn header(sim: &Sim, id: u32, exchange: ExchangeType) -> Header {
    Header { exchange, flags: HeaderFlags::empty(), message_id: MessageId(id), ..sim.sent[3].header().unwrap() }
}

/// A request from the new member of the cluster B to A; returns what A sends.
fn request(sim: &mut Sim, id: u32, payloads: &[Payload]) -> Vec<Datagram> {
    let header = header(sim, id, ExchangeType::Informational);
    let from = sim.sent[3].clone();
    sim.deliver_instead(from, header, payloads)
}

fn sync(send: u32, receive: u32) -> MessageIdSync {
    MessageIdSync { nonce: *b"once", send: MessageId(send), receive: MessageId(receive) }
}

fn ask(sim: &mut Sim, sync: &MessageIdSync) -> Vec<Datagram> {
    request(sim, 0, &[Notify::message_id_sync(sync).into()])
}

/// What an answer says.
#[track_caller]
fn answer(sim: &mut Sim, datagram: &Datagram) -> MessageIdSync {
    let header = datagram.header().unwrap();
    assert!(header.is_response());
    assert_eq!(header.message_id, MessageId::ZERO);
    let payloads = sim.payloads(datagram);
    let [Payload::Notify(notify)] = payloads.as_slice() else { panic!("{payloads:?}") };
    notify.read_message_id_sync().unwrap()
}

fn established() -> Sim {
    let mut sim = Sim::pair();
    sim.establish();
    // the member that failed had sent three requests
    for id in 0..3 {
        assert_eq!(request(&mut sim, id, &[]).len(), 1);
    }
    sim.net.clear();
    sim
}

#[test]
fn both_sides_announce_it() {
    let mut sim = Sim::pair();
    sim.initiate(A);
    for index in [2, 3] {
        assert!(sim.run_until(Duration::from_secs(1), |sim| sim.sent.len() == index + 1));
        let datagram = sim.sent[index].clone();
        let found = sim.payloads(&datagram).into_iter().any(|payload| match payload {
            Payload::Notify(notify) => notify.kind == NotifyType::Ikev2MessageIdSyncSupported,
            _ => false,
        });
        assert!(found, "message {index}");
    }
}

#[test]
fn the_cluster_goes_on_where_it_wants() {
    let mut sim = established();
    let answers = ask(&mut sim, &sync(7, 9));
    assert_eq!(answer(&mut sim, &answers[0]), sync(9, 7));
    sim.assert(sim.trace.contains("responder requested MID sync: initiating 9[2], responding 7[3]"), "log");
    // its next request has 7, and no other counts
    for id in [2, 3, 6, 8] {
        assert!(request(&mut sim, id, &[]).is_empty(), "{id}");
    }
    assert_eq!(request(&mut sim, 7, &[]).len(), 1);
    // and ours has 9
    let before = sim.sent.len();
    sim.input(A, Input::RekeyIke);
    assert_eq!(sim.sent[before].header().unwrap().message_id, MessageId(9));
}

#[test]
fn what_we_know_better_counts() {
    let mut sim = established();
    let answers = ask(&mut sim, &sync(3, 0));
    assert_eq!(answer(&mut sim, &answers[0]), sync(2, 3));
    assert_eq!(request(&mut sim, 3, &[]).len(), 1);
}

#[test]
fn the_first_request_may_be_one_too() {
    // The peer has not sent any request of its own yet, so that 0 is due.
    let mut sim = Sim::pair();
    sim.establish();
    let answers = ask(&mut sim, &sync(0, 2));
    assert_eq!(answer(&mut sim, &answers[0]), sync(2, 0));
    assert_eq!(request(&mut sim, 0, &[]).len(), 1, "still due");
}

#[test]
fn a_repeated_question_gets_the_same_answer_and_changes_nothing() {
    let mut sim = established();
    let first = ask(&mut sim, &sync(7, 9));
    sim.input(A, Input::RekeyIke);
    let second = ask(&mut sim, &sync(7, 9));
    assert_eq!(first, second);
    assert_eq!(sim.trace.count("responder requested MID sync"), 1);
    assert_eq!(request(&mut sim, 7, &[]).len(), 1);
}

#[test]
fn earlier_questions_change_nothing_either() {
    // The cluster fails twice, and somebody plays both of its questions again and again, each after the other.
    let mut sim = established();
    let questions = [*b"once", *b"more"].map(|nonce| MessageIdSync { nonce, ..sync(7, 9) });
    let header = header(&sim, 0, ExchangeType::Informational);
    let forged = questions.map(|question| {
        let payloads = [Notify::message_id_sync(&question).into()];
        let from = sim.sent[3].clone();
        sim.forge(from, header, &payloads)
    });
    for question in &forged {
        sim.deliver(question.clone());
    }
    sim.net.clear();
    let before = sim.sent.len();
    sim.input(A, Input::RekeyIke);
    assert_eq!(sim.sent[before].header().unwrap().message_id, MessageId(9));
    let before = sim.sent.len();
    for question in forged.iter().cycle().take(10) {
        sim.deliver(question.clone());
    }
    assert!(sim.sent[before..].iter().all(|datagram| datagram.header().unwrap().is_response()));
    assert_eq!(sim.trace.count("responder requested MID sync"), 2);
    // who fails without end is not listened to without end
    for n in 0..40_u32 {
        ask(&mut sim, &MessageIdSync { nonce: n.to_be_bytes(), ..sync(7, 9) });
    }
    assert_eq!(sim.trace.count("responder requested MID sync"), 16);
}

#[test]
fn an_old_question_is_ignored() {
    let mut sim = established();
    assert!(ask(&mut sim, &sync(2, 9)).is_empty());
    sim.assert(sim.trace.contains("received MID sync for message ID 2, expected 3, ignored"), "log");
    assert_eq!(request(&mut sim, 3, &[]).len(), 1, "the message ID is not used up");
}

#[test]
fn the_request_in_the_air_is_sent_again() {
    let mut sim = established();
    sim.net.script(|_| Fate::Drop);
    let before = sim.sent.len();
    sim.input(A, Input::RekeyIke);
    assert_eq!(sim.sent[before].header().unwrap().message_id, MessageId(2));
    sim.net.unscript();
    let answers = ask(&mut sim, &sync(3, 2));
    assert_eq!(answer(&mut sim, &answers[0]), sync(3, 3), "2 may have been seen");
    let again = answers[1].header().unwrap();
    assert_eq!((again.message_id, again.exchange), (MessageId(3), ExchangeType::CreateChildSa));
    let (first, second) = (sim.sent[before].clone(), answers[1].clone());
    assert_eq!(sim.payloads(&first), sim.payloads(&second));
    assert!(request(&mut sim, 2, &[]).is_empty());
    assert_eq!(sim.hosts[A].sas[0].state(), IkeSaState::Rekeying);
}

#[test]
fn nothing_else_comes_out_of_sequence() {
    let mut sim = established();
    let sync = Payload::Notify(Notify::message_id_sync(&sync(7, 9)));
    let delete = Payload::Delete(ike::wire::Delete::Ike);
    for payloads in [
        &[][..],
        std::slice::from_ref(&delete),
        &[sync.clone(), delete.clone()],
        &[sync.clone(), Notify::new(NotifyType::InitialContact).into()],
        &[Notify::with_data(NotifyType::Ikev2MessageIdSync, b"short").into()],
        &[Notify::new(NotifyType::IpsecReplayCounterSync).into()],
    ] {
        assert!(request(&mut sim, 0, payloads).is_empty(), "{payloads:?}");
    }
    // what breaks the rules is not answered either
    let header = header(&sim, 0, ExchangeType::Informational);
    let from = sim.sent[3].clone();
    assert!(sim.deliver_instead(from, header, &vec![sync.clone(); 30]).is_empty());
    // nor in other exchanges, nor with other message IDs
    for (id, exchange) in [(0, ExchangeType::CreateChildSa), (1, ExchangeType::Informational)] {
        let header = self::header(&sim, id, exchange);
        let from = sim.sent[3].clone();
        assert!(sim.deliver_instead(from, header, std::slice::from_ref(&sync)).is_empty());
    }
    assert_eq!(request(&mut sim, 3, &[]).len(), 1, "as if nothing had happened");
    sim.assert_established(1, 1);
    // with replay counters, which are not ours to set, it is
    let both = [sync, Notify::new(NotifyType::IpsecReplayCounterSync).into()];
    assert_eq!(request(&mut sim, 0, &both).len(), 1);
}

#[test]
fn only_with_peers_that_announced_it() {
    let mut sim = Sim::pair();
    sim.initiate(A);
    assert!(sim.run_until(Duration::from_secs(1), |sim| sim.sent.len() == 4));
    sim.net.clear();
    let response = sim.sent[3].clone();
    let mut payloads = sim.payloads(&response);
    payloads
        .retain(|payload| !matches!(payload, Payload::Notify(n) if n.kind == NotifyType::Ikev2MessageIdSyncSupported));
    let header = response.header().unwrap();
    sim.deliver_instead(response, header, &payloads);
    for id in 0..3 {
        assert_eq!(request(&mut sim, id, &[]).len(), 1);
    }
    assert!(ask(&mut sim, &sync(7, 9)).is_empty());
    assert_eq!(request(&mut sim, 3, &[]).len(), 1);
}

#[test]
fn rekeyed_ike_sas_understand_it_too() {
    let mut sim = Sim::pair();
    sim.establish();
    sim.input(A, Input::RekeyIke);
    sim.settle();
    let sa = &sim.hosts[B].sas[0];
    let id = sa.id();
    let header = Header {
        initiator_spi: id.initiator,
        responder_spi: id.responder,
        ..header(&sim, 0, ExchangeType::Informational)
    };
    let datagram = sim.sent[3].clone();
    // the datagram only says which IKE_SA it is about
    let mut data = datagram.data.clone();
    data[..8].copy_from_slice(&id.initiator.to_bytes());
    let answers =
        sim.deliver_instead(Datagram { data, ..datagram }, header, &[Notify::message_id_sync(&sync(4, 6)).into()]);
    assert_eq!(answer(&mut sim, &answers[0]), sync(6, 4));
}

#[test]
fn over_a_bad_network() {
    // Questions come twice, late and out of order; what counts is that both sides mean the same at the end.
    let (seeds, traced) = match seed_of_environment() {
        Some(seed) => (seed..seed + 1, true),
        None => (0..100, false),
    };
    for seed in seeds {
        let mut sim = Sim::with_seed(seed, traced);
        sim.establish();
        sim.net.conditions = Conditions::BAD;
        let mut due = 0;
        for round in 0..10 {
            let step = u32::try_from(sim.below(3)).unwrap();
            let question = MessageIdSync { nonce: [round; 4], ..sync(due + step, 2) };
            let copies = 1 + sim.below(3);
            for _ in 0..copies {
                let answers = ask(&mut sim, &question);
                assert_eq!(
                    answer(&mut sim, &answers[0]),
                    MessageIdSync { send: MessageId(2), receive: question.send, ..question }
                );
            }
            due += step;
            if sim.below(2) == 0 {
                assert_eq!(request(&mut sim, due, &[]).len(), 1, "seed {seed}");
                due += 1;
            }
        }
    }
}
