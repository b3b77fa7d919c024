//! What makes a task ready again.

use std::sync::Arc;
use std::task::{Wake, Waker};

use super::state::Core;
use super::tasks::TaskIndex;

/// Wakes one task: puts it into the ready set, once.
struct TaskWaker {
    core: Arc<Core>,
    task: TaskIndex,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.core.with(|state| state.wake(self.task));
    }
}

pub(super) fn task_waker(core: &Arc<Core>, task: TaskIndex) -> Waker {
    Waker::from(Arc::new(TaskWaker { core: Arc::clone(core), task }))
}
