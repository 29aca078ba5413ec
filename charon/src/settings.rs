//! strongswan.conf as the rooms of the daemon want it: each option is read here, once, and nowhere else.

use std::time::Duration;

use ike::eap::{EapSettings, FramingSettings, GtcBackend, MethodType, TlsSettings, TlsVersion, TunnelSettings};
use ike::settings::{FragmentSize, IkeSettings, RedirectSettings, RedirectWhen, RetransmitSettings};
use ike::wire::Gateway;
use strongswan::credentials::{Auth, AuthClass, AuthOptions, TrustOptions};
use strongswan::identity::RdnMatching;
use strongswan::log;
use strongswan::log::Group;
use strongswan::processing::{PerPriority, Priority, ProcessorSettings};
use strongswan::settings::{PIDDIR, Settings, View, default_vici_uri, options, swanctl_dir};

use crate::bus::log::config::{FileLog, LogConfig, SysLog};
use crate::bus::log::{Facility, Levels, LineFormat, Stream, TimePrecision};
use crate::fetch::FetchSettings;
use crate::kernel::netlink::InterfaceFilter;
use crate::manager::{ManagerSettings, NumberSettings};
use crate::net::{DelaySettings, FloodSettings, ReceiverSettings, SocketSettings};

/// Largest reduction of a retransmission timeout in percent.
const MAX_JITTER: u8 = 20;

/// The section of this daemon.
fn daemon(settings: &Settings) -> View<'_> {
    settings.view("charon")
}

/// What an IKE_SA depends on. Read again on reload.
pub fn ike(settings: &Settings) -> IkeSettings {
    let s = daemon(settings);
    let defaults = IkeSettings::default();
    let seconds = |name: &str, default: Duration| Duration::from_secs(s.get_int(name, default.as_secs()));
    let fragment_size = |name: &str| Some(s.get_int(name, 0u16)).filter(|size| *size != 0);
    let retransmit = RetransmitSettings {
        timeout: float_seconds(s.get_f64("retransmit_timeout", defaults.retransmit.timeout.as_secs_f64())),
        base: s.get_f64("retransmit_base", defaults.retransmit.base),
        tries: s.get_int("retransmit_tries", defaults.retransmit.tries),
        jitter: s.get_int("retransmit_jitter", defaults.retransmit.jitter).min(MAX_JITTER),
        limit: seconds("retransmit_limit", defaults.retransmit.limit),
    };
    let flag = |name: &str, default: bool| s.get_bool(name, default);
    IkeSettings {
        port: s.get_int("port", defaults.port),
        port_nat_t: s.get_int("port_nat_t", defaults.port_nat_t),
        retransmit,
        half_open_timeout: seconds("half_open_timeout", defaults.half_open_timeout),
        keep_alive: s.get_time("keep_alive", defaults.keep_alive),
        keep_alive_dpd_margin: s.get_time("keep_alive_dpd_margin", defaults.keep_alive_dpd_margin),
        fragment_size: FragmentSize {
            default: s.get_int("fragment_size", defaults.fragment_size.default),
            v4: fragment_size("fragment_size_v4"),
            v6: fragment_size("fragment_size_v6"),
        },
        max_packet: s.get_int("max_packet", defaults.max_packet),
        prefer_configured_proposals: flag("prefer_configured_proposals", defaults.prefer_configured_proposals),
        prefer_previous_dh_group: flag("prefer_previous_dh_group", defaults.prefer_previous_dh_group),
        accept_private_algs: flag("accept_private_algs", defaults.accept_private_algs),
        send_vendor_id: flag("send_vendor_id", defaults.send_vendor_id),
        cisco_flexvpn: flag("cisco_flexvpn", defaults.cisco_flexvpn),
        childsa_limit: s.get_int("childsa_limit", defaults.childsa_limit),
        childsa_policy_limit: s.get_int("childsa_policy_limit", defaults.childsa_policy_limit),
        signature_authentication: flag("signature_authentication", defaults.signature_authentication),
        rsa_pss: flag("rsa_pss", defaults.rsa_pss),
        multiple_authentication: flag("multiple_authentication", defaults.multiple_authentication),
        delete_rekeyed_delay: seconds("delete_rekeyed_delay", defaults.delete_rekeyed_delay),
        close_ike_on_child_failure: flag("close_ike_on_child_failure", defaults.close_ike_on_child_failure),
        inactivity_close_ike: flag("inactivity_close_ike", defaults.inactivity_close_ike),
        replay_window: s.get_int("replay_window", defaults.replay_window),
        follow_redirects: flag("follow_redirects", defaults.follow_redirects),
        make_before_break: flag("make_before_break", defaults.make_before_break),
        ignore_acquire_ts: flag("ignore_acquire_ts", defaults.ignore_acquire_ts),
        prefer_best_path: flag("prefer_best_path", defaults.prefer_best_path),
        check_current_path: flag("check_current_path", defaults.check_current_path),
        retry_initiate_interval: s.get_time("retry_initiate_interval", defaults.retry_initiate_interval),
        accounting: crate::radius::is_accounting(settings),
        eap: eap(settings),
        redirect: redirect(&s),
    }
}

