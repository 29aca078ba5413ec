//! `connections`: every section becomes one `load-conn`.

use std::path::Path;

use strongswan::settings::options::items;
use strongswan::settings::{Entry, View};
use vici::Message;

use super::named::{Item, Kind, Named};
use super::report::Mistake;
use super::{read, secrets};
use crate::config::Config;

const KIND: Kind =
    Kind { singular: "connection", plural: "connections", command: "conn", get: "get-conns", list: Some("conns") };

/// Keys, at any level, whose values are lists.
const LISTS: &[&str] = &[
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
];

/// Keys whose values are lists of files or of data, and where the files are.
const BLOBS: &[(&str, &str)] = &[("certs", "x509"), ("cacerts", "x509ca"), ("pubkeys", "pubkey")];

pub(super) fn prepare(config: &Config, mistakes: &mut Vec<Mistake>) -> Named {
    let connections = config.settings.view("connections");
    let items = connections
        .sections()
        .iter()
        .map(|section| Item::new("connections", section.name(), content(config, section, mistakes)))
        .collect();
    Named { kind: &KIND, items }
}

/// The settings of a section and its sub-sections.
fn content(config: &Config, section: &View<'_>, mistakes: &mut Vec<Mistake>) -> Message {
    let mut message = Message::new();
    for entry in section.keys() {
        let key = entry.name.to_ascii_lowercase();
        if LISTS.contains(&key.as_str()) {
            message.push_list(entry.name.to_owned(), items(entry.value));
        } else if let Some((_, directory)) = BLOBS.iter().find(|(name, _)| *name == key) {
            message.push_list(entry.name.to_owned(), blobs(&config.directory.join(directory), &entry, mistakes));
        } else {
            message.push(entry.name.to_owned(), entry.bytes);
        }
    }
    for inner in section.sections() {
        let content = content(config, &inner, mistakes);
        message.push_section(inner.name().to_owned(), content);
    }
    message
}

fn blobs(directory: &Path, entry: &Entry<'_>, mistakes: &mut Vec<Mistake>) -> Vec<Vec<u8>> {
    let mut blobs = Vec::new();
    for item in items(entry.value) {
        match secrets::decode(item.as_bytes()) {
            Some(Ok(data)) => blobs.push(data),
            Some(Err(error)) => {
                mistakes.push(Mistake::at(entry.value_origin, format!("invalid value for '{}': {error}", entry.name)));
            }
            None => {
                let path = directory.join(&item);
                match read(&path) {
                    Ok(data) => blobs.push(data),
                    Err(error) => {
                        let text = format!("loading {} certificate '{}' failed: {error}", entry.name, path.display());
                        mistakes.push(Mistake::at(entry.value_origin, text));
                    }
                }
            }
        }
    }
    blobs
}

#[cfg(test)]
mod tests {
    use strongswan::settings::Settings;

    use super::*;
    use crate::dump;

    fn config(text: &str, directory: &Path) -> Config {
        Config { settings: Settings::parse_bytes("f", text.as_bytes()).unwrap(), directory: directory.to_path_buf() }
    }

    #[test]
    fn messages() {
        let directory = std::env::temp_dir().join(format!("swanctl-connections-{}", std::process::id()));
        std::fs::create_dir_all(directory.join("x509")).unwrap();
        std::fs::write(directory.join("x509/a.pem"), "PEM").unwrap();
        let config = config(
            "base { children { n { local_ts = 10.0.0.0/8, dynamic\n } }\n proposals = aes128-sha256-ecp256 , default\n }
             connections { a : base { children { own { mode = tunnel\n } }\n version = 2\n unset =\n
               local { certs = a.pem, 0x0102, 0sAwQ=\n groups = 'C=CH, O=x', y\n } } b { } }",
            &directory,
        );
        let mut errors = Vec::new();
        let named = prepare(&config, &mut errors);
        assert_eq!(errors, []);
        let sent: Vec<_> = named.items.iter().map(|item| dump::raw("", &item.message)).collect();
        assert_eq!(
            sent,
            [
                " {a {version=2 proposals=[aes128-sha256-ecp256 default] children {own {mode=tunnel} n {local_ts=[10.0.0.0/8 dynamic]}} local {certs=[PEM 0x0102 0x0304] groups=[C=CH, O=x y]}}}",
                " {b {}}"
            ]
        );
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn files_that_are_missing_are_errors() {
        let config =
            config("connections { a { remote {\n cacerts = ca.pem\n pubkeys = 0sno!\n } } }", Path::new("/nosuch"));
        let mut errors = Vec::new();
        prepare(&config, &mut errors);
        assert_eq!(
            errors.iter().map(Mistake::to_string).collect::<Vec<_>>(),
            [
                "f:2:12: loading cacerts certificate '/nosuch/x509ca/ca.pem' failed: No such file or directory",
                "f:3:12: invalid value for 'pubkeys': not Base64",
            ]
        );
    }
}
