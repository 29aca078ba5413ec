//! EAP and XAuth methods, RADIUS, certificates.

use crate::settings::options::daemon::MISSING;
use crate::settings::options::values::Kind;
use crate::settings::options::{Group, OptionSpec, bool, float, int, other, range, section, text, time};

pub(super) const EAP: Group = Group { prefix: "charon.plugins", file: "", options: EAP_OPTIONS };
pub(super) const RADIUS: Group =
    Group { prefix: "charon.plugins", file: "strongswan.d/charon/eap-radius.conf", options: RADIUS_OPTIONS };
pub(super) const CERTIFICATES: Group = Group { prefix: "charon.plugins", file: "", options: CERTIFICATE_OPTIONS };

const NO_TNC: &str = "there is no TNC; a method that is told to use it is not loaded";

const fn absent(name: &'static str, description: &'static str) -> OptionSpec {
    other(name, Kind::Anything, "", description).inert(MISSING)
}

const EAP_OPTIONS: &[OptionSpec] = &[
    absent("eap-aka.**", "EAP-AKA."),
    absent("eap-aka-3gpp.**", "EAP-AKA with the functions of 3GPP."),
    absent("eap-aka-3gpp2.**", "EAP-AKA with the functions of 3GPP2."),
    text("eap-dynamic.preferred", "", "Methods to offer first, in this order."),
    bool("eap-dynamic.prefer_user", "no", "Follow the client's order of methods rather than ours."),
    bool("eap-dynamic.prefer_peer", "no", "The same by the name that strongSwan reads."),
    text("eap-gtc.backend", "pam", "What verifies passwords; only generic, the secrets in memory, is supported."),
    bool("eap-gtc.load", "yes", "Offer and accept EAP-GTC."),
    bool("eap-md5.load", "yes", "Offer and accept EAP-MD5."),
    bool("eap-mschapv2.load", "yes", "Offer and accept EAP-MSCHAPv2."),
    int("eap-peap.fragment_size", "1024", "Largest packet of EAP-PEAP in bytes."),
    int(
        "eap-peap.max_message_count",
        "32",
        "Packets of the other side, at most; 0 for no limit but that of all methods.",
    ),
    bool("eap-peap.include_length", "no", "Say how long a TLS message is even if it fits into one packet."),
    bool("eap-peap.load", "yes", "Offer and accept EAP-PEAP."),
    text("eap-peap.phase2_method", "mschapv2", "The method that a server runs within TLS."),
    bool("eap-peap.phase2_piggyback", "no", "Ask for the identity along with the end of the TLS handshake."),
    bool("eap-peap.request_peer_auth", "no", "Demand a certificate of the client too."),
    other("eap-peap.phase2_tnc", Kind::Anything, "", "TNC within EAP-PEAP.").inert(NO_TNC),
    other("eap-peap.phase2_tnc_method", Kind::Anything, "", "TNC within EAP-PEAP.").inert(NO_TNC),
    absent("eap-sim.**", "EAP-SIM."),
    absent("eap-sim-file.**", "Triplets from a file."),
    absent("eap-sim-pcsc.**", "Triplets from a card."),
    absent("eap-simaka-pseudonym.**", "Pseudonyms for EAP-SIM and EAP-AKA."),
    absent("eap-simaka-reauth.**", "Fast reauthentication for EAP-SIM and EAP-AKA."),
    absent("eap-simaka-sql.**", "Triplets from a database."),
    int("eap-tls.fragment_size", "1024", "Largest packet of EAP-TLS in bytes."),
    int(
        "eap-tls.max_message_count",
        "32",
        "Packets of the other side, at most; 0 for no limit but that of all methods.",
    ),
    bool("eap-tls.include_length", "yes", "Say how long a TLS message is even if it fits into one packet."),
    bool("eap-tls.load", "yes", "Offer and accept EAP-TLS."),
    int("eap-ttls.fragment_size", "1024", "Largest packet of EAP-TTLS in bytes."),
    int(
        "eap-ttls.max_message_count",
        "32",
        "Packets of the other side, at most; 0 for no limit but that of all methods.",
    ),
    bool("eap-ttls.include_length", "yes", "Say how long a TLS message is even if it fits into one packet."),
    bool("eap-ttls.load", "yes", "Offer and accept EAP-TTLS."),
    text("eap-ttls.phase2_method", "md5", "The method that a server runs within TLS."),
    bool("eap-ttls.phase2_piggyback", "no", "Ask for the identity along with the end of the TLS handshake."),
    bool("eap-ttls.request_peer_auth", "no", "Demand a certificate of the client too."),
    other("eap-ttls.phase2_tnc", Kind::Anything, "", "TNC within EAP-TTLS.").inert(NO_TNC),
    other("eap-ttls.phase2_tnc_method", Kind::Anything, "", "TNC within EAP-TTLS.").inert(NO_TNC),
    absent("ext-auth.**", "A script that has to agree."),
    absent("xauth-eap.**", "XAuth by an EAP method."),
    absent("xauth-generic.**", "XAuth by a shared secret."),
    absent("xauth-noauth.**", "XAuth without a password."),
    absent("xauth-pam.**", "XAuth by PAM."),
];

