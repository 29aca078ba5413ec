//! Keeping the kernel's tables and ours the same: after a crash, after somebody flushed them, after events were lost.
//!
//! What a crashed predecessor left is known from the [journal](super::journal). Its SAs are deleted, since nobody has their
//! IKE_SA any more. Its policies are what kept traffic from leaving in clear, so they stay for a while as policies that drop:
//! whoever installs a policy for the same packets takes them over in one step, and what nobody wants goes in the end.
//! Nothing else is touched.

use std::collections::HashSet;
use std::time::Duration;

use ike::ids::{IfId, Mark, Spi};
use ike::kernel::{PolicyAction, SaId};
use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_xfrm::policy::{DelGetMessage, FlushMessage as FlushPolicies};
use netlink_packet_xfrm::state::{FlushMessage as FlushSas, GetDumpMessage};
use netlink_packet_xfrm::{XfrmAttrs, XfrmMessage};
use strongswan::crypto::Protocol;
use strongswan::log;
use strongswan::settings::Settings;

use super::journal::{Ours, PolicyMark};
use super::message::Message;
use super::policies::Apply;
use super::policy::{Found, Key, Policy, User};
use super::selector::address;
use super::{EventSink, NetlinkError, Shared, events};

/// `charon.flush_on_start`: what is removed from the kernel before anything is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlushOnStart {
    /// Nothing.
    No,
    /// What a predecessor that did not end properly left behind.
    #[default]
    Own,
    /// All SAs and all policies, whoever's they are.
    All,
}

impl FlushOnStart {
    /// Reads it from strongswan.conf.
    pub fn from_settings(settings: &Settings) -> Self {
        let text = settings.get_str("charon.flush_on_start").unwrap_or("own");
        match text {
            "no" | "false" | "0" => Self::No,
            "own" | "yes" | "true" | "1" => Self::Own,
            "all" => Self::All,
            other => {
                log!(KNL, 1, "invalid charon.flush_on_start '{other}', using 'own'");
                Self::Own
            }
        }
    }
}

/// What may have changed behind our back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Suspects {
    pub(super) sas: bool,
    pub(super) policies: bool,
}

impl Shared {
    /// Cleans up before anything is installed. `left` is what a predecessor left behind; `hold` is how long its policies
    /// will be kept as such that drop.
    pub(super) fn clean(&self, mode: FlushOnStart, left: &Ours, hold: Duration) -> Result<(), NetlinkError> {
        match mode {
            FlushOnStart::No => {
                left.sas.iter().for_each(|id| self.forget_sa(id));
                left.policies.keys().for_each(|key| self.forget_policy(key));
            }
            FlushOnStart::All => {
                let (sas, policies) = (self.installed_sas()?.len(), self.installed_policies()?.len());
                // 0 is any protocol
                self.request(XfrmMessage::FlushSa(FlushSas { protocol: 0 }))?;
                match self.request(XfrmMessage::FlushPolicy(FlushPolicies { nlas: Vec::new() })) {
                    Err(error) if !error.is_not_found() => return Err(error),
                    _ => {}
                }
                left.sas.iter().for_each(|id| self.forget_sa(id));
                left.policies.keys().for_each(|key| self.forget_policy(key));
                log!(KNL, 1, "flushed {sas} SAs and {policies} policies from the kernel");
            }
            FlushOnStart::Own if left.sas.is_empty() && left.policies.is_empty() => {}
            FlushOnStart::Own => self.clean_up_after(left, hold)?,
        }
        Ok(())
    }

    fn clean_up_after(&self, left: &Ours, hold: Duration) -> Result<(), NetlinkError> {
        let apply: Apply<'_> = &|policy, change| self.change(policy, change);
        let (mut held, mut other_policies) = (HashSet::new(), 0_usize);
        for found in self.installed_policies()? {
            let is_ours = left.policies.get(&found.policy.key) == Some(&found.mark);
            if is_ours && self.policies.hold(&found.policy, apply).is_ok() {
                held.insert(found.policy.key);
            } else {
                other_policies = other_policies.saturating_add(1);
            }
        }
        left.policies.keys().filter(|key| !held.contains(key)).for_each(|key| self.forget_policy(key));
        let (mut removed, mut other_sas) = (0_usize, 0_usize);
        for id in self.installed_sas()? {
            match left.sas.contains(&id).then(|| self.delete(&id)) {
                Some(Ok(())) => removed = removed.saturating_add(1),
                Some(Err(error)) => log!(KNL, 1, "unable to delete SAD entry with SPI {}: {error}", id.spi),
                None => other_sas = other_sas.saturating_add(1),
            }
        }
        left.sas.iter().for_each(|id| self.forget_sa(id));
        log!(
            KNL,
            1,
            "cleaning up after a daemon that did not end properly: removed {removed} SAs, dropping the traffic of {} policies \
             for {}s; {other_sas} SAs and {other_policies} policies of others left alone",
            held.len(),
            hold.as_secs()
        );
        Ok(())
    }

