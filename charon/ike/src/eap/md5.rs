//! EAP-MD5 (RFC 3748 §5.4): a challenge, answered with the MD5 of identifier, password and challenge. It proves the
//! client to the server and nothing else, and yields no key.

use strongswan::credentials::{SecretKind, SharedSecret};
use strongswan::crypto::hash::md5;
use strongswan::log;
use subtle::ConstantTimeEq;

use super::method::{ClientMethod, ClientStep, Context, ServerMethod, ServerStep};
use super::packet::{MethodType, Packet};
use crate::wire::EapType;

const CHALLENGE_LEN: usize = 16;
const HASH_LEN: usize = 16;

/// The server's side.
pub(super) fn server(_context: &Context<'_>) -> Option<Box<dyn ServerMethod>> {
    Some(Box::new(Server::default()))
}

/// The client's side.
pub(super) fn client() -> Box<dyn ClientMethod> {
    Box::new(Client)
}

/// A value with its length in front, and what follows: a name, which means nothing here.
fn value(data: &[u8]) -> Option<&[u8]> {
    let (len, rest) = data.split_first()?;
    rest.get(..usize::from(*len)).filter(|value| !value.is_empty())
}

fn with_length(value: &[u8]) -> Vec<u8> {
    let mut data = vec![u8::try_from(value.len()).unwrap_or_default()];
    data.extend(value);
    data
}

fn hash(identifier: u8, secret: &SharedSecret, challenge: &[u8]) -> [u8; HASH_LEN] {
    md5(&[&[identifier], secret.data.as_bytes(), challenge])
}

#[derive(Debug, Default)]
struct Server {
    challenge: [u8; CHALLENGE_LEN],
}

impl ServerMethod for Server {
    fn method(&self) -> MethodType {
        MethodType::ietf(EapType::Md5)
    }

    fn start(&mut self, context: &mut Context<'_>) -> ServerStep {
        context.rng.fill(&mut self.challenge);
        ServerStep::Request(with_length(&self.challenge))
    }

    fn process(&mut self, context: &mut Context<'_>, response: &Packet<'_>) -> ServerStep {
        let Some(received) = value(response.data).filter(|value| value.len() == HASH_LEN) else {
            log!(IKE, 1, "received invalid EAP-MD5 response message");
            return ServerStep::Failed;
        };
        let (me, other) = (context.server, context.peer);
        let secret = context.credentials.shared_secrets(SecretKind::Eap, Some(me), Some(other)).next();
        let Some(secret) = secret else {
            log!(IKE, 1, "no EAP key found for hosts '{me}' - '{other}'");
            return ServerStep::Failed;
        };
        if !bool::from(hash(response.identifier, &secret, &self.challenge).ct_eq(received)) {
            log!(IKE, 1, "EAP-MD5 verification failed");
            return ServerStep::Failed;
        }
        ServerStep::Success(Box::default())
    }
}

#[derive(Debug)]
struct Client;

impl ClientMethod for Client {
    fn process(&mut self, context: &mut Context<'_>, request: &Packet<'_>) -> ClientStep {
        let Some(challenge) = value(request.data) else {
            log!(IKE, 1, "received invalid EAP-MD5 message");
            return ClientStep::Failed;
        };
        let (me, other) = (context.peer, context.server);
        let secret = context.credentials.shared_secrets(SecretKind::Eap, Some(me), Some(other)).next();
        let Some(secret) = secret else {
            log!(IKE, 1, "no EAP key found for hosts '{me}' - '{other}'");
            return ClientStep::Failed;
        };
        let response = hash(request.identifier, &secret, challenge);
        ClientStep::Complete(with_length(&response), Box::default())
    }
}
