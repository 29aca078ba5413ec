//! A gateway that sends its clients elsewhere as they come (RFC 5685 §3, §6), because the settings say so: with the answer to
//! IKE_SA_INIT, for which nothing is kept, or with the last message of IKE_AUTH, once it is known who they are.
//!
//! Only clients that announce that they follow are sent away; the others are served. So is who was sent here from the very
//! gateway that it would be sent to, and who has called us by the address that it would be sent to: neither would ever
//! arrive anywhere.

use std::net::SocketAddr;

use strongswan::log;

use super::{Conditions, Extensions, IkeSa};
use crate::env::Env;
use crate::settings::{RedirectSettings, RedirectWhen};
use crate::v2::Incoming;
use crate::wire::{Gateway, Message, Notify, NotifyType};

impl IkeSa {
    /// What to answer a client's IKE_SA_INIT request with instead of serving it.
    pub(crate) fn redirect_initial(&self, env: &Env<'_>, incoming: &Incoming) -> Option<Message> {
        let settings = due(env, RedirectWhen::Init)?;
        let request = &incoming.message;
        let from = request.notify(NotifyType::RedirectedFrom);
        if from.is_none() && !request.has_notify(NotifyType::RedirectSupported) {
            return None;
        }
        let from = from.and_then(Notify::gateway).map(|(gateway, _)| gateway);
        // whoever cannot be answered with his nonce would not believe us
        let nonce = request.nonce()?;
        if !leads_elsewhere(settings, incoming.local, from.as_ref()) || !concerns_all(settings, env, incoming) {
            return None;
        }
        let mut answer = Message::new(request.header.reply());
        answer.push(Notify::redirect(&settings.gateway, nonce.as_bytes()));
        // nobody knows whose address the request came from: a refusal must not be more than was asked with
        let size = answer.encode_plain().map_or(usize::MAX, |encoded| encoded.len());
        if size > incoming.datagram.len() {
            log!(IKE, 1, "request of {} is too small to be answered with REDIRECT", incoming.remote.ip());
            return None;
        }
        log!(IKE, 1, "redirecting peer to {}", settings.gateway);
        Some(answer)
    }

    /// Remembers until the end of IKE_AUTH from where a client was sent to us.
    pub(crate) fn note_redirected_from(&mut self, gateway: Gateway) {
        if let Some(handshake) = self.handshake() {
            handshake.redirected_from = Some(gateway);
        }
    }

    /// The client is authenticated: sends it away, if it is to be. It has half a minute to leave.
    pub(crate) fn redirect_authenticated(&mut self, env: &Env<'_>) -> Option<Notify> {
        let settings = due(env, RedirectWhen::Auth)?;
        let from = self.handshake().and_then(|handshake| handshake.redirected_from.take());
        let concerned = settings.connections.is_empty() || settings.lists(self.name());
        if !concerned
            || !self.extensions.contains(Extensions::REDIRECTION)
            || !leads_elsewhere(settings, self.local, from.as_ref())
        {
            return None;
        }
        log!(IKE, 1, "redirecting peer to {}", settings.gateway);
        self.conditions |= Conditions::REDIRECTED;
        self.delete_at(env.now + env.settings.half_open_timeout);
        Some(Notify::redirect(&settings.gateway, &[]))
    }
}

/// The settings, if clients are sent away at this moment.
fn due<'a>(env: &Env<'a>, when: RedirectWhen) -> Option<&'a RedirectSettings> {
    env.settings.redirect.as_ref().filter(|settings| settings.when == when)
}

/// The client would get somewhere.
fn leads_elsewhere(settings: &RedirectSettings, local: SocketAddr, from: Option<&Gateway>) -> bool {
    let here = settings.gateway == Gateway::Address(local.ip());
    let back = from == Some(&settings.gateway);
    if back {
        log!(IKE, 1, "not redirecting peer to {}, which sent it here", settings.gateway);
    }
    !here && !back
}

/// Nobody knows yet on which connection a client that begins is going to be: all that it may be have to be listed.
fn concerns_all(settings: &RedirectSettings, env: &Env<'_>, incoming: &Incoming) -> bool {
    if settings.connections.is_empty() {
        return true;
    }
    let possible = env.config.peer_configs(incoming.local, incoming.remote, None, None, 2);
    !possible.is_empty() && possible.iter().all(|config| settings.lists(&config.name))
}
