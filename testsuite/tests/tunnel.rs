//! The main job, against everyone: load, initiate, traffic, rekey under traffic from each side, list, terminate.

use testsuite::Result;
use testsuite::config::Auth;
use testsuite::daemon::Make;
use testsuite::pki::KeyKind;
use testsuite::tunnel::{expires_by_packets, life, life_behind_nat, life_ipv6};

use Make::{Ours, StrongSwan};

macro_rules! scenarios {
    ($($name:ident: $scenario:ident($left:ident, $right:ident, $auth:expr);)*) => {
        $(#[test]
        fn $name() -> Result<()> {
            $scenario(($left, $right), $auth)
        })*
    };
}

scenarios! {
    harness_strongswan_both_sides: life(StrongSwan, StrongSwan, Auth::Psk);

    psk_ours_to_ours: life(Ours, Ours, Auth::Psk);
    psk_ours_to_strongswan: life(Ours, StrongSwan, Auth::Psk);
    psk_strongswan_to_ours: life(StrongSwan, Ours, Auth::Psk);

    ecdsa_ours_to_ours: life(Ours, Ours, Auth::Certificate(KeyKind::EcdsaP256));
    ecdsa_ours_to_strongswan: life(Ours, StrongSwan, Auth::Certificate(KeyKind::EcdsaP256));
    ecdsa_strongswan_to_ours: life(StrongSwan, Ours, Auth::Certificate(KeyKind::EcdsaP256));
    ecdsa384_ours_to_strongswan: life(Ours, StrongSwan, Auth::Certificate(KeyKind::EcdsaP384));
    rsa_ours_to_strongswan: life(Ours, StrongSwan, Auth::Certificate(KeyKind::Rsa2048));
    rsa_strongswan_to_ours: life(StrongSwan, Ours, Auth::Certificate(KeyKind::Rsa2048));
    ed25519_ours_to_strongswan: life(Ours, StrongSwan, Auth::Certificate(KeyKind::Ed25519));
    ed25519_strongswan_to_ours: life(StrongSwan, Ours, Auth::Certificate(KeyKind::Ed25519));

    raw_key_ours_to_ours: life(Ours, Ours, Auth::RawKey(KeyKind::EcdsaP256));
    raw_key_ours_to_strongswan: life(Ours, StrongSwan, Auth::RawKey(KeyKind::EcdsaP256));
    raw_key_strongswan_to_ours: life(StrongSwan, Ours, Auth::RawKey(KeyKind::EcdsaP256));

    ipv6_ours_to_ours: life_ipv6(Ours, Ours, Auth::Psk);
    ipv6_ours_to_strongswan: life_ipv6(Ours, StrongSwan, Auth::Psk);
    ipv6_strongswan_to_ours: life_ipv6(StrongSwan, Ours, Auth::Psk);

    packets_ours_to_ours: expires_by_packets(Ours, Ours, Auth::Psk);
    packets_ours_to_strongswan: expires_by_packets(Ours, StrongSwan, Auth::Psk);

    nat_ours_to_ours: life_behind_nat(Ours, Ours, Auth::Psk);
    nat_ours_to_strongswan: life_behind_nat(Ours, StrongSwan, Auth::Psk);
    nat_strongswan_to_ours: life_behind_nat(StrongSwan, Ours, Auth::Psk);
    nat_ecdsa_ours_to_strongswan: life_behind_nat(Ours, StrongSwan, Auth::Certificate(KeyKind::EcdsaP256));
    nat_ecdsa_strongswan_to_ours: life_behind_nat(StrongSwan, Ours, Auth::Certificate(KeyKind::EcdsaP256));
}
