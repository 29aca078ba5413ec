//! EAP-GTC (RFC 3748 §5.6): the server asks, the client answers with its password in the clear, which is as safe as the
//! server is authentic. No key, not mutual.

use strongswan::credentials::SecretKind;
use strongswan::crypto::Secret;
use strongswan::log;

use super::method::{ClientMethod, ClientStep, Context, ServerMethod, ServerStep};
use super::packet::{MethodType, Packet};
use super::settings::GtcBackend;
use crate::wire::EapType;

/// What the server asks.
const PROMPT: &[u8] = b"password";

/// The server's side, if there is something that can verify passwords.
pub(super) fn server(context: &Context<'_>) -> Option<Box<dyn ServerMethod>> {
    match context.settings.gtc_backend {
        GtcBackend::Generic => Some(Box::new(Server)),
        GtcBackend::Missing => {
            log!(CFG, 1, "creating GTC XAuth backend failed: only 'generic' is supported for eap-gtc.backend");
            None
        }
    }
}

/// The client's side.
pub(super) fn client() -> Box<dyn ClientMethod> {
    Box::new(Client)
}

#[derive(Debug)]
struct Server;

impl ServerMethod for Server {
    fn method(&self) -> MethodType {
        MethodType::ietf(EapType::Gtc)
    }

    fn start(&mut self, _context: &mut Context<'_>) -> ServerStep {
        ServerStep::Request(PROMPT.to_vec())
    }

    fn process(&mut self, context: &mut Context<'_>, response: &Packet<'_>) -> ServerStep {
        let (me, other) = (context.server, context.peer);
        // one trailing NUL is not part of the password
        let password = Secret::from(response.data.strip_suffix(&[0]).unwrap_or(response.data));
        let mut tried: usize = 0;
        for secret in context.credentials.shared_secrets(SecretKind::Eap, Some(me), Some(other)) {
            if secret.data == password && !password.is_empty() {
                return ServerStep::Success(Box::default());
            }
            tried = tried.saturating_add(1);
        }
        match tried {
            0 => log!(IKE, 1, "no EAP key found for hosts '{me}' - '{other}'"),
            _ => log!(IKE, 1, "none of {tried} found EAP keys for '{me}' - '{other}' matched"),
        }
        ServerStep::Failed
    }
}

#[derive(Debug)]
struct Client;

impl ClientMethod for Client {
    fn process(&mut self, context: &mut Context<'_>, _request: &Packet<'_>) -> ClientStep {
        let (me, other) = (context.peer, context.server);
        let secret = context.credentials.shared_secrets(SecretKind::Eap, Some(me), Some(other)).next();
        let Some(secret) = secret else {
            log!(IKE, 1, "no EAP key found for '{me}' - '{other}'");
            return ClientStep::Failed;
        };
        ClientStep::Complete(secret.data.as_bytes().to_vec(), Box::default())
    }
}
