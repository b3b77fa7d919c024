//! Toy systems to explore the orders of: for tests, benches and an example.
//!
//! * [`disks`] has clients that write, flush and acknowledge, on disks without contents;
//! * [`program`] has small programs of all kinds, and [`random`] makes some;
//! * [`board`] has the executor they run on, where each request is a process with one event;
//! * [`search`] has what runs a model under an engine;
//! * [`touched`] has footprints;
//! * [`measure`] searches one of the models and counts.

pub(crate) mod board;
pub(crate) mod disks;
pub(crate) mod measure;
pub(crate) mod program;
pub(crate) mod random;
pub(crate) mod search;
pub(crate) mod touched;
