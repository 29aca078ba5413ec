//! `load-key`: load a private key.

use strongswan::credentials::{KeyType, PrivateKey, Store};
use strongswan::log;
use vici::{Message, Request, Responder};

use super::{Answer, Control, answer};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    answer(responder, load(&control.credentials, &request.message));
}

fn load(credentials: &Store, message: &Message) -> Answer {
    let name = message.str("type").ok_or("key type missing")?;
    let wanted = if name.eq_ignore_ascii_case("any") {
        None
    } else {
        Some(KeyType::from_name(name).ok_or_else(|| format!("invalid key type: {name}"))?)
    };
    let data = message.get("data").filter(|data| !data.is_empty()).ok_or("key data missing")?;
    let failed = || match wanted {
        Some(key_type) => format!("parsing {key_type} private key failed"),
        None => "parsing ANY private key failed".to_owned(),
    };
    let key = PrivateKey::from_der_or_pem(data).map_err(|error| {
        log!(CFG, 1, "parsing private key failed: {error}");
        failed()
    })?;
    if wanted.is_some_and(|wanted| wanted != key.key_type()) {
        log!(CFG, 1, "private key is {}", key.key_type());
        return Err(failed());
    }
    log!(CFG, 1, "loaded {} private key", key.key_type());
    let id = credentials.add_private_key(key);
    Ok(Message::success().with("id", hex::encode(id)))
}
