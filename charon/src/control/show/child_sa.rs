//! The block of keys about a CHILD_SA.

use ike::config::Mode;
use ike::ids::Mark;
use ike::kernel::{SaId, SaUsage};
use ike::{ChildSaSnapshot, ChildSaState};
use strongswan::clock::MonoTime;
use vici::Message;

use super::ike_sa::push_algorithms;
use super::{label, push_flag, push_hex, seconds_since, seconds_until};

/// The keys of a CHILD_SA; `usage` asks the data plane for the counters of an SA.
pub(in crate::control) fn child_sa(
    child: &ChildSaSnapshot,
    now: MonoTime,
    usage: impl Fn(&SaId) -> Option<SaUsage>,
) -> Message {
    let mut message = Message::new();
    message.push("name", &*child.config.name).push("uniqueid", child.unique_id.get());
    message.push("reqid", child.reqid.map_or(0, |reqid| reqid.get()));
    message.push("state", format_args!("{}", child.state));
    message.push("mode", format_args!("{}", shown_mode(child)));
    message.push_some("label", child.config.label.as_deref().map(label));
    if has_sas(child.state) {
        push_sas(&mut message, child, now, usage);
    }
    message.push_list("local-ts", child.local_ts.iter().map(ToString::to_string));
    message.push_list("remote-ts", child.remote_ts.iter().map(ToString::to_string));
    message
}

/// The negotiated mode, and whether transport mode is that of a proxy.
fn shown_mode(child: &ChildSaSnapshot) -> Mode {
    if child.mode == Mode::Transport && child.config.mode == Mode::TransportProxy {
        Mode::TransportProxy
    } else {
        child.mode
    }
}

fn has_sas(state: ChildSaState) -> bool {
    matches!(
        state,
        ChildSaState::Installed
            | ChildSaState::Rekeying
            | ChildSaState::Rekeyed
            | ChildSaState::Deleting
            | ChildSaState::Deleted
    )
}

fn push_sas(message: &mut Message, child: &ChildSaSnapshot, now: MonoTime, usage: impl Fn(&SaId) -> Option<SaUsage>) {
    message.push("protocol", format_args!("{}", child.protocol));
    push_flag(message, "encap", child.encap);
    for (key, sa) in [("spi-in", &child.inbound), ("spi-out", &child.outbound)] {
        if let Some(sa) = sa {
            message.push(key, format_args!("{}", sa.spi));
        }
    }
    if let Some((cpi_in, cpi_out)) = child.cpis {
        message.push("cpi-in", format_args!("{cpi_in:04x}"));
        message.push("cpi-out", format_args!("{cpi_out:04x}"));
    }
    push_mark(message, "mark-in", "mark-mask-in", child.mark_in);
    push_mark(message, "mark-out", "mark-mask-out", child.mark_out);
    push_hex(message, "if-id-in", child.if_id_in.0);
    push_hex(message, "if-id-out", child.if_id_out.0);
    push_algorithms(message, &child.algorithms);
    if child.algorithms.esn {
        message.push("esn", 1_u8);
    }
    let inbound = child.inbound.as_ref().and_then(&usage).unwrap_or_default();
    push_usage(message, ["bytes-in", "packets-in", "use-in"], &inbound);
    let outbound = child.outbound.as_ref().and_then(&usage).unwrap_or_default();
    push_usage(message, ["bytes-out", "packets-out", "use-out"], &outbound);
    message.push_some("rekey-time", child.rekey.map(|then| seconds_until(now, then)));
    message.push_some("life-time", child.expire.map(|then| seconds_until(now, then)));
    message.push("install-time", child.installed.map_or(0, |then| seconds_since(now, then)));
}

fn push_mark(message: &mut Message, key: &'static str, mask_key: &'static str, mark: Mark) {
    if mark.is_none() {
        return;
    }
    message.push(key, format_args!("{:08x}", mark.value));
    if mark.mask != u32::MAX {
        message.push(mask_key, format_args!("{:08x}", mark.mask));
    }
}

fn push_usage(message: &mut Message, [bytes, packets, used]: [&'static str; 3], usage: &SaUsage) {
    message.push(bytes, usage.bytes).push(packets, usage.packets);
    message.push_some(used, usage.idle.map(|idle| idle.as_secs()));
}
