//! `authorities`: every section becomes one `load-authority`.

use strongswan::settings::options::items;
use vici::Message;

use super::named::{Item, Kind, Named};
use super::read;
use super::report::Mistake;
use crate::config::Config;

const KIND: Kind = Kind {
    singular: "authority",
    plural: "authorities",
    command: "authority",
    get: "get-authorities",
    list: Some("authorities"),
};

pub(super) fn prepare(config: &Config, mistakes: &mut Vec<Mistake>) -> Named {
    let mut prepared = Vec::new();
    for section in config.settings.view("authorities").sections() {
        let mut message = Message::new();
        for entry in section.keys() {
            match entry.name {
                "cacert" => {
                    let path = config.directory.join("x509ca").join(entry.value);
                    match read(&path) {
                        Ok(data) => drop(message.push("cacert", data)),
                        Err(error) => {
                            let text = format!("loading ca certificate '{}' failed: {error}", path.display());
                            mistakes.push(Mistake::at(entry.value_origin, text));
                        }
                    }
                }
                "crl_uris" | "ocsp_uris" => drop(message.push_list(entry.name.to_owned(), items(entry.value))),
                _ => drop(message.push(entry.name.to_owned(), entry.bytes)),
            }
        }
        prepared.push(Item::new("authorities", section.name(), message));
    }
    Named { kind: &KIND, items: prepared }
}
