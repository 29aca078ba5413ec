//! `charon.plugins.eap-radius`: the servers, and what is done with what they say.

use std::net::IpAddr;
use std::time::Duration;

use strongswan::crypto::Secret;
use strongswan::log;
use strongswan::settings::{Settings, View};

/// Sockets to one server at most: each is a thread while it is in use.
const MAX_SOCKETS: usize = 64;

/// One server.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ServerSettings {
    /// Its name in the file, or its address.
    pub(super) name: String,
    /// Its address, or a name to look up.
    pub(super) address: String,
    /// Where it authenticates.
    pub(super) auth_port: u16,
    /// Where it accounts.
    pub(super) acct_port: u16,
    /// What it shares with us.
    pub(super) secret: Secret,
    /// What we call ourselves.
    pub(super) nas_identifier: String,
    /// Requests to it at a time, of either kind.
    pub(super) sockets: usize,
    /// What it is preferred by.
    pub(super) preference: i64,
    /// Our address towards it.
    pub(super) source: Option<IpAddr>,
    /// How often a request is sent.
    pub(super) tries: u32,
    /// How long the first answer is waited for.
    pub(super) timeout: Duration,
    /// By what that grows each time.
    pub(super) base: f64,
}

/// What is done with what servers say, and how they are asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Options {
    /// `class_group`
    pub(super) class_group: bool,
    /// `filter_id`
    pub(super) filter_id: bool,
    /// `close_all_on_timeout`
    pub(super) close_all_on_timeout: bool,
    /// `eap_start`
    pub(super) eap_start: bool,
    /// `id_prefix`
    pub(super) id_prefix: String,
    /// `station_id_with_port`
    pub(super) station_id_with_port: bool,
    /// `accounting_close_on_timeout`
    pub(super) accounting_close_on_timeout: bool,
    /// `accounting_requires_vip`
    pub(super) accounting_requires_vip: bool,
    /// `accounting_send_class`
    pub(super) accounting_send_class: bool,
    /// `accounting_interval`
    pub(super) accounting_interval: Option<Duration>,
}

/// The listener for requests of servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DaeSettings {
    /// Our address.
    pub(super) listen: IpAddr,
    /// Our port.
    pub(super) port: u16,
    /// What those who ask share with us.
    pub(super) secret: Secret,
}

fn section(settings: &Settings) -> View<'_> {
    settings.view("charon.plugins.eap-radius")
}

/// Whether there is EAP-RADIUS.
pub(super) fn load(settings: &Settings) -> bool {
    section(settings).get_bool("load", true)
}

/// Whether sessions are accounted.
pub(crate) fn accounting(settings: &Settings) -> bool {
    load(settings) && section(settings).get_bool("accounting", false)
}

/// What is done with what servers say.
pub(super) fn options(settings: &Settings) -> Options {
    let s = section(settings);
    let interval = s.get_time("accounting_interval", Duration::ZERO);
    Options {
        class_group: s.get_bool("class_group", false),
        filter_id: s.get_bool("filter_id", false),
        close_all_on_timeout: s.get_bool("close_all_on_timeout", false),
        eap_start: s.get_bool("eap_start", false),
        id_prefix: s.get_str("id_prefix").unwrap_or_default().to_owned(),
        station_id_with_port: s.get_bool("station_id_with_port", true),
        accounting_close_on_timeout: s.get_bool("accounting_close_on_timeout", true),
        accounting_requires_vip: s.get_bool("accounting_requires_vip", false),
        accounting_send_class: s.get_bool("accounting_send_class", false),
        accounting_interval: (!interval.is_zero()).then_some(interval),
    }
}

/// The listener for requests of servers, if there is to be one.
pub(super) fn dae(settings: &Settings) -> Option<DaeSettings> {
    let s = section(settings);
    if !load(settings) || !s.get_bool("dae.enable", false) {
        return None;
    }
    let Some(secret) = secret(&s, "dae.secret") else {
        log!(CFG, 1, "missing RADIUS DAE secret, disabled");
        return None;
    };
    let text = s.get_str("dae.listen").unwrap_or("0.0.0.0");
    let Ok(listen) = text.parse() else {
        log!(CFG, 1, "RADIUS DAE listen address '{text}' is none, disabled");
        return None;
    };
    Some(DaeSettings { listen, port: s.get_int("dae.port", 3799), secret })
}

/// The servers. What cannot be used is logged and left out.
pub(super) fn servers(settings: &Settings) -> Vec<ServerSettings> {
    let s = section(settings);
    if !load(settings) {
        return Vec::new();
    }
    if let Some(address) = s.get_str("server") {
        let Some(secret) = secret(&s, "secret") else {
            log!(CFG, 1, "no RADIUS secret defined");
            return Vec::new();
        };
        // the accounting port of a single server is not configurable
        let (auth_port, acct_port) = (s.get_int("port", 1812), 1813);
        return vec![server(&s, &s, address, address, secret, auth_port, acct_port)];
    }
    let servers: Vec<_> = s.view("servers").sections().iter().filter_map(|section| named(&s, section)).collect();
    if s.exists() {
        let plural = if servers.len() == 1 { "" } else { "s" };
        log!(CFG, 1, "loaded {} RADIUS server configuration{plural}", servers.len());
    }
    servers
}

