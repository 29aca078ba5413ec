//! What a method is, either end, and which there are.

use std::fmt;

use strongswan::clock::UnixTime;
use strongswan::credentials::{EapMethod, Store};
use strongswan::crypto::Rng;
use strongswan::identity::Identity;

use super::packet::{MethodType, Packet};
use super::proof::Outcome;
use super::settings::EapSettings;
use super::wait::{Answer, Wait};
use super::{gtc, md5, mschapv2, tls, tunnel};
use crate::config::AuthRound;
use crate::wire::EapType;

/// The surroundings of a method.
pub(crate) struct Context<'a> {
    /// Entropy.
    pub(crate) rng: &'a mut dyn Rng,
    /// Now, in civil time.
    pub(crate) wall: UnixTime,
    /// Certificates, keys and passwords.
    pub(crate) credentials: &'a Store,
    /// Settings of the methods.
    pub(crate) settings: &'a EapSettings,
    /// Who the server is, or has to be.
    pub(crate) server: &'a Identity,
    /// Who the client says it is.
    pub(crate) peer: &'a Identity,
    /// Our side of the connection.
    pub(crate) local: &'a AuthRound,
    /// What the connection requires of the other side.
    pub(crate) remote: &'a AuthRound,
}

/// How a server's method goes on.
#[derive(Debug)]
pub(super) enum ServerStep {
    /// With a request of its own: what follows the type.
    Request(Vec<u8>),
    /// With a packet somebody else made.
    Relay(Vec<u8>),
    /// When the answer is there.
    Wait(Wait),
    /// It is satisfied.
    Success(Box<Outcome>),
    /// It is not.
    Failed,
}

/// The server's side of a method.
pub(super) trait ServerMethod: Send + fmt::Debug {
    /// Which it is.
    fn method(&self) -> MethodType;

    /// It begins.
    fn start(&mut self, context: &mut Context<'_>) -> ServerStep;

    /// A response to its request.
    fn process(&mut self, context: &mut Context<'_>, response: &Packet<'_>) -> ServerStep;

    /// The answer to its [`ServerStep::Wait`].
    fn answered(&mut self, _context: &mut Context<'_>, _answer: Answer) -> ServerStep {
        ServerStep::Failed
    }

    /// It wants to see Naks and responses of any type: the method is not chosen here.
    fn is_relay(&self) -> bool {
        false
    }
}

/// How a client's method goes on.
#[derive(Debug)]
pub(super) enum ClientStep {
    /// With a response: what follows the type.
    Respond(Vec<u8>),
    /// With a response, after which it has nothing against success.
    Complete(Vec<u8>, Box<Outcome>),
    /// It does not.
    Failed,
}

/// The client's side of a method.
pub(super) trait ClientMethod: Send + fmt::Debug {
    /// A request.
    fn process(&mut self, context: &mut Context<'_>, request: &Packet<'_>) -> ClientStep;
}

/// A method there is.
pub(super) struct Entry {
    pub(super) kind: EapType,
    /// The plugin of strongSwan that has it, which `load` turns off.
    pub(super) plugin: &'static str,
    /// It authenticates both ends and yields a key.
    pub(super) mutual: bool,
    pub(super) server: fn(&Context<'_>) -> Option<Box<dyn ServerMethod>>,
    pub(super) client: fn() -> Box<dyn ClientMethod>,
}

impl Entry {
    pub(super) fn method(&self) -> MethodType {
        MethodType::ietf(self.kind)
    }
}

/// All methods, in the order in which they are offered.
const METHODS: &[Entry] = &[
    // not mutual: its proof of the server is a password away from being forged (RFC 5998 §4 does not list it)
    Entry {
        kind: EapType::MsChapV2,
        plugin: "eap-mschapv2",
        mutual: false,
        server: mschapv2::server,
        client: mschapv2::client,
    },
    Entry { kind: EapType::Tls, plugin: "eap-tls", mutual: true, server: tls::server, client: tls::client },
    // the server has a certificate, and the key is that of TLS
    Entry {
        kind: EapType::Ttls,
        plugin: "eap-ttls",
        mutual: true,
        server: tunnel::ttls_server,
        client: tunnel::ttls_client,
    },
    Entry {
        kind: EapType::Peap,
        plugin: "eap-peap",
        mutual: true,
        server: tunnel::peap_server,
        client: tunnel::peap_client,
    },
    Entry { kind: EapType::Md5, plugin: "eap-md5", mutual: false, server: md5::server, client: md5::client },
    Entry { kind: EapType::Gtc, plugin: "eap-gtc", mutual: false, server: gtc::server, client: gtc::client },
];

/// The methods that are not turned off.
pub(super) fn available(settings: &EapSettings) -> impl Iterator<Item = &'static Entry> {
    METHODS.iter().filter(|entry| !settings.disabled.iter().any(|plugin| plugin == entry.plugin))
}

/// Whether there is anything that does what a configuration demands.
pub fn is_supported(method: EapMethod) -> bool {
    match method {
        EapMethod::Any | EapMethod::Dynamic | EapMethod::Radius => true,
        EapMethod::Type { .. } => METHODS.iter().any(|entry| entry.method().as_configured() == method),
    }
}

/// A method that is not turned off.
pub(super) fn find(settings: &EapSettings, method: MethodType) -> Option<&'static Entry> {
    available(settings).find(|entry| entry.method() == method)
}
