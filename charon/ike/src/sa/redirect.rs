//! Clients sent to another gateway (RFC 5685): following as a client, and sending away as a gateway.
//!
//! A client that is redirected before anybody is authenticated starts again there. Later the new IKE_SA comes first, with
//! all CHILD_SAs, and the old one is deleted when that is up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use strongswan::clock::MonoTime;
use strongswan::log;

use super::{ChildSa, ChildSaState, Conditions, Extensions, IkeSa, IkeSaState};
use crate::config::IkeConfig;
use crate::env::Env;
use crate::input::InitiateChild;
use crate::output::Event;
use crate::task::TaskType;
use crate::v2::{Task, tasks};
use crate::wire::Gateway;

/// At most so many redirects are followed within [`LOOP_PERIOD`]: gateways may send us in circles.
const MAX_REDIRECTS: usize = 5;
const LOOP_PERIOD: Duration = Duration::from_secs(300);

/// Where an IKE_SA was sent.
#[derive(Debug, Default)]
pub(crate) struct Redirects {
    /// When, as far as that was within [`LOOP_PERIOD`].
    times: Vec<MonoTime>,
    /// The gateway it came from.
    from: Option<Gateway>,
    /// The gateway that it goes to, or went.
    to: Option<Gateway>,
    /// It still has to go there.
    pending: bool,
}

/// Too many redirects in too short a time.
#[derive(Debug)]
pub(crate) struct TooManyRedirects;

impl IkeSa {
    /// As a client: remembers to go to another gateway once that is possible.
    pub(crate) fn redirect_to(&mut self, env: &Env<'_>, gateway: Gateway) -> Result<(), TooManyRedirects> {
        let from = Gateway::Address(self.remote.ip());
        let redirects = self.redirects.get_or_insert_default();
        redirects.times.retain(|at| env.now.saturating_since(*at) < LOOP_PERIOD);
        if redirects.times.len() >= MAX_REDIRECTS {
            let seconds = LOOP_PERIOD.as_secs();
            log!(IKE, 1, "only {MAX_REDIRECTS} redirects are allowed within {seconds} seconds");
            return Err(TooManyRedirects);
        }
        redirects.times.push(env.now);
        log!(IKE, 0, "redirected to {gateway}");
        **redirects = Redirects {
            times: std::mem::take(&mut redirects.times),
            from: Some(from),
            to: Some(gateway),
            pending: true,
        };
        Ok(())
    }

    /// Whether there is a gateway to go to.
    pub(crate) fn is_redirect_pending(&self) -> bool {
        self.redirects.as_ref().is_some_and(|redirects| redirects.pending)
    }

    /// The gateway that sent us to this one.
    pub(crate) fn redirected_from(&self) -> Option<&Gateway> {
        self.redirects.as_ref().and_then(|redirects| redirects.from.as_ref())
    }

    /// A configuration with the gateway that we were redirected to in place of the configured ones.
    pub(super) fn redirected_config(&self, config: &Arc<IkeConfig>) -> Arc<IkeConfig> {
        match self.redirects.as_ref().and_then(|redirects| redirects.to.as_ref()) {
            Some(gateway) => Arc::new(IkeConfig { remote_addrs: vec![gateway.host()], ..IkeConfig::clone(config) }),
            None => Arc::clone(config),
        }
    }

    /// Forgets where it was sent, but not how often.
    pub(super) fn forget_redirect(&mut self) {
        if let Some(redirects) = &mut self.redirects {
            **redirects = Redirects { times: std::mem::take(&mut redirects.times), ..Redirects::default() };
        }
    }

    /// Nobody is authenticated yet: starts again at the other gateway.
    pub(crate) fn restart_elsewhere(&mut self, env: &mut Env<'_>) {
        let redirects = self.redirects.take();
        self.start_over(env);
        self.forget_hosts();
        self.redirects = redirects.map(|redirects| Box::new(Redirects { pending: false, ..*redirects }));
        self.resolve();
    }

    /// Goes to the other gateway with all CHILD_SAs, if there is one to go to and nothing in the way: neither a rekeying of
    /// the IKE_SA nor a CHILD_SA whose creation the gateway has yet to answer.
    pub(crate) fn follow_redirect(&mut self, env: &mut Env<'_>) {
        if self.state != IkeSaState::Established || !self.is_redirect_pending() {
            return;
        }
        if self.exchanges.request.is_some() && self.exchanges.is_active(TaskType::ChildCreate) {
            return;
        }
        let Some(redirects) = self.redirects.take() else { return };
        let replaced = |state| matches!(state, ChildSaState::Rekeyed | ChildSaState::Deleted);
        let live = |child: &ChildSa| !replaced(child.state());
        // one that both sides rekey at the moment is there twice
        let newer = |child: &ChildSa| child.rekey_partner.and_then(|id| self.child(id)).filter(|other| live(other));
        let is_newest = |child: &ChildSa| newer(child).is_none_or(|other| other.unique_id < child.unique_id);
        let live = self.children.iter().filter(|child| live(child) && is_newest(child));
        let mut children: Vec<_> = live
            .map(|child| InitiateChild { reqid: child.reqid, ..InitiateChild::new(Arc::clone(&child.config)) })
            .collect();
        // those that this gateway left out of IKE_AUTH, and those whose turn had not come
        let is_create = |task: &dyn Task| task.kind() == TaskType::ChildCreate;
        let mut created = Vec::new();
        if self.exchanges.request.is_none() {
            let active = std::mem::take(&mut self.exchanges.active).into_iter();
            (created, self.exchanges.active) = active.partition(|task| is_create(&**task));
        }
        let queued = std::mem::take(&mut self.exchanges.queued).into_iter();
        let (create, others): (Vec<_>, _) = queued.partition(|queued| is_create(&*queued.task));
        self.exchanges.queued = others;
        created.extend(create.into_iter().map(|queued| queued.task));
        for mut task in created {
            children.extend(task.initiation());
            task.abandon(self, env);
        }
        self.conditions |= Conditions::REDIRECTED;
        let redirects = Redirects { pending: false, ..*redirects };
        self.create_redirected(env, children, Box::new(redirects));
    }

    /// As a gateway: sends the client away.
    pub(super) fn redirect(&mut self, env: &Env<'_>, gateway: Gateway) {
        if self.conditions.contains(Conditions::REDIRECTED) {
            return;
        }
        if self.conditions.contains(Conditions::ORIGINAL_INITIATOR) {
            log!(IKE, 1, "unable to redirect IKE_SA {} as its initiator", self.label());
        } else if !self.extensions.contains(Extensions::REDIRECTION) {
            log!(IKE, 1, "unable to redirect IKE_SA {}, the client does not support it", self.label());
        } else if matches!(self.state, IkeSaState::Connecting | IkeSaState::Established | IkeSaState::Rekeying) {
            self.queue(env, Box::new(tasks::RedirectInitiator::new(gateway)));
        } else {
            log!(IKE, 1, "unable to redirect IKE_SA {} in state {}", self.label(), self.state);
        }
    }

    /// Somebody waits for this one's CHILD_SA, which its successor gets.
    pub(super) fn report_redirect(&mut self, successor: crate::ids::UniqueId) {
        self.event(Event::IkeRedirect { successor });
    }

    /// No address of either end is known.
    pub(super) fn forget_hosts(&mut self) {
        self.local = SocketAddr::from(([0, 0, 0, 0], 0));
        self.remote = self.local;
    }
}
