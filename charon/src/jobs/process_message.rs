//! A message for an IKE_SA.

use std::sync::Arc;

use ike::wire::ExchangeType;
use strongswan::processing::{Job, Outcome, Priority};

use crate::manager::Manager;
use crate::net::Inbound;

/// Delivers a message. What authenticates a peer takes long and waits; what keeps IKE_SAs alive is short and comes first.
pub struct ProcessMessage {
    /// Who knows the IKE_SA.
    pub manager: Arc<Manager>,
    /// The message.
    pub message: Inbound,
}

impl Job for ProcessMessage {
    fn priority(&self) -> Priority {
        match self.message.header.exchange {
            ExchangeType::IkeAuth => Priority::Low,
            ExchangeType::Informational => Priority::High,
            ExchangeType::IkeSaInit
            | ExchangeType::CreateChildSa
            | ExchangeType::IkeSessionResume
            | ExchangeType::IkeIntermediate
            | ExchangeType::IkeFollowupKe
            | ExchangeType::Unknown(_) => Priority::Medium,
        }
    }

    fn execute(self: Box<Self>) -> Outcome {
        self.manager.process(self.message);
        Outcome::Done
    }
}
