//! Power cuts: which states the disks may be left in, and what recovery makes of each.
//!
//! * [`explorer`] is the interface of a crash explorer: from the crash spaces of all disks at one
//!   crash point to concrete images, with an account of what was covered.
//! * [`brute`] is the reference: every combination, up to a stated bound, sampled beyond it.
//! * [`direct`] runs recovery, and the sessions that follow it, on disks that answer at once, and
//!   notes the crash points inside.
//! * [`digest`] finds the combinations of candidate sectors that pass a checksum.

pub mod brute;
pub mod digest;
pub mod direct;
pub mod explorer;

pub use brute::BruteForce;
pub use direct::DirectWorld;
pub use explorer::{Assignment, Coverage, CrashExplorer, CrashState};
