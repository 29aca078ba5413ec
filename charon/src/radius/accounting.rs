//! Accounting (RFC 2866): when a session starts, how it goes on, and when and why it ends.
//!
//! A session is an IKE_SA of a client with all that replace it when it is rekeyed. It counts what its CHILD_SAs carried: those
//! that are gone told when they went, the others are asked.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ike::eap::identity_octets;
use ike::ids::UniqueId;
use ike::kernel::SaUsage;
use ike::{Alert, Event, IkeSaSnapshot};
use parking_lot::Mutex;
use strongswan::clock::MonoTime;
use strongswan::log;
use strongswan::processing::{Priority, job, monotonic};

use super::Radius;
use super::accept::Granted;
use super::attribute::{AttributeType, Code};
use super::packet::Packet;
use super::settings::{Options, ServerSettings};
use super::station::Station;
use crate::manager::Snapshot;

/// When an IKE_SA is looked at again that was being worked on.
const BUSY: Duration = Duration::from_millis(500);

/// Acct-Status-Type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Start,
    Stop,
    Interim,
}

impl Status {
    const fn number(self) -> u32 {
        match self {
            Self::Start => 1,
            Self::Stop => 2,
            Self::Interim => 3,
        }
    }
}

/// Acct-Terminate-Cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    UserRequest,
    LostService,
    SessionTimeout,
}

impl Cause {
    const fn number(self) -> u32 {
        match self {
            Self::UserRequest => 1,
            Self::LostService => 3,
            Self::SessionTimeout => 5,
        }
    }
}

/// What went through in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Volume {
    octets: u64,
    packets: u64,
}

impl Volume {
    fn add(&mut self, usage: &SaUsage) {
        self.octets = self.octets.saturating_add(usage.bytes);
        self.packets = self.packets.saturating_add(usage.packets);
    }
}

/// A session.
#[derive(Debug)]
struct Session {
    /// Its Acct-Session-Id.
    id: String,
    start: MonoTime,
    user: Vec<u8>,
    connection: Arc<str>,
    addresses: Vec<IpAddr>,
    /// Addresses that were granted and not asked for: the server learns at the end that they are free.
    unclaimed: Vec<IpAddr>,
    classes: Vec<Vec<u8>>,
    interval: Option<Duration>,
    /// A leaf lock.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    ike_sa: UniqueId,
    local: SocketAddr,
    remote: SocketAddr,
    cause: Cause,
    /// What CHILD_SAs carried that are gone: received, sent.
    gone: [Volume; 2],
}

/// The sessions.
#[derive(Debug)]
pub(super) struct Accounting {
    /// Tells the sessions of this process from those of earlier ones.
    prefix: u64,
    /// A leaf lock.
    sessions: Mutex<HashMap<UniqueId, Arc<Session>>>,
}

impl Accounting {
    pub(super) fn new() -> Self {
        let prefix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { prefix, sessions: Mutex::default() }
    }

    /// The Acct-Session-Id of the session that this IKE_SA begins.
    pub(super) fn session_id(&self, ike_sa: UniqueId) -> String {
        format!("{}-{ike_sa}", self.prefix)
    }

    /// An IKE_SA is up.
    pub(super) fn begin(&self, radius: &Arc<Radius>, ike: &IkeSaSnapshot, granted: Granted) {
        let options = radius.options.load();
        if ike.initiator || (options.accounting_requires_vip && ike.remote_vips.is_empty()) {
            return;
        }
        let interval = granted.interim_interval.or(options.accounting_interval);
        let session = Arc::new(Session {
            id: self.session_id(ike.unique_id),
            start: monotonic(),
            user: ike.remote_eap_id.as_ref().or(ike.remote_id.as_ref()).map(identity_octets).unwrap_or_default(),
            connection: ike.name().into(),
            addresses: ike.remote_vips.clone(),
            unclaimed: granted.addresses,
            classes: granted.classes,
            interval,
            state: Mutex::new(State {
                ike_sa: ike.unique_id,
                local: ike.local,
                remote: ike.remote,
                cause: Cause::UserRequest,
                gone: [Volume::default(); 2],
            }),
        });
        self.sessions.lock().insert(ike.unique_id, Arc::clone(&session));
        let asking = Arc::clone(radius);
        let weak = Arc::downgrade(&session);
        radius.account(&session, Status::Start, None, move |answered| {
            let Some(session) = weak.upgrade() else { return };
            if !answered {
                asking.timed_out(Some(session.ike_sa()));
            } else if let Some(interval) = session.interval {
                log!(CFG, 1, "scheduling RADIUS Interim-Updates every {}s", interval.as_secs());
                asking.schedule_interim(&weak, interval);
            }
        });
    }

