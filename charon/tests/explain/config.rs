//! What a host is configured with: the options of `swanctl.conf` by their paths, and what is loaded of it.

use std::collections::BTreeMap;

use charon::config::{self, Connections};
use charon::pools::{AttributesForAll, Bounds, Pools};
use ike::explain::{Change, Field, Mismatch, Place};
use strongswan::credentials::{
    AuthOptions, Certificate, CertificateFlags, PrivateKey, SecretKind, SharedSecret, Store,
};
use strongswan::crypto::Secret;
use strongswan::identity::Identity;
use vici::Message;

/// Options that are lists.
const LISTS: [&str; 12] = [
    "local_addrs",
    "remote_addrs",
    "proposals",
    "esp_proposals",
    "ah_proposals",
    "local_ts",
    "remote_ts",
    "vips",
    "pools",
    "groups",
    "cert_policy",
    "id_list",
];

/// Options by path, such as `connections.gw.remote.id`.
#[derive(Debug, Clone, Default)]
pub struct Config(BTreeMap<String, String>);

/// A test certificate or key.
fn data(name: &str) -> Vec<u8> {
    let path = format!("{}/ike/tests/data/{name}.pem", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

impl Config {
    /// One end of a connection `gw` with a child `net`, authenticated by a secret.
    pub fn gateway(local: &str, remote: &str) -> Self {
        let (here, there) = (number(local), number(remote));
        let mut config = Self::default();
        config.change(&[
            ("connections.gw.local_addrs", &format!("192.0.2.{here}")),
            ("connections.gw.remote_addrs", &format!("192.0.2.{there}")),
            ("connections.gw.proposals", "aes128-sha256-x25519"),
            ("connections.gw.mobike", "no"),
            ("connections.gw.local.auth", "psk"),
            ("connections.gw.local.id", &format!("{local}.example.org")),
            ("connections.gw.remote.auth", "psk"),
            ("connections.gw.remote.id", &format!("{remote}.example.org")),
            ("connections.gw.children.net.local_ts", &format!("10.{here}.0.0/16")),
            ("connections.gw.children.net.remote_ts", &format!("10.{there}.0.0/16")),
            ("connections.gw.children.net.esp_proposals", "aes128gcm16"),
            ("secrets.ike-gw.id-1", "left.example.org"),
            ("secrets.ike-gw.id-2", "right.example.org"),
            ("secrets.ike-gw.secret", "a secret of left and right"),
        ]);
        config
    }

    /// Sets options; the value `-` removes the option, or the section, of that path.
    pub fn change(&mut self, changes: &[(&str, &str)]) {
        for (path, value) in changes {
            if *value == "-" {
                let inside = format!("{path}.");
                self.0.retain(|other, _| other != path && !other.starts_with(&inside));
            } else {
                self.0.insert((*path).to_owned(), (*value).to_owned());
            }
        }
    }

    /// Makes a suggested change, if it is one of an option.
    pub fn follow(&mut self, mismatch: &Mismatch) -> bool {
        let path = mismatch.field.to_string();
        match &mismatch.change {
            Change::Add(value) => {
                let list = self.0.entry(path).or_default();
                if !list.is_empty() {
                    list.push(',');
                }
                list.push_str(value);
            }
            Change::Set(value) => {
                self.0.insert(path, value.trim_matches('"').to_owned());
            }
            Change::Remove => self.change(&[(&path, "-")]),
            Change::Provide(_) | Change::Peer(_) => return false,
        }
        true
    }

    /// Whether a field is one of this configuration, be it unset: a path must not lead anywhere else.
    pub fn has_section(&self, field: &Field) -> bool {
        let section = match &field.place {
            Place::Connections | Place::Folder | Place::Pools | Place::Secret(_) => return true,
            _ if field.key.is_empty() => format!("{field}."),
            _ => field.to_string().rsplit_once('.').map(|(section, _)| format!("{section}.")).unwrap(),
        };
        self.0.keys().any(|path| path.starts_with(&section))
    }

    fn get(&self, path: &str) -> &str {
        self.0.get(path).map_or("", String::as_str)
    }

    /// Loads the connections.
    pub fn load_connections(&self, connections: &Connections) {
        let message = self.section("connections");
        for (name, section) in message.sections() {
            let loaded = config::load(name, section, AuthOptions::default());
            connections.load(loaded.unwrap_or_else(|error| panic!("{name}: {error}\n{self:?}")));
        }
    }

    /// The options below a path as a message.
    fn section(&self, path: &str) -> Message {
        let prefix = format!("{path}.");
        let mut message = Message::new();
        let mut done: Vec<&str> = Vec::new();
        for (path, value) in self.0.iter().filter(|(path, _)| path.starts_with(&prefix)) {
            let rest = &path[prefix.len()..];
            match rest.split_once('.') {
                Some((section, _)) if done.contains(&section) => {}
                Some((section, _)) => {
                    done.push(section);
                    message.push_section(section.to_owned(), self.section(&format!("{prefix}{section}")));
                }
                None if ["certs", "cacerts", "pubkeys"].contains(&rest) => {
                    let data: Vec<_> = items(value).map(|name| content(rest, name)).collect();
                    message.push_list(rest.to_owned(), data);
                }
                None if LISTS.contains(&rest) => {
                    message.push_list(rest.to_owned(), items(value).map(str::to_owned));
                }
                None => {
                    message.push(rest.to_owned(), value.as_str());
                }
            }
        }
        message
    }

    /// Loads secrets, certificates and keys.
    pub fn load_credentials(&self, store: &Store) {
        for name in items(self.get("x509ca")).chain(items(self.get("x509"))) {
            let certificate = std::sync::Arc::new(Certificate::from_der_or_pem(&data(name)).unwrap());
            let flags = CertificateFlags::of(&certificate);
            store.add_certificate(certificate, flags);
        }
        for name in items(self.get("private")) {
            store.add_private_key(PrivateKey::from_der_or_pem(&data(&format!("{name}.key"))).unwrap());
        }
        let secrets = self.section("secrets");
        for (name, section) in secrets.sections() {
            let kind = match name.split('-').next() {
                Some("ppk") => SecretKind::Ppk,
                Some("eap") => SecretKind::Eap,
                _ => SecretKind::Ike,
            };
            let ids = section.scalars().filter(|(key, _)| key.starts_with("id"));
            store.add_secret(SharedSecret {
                kind,
                owners: ids.map(|(_, id)| Identity::parse(std::str::from_utf8(id).unwrap())).collect(),
                data: Secret::new(section.get("secret").unwrap_or_default().to_vec()),
                id: Some(name.to_owned()),
            });
        }
    }

    /// Loads the raw public keys that connections bind to identities.
    pub fn load_public_keys(connections: &Connections, store: &Store) {
        for round in connections.all().iter().flat_map(|config| config.remote.clone()) {
            if let Some(id) = round.id {
                round.pubkeys.into_iter().for_each(|key| store.add_public_key(key, id.clone()));
            }
        }
    }

    /// Loads the pools.
    pub fn load_pools(&self) -> Pools {
        let pools = Pools::new(std::sync::Arc::new(arc_swap::ArcSwap::from_pointee(AttributesForAll::default())));
        let all = self.section("pools");
        for (name, section) in all.sections() {
            pools.load(name, Bounds::parse(section.str("addrs").unwrap()).unwrap(), Vec::new()).unwrap();
        }
        pools
    }
}

/// What is sent of a certificate or a raw public key.
fn content(key: &str, name: &str) -> Vec<u8> {
    let certificate = Certificate::from_der_or_pem(&data(name)).unwrap();
    if key == "pubkeys" { certificate.public_key().spki_der().to_vec() } else { certificate.der().to_vec() }
}

fn number(role: &str) -> u8 {
    if role == "left" { 1 } else { 2 }
}
