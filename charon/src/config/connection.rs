//! `connections.<conn>`: a section of a `load-conn` message to a [`PeerConfig`].

use std::sync::Arc;
use std::time::Duration;

use ike::config::{
    AuthRound, ChildConfig, Childless, Fragmentation, IkeConfig, IkeLifetimes, Ocsp, PeerConfig, SendCert, UniquePolicy,
};
use strongswan::credentials::AuthOptions;
use strongswan::crypto::{Proposal, Protocol};
use vici::Message;

use super::options::{ListOption, Options, ScalarOption, field, text_item};
use super::{LoadError, auth, child, value};

/// A connection while its section is read: what is set, before unset lifetimes are derived from set ones.
struct Draft {
    peer: PeerConfig,
    ike: IkeConfig,
    rekey: Option<Duration>,
    reauth: Option<Duration>,
    over: Option<Duration>,
    rand: Option<Duration>,
    local: Vec<AuthRound>,
    remote: Vec<AuthRound>,
}

/// Reads one connection of a `load-conn` message; `options` say what constraints on keys mean.
///
/// # Errors
/// The first thing that cannot be used; nothing is loaded then.
pub fn load(name: &str, section: &Message, options: AuthOptions) -> Result<PeerConfig, LoadError> {
    let mut draft = Draft {
        peer: PeerConfig::new(name, Arc::default()),
        ike: IkeConfig::default(),
        rekey: None,
        reauth: None,
        over: None,
        rand: None,
        local: Vec::new(),
        remote: Vec::new(),
    };
    OPTIONS.apply(&mut draft, section, |draft, name, section| {
        if name.eq_ignore_ascii_case("children") {
            return draft.add_children(section);
        }
        if value::starts_with(name, "local") {
            draft.local.push(auth::load(section, options)?);
            return Ok(());
        }
        if value::starts_with(name, "remote") {
            draft.remote.push(auth::load(section, options)?);
            return Ok(());
        }
        Err(LoadError::InvalidSection(name.to_owned()))
    })?;
    Ok(draft.finish())
}

impl Draft {
    fn add_children(&mut self, section: &Message) -> Result<(), LoadError> {
        for (name, section) in section.sections() {
            let child = Arc::new(child::load(name, section)?);
            self.add_child(child);
        }
        Ok(())
    }

    /// Names are unique in a connection: the last of several wins, in the place of the first.
    fn add_child(&mut self, child: Arc<ChildConfig>) {
        match self.peer.children.iter_mut().find(|other| other.name == child.name) {
            Some(other) => *other = child,
            None => self.peer.children.push(child),
        }
    }

    fn finish(self) -> PeerConfig {
        let Self { mut peer, mut ike, rekey, reauth, over, rand, local, remote } = self;
        if ike.proposals.is_empty() {
            ike.proposals = Proposal::defaults(Protocol::Ike);
        }
        peer.ike = Arc::new(ike);
        peer.lifetimes = IkeLifetimes::from_config(rekey, reauth, over, rand);
        // a timeout shorter than the interval would always have passed
        if !peer.dpd_timeout.is_zero() {
            peer.dpd_timeout = peer.dpd_timeout.max(peer.dpd_delay);
        }
        peer.local = rounds(local);
        peer.remote = rounds(remote);
        peer
    }
}

/// Rounds in their order; a side without any has one that says nothing.
fn rounds(mut rounds: Vec<AuthRound>) -> Vec<AuthRound> {
    rounds.sort_by_key(|round| round.round);
    if rounds.is_empty() {
        rounds.push(AuthRound::default());
    }
    rounds
}

const FRAGMENTATION: &[(&str, Fragmentation)] = &[
    ("yes", Fragmentation::Yes),
    ("accept", Fragmentation::Accept),
    ("no", Fragmentation::No),
    ("force", Fragmentation::Force),
];

const CHILDLESS: &[(&str, Childless)] = &[
    ("allow", Childless::Allow),
    ("prefer", Childless::Prefer),
    ("never", Childless::Never),
    ("force", Childless::Force),
];

const SEND_CERT: &[(&str, SendCert)] =
    &[("ifasked", SendCert::IfAsked), ("always", SendCert::Always), ("never", SendCert::Never)];

const OCSP: &[(&str, Ocsp)] =
    &[("both", Ocsp::Both), ("reply", Ocsp::Reply), ("request", Ocsp::Request), ("never", Ocsp::Never)];

