//! `local*` and `remote*`: a section of a `load-conn` message to an [`AuthRound`].

use std::sync::Arc;

use ike::config::{AuthRound, Revocation};
use strongswan::credentials::{Auth, AuthOptions, Certificate, PublicKey};
use strongswan::identity::Identity;
use strongswan::log;
use vici::Message;

use super::options::{ListOption, Options, ScalarOption, field, text_item};
use super::value::{self, Invalid};
use super::{LoadError, certificate};

/// A round while its section is read.
#[derive(Default)]
struct Draft {
    round: AuthRound,
    /// Parsed last, since it depends on settings.
    auth: Option<String>,
}

/// Reads an authentication round.
pub(super) fn load(section: &Message, options: AuthOptions) -> Result<AuthRound, LoadError> {
    let mut draft = Draft::default();
    OPTIONS.apply(&mut draft, section, |draft, name, section| {
        // "cacert" is no prefix of "cert" nor the other way round, so the order does not matter
        if value::starts_with(name, "cacert") {
            draft.round.cacerts.push(certificate::load(name, section)?);
        } else if value::starts_with(name, "cert") {
            draft.round.certs.push(certificate::load(name, section)?);
        } else {
            return Err(LoadError::InvalidSection(name.to_owned()));
        }
        Ok(())
    })?;
    draft.finish(options)
}

impl Draft {
    fn finish(mut self, options: AuthOptions) -> Result<AuthRound, LoadError> {
        if let Some(text) = self.auth {
            let auth = Auth::parse(&text, options).map_err(|error| {
                log!(CFG, 1, "  auth: {error}");
                LoadError::InvalidValue("auth".to_owned())
            })?;
            (self.round.class, self.round.constraints) = (auth.class, auth.constraints);
        }
        if self.round.id.is_none() {
            self.round.id = self.round.certs.first().map(|certificate| certificate.subject().clone());
        }
        Ok(self.round)
    }
}

const REVOCATION: &[(&str, Revocation)] =
    &[("strict", Revocation::Strict), ("ifuri", Revocation::IfUri), ("relaxed", Revocation::Relaxed)];

fn some_id(text: &str) -> Result<Option<Identity>, Invalid> {
    value::identity_or_regex(text).map(Some)
}

fn add_certificate(list: &mut Vec<Arc<Certificate>>, key: &'static str, data: &[u8]) -> Result<(), LoadError> {
    let certificate = Certificate::from_der_or_pem(data).map_err(|error| {
        log!(CFG, 1, "  {key}: {error}");
        LoadError::InvalidValue(key.to_owned())
    })?;
    list.push(Arc::new(certificate));
    Ok(())
}

const OPTIONS: Options<Draft> = Options {
    scalars: &[
        field!("round", round.round = value::uint32),
        ScalarOption {
            key: "auth",
            set: |draft, text| {
                draft.auth = Some(text.to_owned());
                Ok(())
            },
        },
        field!("id", round.id = some_id),
        field!("eap_id", round.eap_id = some_id),
        field!("aaa_id", round.aaa_id = some_id),
        field!("xauth_id", round.xauth_id = some_id),
        field!("ca_id", round.ca_id = some_id),
        field!("revocation", round.revocation = |text| value::word(text, REVOCATION)),
    ],
    lists: &[
        ListOption {
            key: "groups",
            add: |draft, item| {
                draft.round.groups.push(text_item("groups", item, value::identity_or_regex)?);
                Ok(())
            },
        },
        ListOption {
            key: "cert_policy",
            add: |draft, item| {
                draft.round.cert_policies.push(text_item("cert_policy", item, |text| Ok(text.to_owned()))?);
                Ok(())
            },
        },
        ListOption { key: "certs", add: |draft, item| add_certificate(&mut draft.round.certs, "certs", item) },
        ListOption { key: "cacerts", add: |draft, item| add_certificate(&mut draft.round.cacerts, "cacerts", item) },
        ListOption {
            key: "pubkeys",
            add: |draft, item| {
                // strongSwan's answer does not name the option
                let key = PublicKey::from_der_or_pem(item).map_err(|error| {
                    log!(CFG, 1, "  pubkeys: {error}");
                    LoadError::Malformed
                })?;
                draft.round.pubkeys.push(key);
                Ok(())
            },
        },
    ],
};

