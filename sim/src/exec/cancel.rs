//! Guest requests that their client may give up at any point.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use xxhash_rust::xxh3::xxh3_128;

use super::cell::Cell;
use super::identity::Name;
use super::state::Core;
use super::tasks::TaskIndex;

/// A guest request that is being waited for.
pub(super) struct GuestRequest {
    pub(super) task: TaskIndex,
    pub(super) name: Name,
    serial: u64,
    /// The step since which it is being waited for.
    pub(super) since: Option<usize>,
    pub(super) slot: Arc<dyn GiveUp>,
}

impl GuestRequest {
    /// Identifies the name.
    pub(super) fn name_key(&self) -> u128 {
        xxh3_128(self.name.as_str().as_bytes())
    }
}

/// Something that can be taken away from the task that waits for it.
pub(super) trait GiveUp: Send + Sync {
    /// Drops the future and says whom to wake.
    fn give_up(&self) -> Option<Waker>;
}

/// The guest requests that are being waited for, oldest first.
#[derive(Default)]
pub(super) struct GuestRequests {
    pub(super) pending: Vec<GuestRequest>,
    started: u64,
}

impl GuestRequests {
    fn start(
        &mut self,
        task: TaskIndex,
        name: Name,
        since: Option<usize>,
        slot: Arc<dyn GiveUp>,
    ) -> u64 {
        self.started += 1;
        self.pending.push(GuestRequest { task, name, serial: self.started, since, slot });
        self.started
    }

    fn stop(&mut self, serial: u64) -> Option<GuestRequest> {
        let place = self.pending.iter().position(|request| request.serial == serial)?;
        Some(self.pending.remove(place))
    }
}

/// A future that can be given up from outside; then it ends with none.
pub(super) struct Cancellable<F> {
    core: Arc<Core>,
    name: Name,
    slot: Arc<Slot<F>>,
    serial: Option<u64>,
}

/// Where the future is while nobody polls it.
struct Slot<F>(Cell<Waiting<F>>);

struct Waiting<F> {
    future: Option<Pin<Box<F>>>,
    waker: Option<Waker>,
}

impl<F> Cancellable<F> {
    pub(super) fn new(core: &Arc<Core>, name: &str, future: F) -> Self {
        let waiting = Waiting { future: Some(Box::pin(future)), waker: None };
        let slot = Arc::new(Slot(Cell::new(waiting)));
        Self { core: Arc::clone(core), name: Name::new(name), slot, serial: None }
    }

    fn stop(&mut self) {
        if let Some(serial) = self.serial.take() {
            let _dropped_outside = self.core.with(|state| state.guest_requests.stop(serial));
        }
    }
}

impl<F> Future for Cancellable<F>
where
    F: Future + Send + 'static,
{
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(mut future) = self.slot.0.with(|waiting| waiting.future.take()) else {
            self.stop();
            return Poll::Ready(None);
        };
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            self.stop();
            return Poll::Ready(Some(output));
        }
        let waker = context.waker().clone();
        let _dropped_outside = self.slot.0.with(|waiting| {
            waiting.future = Some(future);
            waiting.waker.replace(waker)
        });
        if self.serial.is_none() {
            let slot: Arc<dyn GiveUp> = Arc::clone(&self.slot) as _;
            self.serial = self.core.with(|state| {
                let task = state.current?;
                let since = state.last_step();
                Some(state.guest_requests.start(task, self.name, since, slot))
            });
        }
        Poll::Pending
    }
}

impl<F> Drop for Cancellable<F> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<F: Send> GiveUp for Slot<F> {
    fn give_up(&self) -> Option<Waker> {
        let (future, waker) = self.0.with(|waiting| (waiting.future.take(), waiting.waker.take()));
        drop(future);
        waker
    }
}