/// Where clients are sent to. What cannot be used is said when the settings are checked, and nobody is sent away then.
fn redirect(s: &View<'_>) -> Option<RedirectSettings> {
    let section = s.view("redirect");
    let when = match section.get_str("when")? {
        "init" => RedirectWhen::Init,
        "auth" => RedirectWhen::Auth,
        _ => return None,
    };
    let Some(gateway) = section.get_str("gateway").and_then(Gateway::parse) else {
        log!(CFG, 1, "charon.redirect.gateway names no gateway, clients are not redirected");
        return None;
    };
    let connections = options::items(section.get_str("connections").unwrap_or_default()).collect();
    Some(RedirectSettings { gateway, when, connections })
}

/// EAP methods. A word of `eap-dynamic.preferred` that is no method is left out.
fn eap(settings: &Settings) -> EapSettings {
    const PLUGINS: [&str; 6] = ["eap-md5", "eap-gtc", "eap-mschapv2", "eap-tls", "eap-ttls", "eap-peap"];
    let s = daemon(settings);
    let plugins = s.view("plugins");
    let loaded = |plugin: &&str| {
        // who asks for TNC does not want to let in anybody without it
        let tnc = plugins.get_bool(&format!("{plugin}.phase2_tnc"), false);
        if tnc {
            log!(CFG, 1, "{plugin}.phase2_tnc is not supported, {plugin} is not loaded");
        }
        plugins.get_bool(&format!("{plugin}.load"), true) && !tnc
    };
    let dynamic = plugins.view("eap-dynamic");
    let preferred = dynamic.get_str("preferred").unwrap_or_default();
    let words = preferred.split([',', ' ']).filter(|word| !word.is_empty());
    let methods =
        words.filter_map(|word| match Auth::parse(&format!("eap-{word}"), AuthOptions::default()).ok()?.class {
            AuthClass::Eap(method) => MethodType::configured(method),
            _ => None,
        });
    EapSettings {
        force_eap_only: s.get_bool("force_eap_only_authentication", false),
        disabled: PLUGINS.iter().filter(|plugin| !loaded(plugin)).map(|plugin| (*plugin).to_owned()).collect(),
        preferred: methods.collect(),
        // documented by one name, read by the other
        prefer_user: dynamic.get_bool("prefer_user", dynamic.get_bool("prefer_peer", false)),
        gtc_backend: match plugins.get_str("eap-gtc.backend") {
            Some("generic") => GtcBackend::Generic,
            _ => GtcBackend::Missing,
        },
        tls: tls(settings),
        eap_tls: framing(&plugins.view("eap-tls"), FramingSettings::default()),
        ttls: tunnel(&plugins.view("eap-ttls"), TunnelSettings::ttls()),
        peap: tunnel(&plugins.view("eap-peap"), TunnelSettings::peap()),
    }
}