    /// Removes what is still held for a predecessor.
    pub(super) fn release(&self) {
        let apply: Apply<'_> = &|policy, change| self.change(policy, change);
        let released = self.policies.release(apply);
        if released > 0 {
            log!(KNL, 1, "removed {released} policies of a daemon that did not end properly");
        }
    }

    /// Somebody may have changed the kernel's tables, or told us of changes in vain: installs again what is missing of our
    /// policies, and reports SAs that are gone or due.
    pub(super) fn check(&self, suspects: Suspects, sink: &EventSink) {
        // Policies first: until they are back, packets leave in clear.
        if suspects.policies
            && let Err(error) = self.restore_policies()
        {
            log!(KNL, 1, "unable to compare policies with the kernel's: {error}");
        }
        if suspects.sas {
            self.compare(sink);
        }
    }

    fn restore_policies(&self) -> Result<(), NetlinkError> {
        let present: HashSet<Key> = self.installed_policies()?.into_iter().map(|found| found.policy.key).collect();
        let apply: Apply<'_> = &|policy, change| self.change(policy, change);
        let restored = self.policies.restore(&present, apply);
        if restored > 0 {
            log!(KNL, 1, "somebody removed policies of ours from the kernel, restored {restored}");
        }
        Ok(())
    }

    /// Names of all SAs in the kernel that have one.
    fn installed_sas(&self) -> Result<Vec<SaId>, NetlinkError> {
        let message = XfrmMessage::GetDumpSa(GetDumpMessage { nlas: Vec::new() });
        let answers = self.socket.request(Message::from(message), NLM_F_DUMP)?;
        Ok(answers.iter().filter_map(|answer| sa_id(answer.get())).collect())
    }

    /// All policies in the kernel but those of sockets.
    fn installed_policies(&self) -> Result<Vec<Found>, NetlinkError> {
        let message = XfrmMessage::GetPolicy(DelGetMessage::default());
        let answers = self.socket.request(Message::from(message), NLM_F_DUMP)?;
        let found = answers.iter().filter_map(|answer| match answer.get() {
            XfrmMessage::AddPolicy(policy) => Policy::found(policy),
            _ => None,
        });
        Ok(found.collect())
    }

    pub(super) fn forget_sa(&self, id: &SaId) {
        self.journal.get().iter().for_each(|journal| journal.remove_sa(id));
    }

    pub(super) fn forget_policy(&self, key: &Key) {
        self.journal.get().iter().for_each(|journal| journal.remove_policy(key));
    }

    pub(super) fn note_sa(&self, id: &SaId) {
        self.journal.get().iter().for_each(|journal| journal.add_sa(id));
    }

    pub(super) fn note_policy(&self, policy: &Policy, user: &User) {
        let mark = PolicyMark {
            reqid: user.template.as_ref().map_or(0, |template| template.reqid.get()),
            priority: user.priority,
        };
        self.journal.get().iter().for_each(|journal| journal.add_policy(&policy.key, mark));
    }
}

fn sa_id(message: &XfrmMessage) -> Option<SaId> {
    let XfrmMessage::AddSa(sa) = message else { return None };
    let info = &sa.user_sa_info;
    let (mark, if_id) = tags(&sa.nlas);
    Some(SaId {
        spi: Spi::new(info.id.spi)?,
        protocol: if info.id.proto == 108 { Protocol::IpComp } else { events::protocol(info.id.proto)? },
        src: address(&info.saddr, info.family),
        dst: address(&info.id.daddr, info.family),
        mark,
        if_id,
    })
}

/// Mark and interface in the attributes of an SA or a policy.
pub(super) fn tags(nlas: &[XfrmAttrs]) -> (Mark, IfId) {
    let mark = nlas.iter().find_map(|attribute| match attribute {
        XfrmAttrs::Mark(mark) => Some(Mark { value: mark.value, mask: mark.mask }),
        _ => None,
    });
    let if_id = nlas.iter().find_map(|attribute| match attribute {
        XfrmAttrs::IfId(id) => Some(IfId(*id)),
        _ => None,
    });
    (mark.unwrap_or(Mark::NONE), if_id.unwrap_or(IfId::NONE))
}

/// Whether a policy drops on behalf of a predecessor.
pub(super) fn is_held(user: &User) -> bool {
    user.action == PolicyAction::Drop && user.priority == u32::MAX
}
