//! `redirect`: send clients to another gateway (RFC 5685).

use std::sync::Arc;

use ike::IkeSaSnapshot;
use ike::config::IkeVersion;
use ike::wire::Gateway;
use strongswan::host::AddressRange;
use strongswan::identity::Identity;
use vici::{Message, Request, Responder};

use super::selector::Selector;
use super::{Control, answer};

/// Which clients. All of it has to fit.
struct Clients {
    ike: Selector,
    address: Option<AddressRange>,
    identity: Option<Identity>,
}

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    let (gateway, clients) = match read(&request.message) {
        Ok(read) => read,
        Err(error) => return answer(responder, Err(error.to_owned())),
    };
    let ids = clients.ike.ike_sas(&*control.operations);
    let fits = Arc::new(move |ike: &IkeSaSnapshot| clients.include(ike));
    let done = Box::new(move |matches: usize| {
        let mut message = Message::new();
        message.push("success", matches > 0).push("matches", matches);
        if matches == 0 {
            message.push("errmsg", "no matching SAs to redirect found");
        }
        responder.reply(&message);
    });
    control.operations.redirect(ids, fits, gateway, done);
}

fn read(message: &Message) -> Result<(Gateway, Clients), &'static str> {
    if message.value("gateway").is_none() {
        return Err("missing target gateway");
    }
    let gateway = message.str("gateway").and_then(Gateway::parse).ok_or("unsupported gateway identity")?;
    let address = match message.value("peer-ip") {
        Some(_) => Some(message.str("peer-ip").and_then(AddressRange::parse).ok_or("invalid peer IP selector")?),
        None => None,
    };
    let identity = match message.value("peer-id") {
        Some(_) => Some(read_identity(message.str("peer-id")).ok_or("invalid peer identity selector")?),
        None => None,
    };
    let Selector { ike, ike_id, .. } = Selector::from_message(message);
    let ike = Selector { ike, ike_id, ..Selector::default() };
    if ike.is_empty() && address.is_none() && identity.is_none() {
        return Err("missing redirect selector");
    }
    Ok((gateway, Clients { ike, address, identity }))
}

fn read_identity(text: Option<&str>) -> Option<Identity> {
    Identity::parse_with_regex(text.filter(|text| !text.is_empty())?).ok()
}

impl Clients {
    fn include(&self, ike: &IkeSaSnapshot) -> bool {
        let address = |range: &AddressRange| range.contains_address(ike.remote.ip());
        // who used EAP is known by that identity, too
        let ids = [ike.remote_id.as_ref(), ike.remote_eap_id.as_ref()];
        let identity = |wanted: &Identity| ids.into_iter().flatten().any(|id| id.matches(wanted).is_match());
        ike.version == IkeVersion::V2
            && self.address.as_ref().is_none_or(address)
            && self.identity.as_ref().is_none_or(identity)
    }
}
