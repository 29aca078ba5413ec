//! Which messages an IKE_SA looks into at all: one table of state, role, direction and exchange (spec §2.4). What it does
//! not name is ignored before it is decrypted, and nothing changes.
//!
//! The table is printed in `docs/messages.md`; a test walks all of it and sends each message to an IKE_SA in each state.

use crate::sa::{IkeSaState, Role};
use crate::wire::ExchangeType;

/// Whether a message asks or answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The peer's exchange.
    Request,
    /// An answer to ours.
    Response,
}

/// What else has to be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    /// Additional key exchanges are left to be carried out before IKE_AUTH (RFC 9370).
    KeyExchangeDue,
    /// None is.
    KeyExchangesDone,
}

/// What of an IKE_SA, besides its state, decides about a message.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pending {
    /// An additional key exchange is due.
    pub key_exchange: bool,
}

/// Messages that are looked into.
struct Line {
    state: IkeSaState,
    roles: &'static [Role],
    direction: Direction,
    exchanges: &'static [(ExchangeType, When)],
}

const BOTH: &[Role] = &[Role::Initiator, Role::Responder];
/// What authenticated peers do. Of answers the one that is due is known by the request; a key exchange that follows up
/// nothing is told so.
const SECURED: &[(ExchangeType, When)] = &[
    (ExchangeType::CreateChildSa, When::Always),
    (ExchangeType::IkeFollowupKe, When::Always),
    (ExchangeType::Informational, When::Always),
];
const INFORMATIONAL: &[(ExchangeType, When)] = &[(ExchangeType::Informational, When::Always)];

/// The table. Whoever adds a line lets somebody in.
const TABLE: &[Line] = &[
    Line {
        state: IkeSaState::Created,
        roles: &[Role::Responder],
        direction: Direction::Request,
        exchanges: &[(ExchangeType::IkeSaInit, When::Always)],
    },
    Line {
        state: IkeSaState::Connecting,
        roles: &[Role::Responder],
        direction: Direction::Request,
        exchanges: &[
            (ExchangeType::IkeIntermediate, When::KeyExchangeDue),
            (ExchangeType::IkeAuth, When::KeyExchangesDone),
            // who cannot authenticate us says so
            (ExchangeType::Informational, When::Always),
        ],
    },
    Line {
        state: IkeSaState::Connecting,
        roles: &[Role::Initiator],
        direction: Direction::Response,
        exchanges: &[
            (ExchangeType::IkeSaInit, When::Always),
            (ExchangeType::IkeIntermediate, When::Always),
            (ExchangeType::IkeAuth, When::Always),
        ],
    },
    Line { state: IkeSaState::Established, roles: BOTH, direction: Direction::Request, exchanges: SECURED },
    Line { state: IkeSaState::Established, roles: BOTH, direction: Direction::Response, exchanges: SECURED },
    Line { state: IkeSaState::Rekeying, roles: BOTH, direction: Direction::Request, exchanges: SECURED },
    Line { state: IkeSaState::Rekeying, roles: BOTH, direction: Direction::Response, exchanges: SECURED },
    Line { state: IkeSaState::Rekeyed, roles: BOTH, direction: Direction::Request, exchanges: INFORMATIONAL },
    Line { state: IkeSaState::Rekeyed, roles: BOTH, direction: Direction::Response, exchanges: INFORMATIONAL },
    // CREATE_CHILD_SA is answered with TEMPORARY_FAILURE
    Line { state: IkeSaState::Deleting, roles: BOTH, direction: Direction::Request, exchanges: SECURED },
    Line { state: IkeSaState::Deleting, roles: BOTH, direction: Direction::Response, exchanges: INFORMATIONAL },
];

impl When {
    fn holds(self, pending: Pending) -> bool {
        match self {
            Self::Always => true,
            Self::KeyExchangeDue => pending.key_exchange,
            Self::KeyExchangesDone => !pending.key_exchange,
        }
    }
}

/// Whether a message is looked into.
pub fn admits(state: IkeSaState, role: Role, direction: Direction, exchange: ExchangeType, pending: Pending) -> bool {
    let fits = |line: &&Line| line.state == state && line.direction == direction && line.roles.contains(&role);
    let named = |line: &Line| line.exchanges.iter().any(|(named, when)| *named == exchange && when.holds(pending));
    TABLE.iter().filter(fits).any(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(when: When) -> &'static str {
        match when {
            When::Always => "",
            When::KeyExchangeDue => " (while an additional key exchange is due)",
            When::KeyExchangesDone => " (when no additional key exchange is due)",
        }
    }

    /// The table as documentation.
    fn printed() -> String {
        let mut text = "# Messages an IKE_SA looks into\n\n\
                        Printed from `src/v2/admission.rs`; whatever is not named here is ignored before it is decrypted, and nothing\n\
                        changes. Of responses only the one to the request in the air counts.\n\n\
                        | state | role | direction | exchanges |\n|---|---|---|---|\n"
            .to_owned();
        let roles = |roles: &[Role]| match roles {
            [Role::Initiator] => "initiator",
            [Role::Responder] => "responder",
            _ => "both",
        };
        for line in TABLE {
            let exchanges: Vec<_> =
                line.exchanges.iter().map(|(name, when)| format!("{name}{}", note(*when))).collect();
            let direction = match line.direction {
                Direction::Request => "request",
                Direction::Response => "response",
            };
            text += &format!("| {} | {} | {direction} | {} |\n", line.state, roles(line.roles), exchanges.join(", "));
        }
        text += "| PASSIVE, DESTROYING | both | both | none |\n";
        text
    }

    #[test]
    fn the_documentation_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/messages.md");
        let (printed, written) = (printed(), std::fs::read_to_string(path).unwrap_or_default());
        if printed != written && std::env::var_os("PRINT_TABLES").is_some() {
            std::fs::write(path, &printed).unwrap();
        } else {
            assert_eq!(printed, written, "run the test with PRINT_TABLES=1 to print it again");
        }
    }

    #[test]
    fn nothing_is_negotiated_with_who_is_not_authenticated() {
        let everything = Pending { key_exchange: true };
        for state in [IkeSaState::Created, IkeSaState::Connecting] {
            for exchange in [ExchangeType::CreateChildSa, ExchangeType::IkeFollowupKe] {
                for (role, direction) in [
                    (Role::Initiator, Direction::Request),
                    (Role::Initiator, Direction::Response),
                    (Role::Responder, Direction::Request),
                    (Role::Responder, Direction::Response),
                ] {
                    assert!(!admits(state, role, direction, exchange, everything), "{state} {exchange}");
                }
            }
        }
    }
}
