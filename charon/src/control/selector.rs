//! Which SAs a `terminate`, `rekey` or `list-sas` request is about.

use ike::ChildSaSnapshot;
use ike::ids::UniqueId;
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
    Child(UniqueId),
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

    /// Whether a CHILD_SA fulfils all conditions on CHILD_SAs.
    pub(super) fn fits_child(&self, child: &ChildSaSnapshot) -> bool {
        self.child.as_deref().is_none_or(|name| name == &*child.config.name)
            && self.child_id.is_none_or(|id| id == child.unique_id.get())
    }

    /// With a condition on CHILD_SAs, those that fulfil everything; without one, IKE_SAs of that name *or* that number.
    pub(super) fn targets(&self, operations: &dyn Operations) -> Vec<Target> {
        if self.is_about_children() {
            return self.children(operations).into_iter().map(Target::Child).collect();
        }
        let mut found = self.ike.as_deref().map(|name| operations.ike_sas_named(name)).unwrap_or_default();
        if let Some(id) = self.ike_id.and_then(UniqueId::new)
            && operations.exists(id)
            && !found.contains(&id)
        {
            found.push(id);
        }
        found.into_iter().map(Target::Ike).collect()
    }

    fn children(&self, operations: &dyn Operations) -> Vec<UniqueId> {
        let id = self.child_id.and_then(UniqueId::new);
        let mut found = match (&self.child, id) {
            (Some(name), _) => operations.child_sas_named(name),
            (None, id) => id.into_iter().collect(),
        };
        if let Some(id) = id {
            found.retain(|child| *child == id);
        }
        let named = self.ike.as_deref().map(|name| operations.ike_sas_named(name));
        found.retain(|child| {
            operations.ike_sa_of_child(*child).is_some_and(|ike| {
                named.as_ref().is_none_or(|named| named.contains(&ike)) && self.ike_id.is_none_or(|id| id == ike.get())
            })
        });
        found
    }

    /// The IKE_SAs that fulfil all conditions on IKE_SAs.
    pub(super) fn ike_sas(&self, operations: &dyn Operations) -> Vec<UniqueId> {
        let mut found = match self.ike.as_deref() {
            Some(name) => operations.ike_sas_named(name),
            None => operations.ike_sas(),
        };
        if let Some(id) = self.ike_id {
            found.retain(|found| found.get() == id);
        }
        found
    }
}
