//! `charon.plugins.*`: what strongSwan has as plugins, each with its section.
//!
//! Here everything is built in. A section's `load = no` switches a feature off; sections of algorithm
//! implementations are accepted and have no effect.

mod authentication;
mod network;
mod operation;

use super::values::Kind;
use super::{Group, OptionSpec};

pub(super) const GROUPS: &[Group] = &[
    network::VICI,
    network::KERNEL_NETLINK,
    network::KERNEL_LIBIPSEC,
    network::SOCKET_DEFAULT,
    network::ATTR,
    network::RESOLVE,
    network::UPDOWN,
    network::OTHERS,
    authentication::EAP,
    authentication::RADIUS,
    authentication::CERTIFICATES,
    operation::LOAD_TESTER,
    operation::OTHERS,
    Group { prefix: "charon.plugins", file: "", options: BUILT_IN },
];

const NO_SHARED_OBJECT: &str = "it is built in, always";

const fn built_in(name: &'static str) -> OptionSpec {
    OptionSpec::new(name, Kind::Anything, "", "Sections of algorithms and formats.").inert(NO_SHARED_OBJECT)
}

const BUILT_IN: &[OptionSpec] = &[
    built_in("acert.**"),
    built_in("aes.**"),
    built_in("aesni.**"),
    built_in("af-alg.**"),
    built_in("agent.**"),
    built_in("bliss.**"),
    built_in("blowfish.**"),
    built_in("botan.**"),
    built_in("ccm.**"),
    built_in("chapoly.**"),
    built_in("cmac.**"),
    built_in("connmark.**"),
    built_in("constraints.**"),
    built_in("counters.**"),
    built_in("ctr.**"),
    built_in("curl.**"),
    built_in("curve25519.**"),
    built_in("des.**"),
    built_in("dnskey.**"),
    built_in("drbg.**"),
    built_in("fips-prf.**"),
    built_in("files.**"),
    built_in("gcm.**"),
    built_in("gcrypt.**"),
    built_in("gmp.**"),
    built_in("hmac.**"),
    built_in("kdf.**"),
    built_in("keychain.**"),
    built_in("ldap.**"),
    built_in("md4.**"),
    built_in("md5.**"),
    built_in("mgf1.**"),
    built_in("ml.**"),
    built_in("mysql.**"),
    built_in("newhope.**"),
    built_in("nonce.**"),
    built_in("ntru.**"),
    built_in("openssl.**"),
    built_in("padlock.**"),
    built_in("pem.**"),
    built_in("pgp.**"),
    built_in("pkcs1.**"),
    built_in("pkcs12.**"),
    built_in("pkcs7.**"),
    built_in("pkcs8.**"),
    built_in("pubkey.**"),
    built_in("random.**"),
    built_in("rc2.**"),
    built_in("rdrand.**"),
    built_in("selinux.**"),
    built_in("sha1.**"),
    built_in("sha2.**"),
    built_in("sha3.**"),
    built_in("soup.**"),
    built_in("sqlite.**"),
    built_in("sshkey.**"),
    built_in("test-vectors.**"),
    built_in("unbound.**"),
    built_in("winhttp.**"),
    built_in("wolfssl.**"),
    built_in("x509.**"),
    built_in("xcbc.**"),
];
