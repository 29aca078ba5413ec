//! The loaded connections as IKE_SAs see them.

use std::net::SocketAddr;
use std::sync::Arc;

use ike::ConfigSource;
use ike::config::{IkeConfig, PeerConfig};
use strongswan::identity::Identity;

use super::Connections;

impl ConfigSource for Connections {
    fn ike_configs(&self, local: SocketAddr, remote: SocketAddr, major: u8) -> Vec<Arc<IkeConfig>> {
        Self::ike_configs(self, local, remote, major)
    }

    fn peer_configs(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        me: Option<&Identity>,
        other: Option<&Identity>,
        major: u8,
    ) -> Vec<Arc<PeerConfig>> {
        Self::peer_configs(self, local, remote, me, other, major)
    }

    fn latest(&self, config: &Arc<PeerConfig>) -> Arc<PeerConfig> {
        Self::latest(self, config)
    }
}