#[cfg(test)]
mod tests {
    use ike::config::{AuthClass, EapMethod};

    use super::*;

    /// A self-signed certificate of `CN=test` with an Ed25519 key.
    const CERTIFICATE: &str = include_str!("testdata/certificate.pem");

    fn loaded(message: &Message) -> Result<AuthRound, LoadError> {
        load(message, AuthOptions::default())
    }

    #[test]
    fn a_round_arrives() {
        let message = Message::new()
            .with("round", "2")
            .with("auth", "eap-mschapv2")
            .with("id", "fqdn:^.*\\.example\\.org$")
            .with("eap_id", "%any")
            .with("ca_id", "C=CH, CN=ca")
            .with("revocation", "Strict")
            .with_list("groups", ["staff", "admins"])
            .with_list("cert_policy", ["1.2.3"]);
        let round = loaded(&message).unwrap();
        assert_eq!((round.round, round.revocation), (2, Revocation::Strict));
        assert_eq!(round.class, AuthClass::Eap(EapMethod::Type { kind: 26, vendor: 0 }));
        assert_eq!(round.eap_id, Some(Identity::any()));
        assert!(round.id.is_some_and(|id| id.contains_wildcards()));
        assert_eq!(round.groups, [Identity::parse("staff"), Identity::parse("admins")]);
        assert_eq!(round.cert_policies, ["1.2.3"]);
    }

    #[test]
    fn certificates_give_a_round_its_identity() {
        let message = Message::new().with("auth", "pubkey-sha256").with_list("certs", [CERTIFICATE]);
        let round = loaded(&message).unwrap();
        assert_eq!(round.id, Some(Identity::parse("CN=test")));
        assert!(!round.constraints.chain_schemes.is_empty());
        let named = message.with("id", "moon").with_list("cacerts", [CERTIFICATE]);
        let round = loaded(&named).unwrap();
        assert_eq!((round.id, round.cacerts.len()), (Some(Identity::parse("moon")), 1));
        let spki = round.certs[0].public_key().spki_der();
        let raw = loaded(&Message::new().with_list("pubkeys", [spki])).unwrap();
        assert_eq!((raw.id, raw.pubkeys.len()), (None, 1));
    }

    #[test]
    fn certificates_come_from_files_too() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/testdata/certificate.pem");
        let section = |file: &str| Message::new().with("file", file).with("slot", "0");
        let round = loaded(&Message::new().with_section("CERT-a", section(file)).with_section("cacert", section(file)));
        let round = round.unwrap();
        assert_eq!((round.certs.len(), round.cacerts.len()), (1, 1));
        let error = |section: Message| loaded(&Message::new().with_section("cert1", section)).unwrap_err().to_string();
        assert_eq!(error(section("/nonexistent")), "unable to load certificate: cert1");
        assert_eq!(error(section(file).with("handle", "00")), "handle and file path given: cert1");
        assert_eq!(error(Message::new()), "handle or file path missing: cert1");
        assert_eq!(error(Message::new().with("handle", "00")), "unable to load certificate: cert1");
        assert_eq!(error(Message::new().with("path", file)), "unknown option: path, config discarded");
    }

    #[test]
    fn errors_name_option_or_section() {
        let error = |message: Message| loaded(&message).unwrap_err().to_string();
        assert_eq!(error(Message::new().with("auth", "any")), "invalid value for: auth, config discarded");
        assert_eq!(error(Message::new().with("id", "fqdn:^($")), "invalid value for: id, config discarded");
        assert_eq!(error(Message::new().with_list("id", ["a"])), "unknown option: id, config discarded");
        assert_eq!(error(Message::new().with_list("certs", ["junk"])), "invalid value for: certs, config discarded");
        assert_eq!(error(Message::new().with_list("pubkeys", ["junk"])), "parsing request failed");
        assert_eq!(error(Message::new().with_section("token", Message::new())), "invalid section: token");
    }
}
