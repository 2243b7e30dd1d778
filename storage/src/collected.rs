//! How far a region is with garbage collection: a part of its replicated state. What the marks mean: [`crate::gc`].

use crate::engine::{Cf, Modify};
use basalt_common::Timestamp;
use basalt_proto::raft::{GcState, GcStep};

/// The marks that readers and commands ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Closed to readers and to new locks below it.
    pub safe_point: Timestamp,
    /// No lock below it is left anywhere, and versions that no reader at or above it needs may be gone.
    pub collected_to: Timestamp,
}

impl From<&GcState> for Collected {
    fn from(state: &GcState) -> Self {
        Collected { safe_point: Timestamp(state.safe_point), collected_to: Timestamp(state.collected_to) }
    }
}

/// The region's state after a step. Marks never fall.
pub fn advance(state: &mut GcState, step: &GcStep) {
    state.collected_to = state.collected_to.max(step.collected_to);
    state.safe_point = state.safe_point.max(step.safe_point).max(state.collected_to);
    state.unwalked = state.unwalked.saturating_sub(step.walked).saturating_add(step.left);
}

/// Counts a change of the region's data, made by collection or by somebody else.
pub fn count(state: &mut GcState, modify: &Modify, by_collection: bool) {
    match modify {
        Modify::Put { cf: Cf::Write, .. } => state.unwalked = state.unwalked.saturating_add(1),
        Modify::Delete { cf: Cf::Write, .. } if by_collection => state.deleted = state.deleted.saturating_add(1),
        _ => {}
    }
}
