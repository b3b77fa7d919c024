//! The simulated disk: durable bytes, a volatile cache, faults, device models, the recorder.
//!
//! [`DiskState`] is a pure state machine. It hands every change to one of two caches: where a power
//! cut decides sector by sector, undecided sectors have a cell of patches (`sector_cache`, `cell`,
//! `contents`, `lengths`); where it decides request by request, the cache is a list in completion
//! order (`change_log`, with `ordered` and `atomic_write`). Both state their rules in one partial
//! order, `span`. What may be left after a power cut is a [`CrashSpace`].

mod atomic_write;
mod bytes;
mod cache;
mod cell;
mod change_log;
mod contents;
mod lengths;
mod ordered;
mod remaining;
mod rules;
mod sector_cache;
mod sector_space;
mod span;
mod start;
mod undecided;

pub mod crash_space;
pub mod faults;
pub mod image;
pub(crate) mod port;
pub mod recorder;
pub mod request;
pub mod spec;
pub mod state;

pub use crash_space::CrashSpace;
pub use faults::{Fault, FaultEffect, FaultPlan, Which};
pub use image::Image;
pub use recorder::{DiskRequest, Event, History};
pub use remaining::{Groups, Question, Remaining};
pub use request::{Op, OpKind, Outcome, Reply, RequestId};
pub use spec::{DiscardContent, DiskSpec, FailedFlush, GARBAGE, Model};
pub use state::DiskState;
pub use undecided::{Prefer, Undecided};
