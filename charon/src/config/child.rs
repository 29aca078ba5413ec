//! `children.<child>`: a section of a `load-conn` message to a [`ChildConfig`].

use ike::config::{ChildConfig, CopyDscp, HwOffload, LabelMode, Lifetimes, Limit, PerCpuSas, TfcPadding};
use ike::ids::Reqid;
use ike::wire::Ts;
use strongswan::crypto::{Proposal, Protocol};
use strongswan::log;
use strongswan::selectors::TrafficSelector;
use vici::Message;

use super::LoadError;
use super::options::{ListOption, Options, ScalarOption, field, text_item};
use super::value::{self, Invalid};

/// A child while its section is read: what is set, before unset limits are derived from set ones.
struct Draft {
    child: ChildConfig,
    time: LimitDraft,
    bytes: LimitDraft,
    packets: LimitDraft,
    local_ts: Vec<TrafficSelector>,
    remote_ts: Vec<TrafficSelector>,
}

#[derive(Default)]
struct LimitDraft {
    rekey: Option<u64>,
    life: Option<u64>,
    rand: Option<u64>,
}

impl LimitDraft {
    fn finish(&self, default_rekey: u64) -> Limit {
        Limit::from_config(self.rekey, self.life, self.rand, default_rekey)
    }
}

/// Reads a child.
pub(super) fn load(name: &str, section: &Message) -> Result<ChildConfig, LoadError> {
    let mut draft = Draft {
        child: ChildConfig::new(name),
        time: LimitDraft::default(),
        bytes: LimitDraft::default(),
        packets: LimitDraft::default(),
        local_ts: Vec::new(),
        remote_ts: Vec::new(),
    };
    // subsections of a child mean nothing and are ignored, as strongSwan does
    OPTIONS.apply(&mut draft, section, |_, _, _| Ok(()))?;
    draft.check()?;
    Ok(draft.finish())
}

impl Draft {
    /// Checks what is wrong only as a whole. Shunts are not negotiated: no message has to carry their selectors.
    fn check(&self) -> Result<(), LoadError> {
        for (key, selectors) in [("local_ts", &self.local_ts), ("remote_ts", &self.remote_ts)] {
            if selectors.len() > Ts::MAX_SELECTORS && !self.child.mode.is_shunt() {
                log!(CFG, 1, "  {key}: {} traffic selectors, more than {}", selectors.len(), Ts::MAX_SELECTORS);
                return Err(LoadError::TooMany { key, max: Ts::MAX_SELECTORS });
            }
        }
        Ok(())
    }

    fn finish(self) -> ChildConfig {
        let mut child = self.child;
        child.lifetimes = Lifetimes {
            time: self.time.finish(Lifetimes::DEFAULT_REKEY_TIME),
            bytes: self.bytes.finish(0),
            packets: self.packets.finish(0),
        };
        // an empty list equals an absent one, which leaves the default of one dynamic selector
        if !self.local_ts.is_empty() {
            child.local_ts = self.local_ts;
        }
        if !self.remote_ts.is_empty() {
            child.remote_ts = self.remote_ts;
        }
        if child.proposals.is_empty() {
            child.proposals = Proposal::defaults(Protocol::Esp);
        }
        child
    }
}

/// `hw_offload`, `yes` meaning `crypto`.
const HW_OFFLOAD: &[(&str, HwOffload)] = &[
    ("no", HwOffload::No),
    ("yes", HwOffload::Crypto),
    ("crypto", HwOffload::Crypto),
    ("packet", HwOffload::Packet),
    ("auto", HwOffload::Auto),
];

const COPY_DSCP: &[(&str, CopyDscp)] =
    &[("out", CopyDscp::Out), ("in", CopyDscp::In), ("yes", CopyDscp::Yes), ("no", CopyDscp::No)];

const LABEL_MODES: &[(&str, LabelMode)] =
    &[("system", LabelMode::System), ("simple", LabelMode::Simple), ("selinux", LabelMode::Selinux)];