    /// Something happened to an IKE_SA.
    pub(super) fn event(&self, ike_sa: UniqueId, event: &Event) {
        match event {
            Event::IkeRekey { old, new } => {
                let mut sessions = self.sessions.lock();
                if let Some(session) = sessions.remove(&old.unique_id) {
                    let mut state = session.state.lock();
                    state.ike_sa = new.unique_id;
                    (state.local, state.remote) = (new.local, new.remote);
                    drop(state);
                    sessions.insert(new.unique_id, session);
                }
            }
            Event::IkeUpdate { local, remote, .. } => {
                self.with(ike_sa, |state| (state.local, state.remote) = (*local, *remote))
            }
            Event::ChildUsed { received, sent, .. } => self.with(ike_sa, |state| {
                state.gone.iter_mut().zip([received, sent]).for_each(|(volume, usage)| volume.add(usage));
            }),
            Event::Alert(Alert::IkeSaExpired) => self.with(ike_sa, |state| state.cause = Cause::SessionTimeout),
            Event::Alert(Alert::RetransmitSendTimeout) => self.with(ike_sa, |state| state.cause = Cause::LostService),
            _ => {}
        }
    }

    fn with(&self, ike_sa: UniqueId, change: impl FnOnce(&mut State)) {
        let session = self.sessions.lock().get(&ike_sa).map(Arc::clone);
        if let Some(session) = session {
            change(&mut session.state.lock());
        }
    }

    /// An IKE_SA is gone.
    pub(super) fn end(&self, radius: &Arc<Radius>, ike_sa: UniqueId) {
        let Some(session) = self.sessions.lock().remove(&ike_sa) else { return };
        let volume = session.state.lock().gone;
        let asking = Arc::clone(radius);
        radius.account(&session, Status::Stop, Some(volume), move |answered| {
            if !answered {
                asking.timed_out(None);
            }
        });
    }
}

impl Session {
    fn ike_sa(&self) -> UniqueId {
        self.state.lock().ike_sa
    }

    /// The packet about it.
    fn packet(
        &self,
        server: &ServerSettings,
        options: &Options,
        status: Status,
        volume: Option<[Volume; 2]>,
        now: MonoTime,
    ) -> Packet {
        use AttributeType as A;
        let state = self.state.lock();
        let mut packet = Packet::new(Code::AccountingRequest);
        packet.push_number(A::AcctStatusType, status.number());
        packet.push(A::AcctSessionId, self.id.as_bytes());
        if options.accounting_send_class {
            for class in &self.classes {
                packet.push(A::Class, class);
            }
        }
        let station = Station {
            ike_sa: state.ike_sa,
            connection: Arc::clone(&self.connection),
            local: state.local,
            remote: state.remote,
        };
        station.describe(&mut packet, server, options);
        packet.push(A::UserName, &self.user);
        let unclaimed = self.unclaimed.iter().filter(|_| status == Status::Stop);
        for address in self.addresses.iter().chain(unclaimed) {
            packet.push_address(A::FramedIpAddress, A::FramedIpv6Address, *address);
        }
        if let Some([received, sent]) = volume {
            let kinds = [
                (received, A::AcctInputOctets, A::AcctInputGigawords, A::AcctInputPackets),
                (sent, A::AcctOutputOctets, A::AcctOutputGigawords, A::AcctOutputPackets),
            ];
            for (volume, octets, gigawords, packets) in kinds {
                let [high, low] = halves(volume.octets);
                packet.push_number(octets, low);
                if high > 0 {
                    packet.push_number(gigawords, high);
                }
                let [_, low] = halves(volume.packets);
                packet.push_number(packets, low);
            }
            let time = now.saturating_since(self.start).as_secs();
            packet.push_number(A::AcctSessionTime, u32::try_from(time).unwrap_or(u32::MAX));
        }
        if status == Status::Stop {
            packet.push_number(A::AcctTerminateCause, state.cause.number());
        }
        packet
    }
}

/// The upper and the lower 32 bits.
fn halves(number: u64) -> [u32; 2] {
    let [a, b, c, d, low @ ..] = number.to_be_bytes();
    [u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes(low)]
}

impl Radius {
    /// Sends something about a session, to whichever server answers.
    fn account(
        self: &Arc<Self>,
        session: &Arc<Session>,
        status: Status,
        volume: Option<[Volume; 2]>,
        done: impl FnOnce(bool) + Send + 'static,
    ) {
        let candidates = self.candidates();
        if candidates.is_empty() {
            log!(CFG, 1, "no RADIUS server configured");
            return;
        }
        let (options, session, now) = (self.options.load_full(), Arc::clone(session), monotonic());
        let make = Arc::new(move |server: &ServerSettings| session.packet(server, &options, status, volume, now));
        Self::ask(candidates, make, Box::new(move |response| done(response.is_some())));
    }

