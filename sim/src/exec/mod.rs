//! The deterministic executor: tasks, requests, timers, and the choices between them.
//!
//! One execution is one [`World`]: disks, tasks, a virtual clock, and the list of events that may
//! happen next. [`World::step`] makes one of them happen; where there is more than one, a
//! [`Strategy`](crate::schedule::Strategy) chooses. Nothing else decides anything, so an
//! execution is the list of its choices, and the same list gives the same execution.
//!
//! Rules that the rest of the crate relies on:
//!
//! * Identities ([`TaskId`], [`RequestLabel`]) are paths and per-task counters. They mean the same
//!   task in every schedule in which that task exists.
//! * The ready set is a set: the order in which tasks became ready is forgotten.
//! * A task's memory is private to it and to what it shares through `engine::sync`; the executor
//!   never looks into a future.
//! * Time stands still until nothing else can happen (maximal progress).

mod access;
mod cancel;
mod cell;
mod choice;
mod disk_access;
mod enabled;
mod end;
mod identity;
mod label;
mod options;
mod panics;
mod port;
mod requests;
mod runtime;
mod state;
mod step;
mod tasks;
mod timer;
mod tracking;
mod waker;
mod world;

pub use access::Footprint;
pub(crate) use access::{Accessed, Object};
pub(crate) use cell::Cell;
pub use choice::{ChoiceKind, ChoicePoint, Trace, TracedChoice};
pub use end::{Hang, Panicked, Step, Waiting};
pub(crate) use identity::mix;
pub use identity::{Name, TaskId};
pub use label::{Label, OutcomeLabel, RequestLabel};
pub use options::{ReadyOrder, WorldOptions};
pub(crate) use panics::catch;
pub(crate) use port::{Fetch, Port};
pub use tracking::{Enablers, MadeStep, Noted};
pub use world::{NamedEvent, Output, World, WorldHandle};