const UNIQUE: &[(&str, UniquePolicy)] = &[
    ("never", UniquePolicy::Never),
    ("no", UniquePolicy::No),
    ("replace", UniquePolicy::Replace),
    ("keep", UniquePolicy::Keep),
];

const OPTIONS: Options<Draft> = Options {
    scalars: &[
        field!("version", ike.version = |text| value::uint32(text).map(Into::into)),
        field!("aggressive", peer.aggressive = value::bool),
        field!("pull", peer.pull = value::bool),
        field!("dscp", ike.dscp = value::dscp),
        field!("encap", ike.encap = value::bool),
        field!("mobike", peer.mobike = value::bool),
        field!("dpd_delay", peer.dpd_delay = value::time),
        field!("dpd_timeout", peer.dpd_timeout = value::time),
        field!("fragmentation", ike.fragmentation = |text| value::word(text, FRAGMENTATION)),
        field!("childless", ike.childless = |text| value::word(text, CHILDLESS)),
        field!("send_certreq", ike.send_certreq = value::bool),
        field!("send_cert", peer.send_cert = |text| value::word(text, SEND_CERT)),
        field!("ocsp", ike.ocsp = |text| value::word(text, OCSP)),
        field!("keyingtries", peer.keyingtries = value::uint32),
        field!("unique", peer.unique = |text| value::word(text, UNIQUE)),
        field!("local_port", ike.local_port = value::port),
        field!("remote_port", ike.remote_port = value::port),
        field!("reauth_time", reauth = |text| value::time(text).map(Some)),
        field!("rekey_time", rekey = |text| value::time(text).map(Some)),
        field!("over_time", over = |text| value::time(text).map(Some)),
        field!("rand_time", rand = |text| value::time(text).map(Some)),
        field!("ppk_id", peer.ppk_id = |text| value::identity(text).map(Some)),
        field!("ppk_required", peer.ppk_required = value::bool),
        field!("if_id_in", peer.if_id_in = value::if_id),
        field!("if_id_out", peer.if_id_out = value::if_id),
    ],
    lists: &[
        ListOption {
            key: "local_addrs",
            add: |draft, item| {
                let hosts = text_item("local_addrs", item, |text| Ok(value::hosts(text).collect::<Vec<_>>()))?;
                draft.ike.local_addrs.extend(hosts);
                Ok(())
            },
        },
        ListOption {
            key: "remote_addrs",
            add: |draft, item| {
                let hosts = text_item("remote_addrs", item, |text| Ok(value::hosts(text).collect::<Vec<_>>()))?;
                draft.ike.remote_addrs.extend(hosts);
                Ok(())
            },
        },
        ListOption {
            key: "proposals",
            add: |draft, item| {
                let read = text_item("proposals", item, |text| Ok(Proposal::parse_list(Protocol::Ike, [text])?))?;
                draft.ike.proposals.extend(read);
                Ok(())
            },
        },
        ListOption {
            key: "vips",
            add: |draft, item| {
                draft.peer.vips.push(text_item("vips", item, value::virtual_ip)?);
                Ok(())
            },
        },
        ListOption {
            key: "pools",
            add: |draft, item| {
                let names = |text: &str| Ok(value::split(text).map(str::to_owned).collect::<Vec<_>>());
                draft.peer.pools.extend(text_item("pools", item, names)?);
                Ok(())
            },
        },
    ],
};

#[cfg(test)]
mod tests {
    use ike::config::{AuthClass, IfIdConfig, IkeVersion};
    use ike::ids::IfId;
    use strongswan::host::HostSpec;
    use strongswan::identity::Identity;

    use super::*;

    fn loaded(message: &Message) -> PeerConfig {
        load("gw", message, AuthOptions::default()).unwrap()
    }

    #[test]
    fn an_empty_section_has_every_default() {
        let ike = IkeConfig { proposals: Proposal::defaults(Protocol::Ike), ..IkeConfig::default() };
        let peer = loaded(&Message::new());
        assert!(peer.equals_with_ike(&PeerConfig::new("gw", Arc::new(ike))));
        assert!(peer.children.is_empty());
        assert_eq!(&*peer.name, "gw");
    }

