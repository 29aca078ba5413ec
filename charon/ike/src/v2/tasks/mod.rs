//! The tasks of IKEv2, one file per concern of an exchange.

mod auth;
mod auth_lifetime;
mod cert_post;
mod cert_pre;
mod child_create;
mod child_delete;
mod child_negotiation;
mod child_rekey;
mod child_select;
mod config;
mod dpd;
mod establish;
mod follow_up;
mod ike_delete;
mod ike_rekey;
mod init;
mod intermediate;
mod mobike;
mod natd;
mod proposals;
mod reauth_complete;
mod redirect;
mod vendor;

pub(in crate::v2) use auth::check;
pub(crate) use auth_lifetime::{AuthLifetimeInitiator, AuthLifetimeResponder};
pub(crate) use child_create::{ChildCreateInitiator, ChildCreateResponder};
pub(crate) use child_delete::{ChildDeleteInitiator, ChildDeleteResponder};
pub(crate) use child_rekey::{ChildRekeyInitiator, ChildRekeyResponder};
pub(crate) use dpd::{DpdInitiator, DpdResponder};
pub(crate) use follow_up::Pending;
pub(crate) use ike_delete::{IkeDeleteInitiator, IkeDeleteResponder};
pub(crate) use ike_rekey::{IkeRekeyInitiator, IkeRekeyResponder};
pub(crate) use mobike::{MobikeInitiator, MobikeResponder};
pub(crate) use reauth_complete::ReauthComplete;
pub(crate) use redirect::{RedirectInitiator, RedirectResponder};

use super::task::Task;

/// What an initiator queues to establish an IKE_SA; CHILD_SAs are queued next to it.
pub(crate) fn initial() -> Vec<Box<dyn Task>> {
    vec![
        Box::new(vendor::Vendor),
        Box::new(init::InitInitiator::default()),
        Box::new(natd::NatDetection::default()),
        Box::new(cert_pre::CertPre::default()),
        Box::new(auth::AuthInitiator::default()),
        Box::new(cert_post::CertPost),
        Box::new(config::ConfigInitiator::default()),
        Box::new(auth_lifetime::AuthLifetime),
        Box::new(mobike::MobikeAuth::default()),
        Box::new(establish::Establish),
    ]
}

/// What serves an IKE_SA_INIT request and the IKE_AUTH requests after it.
pub(crate) fn serving_initial() -> Vec<Box<dyn Task>> {
    vec![
        Box::new(vendor::Vendor),
        Box::new(init::InitResponder::default()),
        Box::new(natd::NatDetection::default()),
        Box::new(cert_pre::CertPre::default()),
        Box::new(auth::AuthResponder::default()),
        Box::new(cert_post::CertPost),
        Box::new(config::ConfigResponder::default()),
        Box::new(mobike::MobikeAuth::default()),
        Box::new(establish::Establish),
        Box::new(auth_lifetime::AuthLifetime),
        Box::new(ChildCreateResponder::default()),
    ]
}
