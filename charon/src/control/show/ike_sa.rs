//! The block of keys about an IKE_SA.

use ike::ids::IkeSpi;
use ike::{Algorithms, IkeSaSnapshot, IkeSaState};
use strongswan::clock::MonoTime;
use vici::Message;

use super::{host, push_flag, push_hex, push_list, seconds_since, seconds_until};

/// The keys of an IKE_SA, without its CHILD_SAs.
pub(in crate::control) fn ike_sa(ike: &IkeSaSnapshot, now: MonoTime) -> Message {
    let mut message = Message::new();
    message.push("uniqueid", ike.unique_id.get());
    message.push("version", ike.version.number());
    message.push("state", format_args!("{}", ike.state));
    message.push("local-host", host(ike.local)).push("local-port", ike.local.port());
    message.push("local-id", identity(ike.local_id.as_ref()));
    message.push("remote-host", host(ike.remote)).push("remote-port", ike.remote.port());
    message.push("remote-id", identity(ike.remote_id.as_ref()));
    if let Some(eap_id) = ike.remote_eap_id.as_ref().filter(|eap_id| Some(*eap_id) != ike.remote_id.as_ref()) {
        message.push("remote-eap-id", eap_id.to_string());
    }
    push_flag(&mut message, "initiator", ike.initiator);
    let spi = |spi: Option<IkeSpi>| format!("{:016x}", spi.map_or(0, IkeSpi::get));
    message.push("initiator-spi", spi(ike.initiator_spi)).push("responder-spi", spi(ike.responder_spi));
    push_flag(&mut message, "nat-local", ike.nat.local);
    push_flag(&mut message, "nat-remote", ike.nat.remote);
    push_flag(&mut message, "nat-fake", ike.nat.fake);
    push_flag(&mut message, "nat-any", ike.nat.any());
    push_hex(&mut message, "if-id-in", ike.if_id_in.0);
    push_hex(&mut message, "if-id-out", ike.if_id_out.0);
    if let Some(algorithms) = &ike.algorithms {
        push_algorithms(&mut message, algorithms);
    }
    push_flag(&mut message, "ppk", ike.ppk);
    if ike.state == IkeSaState::Established {
        message.push_some("established", ike.established.map(|then| seconds_since(now, then)));
        message.push_some("rekey-time", ike.rekey.map(|then| seconds_until(now, then)));
        message.push_some("reauth-time", ike.reauth.map(|then| seconds_until(now, then)));
    }
    push_list(&mut message, "local-vips", &ike.local_vips);
    push_list(&mut message, "remote-vips", &ike.remote_vips);
    push_list(&mut message, "tasks-queued", &ike.tasks_queued);
    push_list(&mut message, "tasks-active", &ike.tasks_active);
    push_list(&mut message, "tasks-passive", &ike.tasks_passive);
    message
}

fn identity<T: ToString>(id: Option<&T>) -> String {
    id.map_or_else(|| "%any".to_owned(), T::to_string)
}

/// Algorithms in the order of the keys, for IKE_SAs and CHILD_SAs.
pub(super) fn push_algorithms(message: &mut Message, algorithms: &Algorithms) {
    if let Some((encryption, key_size)) = algorithms.encryption {
        message.push("encr-alg", format_args!("{encryption}"));
        message.push_some("encr-keysize", key_size.filter(|size| *size != 0));
    }
    if let Some(integrity) = algorithms.integrity {
        message.push("integ-alg", format_args!("{integrity}"));
    }
    if let Some(prf) = algorithms.prf {
        message.push("prf-alg", format_args!("{prf}"));
    }
    if let Some(method) = algorithms.key_exchange {
        message.push("dh-group", format_args!("{method}"));
    }
    for (kind, method) in &algorithms.additional_key_exchanges {
        if let Some(number) = kind.additional_key_exchange() {
            message.push(format!("ake{number}"), format_args!("{method}"));
        }
    }
}
