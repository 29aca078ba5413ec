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

/// RFC 6989 §2: the all-zero and all-one values are outside of every group: not on a curve, not between 1 and p - 1.
#[test]
fn values_outside_of_the_group_are_rejected() {
    for method in supported() {
        let len = KeyExchange::generate(method).unwrap().public.len();
        let mut one = vec![0; len];
        one[len - 1] = 1;
        for peer in [vec![0; len], one, vec![0xff; len]] {
            if method == KeyExchangeMethod::Curve25519 && peer[0] == 0xff {
                continue; // RFC 7748 §5: non-canonical values are reduced, and this one is a good point.
            }
            assert_eq!(
                respond(method, &peer),
                Err(CryptoError::InvalidPublicValue(method)),
                "{method} {:02x?}",
                &peer[..4]
            );
        }
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
