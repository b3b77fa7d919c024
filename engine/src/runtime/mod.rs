//! What an engine needs besides disks: background tasks, a clock, a coin, and an ear for events.

pub mod local;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::sync::Tracker;

/// A task that runs beside the request that started it.
pub type BoxTask = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// The world around an engine. Everything that could differ between two runs comes from here.
pub trait Runtime: Send + Sync {
    /// Runs `task` in the background. `name` is stable: it says what the task is, not which.
    /// May be called while another task is being polled, or from a destructor.
    fn spawn(&self, name: &'static str, task: BoxTask);

    /// Time since some fixed start.
    fn now(&self) -> Duration;

    /// Time since the start of 1970, to be written down for people; zero if nobody knows.
    fn date(&self) -> Duration {
        Duration::ZERO
    }

    /// Completes when [`Runtime::now`] has reached now + `duration`.
    fn sleep(&self, duration: Duration) -> BoxTask;

    /// A fair coin. `label` says what is being decided.
    fn coin(&self, label: &'static str) -> bool;

    /// Whom tasks tell what they do with what they share.
    fn tracker(&self) -> Tracker {
        Tracker::none()
    }

    /// Reports that something named happened, for tracing and reachability goals.
    fn event(&self, event: &'static str);
}
