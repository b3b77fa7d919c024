//! The world as an engine sees it.

use std::sync::Arc;
use std::time::Duration;

use plugpull_engine::Runtime;
use plugpull_engine::runtime::BoxTask;
use plugpull_engine::sync::{Tracker, Watch};

use super::access::Object;
use super::state::Core;
use super::timer::Sleep;
use super::tracking::Noted;

/// [`Runtime`] on a world.
pub(super) struct SimRuntime(pub(super) Arc<Core>);

impl Runtime for SimRuntime {
    /// A child of the running task; a harness task when called from outside of any.
    fn spawn(&self, name: &'static str, task: BoxTask) {
        let _refused = self.0.with(|state| state.spawn(name, false, task).err());
    }

    fn now(&self) -> Duration {
        self.0.with(|state| {
            let now = state.timers.now;
            state.learn(Object::Unfinished.name(), now.as_nanos());
            now
        })
    }

    fn sleep(&self, duration: Duration) -> BoxTask {
        Box::pin(Sleep::new(&self.0, duration))
    }

    /// A choice, when called from a task; true otherwise.
    fn coin(&self, label: &'static str) -> bool {
        self.0.with(|state| state.coin(label))
    }

    fn tracker(&self) -> Tracker {
        if self.0.with(|state| state.tracking.noted == Noted::Nothing) {
            return Tracker::none();
        }
        Tracker::new(Arc::clone(&self.0) as Arc<dyn Watch>)
    }

    fn event(&self, event: &'static str) {
        self.0.with(|state| state.event(event));
    }
}
