//! What the check says of good and bad configurations, and `conf.d` against the registry.

use std::collections::HashSet;
use std::path::Path;

use super::*;
use crate::settings::Settings;

fn findings(text: &str, registry: &Registry) -> Vec<String> {
    let mut settings = Settings::parse_bytes("f", text.as_bytes()).unwrap();
    settings.add_program_fallbacks("charon");
    check(&settings, registry).iter().map(Finding::to_string).collect()
}

fn daemon(text: &str) -> Vec<String> {
    findings(text, strongswan_conf())
}

fn swanctl(text: &str) -> Vec<String> {
    findings(text, swanctl_conf())
}

#[test]
fn good_configurations_have_no_findings() {
    assert_eq!(
        daemon(
            "charon { threads = 4\n port = 0\n spi_label = 0xff00000000000000\n keep_alive = 1m
             plugins { vici { socket = unix:///tmp/x\n } load-tester { enable = yes\n fake_kernel = yes\n } aes { load = yes\n } }
             filelog { stderr { default = 2\n ike = 4\n } } syslog { identifier = x\n daemon { }\n }
             start-scripts { a = b\n } }
             swanctl { socket = unix:///tmp/x\n } pki { anything { at = all\n } }
             libstrongswan { rsa_pss = yes\n } my-template { x = 1\n }"
        ),
        [""; 0]
    );
    assert_eq!(
        swanctl(
            "base { version = 2\n remote_addrs = moon.example }
             connections { a : base { local { auth = psk\n id = a@b\n } remote-1 { auth = pubkey-sha256\n round = 1\n cert-x { file = /x\n } }
               children { c { esp_proposals = aes128gcm16\n start_action = trap|start\n local_ts = 10.0.0.0/8, dynamic\n } } } }
             secrets { ike-1 { id-a = a\n id = b\n secret = x\n } private-k { file = k\n secret = y\n } token1 { handle = 01\n } }
             pools { p { addrs = 10.0.0.0/24\n dns = 1.1.1.1\n 25 = x\n } }
             authorities { ca { cacert = ca.pem\n crl_uris = http://x\n } }"
        ),
        [""; 0]
    );
}

#[test]
fn mistakes_are_named_with_the_nearest_spelling() {
    assert_eq!(
        daemon(
            "charon {\n thread = 4\n plugins {\n  vicci {\n  }\n  vici {\n   sokcet = x\n  }\n }\n filelog {\n  a {\n   iek = 1\n   default = 9\n  }\n }\n}\nchraon {\n}\nlibstrongswan {\n prot = 1\n}\n"
        ),
        [
            "f:2:2: unknown option 'charon.thread', did you mean 'threads'?",
            "f:4:3: unknown section 'charon.plugins.vicci', did you mean 'vici'?",
            "f:7:4: unknown option 'charon.plugins.vici.sokcet', did you mean 'socket'?",
            "f:12:4: unknown option 'charon.filelog.a.iek', did you mean 'ike'?",
            "f:13:14: invalid value '9' for 'charon.filelog.a.default', expected a number from -1 to 4 without unit",
            "f:17:1: unknown section 'chraon', did you mean 'charon'?",
            "f:20:2: unknown option 'charon.prot', did you mean 'port'?",
        ]
    );
    assert_eq!(
        swanctl(
            "conections { }\nconnections {\n a {\n  local_addr = x\n  version = 3\n  loacl {\n  }\n  children {\n   n {\n    remote-ts = dynamic\n    mode = tunel\n    esp_proposals = aes256gcm17\n   }\n  }\n }\n}\nsecrets {\n bliss-1 {\n }\n ike {\n  secert = x\n }\n}\nstray = 1\n"
        ),
        [
            "f:1:1: unknown section 'conections', did you mean 'connections'?",
            "f:4:3: unknown option 'connections.a.local_addr', did you mean 'local_addrs'?",
            "f:5:13: invalid value '3' for 'connections.a.version', expected a number from 0 to 2",
            "f:6:3: unknown section 'connections.a.loacl', did you mean 'local'?",
            "f:10:5: unknown option 'connections.a.children.n.remote-ts', did you mean 'remote_ts'?",
            "f:11:12: invalid value 'tunel' for 'connections.a.children.n.mode', expected one of tunnel, transport, transport_proxy, iptfs, beet, pass, drop",
            "f:12:21: invalid value 'aes256gcm17' for 'connections.a.children.n.esp_proposals', expected proposals such as aes256-sha256-ecp256 or default",
            "f:18:2: unknown section 'secrets.bliss-1'",
            "f:21:3: unknown option 'secrets.ike.secert', did you mean 'secret'?",
            "f:24:1: unknown option 'stray'",
        ]
    );
}

#[test]
fn keys_and_sections_are_not_mixed_up() {
    assert_eq!(
        swanctl("connections { a { children = x\n proposals { }\n } }"),
        [
            "f:1:19: 'connections.a.children' has to be written as a section, 'children { ... }'",
            "f:2:2: 'connections.a.proposals' has to be written as a key, 'proposals = ...'",
        ]
    );
    assert_eq!(
        swanctl("connections = x"),
        ["f:1:1: 'connections' has to be written as a section, 'connections { ... }'"]
    );
}

#[test]
fn inherited_mistakes_are_reported_once() {
    let text = "t { versoin = 2\n }\nconnections { a : t { }\n b : t { }\n }";
    assert_eq!(swanctl(text), ["f:1:5: unknown option 'connections.a.versoin', did you mean 'version'?"]);
    // A template with a name like a known section is a template if something refers to it.
    assert_eq!(swanctl("connection { version = 2\n }\nconnections { a : connection { }\n }"), [""; 0]);
}

#[test]
fn options_without_effect_say_why() {
    let found =
        daemon("charon { ikesa_table_size = 64\n plugins { stroke { timeout = 1\n } eap-tls { load = yes\n } } }");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("'charon.ikesa_table_size' has no effect: the table grows by itself"), "{found:?}");
    assert!(found[1].contains("'charon.plugins.stroke' has no effect"), "{found:?}");
    // What distributions ship asks for what happens anyway.
    assert_eq!(daemon("charon { load_modular = yes\n cache_crls = 0\n plugins { aes { load = yes\n } } }"), [""; 0]);
}

#[test]
fn secrets_are_not_quoted() {
    let found = swanctl("secrets { ike-a { id = fqdn:^(a$\n secret = x\n } }");
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("invalid value ''"), "{found:?}");
}

#[test]
fn every_default_is_of_its_options_type() {
    for registry in [strongswan_conf(), swanctl_conf()] {
        let mut names = HashSet::new();
        for (prefix, option) in registry.options() {
            assert!(names.insert((prefix, option.name)), "{prefix}.{} is there twice", option.name);
            assert!(option.description.ends_with('.') || option.description.ends_with(')'), "{}", option.name);
            if !option.default.is_empty() {
                assert_eq!(option.kind.check(option.default), Ok(()), "{prefix}.{}", option.name);
            }
        }
    }
}

#[test]
fn options_are_found_by_path() {
    let option = |path| strongswan_conf().option(path).map(|option| option.name);
    assert_eq!(option("charon.plugins.vici.socket"), Some("socket"));
    assert_eq!(option("charon.filelog.x.ike"), Some("<name>.ike"));
    assert_eq!(option("charon.none"), None);
    assert_eq!(swanctl_conf().option("connections.a.remote-2.id").map(|option| option.default), Some("%any"));
}

/// `cargo run -p strongswan --example default-config -- conf.d` brings it up to date.
#[test]
fn conf_d_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf.d");
    for File { path, text } in default_files().into_iter().chain([reference()]) {
        let found = std::fs::read_to_string(root.join(&path)).unwrap_or_default();
        assert!(found == text, "conf.d/{path} differs from the table of options");
    }
}

/// The list has the keys that strongSwan 6.0.6 reads, except those whose names are not fixed.
#[test]
fn every_option_of_strongswan_is_known() {
    let unknown: Vec<_> = include_str!("testdata/strongswan-6.0.6-keys.txt")
        .lines()
        .filter(|key| strongswan_conf().option(key).is_none())
        .collect();
    assert_eq!(unknown, [""; 0]);
}

#[test]
fn the_default_configuration_is_in_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf.d");
    let mut settings = Settings::load(root.join("strongswan.conf")).unwrap();
    settings.add_program_fallbacks("charon");
    assert_eq!(check(&settings, strongswan_conf()), []);
    assert!(settings.get_bool("charon.plugins.kernel-netlink.load", false));
    let settings = Settings::load(root.join("swanctl/swanctl.conf")).unwrap();
    assert_eq!(check(&settings, swanctl_conf()), []);
    // Uncommented, the examples are good configuration as well.
    let text = std::fs::read_to_string(root.join("swanctl/swanctl.conf")).unwrap();
    let uncommented: String = text
        .lines()
        .map(|line| line.trim_start())
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.contains(" =") || line.ends_with('{') || *line == "}")
        .map(|line| format!("{}\n", line.replace(['<', '>', '*'], "").replace("number =", "25 =")))
        .collect();
    let settings = Settings::parse_bytes("f", uncommented.as_bytes()).unwrap();
    assert_eq!(check(&settings, swanctl_conf()).iter().filter(|finding| finding.error).count(), 0);
    assert_eq!(settings.get_str("connections.conn.children.child.mode"), Some("tunnel"));
}
