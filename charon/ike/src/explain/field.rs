//! Places in the configuration, and changes of them.

use std::fmt;
use std::sync::Arc;

/// What a field is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// IKE version.
    Version,
    /// Addresses of either side.
    Address,
    /// Identities of either side.
    Identity,
    /// Ways to authenticate, and their number.
    Authentication,
    /// Pre-shared keys.
    Secret,
    /// Certificates, their issuers, raw public keys and private keys.
    Certificate,
    /// Algorithms.
    Proposal,
    /// Traffic selectors.
    TrafficSelector,
    /// Virtual IPs and pools.
    VirtualIp,
    /// Everything else that one side demands and the other has not.
    Policy,
}

impl Topic {
    /// Its name on vici.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Address => "address",
            Self::Identity => "identity",
            Self::Authentication => "authentication",
            Self::Secret => "secret",
            Self::Certificate => "certificate",
            Self::Proposal => "proposal",
            Self::TrafficSelector => "traffic-selector",
            Self::VirtualIp => "virtual-ip",
            Self::Policy => "policy",
        }
    }
}

/// A section of `swanctl.conf`.
///
/// The names of `local*` and `remote*` sections are not known to the daemon: of several rounds, the first is called
/// `local-1`, the second `local-2`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// `connections`
    Connections,
    /// `connections.<conn>`
    Connection(Arc<str>),
    /// `connections.<conn>.local*`
    Local(Arc<str>, Round),
    /// `connections.<conn>.remote*`
    Remote(Arc<str>, Round),
    /// `connections.<conn>.children.<child>`
    Child(Arc<str>, Arc<str>),
    /// `secrets.<section>`
    Secret(String),
    /// A folder beside `swanctl.conf`.
    Folder,
    /// `pools`
    Pools,
}

/// A round of authentication of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Round {
    /// Its number, from 0.
    pub index: usize,
    /// How many there are.
    pub of: usize,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.of > 1 || self.index > 0 {
            write!(f, "-{}", self.index.saturating_add(1))?;
        }
        Ok(())
    }
}

/// An option of `swanctl.conf`, or a section.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Field {
    /// What it is about.
    pub topic: Topic,
    /// The section.
    pub place: Place,
    /// The option; empty if the section itself is meant.
    pub key: &'static str,
}

impl Field {
    /// An option of a section.
    pub fn new(topic: Topic, place: Place, key: &'static str) -> Self {
        Self { topic, place, key }
    }

    /// The connection it belongs to.
    pub fn connection(&self) -> Option<&str> {
        match &self.place {
            Place::Connection(name) | Place::Local(name, _) | Place::Remote(name, _) | Place::Child(name, _) => {
                Some(name)
            }
            Place::Connections | Place::Secret(_) | Place::Folder | Place::Pools => None,
        }
    }

    /// The child it belongs to.
    pub fn child(&self) -> Option<&str> {
        match &self.place {
            Place::Child(_, child) => Some(child),
            _ => None,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Connections => f.write_str("connections")?,
            Place::Connection(name) => write!(f, "connections.{name}")?,
            Place::Local(name, round) => write!(f, "connections.{name}.local{round}")?,
            Place::Remote(name, round) => write!(f, "connections.{name}.remote{round}")?,
            Place::Child(name, child) => write!(f, "connections.{name}.children.{child}")?,
            Place::Secret(section) => write!(f, "secrets.{section}")?,
            Place::Folder => return f.write_str(self.key),
            Place::Pools => f.write_str("pools")?,
        }
        if !self.key.is_empty() {
            write!(f, ".{}", self.key)?;
        }
        Ok(())
    }
}

/// A change of a [`Field`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// Add to the list.
    Add(String),
    /// Set the value.
    Set(String),
    /// Remove the option or the section.
    Remove,
    /// Provide what is described: a secret, a certificate, a key, a section.
    Provide(String),
    /// Nothing of ours would do, or we cannot know: what to look at on the other side.
    Peer(String),
}

impl Change {
    /// Its name on vici.
    pub const fn action(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Set(_) => "set",
            Self::Remove => "remove",
            Self::Provide(_) => "provide",
            Self::Peer(_) => "peer",
        }
    }

    /// What to add, to set, to provide or to look at.
    pub fn value(&self) -> &str {
        match self {
            Self::Add(value) | Self::Set(value) | Self::Provide(value) | Self::Peer(value) => value,
            Self::Remove => "",
        }
    }

    /// The change of `field` as a sentence.
    pub fn advice(&self, field: &Field) -> String {
        match self {
            Self::Add(value) => format!("add {value} to {field}"),
            Self::Set(value) => format!("set {field} = {value}"),
            Self::Remove => format!("remove {field}"),
            Self::Provide(what) | Self::Peer(what) => what.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_paths_of_the_file() {
        let path = |place, key| Field::new(Topic::Policy, place, key).to_string();
        let round = |index, of| Round { index, of };
        assert_eq!(path(Place::Connection("gw".into()), "proposals"), "connections.gw.proposals");
        assert_eq!(path(Place::Remote("gw".into(), round(0, 1)), "id"), "connections.gw.remote.id");
        assert_eq!(path(Place::Remote("gw".into(), round(1, 2)), ""), "connections.gw.remote-2");
        assert_eq!(path(Place::Local("gw".into(), round(0, 2)), "auth"), "connections.gw.local-1.auth");
        assert_eq!(path(Place::Child("gw".into(), "net".into()), "local_ts"), "connections.gw.children.net.local_ts");
        assert_eq!(path(Place::Secret("ike-gw".into()), "secret"), "secrets.ike-gw.secret");
        assert_eq!(path(Place::Folder, "x509ca"), "x509ca");
    }
}