fn label_mode(text: &str) -> Result<LabelMode, Invalid> {
    match value::word(text, LABEL_MODES)? {
        LabelMode::Selinux => Err(Invalid::Selinux),
        mode => Ok(mode),
    }
}

fn label(text: &str) -> Result<Option<String>, Invalid> {
    if text.is_empty() { Err(Invalid::Empty) } else { Ok(Some(text.to_owned())) }
}

fn tfc_padding(text: &str) -> Result<TfcPadding, Invalid> {
    match text {
        "mtu" => Ok(TfcPadding::Mtu),
        number => value::uint32(number).map(|size| if size == 0 { TfcPadding::None } else { TfcPadding::Size(size) }),
    }
}

fn per_cpu_sas(text: &str) -> Result<PerCpuSas, Invalid> {
    if text.eq_ignore_ascii_case("encap") {
        return Ok(PerCpuSas::Encap);
    }
    value::bool(text).map(|yes| if yes { PerCpuSas::Yes } else { PerCpuSas::No })
}

fn mode(text: &str) -> Result<ike::config::Mode, Invalid> {
    text.parse().map_err(|_| Invalid::Word {
        given: text.to_owned(),
        words: "tunnel, transport, transport_proxy, beet, iptfs, pass, drop".to_owned(),
    })
}

fn add_proposals(draft: &mut Draft, key: &'static str, protocol: Protocol, item: &[u8]) -> Result<(), LoadError> {
    let read = text_item(key, item, |text| Ok(Proposal::parse_list(protocol, [text])?))?;
    draft.child.proposals.extend(read);
    Ok(())
}

