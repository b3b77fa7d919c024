//! Work that is not torn apart when its caller goes away.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Runs `work` as part of the caller; if the caller drops it unfinished, `on_drop` gets the rest.
///
/// Work that nobody has polled yet has not begun and is simply forgotten.
pub fn finish_when_dropped<F, D>(work: F, on_drop: D) -> Detachable<F::Output, D>
where
    F: Future + Send + 'static,
    D: FnOnce(Pin<Box<dyn Future<Output = F::Output> + Send>>),
{
    Detachable { work: Some(Box::pin(work)), begun: false, on_drop: Some(on_drop) }
}

/// See [`finish_when_dropped`].
#[must_use = "futures do nothing unless polled"]
pub struct Detachable<T, D>
where
    D: FnOnce(Pin<Box<dyn Future<Output = T> + Send>>),
{
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    begun: bool,
    on_drop: Option<D>,
}

// Nothing is structurally pinned: the work is in a box of its own.
impl<T, D> Unpin for Detachable<T, D> where D: FnOnce(Pin<Box<dyn Future<Output = T> + Send>>) {}

impl<T, D> Future for Detachable<T, D>
where
    D: FnOnce(Pin<Box<dyn Future<Output = T> + Send>>),
{
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.begun = true;
        let work = self.work.as_mut().expect("not polled after it has completed");
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl<T, D> Drop for Detachable<T, D>
where
    D: FnOnce(Pin<Box<dyn Future<Output = T> + Send>>),
{
    fn drop(&mut self) {
        // After a panic inside the work there is nothing left that could be run.
        if std::thread::panicking() || !self.begun {
            return;
        }
        if let (Some(work), Some(on_drop)) = (self.work.take(), self.on_drop.take()) {
            on_drop(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;

    use super::super::{Event, Shared, Tracker};
    use super::*;

    fn check(polls: usize, raise: bool) -> (bool, bool) {
        let event = Arc::new(Event::new(&Tracker::none()));
        let detached = Arc::new(Shared::new(&Tracker::none(), false));
        let finished = Arc::new(Shared::new(&Tracker::none(), false));
        let work = {
            let (event, finished) = (Arc::clone(&event), Arc::clone(&finished));
            async move {
                event.happened().await;
                finished.set(true);
            }
        };
        let mut rest = None;
        let mut work = finish_when_dropped(work, |unfinished| {
            detached.set(true);
            rest = Some(unfinished);
        });
        if raise {
            event.raise();
        }
        for _ in 0..polls {
            let _ = (&mut work).now_or_never();
        }
        drop(work);
        event.raise();
        if let Some(rest) = rest {
            assert_eq!(rest.now_or_never(), Some(()));
        }
        (detached.get(), finished.get())
    }

    #[test]
    fn only_begun_and_unfinished_work_is_detached() {
        assert_eq!(check(0, false), (false, false));
        assert_eq!(check(1, true), (false, true));
        assert_eq!(check(1, false), (true, true));
        assert_eq!(check(2, false), (true, true));
    }
}
