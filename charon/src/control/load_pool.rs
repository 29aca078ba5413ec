//! `load-pool`: load pools of virtual IPs and attributes.

use strongswan::log;
use vici::message::{Value, text};
use vici::{Message, Request, Responder};

use super::{Answer, Control, answer};
use crate::pools::{Attribute, AttributeError, Bounds, Pools};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    answer(responder, load(&control.pools, &request));
}

/// Loads the pools of a message in order. The first error ends it; pools before it stay loaded.
fn load(pools: &Pools, request: &Request) -> Answer {
    if request.defect.is_some() {
        return Err("parsing request failed".to_owned());
    }
    for (name, section) in request.message.sections() {
        let (bounds, attributes) = read(name, section)?;
        pools.load(name, bounds, attributes).map_err(|error| error.to_string())?;
    }
    Ok(Message::success())
}

fn read(name: &str, section: &Message) -> Result<(Bounds, Vec<Attribute>), String> {
    let mut bounds = None;
    let mut attributes = Vec::new();
    for item in section.items() {
        let key = item.name();
        match item.value() {
            Value::Scalar(_) if key == "addrs" && bounds.is_some() => return Err("multiple addrs defined".to_owned()),
            Value::Scalar(addrs) if key == "addrs" => bounds = Some(read_bounds(addrs)?),
            Value::List(values) if key != "addrs" => {
                for value in values {
                    let attribute = Attribute::parse(key, value).map_err(|error| match error {
                        AttributeError::Kind => format!("invalid attribute: {key}"),
                        AttributeError::Value => format!("invalid attribute value for {key}"),
                    })?;
                    attributes.push(attribute);
                }
            }
            Value::Section(_) => return Err("parsing request failed".to_owned()),
            Value::Scalar(_) | Value::List(_) => return Err(format!("invalid attribute: {key}")),
        }
    }
    let bounds = bounds.ok_or_else(|| format!("missing addrs for pool '{name}'"))?;
    Ok((bounds, attributes))
}

fn read_bounds(addrs: &[u8]) -> Result<Bounds, String> {
    let text = text(addrs).ok_or("invalid addrs value")?;
    Bounds::parse(text).map_err(|error| {
        log!(CFG, 1, "{error}");
        format!("invalid addrs value: {text}")
    })
}
