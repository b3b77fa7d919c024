//! How requests get into a world and their replies out of it.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::state::Core;
use crate::disk::{Op, Reply};

/// One disk of a world.
pub(crate) struct Port {
    core: Arc<Core>,
    disk: usize,
}

impl Port {
    pub(super) fn new(core: &Arc<Core>, disk: usize) -> Self {
        Self { core: Arc::clone(core), disk }
    }

    /// Submits a request of the running task.
    pub(crate) fn submit(&self, op: Op) -> Fetch {
        let slot = self.core.with(|state| state.submit(self.disk, op));
        Fetch { core: Arc::clone(&self.core), slot }
    }

    /// Length in bytes, as requests see it.
    pub(crate) fn disk_len(&self) -> u64 {
        self.core.with(|state| state.disk_len(self.disk))
    }
}

/// The reply to come of one request.
pub(crate) struct Fetch {
    core: Arc<Core>,
    /// None if the world was gone already, or the reply has been fetched: never ready again.
    slot: Option<usize>,
}

impl Fetch {
    /// The reply, once.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Reply> {
        let Some(slot) = self.slot else { return Poll::Pending };
        let (reply, _dropped_outside) = self.core.with(|state| {
            if state.torn_down {
                return (Poll::Pending, None);
            }
            state.fetch(slot, context.waker())
        });
        reply
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        let Some(slot) = self.slot else { return };
        let _dropped_outside = self.core.with(|state| state.abandon(slot));
    }
}
