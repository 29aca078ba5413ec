//! Attributes that every client with a virtual IP gets: `charon.plugins.attr`, `charon.dns1` and the like.

use strongswan::log;
use strongswan::settings::Settings;

use super::attribute::Attribute;

/// Attributes for clients of any pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttributesForAll(pub Vec<Attribute>);

impl AttributesForAll {
    /// Reads them from strongswan.conf. What cannot be used is logged and left out.
    pub fn from_settings(settings: &Settings) -> Self {
        let mut attributes = Vec::new();
        let mut add = |option: &str, key: &str, value: &str| match Attribute::parse(key, value.as_bytes()) {
            Ok(attribute) => attributes.push(attribute),
            Err(error) => log!(CFG, 1, "{error} '{value}' in charon.{option}, ignored"),
        };
        let view = settings.view("charon");
        for (option, key) in [("dns1", "dns"), ("dns2", "dns"), ("nbns1", "nbns"), ("nbns2", "nbns")] {
            if let Some(value) = view.get_str(option) {
                add(option, key, value);
            }
        }
        let section = view.view("plugins.attr");
        if section.get_bool("load", true) {
            for entry in section.keys().into_iter().filter(|entry| entry.name != "load") {
                // hyphens here, underscores in pools
                let key = entry.name.replace('-', "_");
                for value in entry.value.split(',').map(str::trim).filter(|value| !value.is_empty()) {
                    add(&format!("plugins.attr.{}", entry.name), &key, value);
                }
            }
        }
        Self(attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_from_both_places() {
        let text = "charon { dns1 = 10.0.0.1\n nbns2 = 10.0.0.3\n
                    plugins { attr { dns = 10.0.0.2, fd00::2\n p-cscf = 10.0.0.4\n 25 = example.org\n dsn = 10.0.0.9\n } } }";
        let read = AttributesForAll::from_settings(&Settings::parse_str(text).unwrap());
        let kinds: Vec<_> = read.0.iter().map(|attribute| attribute.to_wire().kind.number()).collect();
        assert_eq!(kinds, [3, 4, 3, 10, 20, 25]);
    }

    #[test]
    fn the_section_can_be_switched_off() {
        let text = "charon { plugins { attr { load = no\n dns = 10.0.0.2\n } } }";
        assert_eq!(AttributesForAll::from_settings(&Settings::parse_str(text).unwrap()), AttributesForAll::default());
    }
}
