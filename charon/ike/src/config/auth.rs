//! `local*` and `remote*` sections: one authentication round of one side.

use strongswan::identity::Identity;

/// How a side authenticates itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AuthClass {
    /// `auth` is unset: public key as signer, public key or pre-shared key as verifier.
    #[default]
    Any,
    /// `pubkey`, `rsa`, `ecdsa`, `ike:…`
    Pubkey,
    /// `psk`
    Psk,
    /// `eap…` (IKEv2)
    Eap(EapMethod),
    /// `xauth…` (IKEv1), with the name of the back end.
    Xauth(Option<String>),
}

/// Which EAP method is required.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EapMethod {
    /// No constraint.
    #[default]
    Any,
    /// A type, of a vendor unless that is 0.
    Type {
        /// EAP method type, or the vendor's type.
        kind: u32,
        /// Private enterprise number, 0 for IETF types.
        vendor: u32,
    },
    /// `dynamic`: what the peer asks for.
    Dynamic,
    /// `radius`: what the RADIUS server does.
    Radius,
}

/// `revocation`: how much has to be known about the status of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Revocation {
    /// The status must be good.
    Strict,
    /// The status must be good unless the certificate names no source.
    IfUri,
    /// Only a revoked certificate fails.
    #[default]
    Relaxed,
}

/// One authentication round.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthRound {
    /// Sort key; rounds of a side are kept in ascending order.
    pub round: u32,
    /// How to authenticate.
    pub class: AuthClass,
    /// IKE identity.
    pub id: Option<Identity>,
    /// EAP identity; on the remote side its presence triggers an EAP-Identity request.
    pub eap_id: Option<Identity>,
    /// Identity of the AAA server expected within EAP.
    pub aaa_id: Option<Identity>,
    /// XAuth user name.
    pub xauth_id: Option<Identity>,
    /// Identity one CA of the peer's chain must have.
    pub ca_id: Option<Identity>,
    /// Required group memberships, any of them.
    pub groups: Vec<Identity>,
    /// Certificate policies that all must be present, dotted OIDs.
    pub cert_policies: Vec<String>,
    /// Revocation policy.
    pub revocation: Revocation,
}