fn named(global: &View<'_>, own: &View<'_>) -> Option<ServerSettings> {
    let name = own.name();
    let Some(address) = own.get_str("address") else {
        log!(CFG, 1, "RADIUS server '{name}' misses address, skipped");
        return None;
    };
    let Some(secret) = secret(own, "secret") else {
        log!(CFG, 1, "RADIUS server '{name}' misses secret, skipped");
        return None;
    };
    let auth_port = own.get_int("auth_port", own.get_int("port", global.get_int("port", 1812)));
    let acct_port = own.get_int("acct_port", 1813);
    Some(server(global, own, name, address, secret, auth_port, acct_port))
}

/// A shared secret; an empty one is none.
fn secret(view: &View<'_>, key: &str) -> Option<Secret> {
    view.get_str(key).filter(|text| !text.is_empty()).map(|text| Secret::from(text.as_bytes()))
}

fn server(
    global: &View<'_>,
    own: &View<'_>,
    name: &str,
    address: &str,
    secret: Secret,
    auth_port: u16,
    acct_port: u16,
) -> ServerSettings {
    let text = |key: &str| own.get_str(key).or_else(|| global.get_str(key));
    let source = text("source").and_then(|source| match source.parse() {
        Ok(source) => Some(source),
        Err(_) => {
            log!(CFG, 1, "RADIUS source address '{source}' is none, ignored");
            None
        }
    });
    let timeout = own.get_f64("retransmit_timeout", global.get_f64("retransmit_timeout", 2.0));
    let sockets: usize = own.get_int("sockets", global.get_int("sockets", 1));
    ServerSettings {
        name: name.to_owned(),
        address: address.to_owned(),
        auth_port,
        acct_port,
        secret,
        nas_identifier: text("nas_identifier").unwrap_or("strongSwan").to_owned(),
        sockets: sockets.clamp(1, MAX_SOCKETS),
        preference: own.get_int("preference", 0),
        source,
        tries: own.get_int("retransmit_tries", global.get_int("retransmit_tries", 4)),
        timeout: Duration::try_from_secs_f64(timeout).unwrap_or(Duration::from_secs(2)),
        base: own.get_f64("retransmit_base", global.get_f64("retransmit_base", 1.4)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(text: &str) -> Settings {
        Settings::parse_str(&format!("charon {{ plugins {{ eap-radius {{ {text}\n }} }} }}")).unwrap()
    }

    #[test]
    fn an_empty_section_is_all_defaults() {
        assert!(servers(&conf("")).is_empty());
        assert_eq!((accounting(&conf("")), dae(&conf("")), load(&conf("load = no"))), (false, None, false));
        let options = options(&conf(""));
        assert!(
            options.station_id_with_port
                && options.accounting_close_on_timeout
                && options.accounting_interval.is_none()
        );
    }

    #[test]
    fn a_single_server_comes_before_others() {
        let read =
            servers(&conf("server = aaa\n secret = s\n port = 99\n servers { b { address = b\n secret = t\n } }"));
        let [only] = &read[..] else { panic!("{read:?}") };
        assert_eq!((only.address.as_str(), only.auth_port, only.acct_port), ("aaa", 99, 1813));
        assert_eq!((only.sockets, only.tries, only.timeout, only.base), (1, 4, Duration::from_secs(2), 1.4));
        assert_eq!(only.nas_identifier, "strongSwan");
        assert!(servers(&conf("server = aaa")).is_empty(), "without a secret there is none");
        assert!(servers(&conf("load = no\n server = aaa\n secret = s")).is_empty());
    }

    #[test]
    fn servers_take_what_they_do_not_have_from_all() {
        let text = "port = 5\n sockets = 3\n retransmit_tries = 2\n retransmit_timeout = 0.5\n nas_identifier = gw\n
            servers { a { address = 10.0.0.1\n secret = s\n port = 7\n preference = 50\n source = 10.0.0.9\n }
            b { address = 10.0.0.2\n secret = t\n auth_port = 8\n acct_port = 9\n sockets = 1000\n nas_identifier = gw2\n }
            c { address = 10.0.0.3\n secret = u\n } d { secret = v\n } e { address = 10.0.0.5\n } }";
        let read = servers(&conf(text));
        let ports: Vec<_> = read.iter().map(|s| (s.name.as_str(), s.auth_port, s.acct_port, s.sockets)).collect();
        assert_eq!(ports, [("a", 7, 1813, 3), ("b", 8, 9, 64), ("c", 5, 1813, 3)]);
        assert_eq!((read[0].preference, read[0].source), (50, Some([10, 0, 0, 9].into())));
        assert_eq!((read[0].tries, read[0].timeout), (2, Duration::from_millis(500)));
        assert_eq!((read[0].nas_identifier.as_str(), read[1].nas_identifier.as_str()), ("gw", "gw2"));
    }

    #[test]
    fn the_listener_needs_a_secret() {
        assert_eq!(dae(&conf("dae { enable = yes\n }")), None);
        assert_eq!(dae(&conf("dae { enable = yes\n secret = s\n listen = here\n }")), None);
        let read = dae(&conf("dae { enable = yes\n secret = s\n listen = ::1\n }")).unwrap();
        assert_eq!((read.listen, read.port), ("::1".parse().unwrap(), 3799));
    }
}
