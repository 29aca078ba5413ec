//! How requests name the two ends of an IKE_SA, and what kind of access this is (RFC 2865 §5, RFC 2869 §5.17, RFC 3162).

use std::net::SocketAddr;
use std::sync::Arc;

use ike::ids::UniqueId;

use super::attribute::AttributeType;
use super::packet::Packet;
use super::settings::{Options, ServerSettings};

/// NAS-Port-Type Virtual.
const PORT_TYPE_VIRTUAL: u32 = 5;
/// Service-Type Framed.
const SERVICE_TYPE_FRAMED: u32 = 2;

/// The IKE_SA that a request is about.
#[derive(Debug, Clone)]
pub(super) struct Station {
    pub(super) ike_sa: UniqueId,
    pub(super) connection: Arc<str>,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
}

impl Station {
    /// Adds what describes it.
    pub(super) fn describe(&self, packet: &mut Packet, server: &ServerSettings, options: &Options) {
        packet.push(AttributeType::NasIdentifier, server.nas_identifier.as_bytes());
        packet.push_number(AttributeType::NasPortType, PORT_TYPE_VIRTUAL);
        packet.push_number(AttributeType::ServiceType, SERVICE_TYPE_FRAMED);
        packet.push_number(AttributeType::NasPort, self.ike_sa.get());
        packet.push(AttributeType::NasPortId, self.connection.as_bytes());
        packet.push_address(AttributeType::NasIpAddress, AttributeType::NasIpv6Address, self.local.ip());
        for (kind, host) in
            [(AttributeType::CalledStationId, self.local), (AttributeType::CallingStationId, self.remote)]
        {
            let text = match options.station_id_with_port {
                true => format!("{}[{}]", host.ip(), host.port()),
                false => host.ip().to_string(),
            };
            packet.push(kind, text.as_bytes());
        }
    }
}