/// `charon.tls`, with `libtls` behind it.
fn tls(settings: &Settings) -> TlsSettings {
    let (first, second) = (daemon(settings).view("tls"), settings.view("libtls"));
    let text = |name: &str| first.get_str(name).or_else(|| second.get_str(name));
    let list = |name: &str| {
        let words = text(name).unwrap_or_default().split([',', ' ']).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    };
    let version = |name: &str, default: TlsVersion| match text(name) {
        Some("1.0" | "1.1") => TlsVersion::Older,
        Some("1.2") => TlsVersion::V12,
        Some("1.3") => TlsVersion::V13,
        _ => default,
    };
    let defaults = TlsSettings::default();
    let authorities = "send_certreq_authorities";
    TlsSettings {
        version_min: version("version_min", defaults.version_min),
        version_max: version("version_max", defaults.version_max),
        cipher: list("cipher"),
        mac: list("mac"),
        key_exchange: list("key_exchange"),
        suites: list("suites"),
        ke_group: list("ke_group"),
        signature: list("signature"),
        send_certreq_authorities: first
            .get_bool(authorities, second.get_bool(authorities, defaults.send_certreq_authorities)),
    }
}

/// An EAP method that runs another one within TLS. A word that is no method leaves a server without.
fn tunnel(s: &View<'_>, defaults: TunnelSettings) -> TunnelSettings {
    let method = |word: &str| match Auth::parse(&format!("eap-{word}"), AuthOptions::default()).ok()?.class {
        AuthClass::Eap(method) => Some(method),
        _ => None,
    };
    TunnelSettings {
        framing: framing(s, defaults.framing),
        phase2_method: s.get_str("phase2_method").map_or(defaults.phase2_method, method),
        phase2_piggyback: s.get_bool("phase2_piggyback", defaults.phase2_piggyback),
        request_peer_auth: s.get_bool("request_peer_auth", defaults.request_peer_auth),
    }
}

/// How an EAP method cuts TLS into packets.
fn framing(s: &View<'_>, defaults: FramingSettings) -> FramingSettings {
    FramingSettings {
        fragment_size: s.get_int("fragment_size", defaults.fragment_size),
        max_message_count: s.get_int("max_message_count", defaults.max_message_count),
        include_length: s.get_bool("include_length", defaults.include_length),
    }
}

/// How distinguished names have to match.
pub fn rdn_matching(settings: &Settings) -> RdnMatching {
    daemon(settings).get_str("rdn_matching").and_then(RdnMatching::from_name).unwrap_or_default()
}

fn float_seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// The workers.
pub fn processor(settings: &Settings) -> ProcessorSettings {
    let s = daemon(settings);
    let mut reserved = PerPriority::default();
    for priority in Priority::ALL {
        *reserved.get_mut(priority) = s.get_int(&format!("processor.priority_threads.{priority}"), 0);
    }
    ProcessorSettings { threads: s.get_int("threads", 16usize).max(1), reserved }
}

/// The sockets.
pub fn sockets(settings: &Settings) -> SocketSettings {
    let s = daemon(settings);
    let plugin = s.view("plugins.socket-default");
    let defaults = SocketSettings::default();
    SocketSettings {
        port: s.get_int("port", defaults.port),
        port_nat_t: s.get_int("port_nat_t", defaults.port_nat_t),
        use_ipv4: plugin.get_bool("use_ipv4", defaults.use_ipv4),
        use_ipv6: plugin.get_bool("use_ipv6", defaults.use_ipv6),
        set_source: plugin.get_bool("set_source", defaults.set_source),
        set_sourceif: plugin.get_bool("set_sourceif", defaults.set_sourceif),
        fwmark: plugin.get_str("fwmark").and_then(mark),
    }
}