    #[test]
    fn every_option_arrives() {
        let message = Message::new()
            .with("version", "2")
            .with("aggressive", "yes")
            .with("pull", "no")
            .with("dscp", "000111")
            .with("encap", "yes")
            .with("mobike", "no")
            .with("dpd_delay", "1m")
            .with("dpd_timeout", "30")
            .with("fragmentation", "FORCE")
            .with("childless", "prefer")
            .with("send_certreq", "no")
            .with("send_cert", "always")
            .with("ocsp", "both")
            .with("keyingtries", "0")
            .with("unique", "replace")
            .with("local_port", "4501")
            .with("remote_port", "4502")
            .with("reauth_time", "2h")
            .with("over_time", "10")
            .with("rand_time", "5")
            .with("ppk_id", "ppk@example.org")
            .with("ppk_required", "yes")
            .with("if_id_in", "7")
            .with("if_id_out", "%unique")
            .with_list("local_addrs", ["192.0.2.1, 2001:db8::1", "%any"])
            .with_list("remote_addrs", ["gw.example.org"])
            .with_list("proposals", ["aes128-sha256-x25519"])
            .with_list("vips", ["0.0.0.0", "::"])
            .with_list("pools", ["a,b", "c"]);
        let peer = loaded(&message);
        let ike = &peer.ike;
        assert_eq!((ike.version, ike.dscp, ike.encap), (IkeVersion::V2, 7, true));
        assert_eq!((ike.fragmentation, ike.childless, ike.ocsp), (Fragmentation::Force, Childless::Prefer, Ocsp::Both));
        assert_eq!((ike.local_port, ike.remote_port, ike.send_certreq), (4501, 4502, false));
        assert_eq!(ike.local_addrs.len(), 3);
        assert_eq!(ike.remote_addrs, [HostSpec::Name("gw.example.org".into())]);
        assert_eq!(ike.proposals.len(), 1);
        assert!(peer.aggressive && !peer.pull && !peer.mobike && peer.ppk_required);
        // raised to the interval
        assert_eq!((peer.dpd_delay, peer.dpd_timeout), (Duration::from_secs(60), Duration::from_secs(60)));
        assert_eq!((peer.send_cert, peer.keyingtries, peer.unique), (SendCert::Always, 0, UniquePolicy::Replace));
        let seconds = Duration::from_secs;
        let lifetimes = IkeLifetimes { rekey: seconds(0), reauth: seconds(7200), over: seconds(10), rand: seconds(5) };
        assert_eq!(peer.lifetimes, lifetimes);
        assert_eq!(peer.ppk_id, Some(Identity::parse("ppk@example.org")));
        assert_eq!((peer.if_id_in, peer.if_id_out), (IfIdConfig::Fixed(IfId(7)), IfIdConfig::Unique));
        assert_eq!(peer.vips.len(), 2);
        assert_eq!(peer.pools, ["a", "b", "c"]);
    }

    #[test]
    fn rounds_and_children_are_collected() {
        let auth = |round: u32, auth: &str| Message::new().with("round", round).with("auth", auth);
        let message = Message::new()
            .with_section("local-b", auth(2, "eap"))
            .with_section("LOCAL", auth(1, "pubkey"))
            .with_section("remote", auth(0, "psk"))
            .with_section("Children", Message::new().with_section("a", Message::new()).with("ignored", 1_u8))
            .with_section(
                "children",
                Message::new()
                    .with_section("b", Message::new())
                    .with_section("a", Message::new().with("mode", "transport")),
            );
        let peer = loaded(&message);
        assert_eq!(peer.local.iter().map(|r| r.round).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(peer.remote.iter().map(|r| r.class.clone()).collect::<Vec<_>>(), [AuthClass::Psk]);
        assert_eq!(peer.children.iter().map(|c| &*c.name).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(peer.child("a").unwrap().mode, ike::config::Mode::Transport);
    }

    #[test]
    fn errors_name_option_or_section() {
        let error = |message: Message| load("gw", &message, AuthOptions::default()).unwrap_err().to_string();
        assert_eq!(error(Message::new().with("remote_adrs", "x")), "unknown option: remote_adrs, config discarded");
        assert_eq!(error(Message::new().with("remote_addrs", "x")), "unknown option: remote_addrs, config discarded");
        assert_eq!(error(Message::new().with("mediation", "no")), "unknown option: mediation, config discarded");
        assert_eq!(error(Message::new().with("unique", "maybe")), "invalid value for: unique, config discarded");
        assert_eq!(error(Message::new().with_list("vips", ["gw"])), "invalid value for: vips, config discarded");
        assert_eq!(
            error(Message::new().with_list("proposals", ["aes128"])),
            "invalid value for: proposals, config discarded"
        );
        assert_eq!(error(Message::new().with_section("kids", Message::new())), "invalid section: kids");
        let child = Message::new().with_section("net", Message::new().with("foo", "bar"));
        assert_eq!(error(Message::new().with_section("children", child)), "unknown option: foo, config discarded");
    }
}
