//! Properties of all methods; published vectors are in `crypto/vectors`.

use super::*;

fn supported() -> impl Iterator<Item = KeyExchangeMethod> {
    KeyExchangeMethod::ALL.iter().copied().filter(|method| is_supported(*method))
}

#[test]
fn both_sides_get_the_same_secret() {
    for method in supported() {
        let initiator = KeyExchange::generate(method).unwrap();
        assert_eq!(initiator.method(), method);
        let (public, secret) = respond(method, initiator.public_value()).unwrap();
        assert_eq!(initiator.agree(&public).unwrap(), secret, "{method}");
        assert!(secret.len() >= 16);
    }
}

#[test]
fn values_of_the_wrong_length_are_rejected() {
    for method in supported() {
        let public = KeyExchange::generate(method).unwrap().public.clone();
        let mut longer = public.clone();
        longer.push(0);
        for peer in [&[][..], &public[1..], &public[..public.len() - 1], &longer] {
            assert_eq!(respond(method, peer), Err(CryptoError::InvalidPublicValue(method)), "{method} {}", peer.len());
            let ours = KeyExchange::generate(method).unwrap();
            assert_eq!(ours.agree(peer), Err(CryptoError::InvalidPublicValue(method)));
        }
    }
}

/// RFC 6989 §2: the all-zero and all-one values are outside of every group: not on a curve, not between 1 and p - 1; and
/// as an ML-KEM key, all ones has coefficients that are not reduced. X25519 takes any value but those of small order.
#[test]
fn values_outside_of_the_group_are_rejected() {
    for method in supported().filter(|method| *method != KeyExchangeMethod::Curve25519) {
        let len = KeyExchange::generate(method).unwrap().public.len();
        let mut one = vec![0; len];
        one[len - 1] = 1;
        let small = if method.to_string().starts_with("ML_KEM") { vec![] } else { vec![vec![0; len], one] };
        for peer in small.into_iter().chain([vec![0xff; len]]) {
            assert_eq!(
                respond(method, &peer),
                Err(CryptoError::InvalidPublicValue(method)),
                "{method} {:02x?}",
                &peer[..4]
            );
        }
    }
}

/// The points of order 1, 2, 4 and 8, and their non-canonical forms (<https://cr.yp.to/ecdh.html#validate>).
#[test]
fn x25519_values_of_small_order_are_rejected() {
    for (first, middle, last) in [(0, 0, 0), (1, 0, 0), (0xec, 0xff, 0x7f), (0xed, 0xff, 0x7f), (0xee, 0xff, 0x7f)] {
        let mut peer = [middle; 32];
        (peer[0], peer[31]) = (first, last);
        let method = KeyExchangeMethod::Curve25519;
        assert_eq!(respond(method, &peer), Err(CryptoError::InvalidPublicValue(method)), "{first:02x}");
    }
    for peer in [
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ] {
        let peer = hex::decode(peer).unwrap();
        let ours = KeyExchange::generate(KeyExchangeMethod::Curve25519).unwrap();
        assert!(ours.agree(&peer).is_err());
    }
}

#[test]
fn unsupported_methods_are_named() {
    for method in [KeyExchangeMethod::None, KeyExchangeMethod::Curve448, KeyExchangeMethod::Unknown(4711)] {
        assert!(!is_supported(method));
        assert_eq!(KeyExchange::generate(method).unwrap_err(), CryptoError::UnsupportedKeyExchange(method));
        assert_eq!(respond(method, &[]), Err(CryptoError::UnsupportedKeyExchange(method)));
    }
}
