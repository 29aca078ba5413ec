//! Every command over a real socket, with a daemon that only remembers what it was asked.

mod authorities;
mod counters;
mod credentials;
mod pools;
mod random;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ike::attributes::{Client as PoolClient, Pools as _};
use ike::config::{ChildConfig, IkeVersion, PeerConfig};
use ike::ids::{IfId, IkeSpi, Mark, Reqid, Spi, UniqueId};
use ike::kernel::{SaId, SaUsage};
use ike::wire::Gateway;
use ike::{Algorithms, ChildSaSnapshot, ChildSaState, Event, IkeSa, IkeSaSnapshot, IkeSaState, NatSituation, TaskType};
use strongswan::credentials::AuthOptions;
use strongswan::crypto::{EncryptionAlgorithm, KeyExchangeMethod, PrfAlgorithm, Protocol, TransformType};
use strongswan::identity::Identity;
use strongswan::log::{Context, Group};
use strongswan::processing::{PerPriority, ProcessorStats, monotonic};
use strongswan::selectors::TrafficSelector;
use vici::{Client, ClientError};

use super::*;
use crate::bus::counters::Counters;
use crate::bus::log::Record;
use crate::bus::{DaemonAlert, Listener};
use crate::config::NoNames;
use crate::controller::{Completion, Fits, Watch};
use crate::kernel::fake::FakeKernel;
use crate::traps::{Installed, PolicyKind};

/// Remembers what it was asked to do, and answers as told.
#[derive(Default)]
struct Fake {
    asked: Mutex<Vec<String>>,
    ike_sas: Mutex<Vec<Arc<IkeSaSnapshot>>>,
    policies: Mutex<Vec<Arc<Installed>>>,
    counters: Counters,
    /// How operations end, in order; with success when used up.
    completions: Mutex<Vec<Completion>>,
}

impl Fake {
    fn ask(&self, what: String, watch: Option<Watch>) {
        let waited = match &watch {
            Some(Watch { timeout: Some(timeout), .. }) => format!(" {}ms", timeout.as_millis()),
            Some(_) => String::new(),
            None => " unwatched".to_owned(),
        };
        self.asked.lock().push(format!("{what}{waited}"));
        let Some(watch) = watch else { return };
        let mut completions = self.completions.lock();
        let completion = if completions.is_empty() { Completion::Success } else { completions.remove(0) };
        std::thread::spawn(move || {
            if let Some(log) = watch.log.filter(|_| watch.log_level >= 0) {
                let context = Context { name: "gw".into(), id: 7 };
                let message = format!("up to level {}", watch.log_level);
                let record =
                    Record { group: Group::Ike, level: 1, thread: 3, context: Some(&context), message: &message };
                log(&record);
            }
            (watch.done)(completion);
        });
    }

    fn note(&self, what: String) {
        self.asked.lock().push(what);
    }

    fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock())
    }

    fn ids(&self, wanted: impl Fn(&IkeSaSnapshot) -> bool) -> Vec<UniqueId> {
        self.ike_sas.lock().iter().filter(|ike| wanted(ike)).map(|ike| ike.unique_id).collect()
    }
}

fn named(connection: &PeerConfig, child: Option<Arc<ChildConfig>>, limits: bool) -> String {
    let child = child.map(|child| format!("/{}", child.name)).unwrap_or_default();
    format!("{}{child}{}", connection.name, if limits { " limits" } else { "" })
}

impl Operations for Fake {
    fn initiate(&self, connection: Arc<PeerConfig>, child: Option<Arc<ChildConfig>>, limits: bool, watch: Watch) {
        self.ask(format!("initiate {}", named(&connection, child, limits)), Some(watch));
    }

    fn start(&self, connection: Arc<PeerConfig>, child: Option<Arc<ChildConfig>>, limits: bool, watch: Watch) {
        assert!(watch.log.is_none() && watch.timeout.is_none());
        self.ask(format!("start {}", named(&connection, child, limits)), Some(watch));
    }

    fn terminate_ike(&self, id: UniqueId, force: bool, watch: Option<Watch>) -> bool {
        self.ask(format!("terminate [{id}]{}", if force { " force" } else { "" }), watch);
        true
    }

    fn terminate_child(&self, child: UniqueId, watch: Option<Watch>) -> bool {
        self.ask(format!("terminate {{{child}}}"), watch);
        true
    }

    fn withdraw(&self, connection: &str, children: Vec<Arc<str>>, close_ike: bool) {
        self.note(format!("withdraw {connection} {children:?}{}", if close_ike { " close" } else { "" }));
    }

