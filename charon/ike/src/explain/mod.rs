//! Why a negotiation failed, in terms of the configuration: what an operator would change.
//!
//! An [`Explanation`] is made where a task gives up. It names the side that refused, and has a [`Mismatch`] for each
//! connection that came into question: the first thing of it that did not fit, as a [`Field`] of `swanctl.conf`, what we
//! have there, what the peer offered, and the smallest [`Change`] that would have matched. As initiator we are told little,
//! so there the peer's side is often unknown; then the mismatch says what we offered and where to look.
//!
//! The order in which a connection is compared is that of the exchanges: version, addresses, IKE proposal, identities,
//! authentication, and for a CHILD_SA proposal and traffic selectors.
//!
//! Rules:
//! * Nothing of it goes to the peer, and nothing of it is secret: a pre-shared key is named by its section, never shown.
//! * It costs nothing while negotiations succeed: everything is worked out after the failure, from what is at hand then.
//! * As responder it is bounded ([`Limiter`]): nobody can make us log without end or compare connections all day. At most
//!   [`MAX_MISMATCHES`] connections are explained, the nearest ones, and texts of the peer are cut.
//! * The log lines of the failure itself stay as they are. An explanation adds lines in group CFG, level 1, that begin with
//!   `explain:`: one that says what failed, then one for each connection:
//!
//! ```text
//! explain: IKE_SA_INIT with 192.0.2.2 failed, we refused it with NO_PROPOSAL_CHOSEN
//! explain: connections.gw.proposals: we have aes128-sha256-ecp256, the peer has aes128-sha256-modp2048 (no common key
//!          exchange); add aes128-sha256-modp2048 to connections.gw.proposals
//! ```
//! * Whoever initiated hears of it by [`Event::Explained`](crate::Event::Explained), before the event of the failure.
//!
//! This module has the words; `v2/explain` finds them.

mod candidates;
mod field;
mod limit;
mod proposals;
mod selectors;

use std::fmt;
use std::net::IpAddr;

pub(crate) use candidates::configured_id;
pub use candidates::{Asker, Near, Wanted};
pub use field::{Change, Field, Place, Round, Topic};
pub use limit::Limiter;
pub(crate) use proposals::{describe, nearest};
pub(crate) use selectors::{missing, text as selectors_text};

use crate::wire::NotifyType;

/// Connections that are explained, the nearest ones; more would hide the one that was meant.
pub const MAX_MISMATCHES: usize = 8;

/// Bytes shown of anything: identities and names may be as long as a message.
const MAX_TEXT: usize = 256;

/// Cuts a text of the peer.
pub(crate) fn clip(text: impl fmt::Display) -> String {
    let mut text = text.to_string();
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Which exchange failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Addresses and algorithms of the IKE_SA.
    IkeSaInit,
    /// Identities and their proof.
    IkeAuth,
    /// A CHILD_SA, in whichever exchange.
    Child,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IkeSaInit => "IKE_SA_INIT",
            Self::IkeAuth => "IKE_AUTH",
            Self::Child => "CHILD_SA",
        })
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The peer refused.
    PeerRefused(NotifyType),
    /// We refused what the peer asked for.
    WeRefused(NotifyType),
    /// The peer had its proof of identity accepted, and then closed the IKE_SA over ours.
    PeerClosed(NotifyType),
    /// We cannot accept what the peer answered.
    AnswerUnacceptable,
    /// The peer did not answer.
    NoAnswer,
    /// It did not come to an exchange.
    Local,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerRefused(notify) => write!(f, "the peer refused it with {notify}"),
            Self::WeRefused(notify) => write!(f, "we refused it with {notify}"),
            Self::PeerClosed(notify) => write!(f, "the peer closed it with {notify}"),
            Self::AnswerUnacceptable => f.write_str("the peer's answer is not acceptable"),
            Self::NoAnswer => f.write_str("the peer did not answer"),
            Self::Local => f.write_str("the reason is on our side"),
        }
    }
}

/// The first thing of a connection that did not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Where in the configuration.
    pub field: Field,
    /// What we have there.
    pub ours: String,
    /// What the peer has, if it told.
    pub theirs: Option<String>,
    /// What this means, if the two values do not speak for themselves.
    pub why: Option<String>,
    /// What would have matched.
    pub change: Change,
}

impl Mismatch {
    pub(crate) fn new(field: Field, ours: impl fmt::Display, change: Change) -> Self {
        Self { field, ours: clip(ours), theirs: None, why: None, change }
    }

    #[must_use]
    pub(crate) fn theirs(mut self, theirs: impl fmt::Display) -> Self {
        self.theirs = Some(clip(theirs));
        self
    }

    #[must_use]
    pub(crate) fn why(mut self, why: impl fmt::Display) -> Self {
        self.why = Some(clip(why));
        self
    }

    /// The change as a sentence.
    pub fn advice(&self) -> String {
        self.change.advice(&self.field)
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: we have {}", self.field, self.ours)?;
        if let Some(theirs) = &self.theirs {
            write!(f, ", the peer has {theirs}")?;
        }
        if let Some(why) = &self.why {
            write!(f, " ({why})")?;
        }
        write!(f, "; {}", self.advice())
    }
}

/// Why a negotiation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What failed.
    pub stage: Stage,
    /// How.
    pub cause: Cause,
    /// The other side, if its address is known.
    pub peer: Option<IpAddr>,
    /// What did not fit, for each connection that came into question, the nearest first.
    pub mismatches: Vec<Mismatch>,
}

impl Explanation {
    /// Whether it was the peer that asked.
    pub fn is_of_peer(&self) -> bool {
        matches!(self.cause, Cause::WeRefused(_) | Cause::PeerClosed(_))
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.stage)?;
        if let Some(peer) = self.peer {
            write!(f, " with {peer}")?;
        }
        write!(f, " failed, {}", self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_of_a_peer_are_cut_between_letters() {
        assert_eq!(clip("short"), "short");
        let long = clip("é".repeat(1000));
        assert!(long.len() <= MAX_TEXT + '…'.len_utf8() && long.ends_with('…'));
    }

    #[test]
    fn a_mismatch_is_one_line() {
        let field = Field::new(Topic::Proposal, Place::Connection("gw".into()), "proposals");
        let mismatch = Mismatch::new(field, "aes128-sha256-ecp256", Change::Add("aes128-sha256-modp2048".into()))
            .theirs("aes128-sha256-modp2048")
            .why("no common key exchange");
        assert_eq!(
            mismatch.to_string(),
            "connections.gw.proposals: we have aes128-sha256-ecp256, the peer has aes128-sha256-modp2048 (no common key \
             exchange); add aes128-sha256-modp2048 to connections.gw.proposals"
        );
    }
}
