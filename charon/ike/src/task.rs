//! The names of tasks, as listings and debug output show them.

use std::fmt;

macro_rules! task_types {
    ($($variant:ident $name:literal,)*) => {
        /// Kind of a task: one concern of an exchange.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum TaskType { $(#[doc = $name] $variant,)* }

        impl fmt::Display for TaskType {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $name,)* })
            }
        }
    };
}

task_types! {
    IkeInit "IKE_INIT",
    IkeNatd "IKE_NATD",
    IkeAuth "IKE_AUTH",
    IkeAuthLifetime "IKE_AUTH_LIFETIME",
    IkeCertPre "IKE_CERT_PRE",
    IkeCertPost "IKE_CERT_POST",
    IkeConfig "IKE_CONFIG",
    IkeEstablish "IKE_ESTABLISH",
    IkeVendor "IKE_VENDOR",
    IkeRekey "IKE_REKEY",
    IkeRedirect "IKE_REDIRECT",
    IkeReauthComplete "IKE_REAUTH_COMPLETE",
    IkeDelete "IKE_DELETE",
    IkeDpd "IKE_DPD",
    IkeMobike "IKE_MOBIKE",
    ChildCreate "CHILD_CREATE",
    ChildRekey "CHILD_REKEY",
    ChildDelete "CHILD_DELETE",
}
