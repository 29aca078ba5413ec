//! Our certificates, sent along with the AUTH payload that was made with their key (RFC 7296 §3.6).

use strongswan::log;

use crate::config::SendCert;
use crate::env::Env;
use crate::output::Output;
use crate::sa::{Conditions, IkeSa};
use crate::task::TaskType;
use crate::v2::task::{Incoming, Outgoing, Progress, Step, Task};
use crate::wire::{Cert, CertEncoding};

/// Certificates to the peer, either role.
#[derive(Debug)]
pub(crate) struct CertPost;

impl CertPost {
    fn add(sa: &mut IkeSa, env: &Env<'_>, message: &mut Outgoing) {
        let asked = sa.conditions.contains(Conditions::CERTREQ_SEEN);
        let wanted = match sa.config().map(|config| config.send_cert) {
            Some(SendCert::Always) => true,
            Some(SendCert::IfAsked) => asked,
            Some(SendCert::Never) | None => false,
        };
        let signer = sa.handshake().and_then(|handshake| handshake.signer.take());
        let Some(signer) = signer.filter(|_| wanted) else { return };
        // a raw key has nothing to send
        let Some(end_entity) = signer.certificate else { return };
        let chain = std::iter::once(("end entity", &end_entity));
        for (kind, certificate) in chain.chain(signer.intermediates.iter().map(|ca| ("issuer", ca))) {
            log!(IKE, 1, "sending {kind} cert \"{}\"", certificate.subject());
            message.push(Cert { encoding: CertEncoding::X509Signature, data: certificate.der().to_vec() });
        }
        if sa.conditions.contains(Conditions::OCSP_REQUESTED) && sa.replies_ocsp() {
            let (responses, missing) = env.credentials.staples(&end_entity, &signer.intermediates, env.wall);
            for response in responses {
                log!(IKE, 1, "sending OCSP response for our certificates");
                message.push(Cert { encoding: CertEncoding::OcspContent, data: response.der().to_vec() });
            }
            // nobody waits for them now: the peer can ask, too, and the next one finds them here
            if let Some(missing) = missing {
                sa.push(Output::Inquire { queries: vec![missing], number: 0 });
            }
        }
    }
}

impl Task for CertPost {
    fn kind(&self) -> TaskType {
        TaskType::IkeCertPost
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        Self::add(sa, env, message);
        Ok(progress(sa))
    }

    fn process(&mut self, sa: &mut IkeSa, _env: &mut Env<'_>, _incoming: &Incoming) -> Step {
        Ok(progress(sa))
    }
}

/// It is there until both sides are authenticated.
fn progress(sa: &mut IkeSa) -> Progress {
    let done = sa.handshake().is_none_or(|handshake| handshake.verified.is_some());
    if done { Progress::Done } else { Progress::More }
}