/// The value of `mark[/mask]`, with the mask applied.
fn mark(text: &str) -> Option<u32> {
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
    let number = |text: &str| strongswan::settings::parse_int::<u32>(text.trim());
    Some(number(value)? & number(mask)?)
}

/// The receiver.
pub fn receiver(settings: &Settings) -> ReceiverSettings {
    let s = daemon(settings);
    let defaults = FloodSettings::default();
    let flood = FloodSettings {
        dos_protection: s.get_bool("dos_protection", defaults.dos_protection),
        cookie_threshold: s.get_int("cookie_threshold", defaults.cookie_threshold),
        cookie_threshold_ip: s.get_int("cookie_threshold_ip", defaults.cookie_threshold_ip),
        block_threshold: s.get_int("block_threshold", defaults.block_threshold),
        init_limit_half_open: s.get_int("init_limit_half_open", defaults.init_limit_half_open),
        init_limit_job_load: s.get_int("init_limit_job_load", defaults.init_limit_job_load),
    };
    ReceiverSettings {
        flood,
        initiator_only: s.get_bool("initiator_only", false),
        max_packet: s.get_int("max_packet", ReceiverSettings::default().max_packet),
        delay: delay(&s, "receive"),
        interfaces: InterfaceFilter::from_settings(settings),
    }
}

/// Delay of sent messages.
pub fn send_delay(settings: &Settings) -> DelaySettings {
    delay(&daemon(settings), "send")
}

fn delay(s: &View<'_>, direction: &str) -> DelaySettings {
    DelaySettings {
        delay: Duration::from_millis(s.get_int(&format!("{direction}_delay"), 0)),
        exchange: s.get_int(&format!("{direction}_delay_type"), 0),
        requests: s.get_bool(&format!("{direction}_delay_request"), true),
        responses: s.get_bool(&format!("{direction}_delay_response"), true),
    }
}

/// The manager.
pub fn manager(settings: &Settings) -> ManagerSettings {
    let s = daemon(settings);
    ManagerSettings {
        limit: s.get_int("ikesa_limit", 0),
        reuse: s.get_bool("reuse_ikesa", true),
        init_limit_half_open: s.get_int("init_limit_half_open", 0),
        init_limit_job_load: s.get_int("init_limit_job_load", 0),
    }
}

/// Numbers.
pub fn numbers(settings: &Settings) -> NumberSettings {
    let s = daemon(settings);
    NumberSettings {
        spi_mask: s.get_int("spi_mask", 0),
        spi_label: s.get_int("spi_label", 0),
        reqid_base: s.get_int("reqid_base", 1),
    }
}

/// Threads for name lookups.
pub fn resolver_threads(settings: &Settings) -> usize {
    daemon(settings).get_int("host_resolver.max_threads", 3)
}

/// What `auth` strings mean.
pub fn auth_options(settings: &Settings) -> AuthOptions {
    let s = daemon(settings);
    AuthOptions {
        rsa_pss: s.get_bool("rsa_pss", false),
        signature_authentication_constraints: s.get_bool("signature_authentication_constraints", true),
    }
}

/// Asking about certificates.
pub fn fetch(settings: &Settings) -> FetchSettings {
    let s = daemon(settings);
    let defaults = FetchSettings::default();
    let folder = |keep: bool| keep.then(|| swanctl_dir().join("x509crl"));
    FetchSettings {
        timeout: s.get_time("plugins.revocation.timeout", defaults.timeout),
        redirects: u32::try_from(s.get_int("plugins.curl.redir", -1_i32)).unwrap_or(defaults.redirects),
        crl_folder: folder(s.get_bool("cache_crls", false)),
    }
}

/// Whom to trust.
pub fn trust_options(settings: &Settings) -> TrustOptions {
    let s = daemon(settings);
    let defaults = TrustOptions::default();
    TrustOptions {
        reject_trusted_end_entity: s.get_bool("reject_trusted_end_entity", defaults.reject_trusted_end_entity),
        enforce_critical: s.get_bool("x509.enforce_critical", defaults.enforce_critical),
        enable_crl: s.get_bool("plugins.revocation.enable_crl", defaults.enable_crl),
        enable_ocsp: s.get_bool("plugins.revocation.enable_ocsp", defaults.enable_ocsp),
    }
}

