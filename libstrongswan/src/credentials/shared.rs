//! Shared secrets: pre-shared keys, EAP passwords and the like, and whom they belong to.

use std::fmt;

use crate::crypto::Secret;
use crate::identity::{Identity, Match};

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// IKE pre-shared key.
    Ike,
    /// EAP or XAuth password.
    Eap,
    /// NT hash of a password.
    Ntlm,
    /// Post-quantum pre-shared key (RFC 8784).
    Ppk,
}

impl SecretKind {
    /// The kind of that name on vici, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "ike" => Some(Self::Ike),
            "eap" | "xauth" => Some(Self::Eap),
            "ntlm" => Some(Self::Ntlm),
            "ppk" => Some(Self::Ppk),
            _ => None,
        }
    }
}

impl fmt::Display for SecretKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ike => "IKE",
            Self::Eap => "EAP",
            Self::Ntlm => "NTLM",
            Self::Ppk => "PPK",
        })
    }
}

/// A shared secret with its owners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedSecret {
    /// What it is for.
    pub kind: SecretKind,
    /// Whose it is; patterns are possible.
    pub owners: Vec<Identity>,
    /// The secret.
    pub data: Secret,
    /// Its name for unloading.
    pub id: Option<String>,
}

impl SharedSecret {
    /// A secret; without owners it is for everybody.
    pub fn new(kind: SecretKind, data: Secret, owners: Vec<Identity>) -> Self {
        let owners = if owners.is_empty() { vec![Identity::any()] } else { owners };
        Self { kind, owners, data, id: None }
    }

    /// The best match of `id` with an owner.
    pub fn matches(&self, id: &Identity) -> Match {
        self.owners.iter().map(|owner| id.matches(owner)).max().unwrap_or_default()
    }
}
