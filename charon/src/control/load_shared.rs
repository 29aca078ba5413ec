//! `load-shared`: load a shared secret.

use strongswan::credentials::{SecretKind, SharedSecret, Store};
use strongswan::crypto::Secret;
use strongswan::identity::Identity;
use strongswan::log;
use vici::{Message, Request, Responder};

use super::{Answer, Control, answer};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    answer(responder, load(&control.credentials, &request));
}

fn load(credentials: &Store, request: &Request) -> Answer {
    let message = &request.message;
    let name = message.str("type").ok_or("shared key type missing")?;
    let kind = SecretKind::from_name(name).ok_or_else(|| format!("invalid shared key type: {name}"))?;
    let data = message.get("data").filter(|data| !data.is_empty()).ok_or("shared key data missing")?;
    if request.defect.is_some() {
        return Err("parsing shared key owners failed".to_owned());
    }
    let owners = message.list("owners").iter().map(|owner| identity(owner)).collect::<Result<Vec<_>, _>>()?;
    let mut secret = SharedSecret::new(kind, Secret::new(data.to_vec()), owners);
    secret.id = message.str("id").map(str::to_owned);
    let owners = secret.owners.iter().map(|owner| format!("'{owner}'")).collect::<Vec<_>>().join(", ");
    match &secret.id {
        Some(id) => log!(CFG, 1, "loaded {kind} shared key with id '{id}' for: {owners}"),
        None => log!(CFG, 1, "loaded {kind} shared key for: {owners}"),
    }
    credentials.add_secret(secret);
    Ok(Message::success())
}

/// An owner, who may be a pattern.
fn identity(owner: &[u8]) -> Result<Identity, String> {
    let failed = || "parsing shared key owners failed".to_owned();
    let text = vici::message::text(owner).ok_or_else(failed)?;
    Identity::parse_with_regex(text).map_err(|error| {
        log!(CFG, 1, "{error}");
        failed()
    })
}
