//! qcow2 images, versions 2 and 3.
//!
//! The crate's README draws the layouts and argues why no power cut loses anything.

pub mod events;
pub mod header;
mod image;
pub mod l2;
mod map;
pub mod planted;
mod qcow2_disk;
pub mod refcount;
pub mod snapshot_table;

pub use image::{OpenOptions, Qcow2};
pub use map::{Extent, Location};
pub use qcow2_disk::Qcow2Disk;
