//! qcow2 images, versions 2 and 3.
//!
//! The crate's README draws the layouts and argues why no power cut loses anything.

pub mod bitmap_directory;
pub mod check;
mod claims;
pub mod compress;
pub mod create;
mod create_options;
pub mod events;
pub mod extension;
pub mod features;
pub mod geometry;
pub mod header;
mod header_bytes;
mod image;
mod judge;
pub mod l2;
mod map;
mod number;
pub mod planted;
pub mod probe;
mod problem;
mod qcow2_disk;
mod rebuild;
pub mod refcount;
mod references;
mod region;
pub mod repair;
pub mod snapshot_table;
mod survey;
mod tables;
mod writer;

pub use image::{OpenOptions, Qcow2};
pub use map::{Extent, Location};
pub use qcow2_disk::Qcow2Disk;
