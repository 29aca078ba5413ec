//! A server without anything around it, and rubbish for both ends.

use std::path::Path;

use proptest::prelude::*;

use super::super::fuzzing::{client, server, tls, with_context};
use super::super::method::{Context, ServerMethod, ServerStep};
use super::super::packet::{MethodType, Packet};
use super::super::wait::{Answer, Wait};
use super::crypto::{Challenge, nt_password_hash, nt_response};
use super::message::{self, Message};
use crate::wire::EapType;

fn data(step: ServerStep) -> Vec<u8> {
    match step {
        ServerStep::Request(data) => data,
        other => panic!("{other:?}"),
    }
}

/// The server's step for this message of the client.
fn send(server: &mut Box<dyn ServerMethod>, context: &mut Context<'_>, data: &[u8]) -> ServerStep {
    let method = MethodType::ietf(EapType::MsChapV2);
    server.process(context, &Packet { identifier: 1, method, data, whole: data, expanded: false })
}

/// The response of alice to a challenge.
fn response(id: u8, challenge: &Challenge, password: &[u8]) -> Vec<u8> {
    let own = [3; 16];
    let response = nt_response(&nt_password_hash(password), &own, challenge, b"alice").unwrap();
    message::response(id, &own, &response, b"alice")
}

/// The challenge of the first message, or that for another try.
fn challenge_in(data: &[u8]) -> (u8, Challenge) {
    match Message::parse(data).unwrap() {
        Message::Challenge { id, challenge, .. } => (id, challenge),
        Message::Failure { text } => {
            let text = std::str::from_utf8(text).unwrap();
            let hex = text.split(' ').find_map(|token| token.strip_prefix("C=")).unwrap();
            (data[1], hex::decode(hex).unwrap().try_into().unwrap())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_password_may_be_tried_again() {
    // the number of another try is the same, the next one, or anything
    for step in [0, 1, 9] {
        with_context(|context| {
            let mut server = super::server(context).unwrap();
            let (id, challenge) = challenge_in(&data(server.start(context)));
            let wrong = response(id, &challenge, b"wrong");
            let ServerStep::Wait(Wait::For(_)) = send(&mut server, context, &wrong) else { panic!() };
            let (id, challenge) = challenge_in(&data(server.answered(context, Answer::Elapsed)));
            let right = response(id.wrapping_add(step), &challenge, b"secret");
            let success = data(send(&mut server, context, &right));
            assert!(matches!(Message::parse(&success), Some(Message::Success { .. })));
            let ServerStep::Success(outcome) = send(&mut server, context, &message::success_response()) else {
                panic!()
            };
            assert_eq!(outcome.identity.map(|id| id.to_string()), Some("alice".into()));
            assert!(outcome.msk.is_some() && !outcome.mutual);
        });
    }
}

#[test]
fn but_not_for_ever() {
    with_context(|context| {
        let mut server = super::server(context).unwrap();
        let mut request = data(server.start(context));
        for _ in 0..2 {
            let (id, challenge) = challenge_in(&request);
            let ServerStep::Wait(_) = send(&mut server, context, &response(id, &challenge, b"wrong")) else { panic!() };
            // a response that comes before the answer is not looked at
            request = data(server.answered(context, Answer::Elapsed));
        }
        let (id, challenge) = challenge_in(&request);
        let last = send(&mut server, context, &response(id, &challenge, b"wrong"));
        assert!(matches!(last, ServerStep::Failed));
    });
}

#[test]
fn nothing_else_is_a_proof() {
    // in each state, whatever is not due ends the method
    for bad in [message::success_response(), vec![4], vec![], message::challenge(1, &[0; 16], b"x"), vec![3, 0, 0, 4]] {
        with_context(|context| {
            let mut server = super::server(context).unwrap();
            let (id, challenge) = challenge_in(&data(server.start(context)));
            assert!(matches!(send(&mut server, context, &bad), ServerStep::Failed), "{bad:?}");
            let mut server = super::server(context).unwrap();
            server.start(context);
            data(send(&mut server, context, &response(id, &challenge, b"secret")));
            if bad != message::success_response() && bad != [3, 0, 0, 4] {
                assert!(matches!(send(&mut server, context, &bad), ServerStep::Failed), "{bad:?}");
            }
            // an answer nobody waits for
            assert!(matches!(super::server(context).unwrap().answered(context, Answer::Elapsed), ServerStep::Failed));
        });
    }
}

#[test]
fn a_response_that_names_nobody_is_a_wrong_one() {
    with_context(|context| {
        let mut server = super::server(context).unwrap();
        let (id, _) = challenge_in(&data(server.start(context)));
        for name in [&b""[..], b"%any", b"*", b"nobody"] {
            let mut server = super::server(context).unwrap();
            server.start(context);
            let step = send(&mut server, context, &message::response(id, &[0; 16], &[0; 24], name));
            assert!(matches!(step, ServerStep::Wait(_)), "{name:?}");
        }
    });
}

/// A fuzz target.
type Target = fn(&[u8]);

/// The seeds of a fuzz target.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testsuite/fuzz/corpus").join(target);
    std::fs::read_dir(dir).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// The fuzz targets with seeds that are changed here and there, so that they cannot rot.
    #[test]
    fn rubbish_is_survived(index in any::<prop::sample::Index>(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut in any::<prop::sample::Index>()) {
        let targets: [(&str, Target); 3] = [("eap_client", client), ("eap_server", server), ("eap_tls", tls)];
        for (target, run) in targets {
            let seeds = corpus(target);
            let mut data = index.get(&seeds).clone();
            for (at, value) in &changes {
                let at = at.index(data.len());
                data[at] = *value;
            }
            run(&data);
            data.truncate(cut.index(data.len() + 1));
            run(&data);
        }
    }
}
