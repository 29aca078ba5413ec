//! Which SAs a `terminate`, `rekey` or `list-sas` request is about.

use ike::ids::UniqueId;
use ike::{ChildSaSnapshot, IkeSaSnapshot};
use vici::Message;

use super::operations::Operations;

/// The keys `ike`, `ike-id`, `child` and `child-id` of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selector {
    pub(super) ike: Option<String>,
    pub(super) ike_id: Option<u32>,
    pub(super) child: Option<String>,
    pub(super) child_id: Option<u32>,
}

/// An SA to do something with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Ike(UniqueId),
    Child { ike: UniqueId, child: UniqueId },
}

impl Selector {
    pub(super) fn from_message(message: &Message) -> Self {
        // 0 is no id and means that none is given
        let id = |key| message.int(key).and_then(|id| u32::try_from(id).ok()).filter(|id| *id != 0);
        let name = |key| message.str(key).map(str::to_owned);
        Self { ike: name("ike"), ike_id: id("ike-id"), child: name("child"), child_id: id("child-id") }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn is_about_children(&self) -> bool {
        self.child.is_some() || self.child_id.is_some()
    }

    /// Whether an IKE_SA fulfils all conditions on IKE_SAs.
    pub(super) fn fits_ike(&self, ike: &IkeSaSnapshot) -> bool {
        self.ike.as_deref().is_none_or(|name| name == ike.name())
            && self.ike_id.is_none_or(|id| id == ike.unique_id.get())
    }

    /// Whether a CHILD_SA fulfils all conditions on CHILD_SAs.
    pub(super) fn fits_child(&self, child: &ChildSaSnapshot) -> bool {
        self.child.as_deref().is_none_or(|name| name == &*child.config.name)
            && self.child_id.is_none_or(|id| id == child.unique_id.get())
    }

    /// With a condition on CHILD_SAs, those that fulfil everything; without one, IKE_SAs of that name *or* that number.
    pub(super) fn targets(&self, operations: &dyn Operations) -> Vec<Target> {
        let all = operations.ike_sas();
        if self.is_about_children() {
            let fitting = all.iter().filter(|ike| self.fits_ike(ike));
            let children = fitting.flat_map(|ike| ike.children.iter().map(move |child| (ike, child)));
            return children
                .filter(|(_, child)| self.fits_child(child))
                .map(|(ike, child)| Target::Child { ike: ike.unique_id, child: child.unique_id })
                .collect();
        }
        let fits =
            |ike: &IkeSaSnapshot| self.ike.as_deref() == Some(ike.name()) || self.ike_id == Some(ike.unique_id.get());
        all.iter().filter(|ike| fits(ike)).map(|ike| Target::Ike(ike.unique_id)).collect()
    }
}
