//! Two daemons' managers in one process, over loopback sockets and with data planes that only keep books.

mod events;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use ike::IkeSaState;
use ike::attributes::NoAttributes;
use ike::config::PeerConfig;
use ike::ids::UniqueId;
use strongswan::credentials::{AuthOptions, SecretKind, SharedSecret, Store};
use strongswan::crypto::Secret;
use strongswan::identity::Identity;
use strongswan::processing::{PerPriority, Priority, ProcessorSettings, job};
use vici::Message;

use super::*;
use crate::bus::log::{ControlLog, Loggers};
use crate::config::{self, Connections, NoNames};
use crate::controller::{Completion, Controller, Watch};
use crate::fetch::{FetchSettings, Fetcher};
use crate::jobs::{KernelEvents, ProcessMessage};
use crate::kernel::fake::FakeKernel;
use crate::net::{DelaySettings, Delivery, Receiver, ReceiverSettings, SocketSettings, Sockets};
use crate::traps::{PolicyKind, TrapError, Traps};

const SOON: Duration = Duration::from_secs(20);

struct Node {
    controller: Arc<Controller>,
    connections: Arc<Connections>,
    kernel: Arc<FakeKernel>,
    bus: Arc<Bus>,
    _receiver: Receiver,
    port: u16,
}

impl Node {
    fn new(settings: ManagerSettings) -> Self {
        let sockets = SocketSettings { port: 0, port_nat_t: 0, use_ipv6: false, ..SocketSettings::default() };
        let sockets = Arc::new(Sockets::open(&sockets).unwrap());
        let [port, port_nat_t] = [false, true].map(|nat_t| sockets.port(nat_t).unwrap());
        let sender = Sender::new(sockets, DelaySettings::default());
        let processor = Arc::new(Processor::new());
        processor.start(ProcessorSettings { threads: 3, reserved: PerPriority::default() }).unwrap();
        let (bus, half_open, kernel) = (Bus::new(), HalfOpen::new(), Arc::new(FakeKernel::new()));
        let connections = Arc::new(Connections::new(Arc::new(NoNames), port));
        let store = Store::default();
        store.add_secret(SharedSecret {
            kind: SecretKind::Ike,
            owners: vec![Identity::parse("%any")],
            data: Secret::new(b"a secret of both".to_vec()),
            id: None,
        });
        let ike_settings = IkeSettings { port, port_nat_t, ..IkeSettings::default() };
        let manager = Manager::new(
            settings,
            Surroundings {
                ike_settings: Arc::new(ArcSwap::from_pointee(ike_settings)),
                config: Arc::<Connections>::clone(&connections),
                credentials: Arc::new(store),
                kernel: Arc::<FakeKernel>::clone(&kernel),
                pools: Arc::new(NoAttributes),
                handlers: Arc::new(NoAttributes),
                aaa: Arc::new(NoAaa),
                bus: Arc::clone(&bus),
                sender: sender.clone(),
                processor: Arc::clone(&processor),
                numbers: Arc::new(Numbers::new(NumberSettings::default())),
                half_open: Arc::clone(&half_open),
                fetcher: Fetcher::new(FetchSettings::default()),
                resolver: Resolver::new(1),
            },
        );
        let delivery = Delivery {
            processor,
            job: {
                let manager = Arc::clone(&manager);
                Box::new(move |message| Box::new(ProcessMessage { manager: Arc::clone(&manager), message }))
            },
            esp: None,
            malformed: Box::new(|| ()),
        };
        let receiver = Receiver::start(sender, ReceiverSettings::default(), half_open, delivery).unwrap();
        let traps = Traps::new(&manager);
        let kernel_events = Arc::<KernelEvents>::default();
        kernel_events.handle_with(&manager, &traps);
        kernel.report_to(kernel_events.sink());
        let controller = Controller::new(manager, traps, ControlLog::new(&Loggers::new()), &bus);
        Self { controller, connections, kernel, bus, _receiver: receiver, port: port_nat_t }
    }

    fn manager(&self) -> &Arc<Manager> {
        self.controller.manager()
    }

