//! FVD images.

pub mod bitmap;
pub mod changed;
pub mod check;
pub mod create;
mod create_options;
pub mod geometry;
pub mod grow;
pub mod header;
pub mod journal;
mod journal_plan;
mod physical_set;
pub mod planted;
pub mod probe;
pub mod resolver;
pub mod table;
mod validate;
