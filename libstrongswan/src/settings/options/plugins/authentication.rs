//! EAP and XAuth methods, RADIUS, certificates.

use crate::settings::options::daemon::MISSING;
use crate::settings::options::values::Kind;
use crate::settings::options::{Group, OptionSpec, bool, int, other, text};

pub(super) const EAP: Group = Group { prefix: "charon.plugins", file: "", options: EAP_OPTIONS };
pub(super) const RADIUS: Group = Group { prefix: "charon.plugins", file: "", options: RADIUS_OPTIONS };
pub(super) const CERTIFICATES: Group = Group { prefix: "charon.plugins", file: "", options: CERTIFICATE_OPTIONS };

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
    absent("eap-peap.**", "EAP-PEAP."),
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
    absent("eap-ttls.**", "EAP-TTLS."),
    absent("ext-auth.**", "A script that has to agree."),
    absent("xauth-eap.**", "XAuth by an EAP method."),
    absent("xauth-generic.**", "XAuth by a shared secret."),
    absent("xauth-noauth.**", "XAuth without a password."),
    absent("xauth-pam.**", "XAuth by PAM."),
];

const RADIUS_OPTIONS: &[OptionSpec] =
    &[absent("eap-radius.**", "EAP by a RADIUS server."), absent("radattr.**", "RADIUS attributes over IKE.")];

const CERTIFICATE_OPTIONS: &[OptionSpec] = &[
    absent("addrblock.**", "Address blocks in certificates (RFC 3779)."),
    absent("coupling.**", "Certificates bound to identities."),
    absent("dnscert.**", "Certificates from DNS."),
    absent("ipseckey.**", "Public keys from DNS."),
    absent("openxpki.**", "OCSP responder."),
    absent("pkcs11.**", "Tokens."),
    absent("revocation.**", "CRLs and OCSP."),
    absent("tpm.**", "Keys in a TPM."),
];
