//! Algorithms of the IKE_SA and of CHILD_SAs.

use ike::Input;
use ike::explain::Topic;
use strongswan::crypto::{KeyExchangeMethod, Proposal, Protocol};

use crate::case::{Remedy, Side, World};
use crate::config::Config;
use crate::host::Datagram;

cases! {
    another_key_exchange: {
        left: &[("connections.gw.proposals", "aes128-sha256-modp2048")],
        right: &[("connections.gw.proposals", "aes256-sha384-ecp384, aes128-sha256-ecp256")],
        topic: Topic::Proposal,
        text: "IKE_SA_INIT with 192.0.2.1 failed, we refused it with NO_PROPOSAL_CHOSEN",
        line: "connections.gw.proposals: we have aes128-sha256-ecp256, the peer has aes128-sha256-modp2048 (no \
            common key exchange); add aes128-sha256-modp2048 to connections.gw.proposals",
    }
    another_cipher: {
        left: &[("connections.gw.proposals", "aes256-sha256-x25519")],
        topic: Topic::Proposal,
        text: "IKE_SA_INIT with 192.0.2.1 failed, we refused it with NO_PROPOSAL_CHOSEN",
        line: "connections.gw.proposals: we have aes128-sha256-x25519, the peer has aes256-sha256-x25519 (no common \
            encryption); add aes256-sha256-x25519 to connections.gw.proposals",
    }
    another_hash: {
        left: &[("connections.gw.proposals", "aes128-sha512-x25519")],
        topic: Topic::Proposal,
        text: "IKE_SA_INIT with 192.0.2.1 failed, we refused it with NO_PROPOSAL_CHOSEN",
        line: "connections.gw.proposals: we have aes128-sha256-x25519, the peer has aes128-sha512-x25519 (no common \
            PRF, integrity); add aes128-sha512-x25519 to connections.gw.proposals",
    }
    an_aead_for_a_classic_cipher: {
        left: &[("connections.gw.proposals", "aes128gcm16-prfsha256-x25519")],
        topic: Topic::Proposal,
        text: "IKE_SA_INIT with 192.0.2.1 failed, we refused it with NO_PROPOSAL_CHOSEN",
        line: "connections.gw.proposals: we have aes128-sha256-x25519, the peer has aes128gcm16-prfsha256-x25519 (no \
            common encryption); add aes128gcm16-prfsha256-x25519 to connections.gw.proposals",
    }
    the_peer_has_only_what_we_cannot_do: {
        left: &[("connections.gw.proposals", "serpent128-sha256-x25519")],
        topic: Topic::Proposal,
        remedy: Remedy::Changes(&[("connections.gw.proposals", "aes128-sha256-x25519")], &[]),
        text: "IKE_SA_INIT with 192.0.2.1 failed, we refused it with NO_PROPOSAL_CHOSEN",
        line: "connections.gw.proposals: we have aes128-sha256-x25519, the peer has serpent128-sha256-x25519 (no \
            common encryption); offer other algorithms on the peer: these are not supported here",
    }
    the_initiator_hears_only_that_none_was_chosen: {
        left: &[("connections.gw.proposals", "3des-sha1-modp1024")],
        right: &[("connections.gw.proposals", "default")],
        by: Side::Left,
        topic: Topic::Proposal,
        text: "IKE_SA_INIT with 192.0.2.2 failed, the peer refused it with NO_PROPOSAL_CHOSEN",
        line: "connections.gw.proposals: we have 3des-sha1-modp1024 (the peer has none of these, or no connection \
            for 192.0.2.1); add default to connections.gw.proposals",
    }
    the_responder_insists_on_a_key_exchange_we_have_not: {
        left: &[("connections.gw.proposals", "aes128-sha256-x25519")],
        right: &[("connections.gw.proposals", "aes128-sha256-modp2048")],
        by: Side::Left,
        topic: Topic::Proposal,
        remedy: Remedy::Changes(&[("connections.gw.proposals", "aes128-sha256-x25519, aes128-sha256-modp2048")], &[]),
        text: "IKE_SA_INIT with 192.0.2.2 failed, the peer refused it with NO_PROPOSAL_CHOSEN",
        line: "connections.gw.proposals: we have aes128-sha256-x25519 (the peer has none of these, or no connection \
            for 192.0.2.1); add default to connections.gw.proposals",
    }
    another_cipher_for_esp: {
        left: &[("connections.gw.children.net.esp_proposals", "aes256-sha256")],
        topic: Topic::Proposal,
        text: "CHILD_SA with 192.0.2.1 failed, we refused it with NO_PROPOSAL_CHOSEN",
        line: "connections.gw.children.net.esp_proposals: we have aes128gcm16, the peer has aes256-sha256 (no common \
            encryption, integrity); add aes256-sha256 to connections.gw.children.net.esp_proposals",
    }
    extended_sequence_numbers_on_one_side: {
        left: &[("connections.gw.children.net.esp_proposals", "aes128gcm16-esn")],
        topic: Topic::Proposal,
        text: "CHILD_SA with 192.0.2.1 failed, we refused it with NO_PROPOSAL_CHOSEN",
        line: "connections.gw.children.net.esp_proposals: we have aes128gcm16, the peer has aes128gcm16-esn (no \
            common extended sequence numbers); add aes128gcm16-esn to \
            connections.gw.children.net.esp_proposals",
    }
    ah_for_esp: {
        left: &[
            ("connections.gw.children.net.esp_proposals", "-"),
            ("connections.gw.children.net.ah_proposals", "sha256"),
        ],
        right: &[("connections.gw.children.net.esp_proposals", "aes128gcm16")],
        topic: Topic::Proposal,
        remedy: Remedy::None,
        text: "CHILD_SA with 192.0.2.1 failed, we refused it with NO_PROPOSAL_CHOSEN",
        line: "connections.gw.children.net.ah_proposals: we have ESP proposals only, the peer has sha256; add sha256 \
            to connections.gw.children.net.ah_proposals",
    }
    the_initiator_of_a_child_hears_only_that_none_was_chosen: {
        left: &[("connections.gw.children.net.esp_proposals", "3des-sha1")],
        right: &[("connections.gw.children.net.esp_proposals", "default")],
        by: Side::Left,
        topic: Topic::Proposal,
        text: "CHILD_SA with 192.0.2.2 failed, the peer refused it with NO_PROPOSAL_CHOSEN",
        line: "connections.gw.children.net.esp_proposals: we have 3des-sha1 (the peer has none of these); add \
            default to connections.gw.children.net.esp_proposals",
    }
}

