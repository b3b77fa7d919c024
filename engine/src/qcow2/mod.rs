//! qcow2 images, versions 2 and 3.
//!
//! The crate's README draws the layouts and argues why no power cut loses anything.

pub mod bitmap_directory;
pub mod compress;
pub mod events;
pub mod extension;
pub mod features;
pub mod geometry;
pub mod header;
mod header_bytes;
mod image;
pub mod l2;
mod map;
mod number;
pub mod planted;
pub mod probe;
mod qcow2_disk;
pub mod refcount;
mod region;
pub mod snapshot_table;

pub use image::{OpenOptions, Qcow2};
pub use map::{Extent, Location};
pub use qcow2_disk::Qcow2Disk;
