//! Engines that explore orders of events, on toy systems.

mod classes;
mod crashes;
mod delayed;
mod drawn;
mod programs;
mod shards;
mod wrong;
