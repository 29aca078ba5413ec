//! `secrets`: shared secrets, tokens, and the passphrases of files.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use strongswan::crypto::Secret;
use strongswan::settings::{Origin, View};
use vici::Message;

use super::report::Mistake;
use crate::config::Config;

/// Prefixes of section names, in the order in which they are compared, and what the section is.
const PREFIXES: &[(&str, Class)] = &[
    ("eap", Class::Shared),
    ("xauth", Class::Shared),
    ("ntlm", Class::Shared),
    ("ike", Class::Shared),
    ("ppk", Class::Shared),
    ("private", Class::Passphrase),
    ("rsa", Class::Passphrase),
    ("ecdsa", Class::Passphrase),
    ("pkcs8", Class::Passphrase),
    ("pkcs12", Class::Passphrase),
    ("token", Class::Token),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Shared,
    Passphrase,
    Token,
}

/// A `load-shared` to send.
pub(super) struct Shared {
    pub(super) id: String,
    pub(super) kind: &'static str,
    pub(super) message: Message,
    pub(super) origin: Option<Origin>,
}

/// A `load-token` to send.
pub(super) struct Token {
    pub(super) name: String,
    pub(super) message: Message,
    pub(super) origin: Option<Origin>,
}

/// A passphrase for a file.
pub(super) struct Passphrase {
    /// Prefix of the section: the directory the file is in.
    pub(super) kind: &'static str,
    pub(super) file: String,
    pub(super) file_origin: Origin,
    pub(super) secret: Secret,
    pub(super) origin: Origin,
}

/// What is in the section `secrets`.
#[derive(Default)]
pub(super) struct Secrets {
    pub(super) shared: Vec<Shared>,
    pub(super) tokens: Vec<Token>,
    pub(super) passphrases: Vec<Passphrase>,
    /// What is worth telling but no error.
    pub(super) warnings: Vec<String>,
}

/// Reads them.
pub(super) fn prepare(config: &Config, mistakes: &mut Vec<Mistake>) -> Secrets {
    let mut secrets = Secrets::default();
    for section in config.settings.view("secrets").sections() {
        let name = section.name();
        let place = section.origin().map(|origin| format!("{origin}: ")).unwrap_or_default();
        match PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)) {
            Some((kind, Class::Shared)) => match shared(kind, &section) {
                Ok(Some(shared)) => secrets.shared.push(shared),
                Ok(None) => secrets.warnings.push(format!("{place}missing secret in '{name}', ignored")),
                Err(mistake) => mistakes.push(mistake),
            },
            Some((kind, Class::Passphrase)) => passphrases(kind, &section, &mut secrets.passphrases),
            Some((_, Class::Token)) => {
                let mut message = Message::new();
                for entry in section.keys() {
                    message.push(entry.name.to_owned(), entry.bytes);
                }
                let origin = section.origin().cloned();
                secrets.tokens.push(Token { name: name.to_owned(), message, origin });
            }
            None => secrets.warnings.push(format!("{place}ignoring unsupported secret '{name}'")),
        }
    }
    secrets
}

fn shared(kind: &'static str, section: &View<'_>) -> Result<Option<Shared>, Mistake> {
    let Some(secret) = section.entry("secret") else { return Ok(None) };
    let data = match decode(secret.bytes) {
        Some(Ok(data)) => data,
        Some(Err(error)) => {
            let text = format!("invalid secret in '{}': {error}", section.name());
            return Err(Mistake::at(secret.value_origin, text));
        }
        None => secret.bytes.to_vec(),
    };
    if data.is_empty() {
        return Err(Mistake::at(secret.value_origin, format!("empty secret in '{}'", section.name())));
    }
    let owners = section.keys().into_iter().filter(|entry| entry.name.starts_with("id")).map(|entry| entry.bytes);
    let id = section.name().to_owned();
    let mut message = Message::new();
    message.push("id", &id).push("type", kind).push("data", data).push_list("owners", owners);
    Ok(Some(Shared { id, kind, message, origin: section.origin().cloned() }))
}

fn passphrases(kind: &'static str, section: &View<'_>, passphrases: &mut Vec<Passphrase>) {
    let Some(file) = section.entry("file") else { return };
    for entry in section.keys().into_iter().filter(|entry| entry.name.starts_with("secret")) {
        passphrases.push(Passphrase {
            kind,
            file: file.value.to_owned(),
            file_origin: file.value_origin.clone(),
            secret: Secret::from(entry.bytes),
            origin: entry.value_origin.clone(),
        });
    }
}

/// Decodes `0x…` and `0s…`; `None` for anything else, which stands for itself.
pub(super) fn decode(text: &[u8]) -> Option<Result<Vec<u8>, &'static str>> {
    let (prefix, rest) = text.split_at_checked(2)?;
    if prefix.eq_ignore_ascii_case(b"0x") {
        let mut digits: String = rest.iter().filter(|byte| **byte != b':').map(|byte| char::from(*byte)).collect();
        if digits.len() % 2 == 1 {
            digits.insert(0, '0');
        }
        return Some(hex::decode(digits).map_err(|_| "not hexadecimal"));
    }
    if prefix.eq_ignore_ascii_case(b"0s") {
        return Some(STANDARD.decode(rest).map_err(|_| "not Base64"));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use strongswan::settings::Settings;

    use super::*;
    use crate::dump;

    fn read(text: &str) -> (Secrets, Vec<String>) {
        let config =
            Config { settings: Settings::parse_bytes("f", text.as_bytes()).unwrap(), directory: PathBuf::new() };
        let mut errors = Vec::new();
        let secrets = prepare(&config, &mut errors);
        (secrets, errors.iter().map(Mistake::to_string).collect())
    }

    #[test]
    fn sections_by_prefix() {
        let (secrets, errors) = read(
            "secrets { ike-a { secret = 0x0a:0B1\n id-1 = moon\n id2 = sun\n } xauth { secret = 0Sdtbu\n } eap-b { secret = plain\n }
             private-k { file = k.pem\n secret = one\n secret2 = two\n } token1 { handle = 01\n slot = 2\n }
             bliss { } ppk { } }",
        );
        assert_eq!(errors, [""; 0]);
        let shared: Vec<_> = secrets.shared.iter().map(|shared| dump::raw(shared.kind, &shared.message)).collect();
        assert_eq!(
            shared,
            [
                "ike {id=ike-a type=ike data=0x00a0b1 owners=[moon sun]}",
                "xauth {id=xauth type=xauth data=0x76d6ee owners=[]}",
                "eap {id=eap-b type=eap data=plain owners=[]}",
            ]
        );
        let passphrases: Vec<_> =
            secrets.passphrases.iter().map(|found| (found.kind, &*found.file, found.secret.as_bytes())).collect();
        assert_eq!(passphrases, [("private", "k.pem", &b"one"[..]), ("private", "k.pem", &b"two"[..])]);
        assert_eq!(dump::raw("", &secrets.tokens[0].message), " {handle=01 slot=2}");
        assert_eq!(
            secrets.warnings,
            ["f:13:14: ignoring unsupported secret 'bliss'", "f:13:24: missing secret in 'ppk', ignored"]
        );
    }

    #[test]
    fn unusable_secrets_are_errors() {
        let (_, errors) = read("secrets { ike-a { secret = 0xzz\n }\n ike-b { secret = \"\"\n } }");
        assert_eq!(errors, ["f:1:28: invalid secret in 'ike-a': not hexadecimal", "f:3:19: empty secret in 'ike-b'"]);
    }
}
