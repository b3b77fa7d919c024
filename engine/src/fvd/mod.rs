//! FVD images.

pub mod bitmap;
pub mod changed;
pub mod create;
pub mod geometry;
pub mod header;
pub mod image;
pub mod journal;
pub mod map;
pub mod maps;
pub mod planted;
pub mod probe;
pub mod resolver;
pub mod table;

pub use image::{Access, Fvd, OpenOptions, PrefetchState};
pub use map::{Extent, Location};
