//! Everything that several tasks of an engine share.
//!
//! Tasks share state through these types and no others: a scheduler that wants to know which steps
//! depend on each other has to look here only. None of them is a thread primitive to build on: a
//! lock is never held across an `.await` except where the type's purpose is exactly that
//! ([`Mutex`], [`RangeLock`]), and those queue first come first served and hand over directly, so
//! that who runs next never depends on luck.
//!
//! * [`Shared`]: a cell, read and changed in short steps.
//! * [`Mutex`]: one task at a time, in order of arrival.
//! * [`RangeLock`]: byte ranges, shared or exclusive, in order of arrival.
//! * [`Gate`]: counts requests, can be shut, and tells when the last has left.
//! * [`Event`]: happens once, wakes everybody.
//! * [`Tracker`]: through whom all of them tell what tasks do with them, if anybody wants to know.
//! * [`finish_when_dropped`]: work that is not torn apart when its caller goes away.

mod cell;
#[cfg(test)]
mod commute;
mod detach;
mod event;
mod gate;
mod mutex;
mod range_lock;
#[cfg(test)]
pub(crate) mod recorder;
mod shared;
mod track;

pub use detach::{Detachable, finish_when_dropped};
pub use event::{Event, Happened};
pub use gate::{Gate, Idle, Pass};
pub use mutex::{Locking, Mutex, MutexGuard, WakeOrder};
pub use range_lock::{LockKey, LockMode, LockingRange, RangeGuard, RangeLock};
pub use shared::Shared;
pub use track::{Access, Tracker, WHOLE, Watch};
