//! EAP over RADIUS (RFC 3579): an Access-Request for each packet of the client.

use std::sync::Arc;

use ike::eap::{AaaAccept, AaaAnswer, AaaRequest, identity_octets};
use ike::ids::UniqueId;
use strongswan::log;

use super::accept::Granted;
use super::attribute::{AttributeType, Code};
use super::packet::Packet;
use super::server::{Response, Server};
use super::settings::ServerSettings;
use super::station::Station;
use super::{Radius, mppe};
use crate::manager::{Aaa, Answered, Asker};

impl Aaa for Arc<Radius> {
    fn ask(&self, asker: Asker, request: AaaRequest, answered: Answered) {
        let id = asker.ike_sa;
        let first = request.first;
        // what a server has begun nobody else can go on with
        let candidates = match self.conversations.lock().remove(&id) {
            Some(server) if !first => [server].into(),
            _ => self.candidates(),
        };
        if candidates.is_empty() {
            log!(CFG, 1, "no RADIUS server configured");
        }
        let configured = !candidates.is_empty();
        let station = Station { ike_sa: id, connection: asker.connection, local: asker.local, remote: asker.remote };
        let make = self.access_request(station, request);
        let radius = Self::clone(self);
        Radius::ask(
            candidates,
            make,
            Box::new(move |response| {
                let answer = match response {
                    Some((response, server)) => radius.read(id, &response, &server),
                    None => {
                        if first && configured {
                            radius.timed_out(None);
                        }
                        AaaAnswer::Unavailable
                    }
                };
                answered(answer);
            }),
        );
    }

    fn forget(&self, ike_sa: UniqueId) {
        self.conversations.lock().remove(&ike_sa);
        self.granted.lock().remove(&ike_sa);
    }
}

impl Radius {
    fn access_request(self: &Arc<Self>, station: Station, request: AaaRequest) -> super::Make {
        let options = self.options.load_full();
        let session = self.accounting.as_ref().map(|accounting| accounting.session_id(station.ike_sa));
        let mut user = options.id_prefix.clone().into_bytes();
        user.extend(identity_octets(&request.identity));
        Arc::new(move |server: &ServerSettings| {
            let mut packet = Packet::new(Code::AccessRequest);
            packet.push(AttributeType::UserName, &user);
            station.describe(&mut packet, server, &options);
            if let Some(session) = &session {
                packet.push(AttributeType::AcctSessionId, session.as_bytes());
            }
            // RFC 3579 §2.1: an empty message has the server ask for the identity itself
            let message: &[u8] = if request.first && options.eap_start { &[] } else { &request.packet };
            packet.push_split(AttributeType::EapMessage, message);
            if !request.state.is_empty() {
                packet.push(AttributeType::State, &request.state);
            }
            packet
        })
    }

    /// What a response means for the IKE_SA.
    fn read(&self, id: UniqueId, response: &Response, server: &Arc<Server>) -> AaaAnswer {
        let packet = &response.packet;
        match packet.code {
            Code::AccessChallenge => {
                self.conversations.lock().insert(id, Arc::clone(server));
                let state = packet.get(AttributeType::State).map(|state| state.value().to_vec());
                AaaAnswer::Challenge {
                    packet: packet.joined(AttributeType::EapMessage),
                    state: state.unwrap_or_default(),
                }
            }
            Code::AccessAccept => {
                let granted = Granted::read(packet, &self.options.load());
                let accept = AaaAccept {
                    msk: mppe::msk(packet, &response.request, &server.settings.secret),
                    identity: None,
                    groups: granted.groups.clone(),
                    session_timeout: granted.session_timeout,
                };
                for group in &granted.groups {
                    log!(CFG, 1, "received group membership '{group}' from RADIUS");
                }
                self.granted.lock().insert(id, granted);
                AaaAnswer::Accept(Box::new(accept))
            }
            _ => AaaAnswer::Reject,
        }
    }
}