    fn redirect(&self, ids: Vec<UniqueId>, fits: Fits, gateway: Gateway, done: Box<dyn FnOnce(usize) + Send>) {
        let meant = self.ids(|ike| ids.contains(&ike.unique_id) && fits(ike));
        meant.iter().for_each(|id| self.note(format!("redirect [{id}] to {gateway}")));
        done(meant.len());
    }

    fn rekey_ike(&self, id: UniqueId, reauth: bool) {
        self.note(format!("{} [{id}]", if reauth { "reauth" } else { "rekey" }));
    }

    fn rekey_child(&self, child: UniqueId) {
        self.note(format!("rekey {{{child}}}"));
    }

    fn install(&self, connection: &Arc<PeerConfig>, child: &Arc<ChildConfig>) -> bool {
        self.note(format!("install {}/{}", connection.name, child.name));
        &*child.name != "broken"
    }

    fn uninstall(&self, connection: Option<&str>, child: &str) -> bool {
        self.note(format!("uninstall {}/{child}", connection.unwrap_or("any")));
        child != "none"
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn ike_sas(&self) -> Vec<UniqueId> {
        self.ids(|_| true)
    }

    fn ike_sas_named(&self, connection: &str) -> Vec<UniqueId> {
        self.ids(|ike| ike.name() == connection)
    }

    fn exists(&self, id: UniqueId) -> bool {
        !self.ids(|ike| ike.unique_id == id).is_empty()
    }

    fn child_sas_named(&self, child: &str) -> Vec<UniqueId> {
        let ike_sas = self.ike_sas.lock();
        let children = ike_sas.iter().flat_map(|ike| &ike.children);
        children.filter(|sa| &*sa.config.name == child).map(|sa| sa.unique_id).collect()
    }

    fn ike_sa_of_child(&self, child: UniqueId) -> Option<UniqueId> {
        self.ids(|ike| ike.children.iter().any(|sa| sa.unique_id == child)).first().copied()
    }

    fn snapshot(&self, id: UniqueId, _wait: Duration) -> Option<Box<IkeSaSnapshot>> {
        let ike_sas = self.ike_sas.lock();
        ike_sas.iter().find(|ike| ike.unique_id == id).map(|ike| Box::new(IkeSaSnapshot::clone(ike)))
    }

    fn policies(&self) -> Vec<Arc<Installed>> {
        self.policies.lock().clone()
    }

    fn usage(&self, id: &SaId) -> Option<SaUsage> {
        let inbound = id.spi.get() == 0xc000_0001;
        Some(SaUsage { bytes: 84, packets: 1, idle: inbound.then_some(Duration::from_secs(2)) })
    }

    fn stats(&self) -> DaemonStats {
        let jobs = ProcessorStats {
            total: 4,
            idle: 3,
            active: PerPriority::default(),
            queued: PerPriority::default(),
            scheduled: 5,
        };
        DaemonStats {
            uptime: Duration::from_secs(61),
            since: "Nov 20 10:00:00 2026".into(),
            jobs,
            ike_sas: 2,
            half_open: 1,
            plugins: vec!["charon".into(), "vici".into()],
        }
    }

    fn auth_options(&self) -> AuthOptions {
        AuthOptions::default()
    }

    fn reload_settings(&self) -> Result<(), String> {
        Err("/etc/strongswan.conf".into())
    }
}

struct Fixture {
    fake: Arc<Fake>,
    pools: Arc<Pools>,
    loggers: Arc<Loggers>,
    server: Server,
    events: Arc<Events>,
    endpoint: Endpoint,
}

impl Fixture {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path: PathBuf = std::env::temp_dir().join(format!("control-test-{}-{number}", std::process::id()));
        let endpoint = Endpoint::Unix(path);
        let (fake, loggers) = (Arc::<Fake>::default(), Loggers::new());
        let connections = Arc::new(Connections::new(Arc::new(NoNames), 500));
        let credentials = Arc::new(Store::new());
        let pools = Arc::<Pools>::default();
        let control =
            Control::new(connections, credentials, Arc::<Pools>::clone(&pools), Arc::<Fake>::clone(&fake), &loggers);
        let (server, events) =
            control.serve(&endpoint, ServerOptions::default(), Arc::new(FakeKernel::announced())).unwrap();
        Self { fake, pools, loggers, server, events, endpoint }
    }

    fn client(&self) -> Client {
        let mut client = Client::connect(&self.endpoint).unwrap();
        client.set_timeout(Some(Duration::from_secs(20)));
        client
    }

    /// The failure a command answers with.
    fn failure(&self, command: &str, message: &Message) -> String {
        match self.client().command(command, message) {
            Err(ClientError::Failed(failed)) => failed.errmsg,
            other => panic!("{other:?}"),
        }
    }

