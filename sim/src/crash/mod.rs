//! Power cuts: which states the disks may be left in, and what recovery makes of each.
//!
//! * [`lazy`] are disks whose sectors are undecided until they are read; [`path`] is one way
//!   through a program that runs on them, and [`certificate`] the proof that all were taken.
//! * [`verified`] are reads that check a digest over several sectors, [`digest`] finds what passes.
//! * [`unreadable`] are sectors that cannot be read afterwards, under a budget.
//! * [`direct`] runs recovery, and the sessions that follow it, on disks that answer at once, and
//!   notes the crash points inside.
//! * [`ways`] is the explorer for small programs, without an engine.
//! * [`explorer`] is the interface of explorers that enumerate: from the crash spaces of all disks
//!   at one crash point to concrete images, with an account of what was covered.
//! * [`brute`] is the reference: every combination, up to a stated bound, sampled beyond it.

pub mod brute;
pub mod certificate;
pub mod digest;
pub mod direct;
pub mod explorer;
pub mod lazy;
pub mod path;
pub mod unreadable;
pub mod verified;
pub mod ways;

pub use brute::BruteForce;
pub use certificate::Certificate;
pub use direct::DirectWorld;
pub use explorer::{Assignment, Coverage, CrashExplorer, CrashState};
pub use lazy::{CrashPoint, LazyDisks, Watch};
pub use path::{About, Asked, Nearness, Path};
pub use unreadable::Unreadable;
pub use ways::{AfterCut, Broken, fork};