/// URI of the control socket.
pub fn vici_socket(settings: &Settings) -> String {
    daemon(settings).get_str("plugins.vici.socket").map_or_else(default_vici_uri, str::to_owned)
}

/// The PID file. Several daemons on one machine that share a runtime directory need one each.
pub fn pidfile(settings: &Settings) -> String {
    daemon(settings).get_str("pidfile").map_or_else(|| format!("{PIDDIR}/charon.pid"), str::to_owned)
}

/// Commands of `start-scripts` or `stop-scripts`, in the order of the file.
pub fn scripts(settings: &Settings, section: &str) -> Vec<(String, String)> {
    let keys = daemon(settings).view(section).keys();
    keys.into_iter().map(|entry| (entry.name.to_owned(), entry.value.to_owned())).collect()
}

/// The loggers; without any configured one those of the command line.
pub fn loggers(settings: &Settings, levels: Levels, use_syslog: bool) -> LogConfig {
    let s = daemon(settings);
    let files = s.view("filelog").sections().iter().map(file_log).collect();
    let syslogs = s.view("syslog").sections().iter().filter_map(sys_log).collect();
    let mut config = LogConfig { files, syslogs, identifier: None };
    if config.is_empty() {
        config = LogConfig::fallback(levels, use_syslog);
    }
    config.identifier = s.get_str("syslog.identifier").map(str::to_owned);
    config
}

fn levels(s: &View<'_>) -> Levels {
    let default = s.get_int("default", 1i8);
    let mut levels = Levels::all(default);
    for group in Group::ALL {
        levels.set(*group, s.get_int(group.keyword(), default));
    }
    levels
}

fn file_log(s: &View<'_>) -> FileLog {
    let precision = match s.get_str("time_precision") {
        Some("ms") => Some(TimePrecision::Milliseconds),
        Some("us") => Some(TimePrecision::Microseconds),
        // The name of the option before there were microseconds.
        _ => s.get_bool("time_add_ms", false).then_some(TimePrecision::Milliseconds),
    };
    FileLog {
        stream: Stream::from_name(s.get_str("path").unwrap_or_else(|| s.name())),
        levels: levels(s),
        format: LineFormat {
            time: s.get_str("time_format").map(str::to_owned),
            precision,
            ike_name: s.get_bool("ike_name", false),
            log_level: s.get_bool("log_level", false),
            json: s.get_bool("json", false),
        },
        append: s.get_bool("append", true),
        flush_line: s.get_bool("flush_line", false),
    }
}