/// Perfect forward secrecy on one side goes unnoticed until the CHILD_SA is rekeyed: IKE_AUTH has no key exchange for it.
#[test]
fn a_key_exchange_that_only_one_side_wants_shows_at_the_first_rekeying() {
    let mut left = Config::gateway("left", "right");
    let right = Config::gateway("right", "left");
    left.change(&[("connections.gw.children.net.esp_proposals", "aes128gcm16-x25519")]);
    let rekeyed = |left: &Config, right: &Config| {
        let mut world = World::new(left, right);
        world.attempt(Some("net"));
        world.assert_success(true);
        let ike = world.hosts[0].sas[0].unique_id();
        let child = world.hosts[0].sas[0].snapshot().children[0].unique_id;
        let now = world.now;
        world.hosts[0].input(now, ike, Input::RekeyChild { child });
        world.run(std::time::Duration::from_secs(5));
        world
    };
    let world = rekeyed(&left, &right);
    assert_eq!(
        world.mismatches(Side::Right),
        ["connections.gw.children.net.esp_proposals: we have aes128gcm16, the peer has aes128gcm16-x25519 (no common \
          key exchange); add aes128gcm16-x25519 to connections.gw.children.net.esp_proposals"]
    );
    assert_eq!(
        world.mismatches(Side::Left),
        ["connections.gw.children.net.esp_proposals: we have aes128gcm16-x25519 (the peer has none of these); add \
          default to connections.gw.children.net.esp_proposals"]
    );
    let mut fixed = right.clone();
    assert!(fixed.follow(&world.explanation(Side::Right).mismatches[0]));
    let world = rekeyed(&left, &fixed);
    assert!(world.hosts.iter().all(|host| host.explanations.is_empty()));
}

/// Somebody answers in the peer's place and demands a key exchange that we do not offer.
#[test]
fn a_key_exchange_is_demanded_that_we_do_not_offer() {
    let (mut left, mut right) = (Config::gateway("left", "right"), Config::gateway("right", "left"));
    let mut world = World::new(&left, &right);
    let now = world.now;
    world.hosts[0].initiate(now, Some("net"));
    let request = world.hosts[0].sends().unwrap();
    let (header, _) = ike::wire::Header::parse(&request.data).unwrap();
    let mut answer = ike::wire::Message::new(header.reply());
    answer.push(ike::wire::Notify::invalid_ke(KeyExchangeMethod::Modp2048));
    let data = answer.encode_plain().unwrap();
    world.hosts[0].receive(now, Datagram { from: request.to, to: request.from, data });
    assert_eq!(
        world.mismatches(Side::Left),
        [
            "connections.gw.proposals: we have aes128-sha256-x25519, the peer has MODP_2048 (the key exchange that the peer \
          requires); add aes128-sha256-modp2048 to connections.gw.proposals"
        ]
    );
    assert!(left.follow(&world.explanation(Side::Left).mismatches[0]));
    right.change(&[("connections.gw.proposals", "aes128-sha256-modp2048")]);
    let mut world = World::new(&left, &right);
    world.attempt(Some("net"));
    world.assert_success(true);
}

/// The answer is not one of the proposals we offered: the peer makes up its own.
#[test]
fn the_peer_chooses_what_was_not_offered() {
    let (left, right) = (Config::gateway("left", "right"), Config::gateway("right", "left"));
    let mut world = World::new(&left, &right);
    let now = world.now;
    world.hosts[0].initiate(now, Some("net"));
    let request = world.hosts[0].sends().unwrap();
    let Ok(ike::wire::Received::Plain(message)) = ike::wire::parse(&request.data) else { panic!("not a request") };
    let mut answer = ike::wire::Message::new(message.header.reply());
    answer.header.responder_spi = Some(ike::ids::IkeSpi::new([7; 8]).unwrap());
    let chosen = Proposal::parse(Protocol::Ike, "aes256-sha256-x25519").unwrap();
    answer.push(ike::wire::Sa::choice(1, chosen, ike::wire::SpiField::NONE));
    answer.push(message.ke().unwrap().clone());
    answer.push(message.nonce().unwrap().clone());
    let data = answer.encode_plain().unwrap();
    world.hosts[0].receive(now, Datagram { from: request.to, to: request.from, data });
    assert_eq!(
        world.mismatches(Side::Left),
        ["connections.gw.proposals: we have aes128-sha256-x25519, the peer has aes256-sha256-x25519 (no common \
          encryption); add aes256-sha256-x25519 to connections.gw.proposals"]
    );
}
