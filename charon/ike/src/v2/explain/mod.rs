//! Finds out why a negotiation failed: what tasks call when they give up. The words are those of [`crate::explain`].
//!
//! Every function here takes what the task knows at that moment, works out what did not fit, logs it, and tells
//! observers. None of them changes anything else about the IKE_SA, and none is called while all goes well.

pub(crate) mod auth;
pub(crate) mod child;
pub(crate) mod init;
mod proof;

use std::net::IpAddr;
use std::sync::Arc;

use strongswan::log;

use crate::config::PeerConfig;
use crate::env::Env;
use crate::explain::{
    Asker, Cause, Explanation, Field, MAX_MISMATCHES, Mismatch, Near, Place, Round, Stage, Topic, Wanted,
};
use crate::output::Event;
use crate::sa::IkeSa;

/// Reports a failure on an IKE_SA that knows its peer's address.
fn report(sa: &mut IkeSa, env: &Env<'_>, stage: Stage, cause: Cause, find: impl FnOnce(&IkeSa) -> Vec<Mismatch>) {
    report_of(sa, env, None, (stage, cause), find);
}

/// Reports a failure. `find` is called only if it may be explained, and nothing is said if it finds nothing.
fn report_of(
    sa: &mut IkeSa,
    env: &Env<'_>,
    peer: Option<IpAddr>,
    (stage, cause): (Stage, Cause),
    find: impl FnOnce(&IkeSa) -> Vec<Mismatch>,
) {
    let held_back = match cause {
        // what we asked for ourselves is worth an explanation each time
        Cause::PeerRefused(_) | Cause::AnswerUnacceptable | Cause::NoAnswer | Cause::Local => 0,
        Cause::WeRefused(_) | Cause::PeerClosed(_) => {
            let asker = if sa.is_authenticated() { Asker::Authenticated } else { Asker::Unknown };
            let Some(held_back) = env.config.may_explain(asker, env.now) else { return };
            held_back
        }
    };
    let mut mismatches = find(sa);
    mismatches.truncate(MAX_MISMATCHES);
    if mismatches.is_empty() {
        return;
    }
    // before a connection was found for it, the IKE_SA has no addresses
    let peer = peer.unwrap_or_else(|| sa.remote.ip());
    let peer = Some(peer).filter(|peer| !peer.is_unspecified());
    let explanation = Explanation { stage, cause, peer, mismatches };
    log!(CFG, 1, "explain: {explanation}");
    for mismatch in &explanation.mismatches {
        log!(CFG, 1, "explain: {mismatch}");
    }
    if held_back > 0 {
        log!(CFG, 1, "explain: {held_back} failures before this one were not explained");
    }
    sa.event(Event::Explained(Arc::new(explanation)));
}

/// The connections that come nearest.
fn nearest(sa: &IkeSa, env: &Env<'_>, wanted: &Wanted<'_>) -> Vec<Near> {
    let mut near = env.config.nearest(wanted, MAX_MISMATCHES);
    // what is for other addresses did not come into question where something was for these
    if near.iter().any(Near::is_reachable) {
        near.retain(Near::is_reachable);
    }
    let selected = sa.config();
    // the one that was tried first is explained first
    near.sort_by_key(|near| !selected.is_some_and(|selected| Arc::ptr_eq(selected, &near.config)));
    near
}

fn connection(config: &PeerConfig, topic: Topic, key: &'static str) -> Field {
    Field::new(topic, Place::Connection(Arc::clone(&config.name)), key)
}

fn local(config: &PeerConfig, index: usize, topic: Topic, key: &'static str) -> Field {
    let round = Round { index, of: config.local.len() };
    Field::new(topic, Place::Local(Arc::clone(&config.name), round), key)
}

fn remote(config: &PeerConfig, index: usize, topic: Topic, key: &'static str) -> Field {
    let round = Round { index, of: config.remote.len() };
    Field::new(topic, Place::Remote(Arc::clone(&config.name), round), key)
}