const OPTIONS: Options<Draft> = Options {
    scalars: &[
        field!("mode", child.mode = mode),
        field!("rekey_time", time.rekey = |text| value::seconds(text).map(Some)),
        field!("life_time", time.life = |text| value::seconds(text).map(Some)),
        field!("rand_time", time.rand = |text| value::seconds(text).map(Some)),
        field!("rekey_bytes", bytes.rekey = |text| value::bytes(text).map(Some)),
        field!("life_bytes", bytes.life = |text| value::bytes(text).map(Some)),
        field!("rand_bytes", bytes.rand = |text| value::bytes(text).map(Some)),
        field!("rekey_packets", packets.rekey = |text| value::uint64(text).map(Some)),
        field!("life_packets", packets.life = |text| value::uint64(text).map(Some)),
        field!("rand_packets", packets.rand = |text| value::uint64(text).map(Some)),
        field!("start_action", child.start_action = value::action),
        field!("close_action", child.close_action = value::action),
        field!("dpd_action", child.dpd_action = value::action),
        field!("updown", child.updown = |text: &str| Ok::<_, Invalid>(Some(text.to_owned()))),
        field!("hostaccess", child.hostaccess = value::bool),
        field!("policies", child.policies = value::bool),
        field!("policies_fwd_out", child.policies_fwd_out = value::bool),
        field!("ipcomp", child.ipcomp = value::bool),
        field!("inactivity", child.inactivity = value::time),
        field!("reqid", child.reqid = |text| value::uint32(text).map(Reqid::new)),
        field!("priority", child.priority = value::uint32),
        field!("interface", child.interface = |text: &str| Ok::<_, Invalid>(Some(text.to_owned()))),
        field!("mark_in", child.mark_in = value::mark),
        field!("mark_out", child.mark_out = value::mark),
        field!("mark_in_sa", child.mark_in_sa = value::bool),
        field!("set_mark_in", child.set_mark_in = value::set_mark),
        field!("set_mark_out", child.set_mark_out = value::set_mark),
        field!("if_id_in", child.if_id_in = value::if_id),
        field!("if_id_out", child.if_id_out = value::if_id),
        field!("label", child.label = label),
        field!("label_mode", child.label_mode = label_mode),
        field!("tfc_padding", child.tfc_padding = tfc_padding),
        field!("replay_window", child.replay_window = |text| value::uint32(text).map(Some)),
        field!("hw_offload", child.hw_offload = |text| value::word(text, HW_OFFLOAD)),
        field!("sha256_96", child.sha256_96 = value::bool),
        field!("copy_df", child.copy_df = value::bool),
        field!("copy_ecn", child.copy_ecn = value::bool),
        field!("copy_dscp", child.copy_dscp = |text| value::word(text, COPY_DSCP)),
        field!("icmp", child.icmp = value::bool),
        field!("per_cpu_sas", child.per_cpu_sas = per_cpu_sas),
    ],
    lists: &[
        ListOption {
            key: "local_ts",
            add: |draft, item| {
                draft.local_ts.push(text_item("local_ts", item, value::selector)?);
                Ok(())
            },
        },
        ListOption {
            key: "remote_ts",
            add: |draft, item| {
                draft.remote_ts.push(text_item("remote_ts", item, value::selector)?);
                Ok(())
            },
        },
        ListOption {
            key: "esp_proposals",
            add: |draft, item| add_proposals(draft, "esp_proposals", Protocol::Esp, item),
        },
        ListOption { key: "ah_proposals", add: |draft, item| add_proposals(draft, "ah_proposals", Protocol::Ah, item) },
    ],
};

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ike::config::{Action, IfIdConfig, MarkConfig, Mode, SetMark};
    use ike::ids::{IfId, Mark};

    use super::*;

    fn loaded(message: &Message) -> ChildConfig {
        load("net", message).unwrap()
    }

    #[test]
    fn an_empty_section_has_every_default() {
        let mut expected = ChildConfig::new("net");
        expected.proposals = Proposal::defaults(Protocol::Esp);
        assert_eq!(loaded(&Message::new()), expected);
        let emptied = Message::new().with_list("local_ts", [""; 0]).with_section("sub", Message::new().with("x", 1_u8));
        assert_eq!(loaded(&emptied), expected);
    }

    #[test]
    fn every_scalar_arrives() {
        let message = Message::new()
            .with("mode", "Transport_Proxy")
            .with("rekey_time", "10m")
            .with("life_bytes", "11k")
            .with("rekey_packets", "1000")
            .with("rand_packets", "1")
            .with("start_action", "trap|start")
            .with("close_action", "restart")
            .with("dpd_action", "clear")
            .with("updown", "/bin/true")
            .with("hostaccess", "yes")
            .with("policies", "no")
            .with("policies_fwd_out", "1")
            .with("ipcomp", "true")
            .with("inactivity", "90")
            .with("reqid", "7")
            .with("priority", "99")
            .with("interface", "eth0")
            .with("mark_in", "1/0xff")
            .with("mark_out", "2")
            .with("mark_in_sa", "yes")
            .with("set_mark_in", "3")
            .with("set_mark_out", "%same")
            .with("if_id_in", "4")
            .with("if_id_out", "%unique")
            .with("label", "system_u:object_r:ipsec_spd_t:s0")
            .with("label_mode", "simple")
            .with("tfc_padding", "mtu")
            .with("replay_window", "64")
            .with("hw_offload", "yes")
            .with("sha256_96", "yes")
            .with("copy_df", "no")
            .with("copy_ecn", "no")
            .with("copy_dscp", "in")
            .with("icmp", "yes")
            .with("per_cpu_sas", "encap");
        let child = loaded(&message);
        assert_eq!(child.mode, Mode::TransportProxy);
        assert_eq!(child.lifetimes.time, Limit { rekey: 600, life: 660, rand: 60 });
        assert_eq!(child.lifetimes.bytes, Limit { rekey: 10240, life: 11264, rand: 1024 });
        assert_eq!(child.lifetimes.packets, Limit { rekey: 1000, life: 1100, rand: 1 });
        assert_eq!(child.start_action, Action { trap: true, start: true });
        assert_eq!((child.close_action, child.dpd_action), (Action::START, Action::NONE));
        assert_eq!(child.updown.as_deref(), Some("/bin/true"));
        assert!(child.hostaccess && !child.policies && child.policies_fwd_out && child.ipcomp);
        assert_eq!(child.inactivity, Duration::from_secs(90));
        assert_eq!((child.reqid, child.priority), (Reqid::new(7), 99));
        assert_eq!(child.interface.as_deref(), Some("eth0"));
        assert_eq!((child.mark_in, child.mark_out), (MarkConfig::fixed(1, 255), MarkConfig::fixed(2, u32::MAX)));
        assert!(child.mark_in_sa);
        assert_eq!(child.set_mark_in, SetMark::Fixed(Mark { value: 3, mask: u32::MAX }));
        assert_eq!(child.set_mark_out, SetMark::Same { mask: u32::MAX });
        assert_eq!((child.if_id_in, child.if_id_out), (IfIdConfig::Fixed(IfId(4)), IfIdConfig::Unique));
        assert_eq!(child.label.as_deref(), Some("system_u:object_r:ipsec_spd_t:s0"));
        assert_eq!((child.label_mode, child.tfc_padding), (LabelMode::Simple, TfcPadding::Mtu));
        assert_eq!((child.replay_window, child.hw_offload), (Some(64), HwOffload::Crypto));
        assert!(child.sha256_96 && !child.copy_df && !child.copy_ecn && child.icmp);
        assert_eq!((child.copy_dscp, child.per_cpu_sas), (CopyDscp::In, PerCpuSas::Encap));
    }

    #[test]
    fn lists_accumulate() {
        let message = Message::new()
            .with_list("local_ts", ["10.0.0.0/24[tcp/80]", "dynamic"])
            .with_list("remote_ts", ["10.1.0.0/16"])
            .with_list("ah_proposals", ["sha256"])
            .with_list("esp_proposals", ["aes128gcm16", "default"]);
        let child = loaded(&message);
        assert_eq!(
            child.local_ts.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.0.0.0/24[tcp/http]", "dynamic"]
        );
        assert_eq!(child.remote_ts.len(), 1);
        let protocols: Vec<_> = child.proposals.iter().map(Proposal::protocol).collect();
        assert_eq!(protocols, [Protocol::Ah, Protocol::Esp, Protocol::Esp, Protocol::Esp]);
    }

    #[test]
    fn a_child_has_no_more_selectors_than_a_message_can_carry() {
        let networks: Vec<String> = (0..=255).map(|n| format!("10.{n}.0.0/16")).collect();
        for key in ["local_ts", "remote_ts"] {
            let section = |count: usize| Message::new().with_list(key, networks.iter().take(count));
            assert!(load("net", &section(255)).is_ok());
            let error = load("net", &section(256)).unwrap_err().to_string();
            assert_eq!(error, format!("invalid value for: {key}, config discarded: no more than 255 are possible"));
            assert!(load("net", &section(256).with("mode", "pass")).is_ok());
        }
    }

    #[test]
    fn errors_name_the_option() {
        let error = |message: Message| load("net", &message).unwrap_err().to_string();
        assert_eq!(error(Message::new().with("rekeytime", "1")), "unknown option: rekeytime, config discarded");
        assert_eq!(error(Message::new().with("Mode", "tunnel")), "unknown option: Mode, config discarded");
        assert_eq!(error(Message::new().with("local_ts", "dynamic")), "unknown option: local_ts, config discarded");
        assert_eq!(error(Message::new().with_list("mode", ["tunnel"])), "unknown option: mode, config discarded");
        for (key, value) in [
            ("mode", "tunel"),
            ("start_action", "go"),
            ("life_time", "1h30m"),
            ("hostaccess", "maybe"),
            ("label", ""),
            ("label_mode", "selinux"),
            ("tfc_padding", "MTU"),
            ("updown", "\x07"),
        ] {
            assert_eq!(error(Message::new().with(key, value)), format!("invalid value for: {key}, config discarded"));
        }
        let list = Message::new().with_list("esp_proposals", ["aes128-nonsense"]);
        assert_eq!(error(list), "invalid value for: esp_proposals, config discarded");
    }
}