const RADIUS_OPTIONS: &[OptionSpec] = &[
    bool("eap-radius.load", "yes", "Have RADIUS servers authenticate clients and account their sessions."),
    text("eap-radius.server", "", "Address of the only server; servers are ignored then."),
    text("eap-radius.secret", "", "What the only server shares with us."),
    range("eap-radius.port", 1, 65535, "1812", "Port for authentication; accounting is at 1813."),
    text("eap-radius.source", "", "Our address towards servers."),
    text("eap-radius.nas_identifier", "strongSwan", "What we call ourselves."),
    range("eap-radius.sockets", 1, 64, "1", "Requests to a server at a time, of either kind."),
    float("eap-radius.retransmit_timeout", "2.0", "Seconds to wait for the first answer."),
    float("eap-radius.retransmit_base", "1.4", "By what that grows with each attempt."),
    range("eap-radius.retransmit_tries", 1, 100, "4", "How often a request is sent."),
    section("eap-radius.servers.<name>", "A server."),
    text("eap-radius.servers.<name>.address", "", "Its address."),
    text("eap-radius.servers.<name>.secret", "", "What it shares with us."),
    range("eap-radius.servers.<name>.auth_port", 1, 65535, "1812", "Its port for authentication."),
    range("eap-radius.servers.<name>.port", 1, 65535, "1812", "The same by an older name."),
    range("eap-radius.servers.<name>.acct_port", 1, 65535, "1813", "Its port for accounting."),
    range(
        "eap-radius.servers.<name>.preference",
        -1_000_000,
        1_000_000,
        "0",
        "Added to what it earns by being there and having time: the highest sum wins.",
    ),
    text("eap-radius.servers.<name>.source", "", "Our address towards it."),
    text("eap-radius.servers.<name>.nas_identifier", "strongSwan", "What we call ourselves towards it."),
    range("eap-radius.servers.<name>.sockets", 1, 64, "1", "Requests to it at a time."),
    float("eap-radius.servers.<name>.retransmit_timeout", "2.0", "Seconds to wait for its first answer."),
    float("eap-radius.servers.<name>.retransmit_base", "1.4", "By what that grows with each attempt."),
    range("eap-radius.servers.<name>.retransmit_tries", 1, 100, "4", "How often a request is sent to it."),
    bool("eap-radius.accounting", "no", "Account sessions."),
    bool("eap-radius.accounting_close_on_timeout", "yes", "Close an IKE_SA whose interim update nobody answers."),
    time("eap-radius.accounting_interval", "0s", "Time between interim updates, unless the server sets it."),
    bool("eap-radius.accounting_requires_vip", "no", "Account only clients with a virtual IP."),
    bool("eap-radius.accounting_send_class", "no", "Send back what the server sent as Class."),
    bool("eap-radius.class_group", "no", "Class attributes are groups of the client."),
    bool("eap-radius.filter_id", "no", "Filter-Id attributes are groups of the client, if its Tunnel-Type is ESP."),
    bool("eap-radius.close_all_on_timeout", "no", "Close all IKE_SAs if no server answers."),
    bool("eap-radius.eap_start", "no", "Have the server ask for the identity."),
    text("eap-radius.id_prefix", "", "What user names begin with."),
    bool("eap-radius.station_id_with_port", "yes", "Tell ports next to addresses."),
    bool("eap-radius.dae.enable", "no", "Let servers end sessions and change their lifetime (RFC 5176)."),
    text("eap-radius.dae.listen", "0.0.0.0", "Address to listen on."),
    range("eap-radius.dae.port", 1, 65535, "3799", "Port to listen on."),
    text("eap-radius.dae.secret", "", "What those who ask share with us."),
    absent("eap-radius.forward.**", "RADIUS attributes from and to clients."),
    absent("eap-radius.xauth.**", "XAuth by a RADIUS server."),
    absent("radattr.**", "RADIUS attributes over IKE."),
];

const CERTIFICATE_OPTIONS: &[OptionSpec] = &[
    absent("addrblock.**", "Address blocks in certificates (RFC 3779)."),
    absent("coupling.**", "Certificates bound to identities."),
    absent("dnscert.**", "Certificates from DNS."),
    absent("ipseckey.**", "Public keys from DNS."),
    absent("openxpki.**", "OCSP responder."),
    absent("pkcs11.**", "Tokens."),
    bool("revocation.enable_crl", "yes", "Look for certificates in CRLs."),
    bool("revocation.enable_ocsp", "yes", "Ask OCSP responders about certificates."),
    bool("revocation.load", "yes", "No effect: the checks are there and have switches of their own."),
    time("revocation.timeout", "10s", "How long fetching a CRL or an OCSP response may take."),
    absent("tpm.**", "Keys in a TPM."),
];