fn sys_log(s: &View<'_>) -> Option<SysLog> {
    Some(SysLog {
        facility: Facility::from_name(s.name())?,
        levels: levels(s),
        ike_name: s.get_bool("ike_name", false),
        log_level: s.get_bool("log_level", false),
        map_level: s.get_int("map_level", -1),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use strongswan::settings::options;

    use super::*;

    fn conf(text: &str) -> Settings {
        Settings::parse_str(&format!("charon {{\n{text}\n}}")).unwrap()
    }

    #[test]
    fn an_empty_file_is_all_defaults() {
        let empty = conf("");
        assert_eq!(ike(&empty), IkeSettings::default());
        assert_eq!(sockets(&empty), SocketSettings::default());
        assert_eq!(receiver(&empty), ReceiverSettings::default());
        assert_eq!(manager(&empty), ManagerSettings::default());
        assert_eq!(numbers(&empty), NumberSettings::default());
        assert_eq!(processor(&empty).threads, 16);
        assert_eq!(trust_options(&empty), TrustOptions::default());
    }

    /// Whether the text of a source file, or of one below a folder, contains any of these.
    fn mentions(path: &Path, texts: &[String]) -> bool {
        if path.is_dir() {
            return std::fs::read_dir(path).unwrap().any(|entry| mentions(&entry.unwrap().path(), texts));
        }
        let source = std::fs::read_to_string(path).unwrap();
        texts.iter().any(|text| source.contains(text))
    }

    #[test]
    fn options_that_claim_to_do_something_are_read() {
        // These names are put together from their parts, or taken as they come.
        let computed =
            ["charon.processor.priority_threads.", "charon.send_delay", "charon.receive_delay", "charon.plugins.attr."];
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for (prefix, option) in options::strongswan_conf().options() {
            let path = format!("{prefix}.{}", option.name);
            let of_daemon = path.starts_with("charon.") && option.effect == options::Effect::Live;
            if !of_daemon || path.ends_with('>') || computed.iter().any(|start| path.starts_with(start)) {
                continue;
            }
            // In quotes as a whole, or with part of the path before it. Levels of log groups go by the group's keyword.
            let last = path.rsplit('.').next().unwrap();
            let is_level = Group::ALL.iter().any(|group| group.keyword() == last);
            let read = is_level || mentions(&sources, &[format!("\"{last}\""), format!(".{last}\"")]);
            assert!(read, "{path} is documented to have an effect, but nothing reads it");
        }
    }

    #[test]
    fn options_reach_their_rooms() {
        let conf = conf(
            "retransmit_timeout = 0.5\n reject_trusted_end_entity = yes\n x509 { enforce_critical = no }\n\
             retransmit_jitter = 50\n fragment_size_v6 = 1400\n half_open_timeout = 7\n\
             spi_mask = 0xff00\n threads = 4\n processor { priority_threads { high = 1 } }\n\
             plugins { socket-default { fwmark = 0x42/0xf\n use_ipv6 = no } }\n\
             start-scripts { a = true\n b = false }",
        );
        let ike = ike(&conf);
        assert_eq!((ike.retransmit.timeout, ike.retransmit.jitter), (Duration::from_millis(500), 20));
        assert_eq!((ike.fragment_size.v4, ike.fragment_size.v6), (None, Some(1400)));
        assert_eq!(ike.half_open_timeout, Duration::from_secs(7));
        assert_eq!(numbers(&conf).spi_mask, 0xff00);
        assert!(trust_options(&conf).reject_trusted_end_entity && !trust_options(&conf).enforce_critical);
        assert_eq!(processor(&conf).threads, 4);
        assert_eq!(processor(&conf).reserved.high, 1);
        assert_eq!((sockets(&conf).fwmark, sockets(&conf).use_ipv6), (Some(2), false));
        let scripts = scripts(&conf, "start-scripts");
        assert_eq!(scripts, [("a".into(), "true".into()), ("b".into(), "false".into())]);
    }

    #[test]
    fn loggers_are_configured_or_those_of_the_command_line() {
        let none = loggers(&conf(""), Levels::all(2), true);
        assert!(none.files.is_empty());
        assert_eq!(none.syslogs.len(), 2);
        let some = loggers(
            &conf(
                "filelog { gw { path = /tmp/gw.log\n ike = 2\n default = 0\n time_add_ms = yes\n time_format = %T }\n stderr { json = yes } }\n\
                 syslog { identifier = gw\n daemon { }\n other { } }",
            ),
            Levels::all(2),
            true,
        );
        let file = some.files.first().unwrap();
        assert_eq!(file.stream, Stream::File("/tmp/gw.log".into()));
        assert_eq!((file.levels.get(Group::Ike), file.levels.get(Group::Net)), (2, 0));
        assert_eq!(file.format.precision, Some(TimePrecision::Milliseconds));
        assert_eq!(some.files.get(1).unwrap().stream, Stream::Stderr);
        assert_eq!(some.syslogs.len(), 1);
        assert_eq!(some.identifier.as_deref(), Some("gw"));
    }
}