    fn schedule_interim(self: &Arc<Self>, session: &Weak<Session>, after: Duration) {
        let (radius, session) = (Arc::clone(self), Weak::clone(session));
        self.processor.schedule_after(after, job(Priority::Low, move || radius.interim(&session)));
    }

    /// Tells how a session goes on, if it does.
    fn interim(self: &Arc<Self>, weak: &Weak<Session>) {
        let (Some(session), Some(manager)) = (weak.upgrade(), self.manager()) else { return };
        let Some(interval) = session.interval else { return };
        // a worker must not wait for it
        let snapshot = match manager.snapshot(session.ike_sa(), Duration::ZERO) {
            Snapshot::Taken(snapshot) => snapshot,
            Snapshot::Busy => return self.schedule_interim(weak, BUSY),
            Snapshot::Gone => return,
        };
        let mut volume = session.state.lock().gone;
        for child in &snapshot.children {
            for (volume, sa) in volume.iter_mut().zip([&child.inbound, &child.outbound]) {
                if let Some(usage) = sa.as_ref().and_then(|sa| manager.kernel().query_sa(sa).ok()) {
                    volume.add(&usage);
                }
            }
        }
        let (radius, weak) = (Arc::clone(self), Weak::clone(weak));
        self.account(&session, Status::Interim, Some(volume), move |answered| {
            let Some(session) = weak.upgrade() else { return };
            if !answered && radius.options.load().accounting_close_on_timeout {
                radius.timed_out(Some(session.ike_sa()));
            } else {
                radius.schedule_interim(&weak, interval);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::test_settings;
    use super::*;

    #[test]
    fn packets_tell_what_is_known() {
        let session = Session {
            id: "1-7".into(),
            start: MonoTime::from_duration(Duration::from_secs(10)),
            user: b"alice".to_vec(),
            connection: "gw".into(),
            addresses: vec![[10, 3, 0, 1].into()],
            unclaimed: vec!["fd00::1".parse().unwrap()],
            classes: vec![b"a".to_vec(), b"b".to_vec()],
            interval: None,
            state: Mutex::new(State {
                ike_sa: UniqueId::new(7).unwrap(),
                local: "192.0.2.2:4500".parse().unwrap(),
                remote: "[2001:db8::1]:4500".parse().unwrap(),
                cause: Cause::LostService,
                gone: [Volume::default(); 2],
            }),
        };
        let server = test_settings("a", 1813);
        let now = MonoTime::from_duration(Duration::from_secs(70));
        let volume = Some([Volume { octets: 5 << 32 | 6, packets: 3 }, Volume { octets: 9, packets: 1 }]);
        let options = Options { accounting_send_class: true, station_id_with_port: true, ..Options::default() };
        let stop = session.packet(&server, &options, Status::Stop, volume, now);
        let number = |kind| stop.number(kind);
        use AttributeType as A;
        assert_eq!(
            (number(A::AcctStatusType), number(A::NasPort), number(A::NasPortType)),
            (Some(2), Some(7), Some(5))
        );
        assert_eq!((number(A::AcctInputOctets), number(A::AcctInputGigawords)), (Some(6), Some(5)));
        assert_eq!((number(A::AcctOutputOctets), number(A::AcctOutputGigawords)), (Some(9), None));
        assert_eq!((number(A::AcctInputPackets), number(A::AcctOutputPackets)), (Some(3), Some(1)));
        assert_eq!((number(A::AcctSessionTime), number(A::AcctTerminateCause)), (Some(60), Some(3)));
        let text = |kind| String::from_utf8(stop.get(kind).unwrap().value().to_vec()).unwrap();
        assert_eq!((text(A::UserName), text(A::AcctSessionId)), ("alice".into(), "1-7".into()));
        assert_eq!(text(A::CallingStationId), "2001:db8::1[4500]");
        assert_eq!((stop.all(A::Class).count(), stop.all(A::FramedIpv6Address).count()), (2, 1));
        let start = session.packet(&server, &Options::default(), Status::Start, None, now);
        assert_eq!((start.all(A::Class).count(), start.all(A::FramedIpv6Address).count()), (0, 0));
        assert_eq!(start.all(A::FramedIpAddress).count(), 1);
        assert!(start.get(A::AcctInputOctets).is_none() && start.get(A::AcctTerminateCause).is_none());
        assert_eq!(start.get(A::CalledStationId).unwrap().value(), b"192.0.2.2");
    }
}