    fn listing(&self, command: &str, event: &str, request: &Message) -> Vec<Message> {
        let mut listed = Vec::new();
        let answer = self.client().request_streamed(command, event, request, |message| listed.push(message)).unwrap();
        assert!(answer.is_empty());
        listed
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Endpoint::Unix(path) = &self.endpoint {
            let _ = std::fs::remove_file(path);
        }
        let _ = &self.server;
    }
}

/// A `load-conn` request for one connection: (child, start action) each.
fn connection(name: &str, children: &[(&str, &str)]) -> Message {
    let mut section = Message::new();
    for (child, action) in children {
        section.push_section((*child).to_owned(), Message::new().with("start_action", *action));
    }
    let connection = Message::new().with("version", 2_u32).with_section("children", section);
    Message::new().with_section(name.to_owned(), connection)
}

fn id(number: u32) -> UniqueId {
    UniqueId::new(number).unwrap()
}

fn child_snapshot(name: &str, number: u32) -> ChildSaSnapshot {
    let addresses = ["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
    let sa = |spi, [src, dst]: [std::net::IpAddr; 2]| SaId {
        spi: Spi::new(spi).unwrap(),
        protocol: Protocol::Esp,
        src,
        dst,
        mark: Mark::NONE,
        if_id: IfId::NONE,
    };
    ChildSaSnapshot {
        unique_id: id(number),
        config: Arc::new(ChildConfig::new(name)),
        reqid: Reqid::new(1),
        state: ChildSaState::Installed,
        mode: ike::config::Mode::Tunnel,
        protocol: Protocol::Esp,
        encap: true,
        inbound: Some(sa(0xc000_0001, [addresses[1], addresses[0]])),
        cpis: None,
        outbound: Some(sa(0xc000_0002, addresses)),
        mark_in: Mark { value: 42, mask: u32::MAX },
        mark_out: Mark { value: 1, mask: 0xff },
        if_id_in: IfId(7),
        if_id_out: IfId::NONE,
        algorithms: Algorithms {
            encryption: Some((EncryptionAlgorithm::AesGcm16, Some(128))),
            esn: true,
            ..Algorithms::default()
        },
        installed: Some(monotonic()),
        rekey: Some(monotonic() + Duration::from_millis(3_600_500)),
        expire: None,
        local_ts: vec![TrafficSelector::parse("10.0.0.0/24").unwrap()],
        remote_ts: vec![TrafficSelector::parse("10.1.0.0/16[tcp/80]").unwrap()],
    }
}

fn ike_snapshot(name: &str, number: u32, children: Vec<ChildSaSnapshot>) -> IkeSaSnapshot {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    IkeSaSnapshot {
        unique_id: id(number),
        config: Some(Arc::new(PeerConfig::new(name, Arc::default()))),
        version: IkeVersion::V2,
        state: IkeSaState::Established,
        local: address("192.0.2.1:4500"),
        remote: address("192.0.2.2:4500"),
        local_id: None,
        remote_id: None,
        remote_eap_id: None,
        initiator: true,
        initiator_spi: IkeSpi::new([0, 0, 0, 0, 0, 0, 1, 2]),
        responder_spi: None,
        nat: NatSituation { local: false, remote: true, fake: false },
        if_id_in: IfId::NONE,
        if_id_out: IfId::NONE,
        algorithms: Some(Algorithms {
            encryption: Some((EncryptionAlgorithm::AesCbc, Some(256))),
            prf: Some(PrfAlgorithm::HmacSha2_256),
            key_exchange: Some(KeyExchangeMethod::Curve25519),
            additional_key_exchanges: vec![
                (TransformType::AdditionalKeyExchange1, KeyExchangeMethod::MlKem768),
                (TransformType::AdditionalKeyExchange3, KeyExchangeMethod::Ecp256),
            ],
            ..Algorithms::default()
        }),
        ppk: true,
        established: Some(monotonic()),
        rekey: None,
        reauth: None,
        local_vips: Vec::new(),
        remote_vips: vec!["10.3.0.1".parse().unwrap()],
        dns_servers: Vec::new(),
        tasks_queued: vec![TaskType::IkeDpd],
        tasks_active: Vec::new(),
        tasks_passive: Vec::new(),
        children: children.into_iter().map(Arc::new).collect(),
    }
}

/// All scalars of a section as `key=value`, lists as `key=[a b]`, sections by name.
fn flat(message: &Message) -> Vec<String> {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    message
        .items()
        .map(|item| match item.value() {
            vici::Value::Scalar(value) => format!("{}={}", item.name(), text(value)),
            vici::Value::List(items) => {
                format!("{}=[{}]", item.name(), items.iter().map(|i| text(i)).collect::<Vec<_>>().join(" "))
            }
            vici::Value::Section(_) => format!("{}{{}}", item.name()),
        })
        .collect()
}

#[test]
fn simple_queries_answer() {
    let fixture = Fixture::new();
    let mut client = fixture.client();
    let version = client.request("version", &Message::new()).unwrap();
    assert_eq!((version.str("daemon"), version.str("sysname")), (Some("charon"), Some("Linux")));
    let stats = client.request("stats", &Message::new()).unwrap();
    assert_eq!(flat(&stats), ["uptime{}", "workers{}", "queues{}", "scheduled=5", "ikesas{}", "plugins=[charon vici]"]);
    assert_eq!(flat(stats.section("uptime").unwrap()), ["running=61 seconds", "since=Nov 20 10:00:00 2026"]);
    assert_eq!(flat(stats.section("workers").unwrap()), ["total=4", "idle=3", "active{}"]);
    assert_eq!(flat(stats.section("queues").unwrap()), ["critical=0", "high=0", "medium=0", "low=0"]);
    assert_eq!(fixture.failure("reload-settings", &Message::new()), "reloading '/etc/strongswan.conf' failed");
    for missing in ["load-nothing", "Install", "Version", ""] {
        assert!(matches!(client.request(missing, &Message::new()), Err(ClientError::UnknownCommand(_))), "{missing}");
    }
}

#[test]
fn connections_are_loaded_listed_and_unloaded() {
    let fixture = Fixture::new();
    let mut client = fixture.client();
    assert_eq!(client.command("load-conn", &Message::new()).unwrap(), Message::success());
    let mut both = connection("a", &[("net", "none")]);
    both.append(connection("b", &[]));
    client.command("load-conn", &both).unwrap();
    assert_eq!(flat(&client.request("get-conns", &Message::new()).unwrap()), ["conns=[a b]"]);
    let listed = fixture.listing("list-conns", "list-conn", &Message::new().with("ike", "b"));
    assert_eq!(listed.len(), 1);
    assert!(listed[0].section("b").is_some());
    client.command("unload-conn", &Message::new().with("name", "a")).unwrap();
    assert_eq!(fixture.failure("unload-conn", &Message::new()), "unload: missing connection name");
    let gone = Message::new().with("name", "a");
    assert_eq!(fixture.failure("unload-conn", &gone), "unload: connection 'a' not found");
}

#[test]
fn a_bad_connection_keeps_all_from_being_loaded() {
    let fixture = Fixture::new();
    let mut three = connection("a", &[]);
    three.push_section("b", Message::new().with("nonsense", "1"));
    three.append(connection("c", &[]));
    assert_eq!(fixture.failure("load-conn", &three), "unknown option: nonsense, config discarded");
    let conns = fixture.client().request("get-conns", &Message::new()).unwrap();
    assert_eq!(flat(&conns), ["conns=[]"]);
}

#[test]
fn initiate_finds_its_configuration() {
    let fixture = Fixture::new();
    fixture.client().command("load-conn", &connection("gw", &[("net", "none")])).unwrap();
    let ask = |message: &Message| fixture.failure("initiate", message);
    assert_eq!(ask(&Message::new()), "missing configuration name");
    assert_eq!(ask(&Message::new().with("child", "x").with("ike", "gw")), "CHILD_SA config 'x' not found");
    assert_eq!(ask(&Message::new().with("child", "net").with("ike", "x")), "CHILD_SA config 'net' not found");
    assert_eq!(ask(&Message::new().with("ike", "x")), "IKE_SA config 'x' not found");
    fixture.client().command("initiate", &Message::new().with("child", "net")).unwrap();
    let limited = Message::new().with("ike", "gw").with("timeout", 70_u32).with("init-limits", true);
    fixture.client().command("initiate", &limited).unwrap();
    fixture.client().command("initiate", &Message::new().with("ike", "gw").with("timeout", -1)).unwrap();
    let asked = ["initiate gw/net", "initiate gw limits 70ms", "start gw"];
    assert_eq!(fixture.fake.take_asked(), asked);
}

#[test]
fn initiate_reports_how_it_ended() {
    let fixture = Fixture::new();
    fixture.client().command("load-conn", &connection("gw", &[("net", "none")])).unwrap();
    let child = Message::new().with("child", "net").with("timeout", 1000_u32);
    for (outcome, errmsg) in [
        (Completion::Timeout, "CHILD_SA 'net' not established after 1000ms"),
        (Completion::Limits, "establishing CHILD_SA 'net' not possible at the moment due to limits"),
        (Completion::Failed(None), "establishing CHILD_SA 'net' failed"),
    ] {
        *fixture.fake.completions.lock() = vec![outcome];
        assert_eq!(fixture.failure("initiate", &child), errmsg);
    }
    *fixture.fake.completions.lock() = vec![Completion::Failed(None)];
    assert_eq!(fixture.failure("initiate", &Message::new().with("ike", "gw")), "establishing IKE_SA 'gw' failed");
}

#[test]
fn progress_is_streamed_to_waiting_subscribers() {
    let fixture = Fixture::new();
    fixture.client().command("load-conn", &connection("gw", &[("net", "none")])).unwrap();
    let lines = |request: &Message| {
        let mut lines = Vec::new();
        let answer =
            fixture.client().request_streamed("initiate", "control-log", request, |line| lines.push(flat(&line)));
        assert!(answer.unwrap().into_result().is_ok());
        lines
    };
    let line = |level| {
        vec![
            "group=IKE".into(),
            "level=1".into(),
            "ikesa-name=gw".into(),
            "ikesa-uniqueid=7".into(),
            format!("msg=up to level {level}"),
        ]
    };
    let request = Message::new().with("child", "net");
    assert_eq!(lines(&request), [line(1)]);
    assert_eq!(lines(&request.clone().with("loglevel", 3_u32)), [line(3)]);
    assert!(lines(&request.clone().with("loglevel", -1)).is_empty());
    assert!(lines(&request.with("timeout", -1)).is_empty());
}

#[test]
fn terminate_selects_closes_and_counts() {
    let fixture = Fixture::new();
    *fixture.fake.ike_sas.lock() = vec![
        Arc::new(ike_snapshot("gw", 1, vec![child_snapshot("net", 1), child_snapshot("other", 2)])),
        Arc::new(ike_snapshot("gw", 2, vec![child_snapshot("net", 3)])),
        Arc::new(ike_snapshot("home", 3, vec![child_snapshot("net", 4)])),
    ];
    let ask = |message: Message| {
        let answer = fixture.client().request("terminate", &message).unwrap();
        (flat(&answer), fixture.fake.take_asked())
    };
    let key = |key: &'static str, value: &str| Message::new().with(key, value);
    assert_eq!(ask(Message::new()).0, ["success=no", "errmsg=missing terminate selector"]);
    let none = ["success=no", "matches=0", "terminated=0", "errmsg=no matching SAs to terminate found"];
    assert_eq!(ask(key("ike", "x")).0, none);
    assert_eq!(ask(key("child", "net").with("ike", "gw").with("ike-id", 3_u32)).0, none);

    let (answer, asked) = ask(key("ike", "gw"));
    assert_eq!(answer, ["success=yes", "matches=2", "terminated=2"]);
    assert_eq!(asked, ["terminate [1]", "terminate [2]"]);
    // for IKE_SAs name and number are alternatives
    assert_eq!(ask(key("ike", "gw").with("ike-id", "3").with("force", "yes")).1.len(), 3);
    assert_eq!(ask(key("ike-id", "3").with("force", "yes").with("timeout", "50")).1, ["terminate [3] force 50ms"]);
    // for CHILD_SAs everything given must fit
    assert_eq!(ask(key("child", "net")).1, ["terminate {1}", "terminate {3}", "terminate {4}"]);
    assert_eq!(ask(key("child", "net").with("ike-id", "2")).1, ["terminate {3}"]);
    assert_eq!(ask(key("child-id", "2")).1, ["terminate {2}"]);

    *fixture.fake.completions.lock() = vec![Completion::Timeout];
    let one = ["success=no", "matches=1", "terminated=0", "errmsg=terminating SA failed"];
    assert_eq!(ask(key("ike-id", "1")).0, one);
    *fixture.fake.completions.lock() = vec![Completion::Timeout];
    let some = ["success=no", "matches=2", "terminated=1", "errmsg=not all matching SAs could be terminated"];
    assert_eq!(ask(key("ike", "gw")).0, some);
}

#[test]
fn rekey_is_handed_over() {
    let fixture = Fixture::new();
    *fixture.fake.ike_sas.lock() = vec![Arc::new(ike_snapshot("gw", 1, vec![child_snapshot("net", 9)]))];
    let ask = |message: Message| flat(&fixture.client().request("rekey", &message).unwrap());
    assert_eq!(ask(Message::new()), ["success=no", "errmsg=missing rekey selector"]);
    assert_eq!(ask(Message::new().with("ike", "gw")), ["success=yes", "matches=1"]);
    assert_eq!(ask(Message::new().with("ike-id", 1_u32).with("reauth", true)), ["success=yes", "matches=1"]);
    assert_eq!(ask(Message::new().with("child", "net")), ["success=yes", "matches=1"]);
    let none = ["success=no", "matches=0", "errmsg=no matching SAs to rekey found"];
    assert_eq!(ask(Message::new().with("child-id", 1_u32)), none);
    assert_eq!(fixture.fake.take_asked(), ["rekey [1]", "reauth [1]", "rekey {9}"]);
}

#[test]
fn redirect_is_about_clients_that_fit_everything() {
    let fixture = Fixture::new();
    let client = |name, number, id, address: &str| {
        let remote_id = Some(Identity::parse(id));
        let remote = address.parse().unwrap();
        Arc::new(IkeSaSnapshot { remote_id, remote, ..ike_snapshot(name, number, Vec::new()) })
    };
    *fixture.fake.ike_sas.lock() = vec![
        client("gw", 1, "carol@example.org", "192.0.2.1:500"),
        client("gw", 2, "dave@example.org", "192.0.2.9:500"),
        client("rw", 3, "alice@example.com", "[2001:db8::9]:500"),
    ];
    let ask = |keys: &[(&'static str, &str)]| {
        let message = keys.iter().fold(Message::new(), |message, (key, value)| message.with(*key, *value));
        let answer = flat(&fixture.client().request("redirect", &message).unwrap()).join(" ");
        (answer, fixture.fake.take_asked().join(" "))
    };
    let to = ("gateway", "gw2.example.org");
    for (keys, ids) in [
        (&[to, ("ike", "gw")][..], &[1, 2][..]),
        (&[to, ("ike-id", "3")], &[3]),
        (&[to, ("ike", "gw"), ("ike-id", "2")], &[2]),
        (&[to, ("peer-ip", "192.0.2.1")], &[1]),
        (&[to, ("peer-ip", "192.0.2.8/29")], &[2]),
        (&[to, ("peer-ip", "192.0.2.1-192.0.2.9")], &[1, 2]),
        (&[to, ("peer-ip", "2001:db8::/64")], &[3]),
        (&[to, ("peer-id", "*@example.org")], &[1, 2]),
        (&[to, ("peer-id", "*@example.org"), ("peer-ip", "192.0.2.9"), ("ike", "gw")], &[2]),
    ] {
        let asked: Vec<_> = ids.iter().map(|id| format!("redirect [{id}] to gw2.example.org")).collect();
        assert_eq!(ask(keys), (format!("success=yes matches={}", ids.len()), asked.join(" ")), "{keys:?}");
    }
    for (keys, error) in [
        (&[("ike", "gw")][..], "missing target gateway"),
        (&[("gateway", "a b"), ("ike", "gw")], "unsupported gateway identity"),
        (&[("gateway", "carol@example.org"), ("ike", "gw")], "unsupported gateway identity"),
        (&[to, ("peer-ip", "somewhere")], "invalid peer IP selector"),
        (&[to, ("peer-id", "")], "invalid peer identity selector"),
        (&[to], "missing redirect selector"),
    ] {
        assert_eq!(ask(keys), (format!("success=no errmsg={error}"), String::new()), "{keys:?}");
    }
    for keys in [&[to, ("ike", "nobody")][..], &[to, ("peer-ip", "192.0.2.1"), ("ike", "rw")]] {
        assert_eq!(ask(keys).0, "success=no matches=0 errmsg=no matching SAs to redirect found");
    }
}

#[test]
fn an_sa_is_listed_with_all_its_keys() {
    let fixture = Fixture::new();
    *fixture.fake.ike_sas.lock() = vec![Arc::new(ike_snapshot("gw", 1, vec![child_snapshot("net", 9)]))];
    let listed = fixture.listing("list-sas", "list-sa", &Message::new().with("noblock", true));
    let gw = listed[0].section("gw").unwrap();
    let ike_keys = [
        "uniqueid=1",
        "version=2",
        "state=ESTABLISHED",
        "local-host=192.0.2.1",
        "local-port=4500",
        "local-id=%any",
        "remote-host=192.0.2.2",
        "remote-port=4500",
        "remote-id=%any",
        "initiator=yes",
        "initiator-spi=0000000000000102",
        "responder-spi=0000000000000000",
        "nat-remote=yes",
        "nat-any=yes",
        "encr-alg=AES_CBC",
        "encr-keysize=256",
        "prf-alg=PRF_HMAC_SHA2_256",
        "dh-group=CURVE_25519",
        "ake1=ML_KEM_768",
        "ake3=ECP_256",
        "ppk=yes",
        "established=0",
        "remote-vips=[10.3.0.1]",
        "tasks-queued=[IKE_DPD]",
        "child-sas{}",
    ];
    assert_eq!(flat(gw), ike_keys);
    let child_keys = [
        "name=net",
        "uniqueid=9",
        "reqid=1",
        "state=INSTALLED",
        "mode=TUNNEL",
        "protocol=ESP",
        "encap=yes",
        "spi-in=c0000001",
        "spi-out=c0000002",
        "mark-in=0000002a",
        "mark-out=00000001",
        "mark-mask-out=000000ff",
        "if-id-in=00000007",
        "encr-alg=AES_GCM_16",
        "encr-keysize=128",
        "esn=1",
        "bytes-in=84",
        "packets-in=1",
        "use-in=2",
        "bytes-out=84",
        "packets-out=1",
        "rekey-time=3600",
        "install-time=0",
        "local-ts=[10.0.0.0/24]",
        "remote-ts=[10.1.0.0/16[tcp/http]]",
    ];
    assert_eq!(flat(gw.section("child-sas").unwrap().section("net-9").unwrap()), child_keys);
}

#[test]
fn listings_of_sas_are_filtered() {
    let fixture = Fixture::new();
    let mut rekeying = child_snapshot("net", 2);
    rekeying.state = ChildSaState::Created;
    *fixture.fake.ike_sas.lock() = vec![
        Arc::new(ike_snapshot("gw", 1, vec![child_snapshot("net", 1), child_snapshot("other", 3)])),
        Arc::new(ike_snapshot("home", 2, vec![rekeying])),
    ];
    let list = |request: Message| -> Vec<(String, Vec<String>)> {
        let listed = fixture.listing("list-sas", "list-sa", &request);
        let sas =
            listed.iter().flat_map(|message| message.sections().map(|(name, ike)| (name.to_owned(), ike.clone())));
        sas.map(|(name, ike)| (name, flat(ike.section("child-sas").unwrap()))).collect()
    };
    let gw = |children: &[&str]| ("gw".to_owned(), children.iter().map(|c| format!("{c}{{}}")).collect::<Vec<_>>());
    let home = |children: &[&str]| ("home".to_owned(), children.iter().map(|c| format!("{c}{{}}")).collect::<Vec<_>>());
    assert_eq!(list(Message::new()), [gw(&["net-1", "other-3"]), home(&["net-2"])]);
    assert_eq!(list(Message::new().with("ike", "gw")), [gw(&["net-1", "other-3"])]);
    assert_eq!(list(Message::new().with("ike", "gw").with("ike-id", 2_u32)), []);
    assert_eq!(list(Message::new().with("child", "other")), [gw(&["other-3"]), home(&[])]);
    assert_eq!(list(Message::new().with("child-id", 2_u32)), [gw(&[]), home(&["net-2"])]);
}

#[test]
fn policies_are_listed_on_demand() {
    let fixture = Fixture::new();
    let policy = |kind, child: &str| {
        let connection = Arc::new(PeerConfig::new("gw", Arc::default()));
        let local_ts = vec![TrafficSelector::parse("10.0.0.1").unwrap()];
        Arc::new(Installed::for_test(kind, connection, Arc::new(ChildConfig::new(child)), local_ts))
    };
    let trap = PolicyKind::Trap(Reqid::new(3).unwrap());
    *fixture.fake.policies.lock() = vec![policy(trap, "net"), policy(PolicyKind::Pass, "lan")];
    let list = |request: Message| fixture.listing("list-policies", "list-policy", &request);
    assert!(list(Message::new()).is_empty());
    let traps = list(Message::new().with("trap", false));
    assert_eq!(traps.len(), 1);
    let keys = ["child=net", "reqid=3", "ike=gw", "mode=TUNNEL", "local-ts=[10.0.0.1/32]", "remote-ts=[]"];
    assert_eq!(flat(traps[0].section("gw/net").unwrap()), keys);
    let both = list(Message::new().with("trap", true).with("pass", true).with("drop", true));
    assert_eq!(both.len(), 2);
    assert_eq!(both[1].section("gw/lan").unwrap().str("mode"), Some("PASS"));
    assert!(list(Message::new().with("trap", true).with("child", "lan")).is_empty());
}

#[test]
fn start_actions_follow_loads() {
    let fixture = Fixture::new();
    let load = |message: &Message| {
        fixture.client().command("load-conn", message).unwrap();
        fixture.fake.take_asked()
    };
    let unload = |name: &str| {
        fixture.client().command("unload-conn", &Message::new().with("name", name)).unwrap();
        fixture.fake.take_asked()
    };
    let children = [("s", "start"), ("t", "trap"), ("both", "trap|start"), ("none", "none")];
    let loaded = ["start gw/s", "install gw/t", "install gw/both", "start gw/both"];
    assert_eq!(load(&connection("gw", &children)), loaded);
    // nothing changes, nobody is disturbed
    assert!(load(&connection("gw", &children)).is_empty());
    // a started child goes, and the IKE_SA if nobody else needs it
    let fewer = [("t", "trap"), ("both", "trap|start"), ("none", "none")];
    assert_eq!(load(&connection("gw", &fewer)), ["withdraw gw [\"s\"] close"]);
    // a trap goes, and SAs only if they serve nobody
    let fewer = [("both", "trap|start"), ("none", "none")];
    assert_eq!(load(&connection("gw", &fewer)), ["uninstall gw/t", "withdraw gw [] close"]);
    // the IKE_SA of one is good for the other
    let renamed = [("neither", "start"), ("none", "none")];
    let asked = ["uninstall gw/both", "withdraw gw [\"both\"]", "start gw/neither"];
    assert_eq!(load(&connection("gw", &renamed)), asked);
    assert_eq!(unload("gw"), ["withdraw gw [\"neither\"] close"]);
}

#[test]
fn log_lines_become_events_while_somebody_listens() {
    use crate::bus::log::LogLayer;
    use strongswan::log;
    use tracing_subscriber::layer::SubscriberExt;

    let fixture = Fixture::new();
    let subscriber = tracing_subscriber::registry().with(LogLayer(Arc::clone(&fixture.loggers)));
    let mut client = fixture.client();
    tracing::subscriber::with_default(subscriber, || {
        log!(CFG, 1, "nobody listens");
        client.subscribe("log").unwrap();
        log!(CFG, 1, "heard");
        log!(CFG, 2, "too detailed");
        log::set_context(Some(Context { name: "gw".into(), id: 3 }));
        log!(IKE, 0, "about an SA");
        log::set_context(None);
    });
    let mut next = || {
        let event = client.next_event(Some(Duration::from_secs(20))).unwrap().unwrap();
        let mut keys = flat(&event.message);
        keys.retain(|key| !key.starts_with("thread="));
        keys
    };
    assert_eq!(next(), ["group=CFG", "level=1", "msg=heard"]);
    assert_eq!(next(), ["group=IKE", "level=0", "ikesa-name=gw", "ikesa-uniqueid=3", "msg=about an SA"]);
}

#[test]
fn sa_events_reach_their_subscribers() {
    let fixture = Fixture::new();
    let mut client = fixture.client();
    for event in ["ike-updown", "ike-rekey", "ike-update", "child-updown", "child-rekey", "alert"] {
        client.subscribe(event).unwrap();
    }
    let ike = Arc::new(ike_snapshot("gw", 1, Vec::new()));
    let child = Arc::new(child_snapshot("net", 4));
    let spi = IkeSpi::new([1; 8]).unwrap();
    let sa = IkeSa::initiator(id(1), spi, Arc::new(PeerConfig::new("gw", Arc::default())), monotonic());
    let raise = |event: Event| fixture.events.event(&sa, &event);
    raise(Event::IkeUpDown { up: true, ike: Arc::clone(&ike) });
    raise(Event::IkeUpDown { up: false, ike: Arc::clone(&ike) });
    raise(Event::IkeRekey { old: Arc::clone(&ike), new: Arc::clone(&ike) });
    let (local, remote) = ("192.0.2.7:4500".parse().unwrap(), "[2001:db8::1]:4500".parse().unwrap());
    raise(Event::IkeUpdate { ike: Arc::clone(&ike), local, remote });
    raise(Event::ChildUpDown { up: true, ike: Arc::clone(&ike), child: Arc::clone(&child) });
    raise(Event::ChildRekey { ike: Arc::clone(&ike), old: Arc::clone(&child), new: child });
    raise(Event::Alert(ike::Alert::TsMismatch));
    fixture.events.alert(&DaemonAlert::ShutdownSignal);
    let mut next = |name: &str| {
        let event = client.next_event(Some(Duration::from_secs(20))).unwrap().unwrap();
        assert_eq!(event.name, name);
        event.message
    };
    assert_eq!(flat(&next("ike-updown")), ["up=yes", "gw{}"]);
    assert_eq!(flat(&next("ike-updown")), ["gw{}"]);
    assert_eq!(flat(next("ike-rekey").section("gw").unwrap()), ["old{}", "new{}"]);
    let update = ["local-host=192.0.2.7", "local-port=4500", "remote-host=2001:db8::1", "remote-port=4500", "gw{}"];
    assert_eq!(flat(&next("ike-update")), update);
    let updown = next("child-updown");
    assert_eq!(updown.str("up"), Some("yes"));
    assert_eq!(flat(updown.section("gw").and_then(|gw| gw.section("child-sas")).unwrap()), ["net-4{}"]);
    let rekey = next("child-rekey");
    let children = rekey.section("gw").and_then(|gw| gw.section("child-sas")).unwrap();
    assert_eq!(flat(children.section("net").unwrap()), ["old{}", "new{}"]);
    assert_eq!(flat(&next("alert")), ["type=ts-mismatch", "ike-sa{}"]);
    assert_eq!(flat(&next("alert")), ["type=shutdown-signal"]);
}

const CERTIFICATE: &str = include_str!("../config/testdata/certificate.pem");
const CA: &str = include_str!("../config/testdata/ca.pem");
const KEY: &str = include_str!("../config/testdata/key.pem");
