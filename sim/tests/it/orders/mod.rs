//! Engines that explore orders of events, on toy systems.

mod classes;
mod crashes;
