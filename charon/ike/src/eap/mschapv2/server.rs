//! The server's side: the name in the response decides whose password it is.

use std::time::Duration;

use strongswan::crypto::Secret;
use strongswan::identity::Identity;
use strongswan::log;
use subtle::ConstantTimeEq;

use super::crypto::{Challenge, RESPONSE_LEN, authenticator_response, msk, nt_response};
use super::{message, nt_hash};
use crate::eap::identity;
use crate::eap::method::{Context, ServerMethod, ServerStep};
use crate::eap::packet::{MethodType, Packet};
use crate::eap::proof::Outcome;
use crate::eap::wait::{Answer, Wait};
use crate::wire::EapType;
use message::Message;

/// What the server calls itself.
const NAME: &[u8] = b"strongSwan";

/// Its words of welcome.
const WELCOME: &str = "Welcome2strongSwan";

/// How long a wrong password has to wait for its answer.
const PENALTY: Duration = Duration::from_secs(2);

/// Further passwords that may be tried.
const MAX_RETRIES: u32 = 2;

pub(in crate::eap) fn create(_context: &Context<'_>) -> Option<Box<dyn ServerMethod>> {
    Some(Box::new(Server { id: 0, challenge: Challenge::default(), retries: 0, stage: Stage::Challenged }))
}

#[derive(Debug)]
enum Stage {
    /// A response is due.
    Challenged,
    /// The password was wrong, and the client waits for hearing it.
    Punished,
    /// The password was right, and the client has to believe our proof.
    Proven { identity: Identity, msk: Secret },
}

#[derive(Debug)]
struct Server {
    id: u8,
    challenge: Challenge,
    retries: u32,
    stage: Stage,
}

impl ServerMethod for Server {
    fn method(&self) -> MethodType {
        MethodType::ietf(EapType::MsChapV2)
    }

    fn start(&mut self, context: &mut Context<'_>) -> ServerStep {
        let mut id = [0];
        context.rng.fill(&mut id);
        [self.id] = id;
        context.rng.fill(&mut self.challenge);
        ServerStep::Request(message::challenge(self.id, &self.challenge, NAME))
    }

    fn process(&mut self, context: &mut Context<'_>, response: &Packet<'_>) -> ServerStep {
        let Some(message) = Message::parse(response.data) else {
            log!(IKE, 1, "received invalid EAP-MS-CHAPv2 message");
            return ServerStep::Failed;
        };
        match (std::mem::replace(&mut self.stage, Stage::Challenged), message) {
            // the number only pairs messages, and clients disagree about that of another try
            (Stage::Challenged, Message::Response { id, peer, response, name })
                if id == self.id || self.retries > 0 =>
            {
                self.verify(context, &peer, &response, name)
            }
            (Stage::Proven { identity, msk }, Message::Success { text: [] }) => {
                let outcome = Outcome { msk: Some(msk), identity: Some(identity), ..Outcome::default() };
                ServerStep::Success(Box::new(outcome))
            }
            (_, Message::Failure { .. }) => ServerStep::Failed,
            _ => {
                log!(IKE, 1, "received unexpected EAP-MS-CHAPv2 message");
                ServerStep::Failed
            }
        }
    }

    fn answered(&mut self, context: &mut Context<'_>, answer: Answer) -> ServerStep {
        let (Stage::Punished, Answer::Elapsed) = (&self.stage, answer) else { return ServerStep::Failed };
        self.stage = Stage::Challenged;
        context.rng.fill(&mut self.challenge);
        ServerStep::Request(message::failure(self.id, &self.challenge))
    }
}

impl Server {
    fn verify(
        &mut self,
        context: &Context<'_>,
        peer: &Challenge,
        response: &[u8; RESPONSE_LEN],
        name: &[u8],
    ) -> ServerStep {
        let Some(user) = identity::parse(name) else {
            log!(IKE, 1, "EAP-MS-CHAPv2 response without a user's name");
            return self.refuse();
        };
        if user != *context.peer {
            log!(IKE, 1, "EAP-MS-CHAPv2 username: '{user}'");
        }
        let Some(hash) = nt_hash(context, context.server, &user) else {
            log!(IKE, 1, "no EAP key found for hosts '{}' - '{user}'", context.server);
            return self.refuse();
        };
        let Ok(expected) = nt_response(&hash, peer, &self.challenge, name) else { return ServerStep::Failed };
        if !bool::from(expected.ct_eq(response)) {
            return self.refuse();
        }
        let proof = authenticator_response(&hash, response, peer, &self.challenge, name);
        self.stage = Stage::Proven { identity: user, msk: msk(&hash, response) };
        ServerStep::Request(message::success(self.id, &proof, WELCOME))
    }

    /// A wrong password and an unknown user look the same from outside.
    fn refuse(&mut self) -> ServerStep {
        if self.retries >= MAX_RETRIES {
            log!(IKE, 1, "EAP-MS-CHAPv2 verification failed: maximum number of retries reached");
            return ServerStep::Failed;
        }
        self.retries = self.retries.saturating_add(1);
        log!(IKE, 1, "EAP-MS-CHAPv2 verification failed, retry ({})", self.retries);
        self.stage = Stage::Punished;
        ServerStep::Wait(Wait::For(PENALTY))
    }
}