    fn load(&self, name: &str, peer: &Self) -> Arc<PeerConfig> {
        self.load_with(name, peer, &[])
    }

    fn load_with(&self, name: &str, peer: &Self, options: &[(&'static str, &str)]) -> Arc<PeerConfig> {
        let child = |net: &str| Message::new().with_list("local_ts", [net]).with_list("remote_ts", [net]);
        let children =
            Message::new().with_section("one", child("10.1.0.0/16")).with_section("two", child("10.2.0.0/16"));
        let message = Message::new()
            .with("version", 2_u32)
            .with_list("remote_addrs", ["127.0.0.1"])
            .with("local_port", self.port)
            .with("remote_port", peer.port)
            .with_section("local", Message::new().with("auth", "psk").with("id", format!("{}.test", self.port)))
            .with_section("remote", Message::new().with("auth", "psk").with("id", format!("{}.test", peer.port)))
            .with_section("children", children);
        let message = options.iter().fold(message, |message, (key, value)| message.with(*key, *value));
        let config = config::load(name, &message, AuthOptions::default()).unwrap();
        self.connections.load(config).connection
    }

    fn initiate(&self, config: &Arc<PeerConfig>, child: Option<&str>) -> Completion {
        let (watch, completion) = watch();
        let child = child.map(|name| Arc::clone(config.child(name).unwrap()));
        self.controller.initiate(Arc::clone(config), child, false, watch);
        completion.recv_timeout(SOON).unwrap()
    }

    fn states(&self) -> Vec<IkeSaState> {
        let taken = self.manager().ike_sas().into_iter().map(|id| self.manager().snapshot(id, SOON));
        taken
            .filter_map(|snapshot| match snapshot {
                Snapshot::Taken(sa) => Some(sa.state),
                Snapshot::Busy | Snapshot::Gone => None,
            })
            .collect()
    }

    fn only(&self) -> UniqueId {
        let all = self.manager().ike_sas();
        assert_eq!(all.len(), 1);
        all[0]
    }
}

fn watch() -> (Watch, mpsc::Receiver<Completion>) {
    let (done, completion) = mpsc::channel();
    let done = Box::new(move |outcome| done.send(outcome).unwrap());
    (Watch { timeout: None, log: None, log_level: -1, done }, completion)
}

fn pair() -> (Node, Node, Arc<PeerConfig>) {
    let (left, right) = (Node::new(ManagerSettings::default()), Node::new(ManagerSettings::default()));
    let config = left.load("gw", &right);
    right.load("gw", &left);
    (left, right, config)
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_ike_sa_is_established_used_again_and_closed() {
    let (left, right, config) = pair();
    assert_eq!(left.initiate(&config, Some("one")), Completion::Success);
    assert_eq!(left.initiate(&config, Some("two")), Completion::Success);
    assert_eq!(left.initiate(&config, None), Completion::Success);
    let id = left.only();
    assert_eq!(left.states(), [IkeSaState::Established]);
    eventually("the responder is at rest", || right.states() == [IkeSaState::Established]);
    assert_eq!(left.manager().ike_sas_named("gw"), [id]);
    assert_eq!(left.manager().child_sas_named("two").len(), 1);
    assert_eq!((left.manager().half_open().total(), right.manager().half_open().total()), (0, 0));
    let (watch, completion) = watch();
    left.controller.terminate_ike(id, false, Some(watch));
    assert_eq!(completion.recv_timeout(SOON), Ok(Completion::Success));
    eventually("nothing is left", || left.manager().is_empty() && right.manager().is_empty());
    for node in [&left, &right] {
        assert!(node.manager().ike_sas().is_empty());
        assert!(node.manager().child_sas_named("two").is_empty());
        assert_eq!(node.kernel.counts(), (0, 0, 0));
    }
}

#[test]
fn children_are_found_after_rekeying_on_either_side() {
    let (left, right, config) = pair();
    assert_eq!(left.initiate(&config, Some("one")), Completion::Success);
    let old = left.only();
    assert!(left.controller.rekey_ike(old, false));
    eventually("the old IKE_SA is gone", || !left.manager().exists(old) && left.manager().len() == 1);
    let new = left.only();
    let children = left.manager().child_sas_named("one");
    assert_eq!(children.len(), 1);
    assert_eq!(left.manager().ike_sa_of_child(children[0]), Some(new));
    eventually("the responder has only the new one", || right.manager().len() == 1);
    // The rekeyed CHILD_SA stays for a while, for packets on their way.
    assert!(right.controller.rekey_child(right.manager().child_sas_named("one")[0]));
    eventually("the CHILD_SA is rekeyed", || right.manager().child_sas_named("one").len() == 2);
    let (watch, completion) = watch();
    let newest = *right.manager().child_sas_named("one").last().unwrap();
    assert!(right.controller.terminate_child(newest, Some(watch)));
    assert_eq!(completion.recv_timeout(SOON), Ok(Completion::Success));
}

#[test]
fn equal_connections_share_an_ike_sa_and_parallel_initiations_too() {
    let (left, right, config) = pair();
    let twin = left.load("twin", &right);
    let outcomes: Vec<_> = [(&config, "one"), (&twin, "two"), (&config, "two")]
        .into_iter()
        .map(|(config, child)| {
            let (watch, completion) = watch();
            let child = Arc::clone(config.child(child).unwrap());
            left.controller.initiate(Arc::clone(config), Some(child), false, watch);
            completion
        })
        .collect();
    for outcome in outcomes {
        outcome.recv_timeout(SOON).unwrap();
    }
    left.only();
}

#[test]
fn a_peer_that_does_not_exist_is_waited_for_until_the_timeout() {
    let left = Node::new(ManagerSettings::default());
    let config = {
        let nobody = Node::new(ManagerSettings::default());
        left.load("gw", &nobody)
    };
    let (mut watch, completion) = watch();
    watch.timeout = Some(Duration::from_millis(50));
    left.controller.initiate(Arc::clone(&config), None, false, watch);
    assert_eq!(completion.recv_timeout(SOON), Ok(Completion::Timeout));
    assert_eq!(left.manager().half_open().total(), 1);
    assert_eq!(left.states(), [IkeSaState::Connecting]);
    assert!(left.controller.terminate_ike(left.only(), true, None));
    eventually("it is gone", || left.manager().is_empty());
    assert_eq!(left.manager().half_open().total(), 0);
}

#[test]
fn limits_refuse_new_ike_sas() {
    let left = Node::new(ManagerSettings { init_limit_half_open: 1, ..ManagerSettings::default() });
    let nobody = Node::new(ManagerSettings::default());
    let config = left.load("gw", &nobody);
    let _half_open = left.manager().half_open().initiated();
    let (watch, completion) = watch();
    left.controller.initiate(config, None, true, watch);
    assert_eq!(completion.recv_timeout(SOON), Ok(Completion::Limits));
    assert!(left.manager().is_empty());
}

#[test]
fn a_busy_ike_sa_shows_itself_when_it_rests() {
    let (left, _right, config) = pair();
    assert_eq!(left.initiate(&config, None), Completion::Success);
    let id = left.only();
    let (hold, held) = mpsc::channel::<()>();
    let (started, running) = mpsc::channel();
    let manager = Arc::clone(left.manager());
    let key = manager.indexes.key(id).unwrap();
    let holder = std::thread::spawn(move || {
        manager.post(
            key,
            Work::Look(Box::new(move |_| {
                started.send(()).unwrap();
                let _released = held.recv();
            })),
        );
    });
    running.recv_timeout(SOON).unwrap();
    assert!(matches!(left.manager().snapshot(id, Duration::ZERO), Snapshot::Busy));
    assert!(matches!(left.manager().snapshot(id, Duration::from_millis(10)), Snapshot::Busy));
    let manager = Arc::clone(left.manager());
    let waiting = std::thread::spawn(move || manager.snapshot(id, SOON));
    drop(hold);
    assert!(matches!(waiting.join().unwrap(), Snapshot::Taken(_)));
    holder.join().unwrap();
}

/// Which clients are sent away is decided where they are. Nobody waits for one that is being worked on, and what ends
/// meanwhile is not counted.
#[test]
fn redirects_wait_on_no_thread() {
    let (left, right, config) = pair();
    let twin = left.load("twin", &right);
    for config in [&config, &twin] {
        assert_eq!(left.initiate(config, None), Completion::Success);
    }
    let ids = left.manager().ike_sas();
    // Once it rests it is the new thread, and none of the workers, that holds it.
    assert!(matches!(left.manager().snapshot(ids[0], SOON), Snapshot::Taken(_)));
    let (hold, held) = mpsc::channel::<()>();
    let (started, running) = mpsc::channel();
    let manager = Arc::clone(left.manager());
    let key = manager.indexes.key(ids[0]).unwrap();
    let holder = std::thread::spawn(move || {
        manager.post(
            key,
            Work::Look(Box::new(move |_| {
                started.send(()).unwrap();
                let _released = held.recv();
            })),
        );
    });
    running.recv_timeout(SOON).unwrap();
    let (done, count) = mpsc::channel();
    let gateway = ike::wire::Gateway::parse("192.0.2.1").unwrap();
    let done = Box::new(move |matches| done.send(matches).unwrap());
    left.controller.redirect(
        [ids.clone(), vec![UniqueId::new(99).unwrap()]].concat(),
        Arc::new(|_| true),
        gateway,
        done,
    );
    eventually("the workers have nothing to do", || {
        let stats = left.manager().processor().stats();
        stats.idle == stats.total
    });
    assert_eq!(count.try_recv(), Err(mpsc::TryRecvError::Empty));
    drop(hold);
    assert_eq!(count.recv_timeout(SOON), Ok(ids.len()));
    holder.join().unwrap();
}

#[test]
fn a_panic_loses_one_ike_sa_with_all_that_belongs_to_it() {
    let (left, _right, config) = pair();
    assert_eq!(left.initiate(&config, Some("one")), Completion::Success);
    let id = left.only();
    let manager = Arc::clone(left.manager());
    let key = manager.indexes.key(id).unwrap();
    left.manager().processor().queue(job(Priority::Medium, move || {
        manager.post(key, Work::Look(Box::new(|_| panic!("a bug"))));
    }));
    eventually("it is lost", || left.manager().is_empty());
    assert!(left.manager().ike_sas_named("gw").is_empty());
    eventually("its SAs are deleted", || left.kernel.counts().1 == 0);
    assert_eq!(left.initiate(&config, Some("one")), Completion::Success);
}

#[test]
fn flush_does_not_wait_for_ever() {
    let (left, right, config) = pair();
    let twin = left.load("twin", &right);
    assert_eq!(left.initiate(&config, None), Completion::Success);
    let hanging = left.only();
    assert_eq!(left.initiate(&twin, Some("one")), Completion::Success);
    let (hold, held) = mpsc::channel::<()>();
    let (started, running) = mpsc::channel();
    let manager = Arc::clone(left.manager());
    let key = manager.indexes.key(hanging).unwrap();
    left.manager().processor().queue(job(Priority::Medium, move || {
        let look = Work::Look(Box::new(move |_| {
            started.send(()).unwrap();
            let _released = held.recv();
        }));
        manager.post(key, look);
    }));
    running.recv_timeout(SOON).unwrap();
    let before = Instant::now();
    assert_eq!(left.manager().flush(Duration::from_millis(100)), 1);
    assert!(before.elapsed() < SOON);
    drop(hold);
    eventually("it ends when it can", || left.manager().is_empty());
}

#[test]
fn flush_ends_everything_and_refuses_more() {
    let (left, right, config) = pair();
    assert_eq!(left.initiate(&config, Some("one")), Completion::Success);
    assert_eq!(left.manager().flush(SOON), 0);
    eventually("the peer was told", || right.manager().is_empty());
    let failed = left.initiate(&config, Some("one"));
    assert!(matches!(failed, Completion::Failed(_)), "{failed:?}");
}

#[test]
fn a_start_action_that_waits_for_a_worker_starts_nothing_once_it_is_unloaded() {
    let (left, right, config) = pair();
    let (hold, held) = mpsc::channel::<()>();
    let held = Arc::new(parking_lot::Mutex::new(held));
    for _ in 0..3 {
        let held = Arc::clone(&held);
        left.manager().processor().queue(job(Priority::Medium, move || {
            let _released = held.lock().recv();
        }));
    }
    let (watch, completion) = watch();
    left.controller.start(Arc::clone(&config), config.child("one").cloned(), false, watch);
    left.connections.unload("gw").unwrap();
    left.controller.withdraw("gw", &["one".into()], true);
    drop(hold);
    assert!(matches!(completion.recv_timeout(SOON), Ok(Completion::Failed(_))));
    left.manager().processor().drain();
    assert!(left.manager().ike_sas().is_empty());
    // One that is loaded is started.
    let (watch, completion) = self::watch();
    let config = left.load("gw", &right);
    left.controller.start(Arc::clone(&config), config.child("one").cloned(), false, watch);
    assert_eq!(completion.recv_timeout(SOON), Ok(Completion::Success));
}

/// A connection in transport mode to this peer, with traps for whatever `remote` is.
fn host_to_host(node: &Node, peer: &Node, remote: &str) -> Arc<PeerConfig> {
    let child = Message::new().with("mode", "transport");
    let message = Message::new()
        .with("version", 2_u32)
        .with_list("local_addrs", ["127.0.0.1"])
        .with_list("remote_addrs", [remote])
        .with("local_port", u32::from(node.port))
        .with("remote_port", u32::from(peer.port))
        .with_section("local", Message::new().with("auth", "psk").with("id", format!("{}.test", node.port)))
        .with_section("remote", Message::new().with("auth", "psk").with("id", format!("{}.test", peer.port)))
        .with_section("children", Message::new().with_section("host", child));
    node.connections.load(config::load("hosts", &message, AuthOptions::default()).unwrap()).connection
}

#[test]
fn a_trap_for_anybody_goes_to_whom_the_packet_goes() {
    let (left, right) = (Node::new(ManagerSettings::default()), Node::new(ManagerSettings::default()));
    let config = host_to_host(&left, &right, "%any");
    host_to_host(&right, &left, "%any");
    let traps = left.controller.traps();
    traps.install(&config, config.child("host").unwrap()).unwrap();
    let trap = traps.traps().remove(0);
    assert_eq!(
        (trap.local_ts[0].to_string(), trap.remote_ts[0].to_string()),
        ("127.0.0.1/32".into(), "0.0.0.0/0".into())
    );
    let PolicyKind::Trap(reqid) = trap.kind else { panic!("no trap") };
    let packet = |text: &str| strongswan::selectors::TrafficSelector::parse(text).unwrap();
    for _ in 0..2 {
        // The second one finds the first one pending.
        traps.acquire(reqid, packet("127.0.0.1[udp/4000]"), packet("127.0.0.1[udp/5000]"));
    }
    eventually("the CHILD_SA", || left.states() == [IkeSaState::Established] && right.states().len() == 1);
    eventually("SAs", || left.kernel.sas().len() == 2 && right.kernel.sas().len() == 2);
}

#[test]
fn names_of_traps_are_looked_up_behind_the_scenes() {
    let (left, right) = (Node::new(ManagerSettings::default()), Node::new(ManagerSettings::default()));
    let config = host_to_host(&left, &right, "localhost");
    let child = config.child("host").unwrap();
    let traps = left.controller.traps();
    // The one resolver thread is busy with something else.
    let (hold, held) = mpsc::channel::<()>();
    left.manager().resolver().run(move || {
        let _released = held.recv();
    });
    traps.install(&config, child).unwrap();
    assert_eq!(traps.install(&config, child), Err(TrapError::Busy("host".into())));
    assert!(traps.uninstall(Some("hosts"), "host"), "before it is there");
    traps.install(&config, child).unwrap();
    assert!(traps.traps().is_empty());
    drop(hold);
    eventually("the trap", || traps.traps().len() == 1);
    assert!(traps.uninstall(None, "host") && !traps.uninstall(None, "host"));
    eventually("an end", || traps.traps().is_empty());
}
