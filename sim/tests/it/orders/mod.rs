//! Engines that explore orders of events, on toy systems.

mod classes;
mod crashes;
mod delayed;
mod programs;
mod shards;
mod wrong;
