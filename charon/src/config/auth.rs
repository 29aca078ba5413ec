//! `local*` and `remote*`: a section of a `load-conn` message to an [`AuthRound`].

use ike::config::{AuthClass, AuthRound, EapMethod, Revocation};
use strongswan::log;
use vici::Message;

use super::LoadError;
use super::options::{ListOption, Options, ScalarOption, text_item};
use super::value::{self, Invalid};

/// Reads an authentication round.
pub(super) fn load(section: &Message) -> Result<AuthRound, LoadError> {
    let mut round = AuthRound::default();
    OPTIONS.apply(&mut round, section, |_, name, _| Err(LoadError::InvalidSection(name.to_owned())))?;
    Ok(round)
}

const REVOCATION: &[(&str, Revocation)] =
    &[("strict", Revocation::Strict), ("ifuri", Revocation::IfUri), ("relaxed", Revocation::Relaxed)];

/// EAP methods by name (RFC 3748 and IANA's registry).
const EAP_TYPES: &[(&str, u32)] = &[
    ("identity", 1),
    ("md5", 4),
    ("otp", 5),
    ("gtc", 6),
    ("tls", 13),
    ("sim", 18),
    ("ttls", 21),
    ("aka", 23),
    ("peap", 25),
    ("mschapv2", 26),
    ("tnc", 38),
    ("pt", 54),
];

/// Prefixes of public key authentication with constraints, in this case only.
const PUBKEY_PREFIXES: [&str; 4] = ["ike:", "pubkey", "rsa", "ecdsa"];

fn class(text: &str) -> Result<AuthClass, Invalid> {
    if PUBKEY_PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
        return Ok(AuthClass::Pubkey);
    }
    if text.eq_ignore_ascii_case("psk") {
        return Ok(AuthClass::Psk);
    }
    if let Some(rest) = strip_prefix(text, "xauth") {
        let backend = rest.strip_prefix('-').filter(|backend| !backend.is_empty());
        return Ok(AuthClass::Xauth(backend.map(str::to_owned)));
    }
    if let Some(rest) = strip_prefix(text, "eap") {
        let method = rest.split_once(':').map_or(rest, |(method, _)| method);
        return Ok(AuthClass::Eap(eap_method(method.strip_prefix('-').unwrap_or(method))));
    }
    Err(Invalid::Auth(text.to_owned()))
}

/// The rest of `text` behind a prefix in any case.
fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// `<type>[-<vendor>]`; what is unknown constrains nothing, as strongSwan has it, but is named in the log.
fn eap_method(text: &str) -> EapMethod {
    if text.is_empty() {
        return EapMethod::Any;
    }
    let (name, vendor) = text.split_once('-').unwrap_or((text, "0"));
    if name.eq_ignore_ascii_case("dynamic") {
        return EapMethod::Dynamic;
    }
    if name.eq_ignore_ascii_case("radius") {
        return EapMethod::Radius;
    }
    let named = EAP_TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, kind)| *kind);
    let kind = named.or_else(|| name.parse().ok().filter(|kind| *kind != 0));
    match (kind, vendor.parse()) {
        (Some(kind), Ok(vendor)) => EapMethod::Type { kind, vendor },
        _ => {
            log!(CFG, 1, "unknown EAP method: {text}");
            EapMethod::Any
        }
    }
}

/// A scalar that is one field of the round.
macro_rules! field {
    ($key:ident = $read:expr) => {
        ScalarOption {
            key: stringify!($key),
            set: |round: &mut AuthRound, text| {
                round.$key = $read(text)?;
                Ok(())
            },
        }
    };
}

fn some_id(text: &str) -> Result<Option<strongswan::identity::Identity>, Invalid> {
    value::identity_or_regex(text).map(Some)
}

const OPTIONS: Options<AuthRound> = Options {
    scalars: &[
        field!(round = value::uint32),
        ScalarOption {
            key: "auth",
            set: |round, text| {
                round.class = class(text)?;
                Ok(())
            },
        },
        field!(id = some_id),
        field!(eap_id = some_id),
        field!(aaa_id = some_id),
        field!(xauth_id = some_id),
        field!(ca_id = some_id),
        field!(revocation = |text| value::word(text, REVOCATION)),
    ],
    lists: &[
        ListOption {
            key: "groups",
            add: |round, item| {
                round.groups.push(text_item("groups", item, value::identity_or_regex)?);
                Ok(())
            },
        },
        ListOption {
            key: "cert_policy",
            add: |round, item| {
                round.cert_policies.push(text_item("cert_policy", item, |text| Ok(text.to_owned()))?);
                Ok(())
            },
        },
    ],
};

#[cfg(test)]
mod tests {
    use strongswan::identity::Identity;

    use super::*;

    #[test]
    fn classes_by_prefix() {
        for (text, expected) in [
            ("pubkey", AuthClass::Pubkey),
            ("rsa-2048-sha256", AuthClass::Pubkey),
            ("ike:ed25519-identity", AuthClass::Pubkey),
            ("PSK", AuthClass::Psk),
            ("xauth", AuthClass::Xauth(None)),
            ("XAuth-pam", AuthClass::Xauth(Some("pam".into()))),
            ("eap", AuthClass::Eap(EapMethod::Any)),
            ("eap-mschapv2", AuthClass::Eap(EapMethod::Type { kind: 26, vendor: 0 })),
            ("eap-7-4711", AuthClass::Eap(EapMethod::Type { kind: 7, vendor: 4711 })),
            ("EAP-TLS:ecdsa-384", AuthClass::Eap(EapMethod::Type { kind: 13, vendor: 0 })),
            ("eap-radius", AuthClass::Eap(EapMethod::Radius)),
            ("eap-dynamic", AuthClass::Eap(EapMethod::Dynamic)),
            ("eap-nonsense", AuthClass::Eap(EapMethod::Any)),
        ] {
            assert_eq!(class(text), Ok(expected), "{text}");
        }
        for text in ["any", "Pubkey", "ed25519", "", "pskx"] {
            assert_eq!(class(text), Err(Invalid::Auth(text.to_owned())));
        }
    }

    #[test]
    fn a_round_arrives() {
        let message = Message::new()
            .with("round", "2")
            .with("auth", "eap")
            .with("id", "fqdn:^.*\\.example\\.org$")
            .with("eap_id", "%any")
            .with("ca_id", "C=CH, CN=ca")
            .with("revocation", "Strict")
            .with_list("groups", ["staff", "admins"])
            .with_list("cert_policy", ["1.2.3"]);
        let round = load(&message).unwrap();
        assert_eq!((round.round, round.revocation), (2, Revocation::Strict));
        assert_eq!(round.eap_id, Some(Identity::any()));
        assert!(round.id.is_some_and(|id| id.contains_wildcards()));
        assert_eq!(round.groups, [Identity::parse("staff"), Identity::parse("admins")]);
        assert_eq!(round.cert_policies, ["1.2.3"]);
    }

    #[test]
    fn errors_name_option_or_section() {
        let error = |message: Message| load(&message).unwrap_err().to_string();
        assert_eq!(error(Message::new().with("auth", "any")), "invalid value for: auth, config discarded");
        assert_eq!(error(Message::new().with("id", "fqdn:^($")), "invalid value for: id, config discarded");
        assert_eq!(error(Message::new().with_list("id", ["a"])), "unknown option: id, config discarded");
        assert_eq!(error(Message::new().with_section("token", Message::new())), "invalid section: token");
    }
}
