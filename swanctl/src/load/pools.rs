//! `pools`: every section becomes one `load-pool`.

use strongswan::settings::options::items;
use vici::Message;

use super::named::{Item, Kind, Named};
use crate::config::Config;

const KIND: Kind = Kind { singular: "pool", plural: "pools", command: "pool", get: "get-pools", list: None };

pub(super) fn prepare(config: &Config) -> Named {
    let items = config
        .settings
        .view("pools")
        .sections()
        .iter()
        .map(|section| {
            let mut message = Message::new();
            for entry in section.keys() {
                if entry.name == "addrs" {
                    message.push("addrs", entry.bytes);
                } else {
                    message.push_list(entry.name.to_owned(), items(entry.value));
                }
            }
            Item::new("pools", section.name(), message)
        })
        .collect();
    Named { kind: &KIND, items }
}
