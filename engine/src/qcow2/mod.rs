//! qcow2 images, versions 2 and 3.
//!
//! | part | files |
//! |---|---|
//! | what is on disk | [`header`], [`extension`], [`features`], [`geometry`], [`l2`], [`refcount`], [`snapshot_table`], [`bitmap_directory`], [`compress`] |
//! | offline | [`probe`](probe::probe) |
//! | opening and closing | `open`, `close`, `first_write` |
//! | what is in memory | `image`, `tables`, `slices`, `l1_table`, `refcount_table`, `fields`, [`owners`] |
//! | where things live | `lookup`, `refcounts`, `allocate`, `space`, `frees` |
//! | deciding | `plan` |
//! | doing | `read`, `write`, `zero`, `write_compressed`, `link`, `snapshots`, `resize` |
//! | what must be durable before what | `batch`, `commit`, `disks`, `flush` |
//!
//! The crate's README argues why no power cut loses anything.

mod allocate;
mod batch;
pub mod bitmap_directory;
mod bitmaps;
pub mod check;
mod claims;
mod close;
mod commit;
pub mod compress;
pub mod create;
mod create_options;
mod disks;
pub mod events;
pub mod extension;
pub mod features;
mod fields;
mod first_write;
mod flush;
mod frees;
pub mod geometry;
pub mod header;
mod header_bytes;
mod image;
mod judge;
mod l1_table;
pub mod l2;
mod link;
mod lookup;
mod map;
mod number;
mod open;
pub mod owners;
mod plan;
pub mod planted;
pub mod probe;
mod problem;
mod qcow2_disk;
mod read;
mod rebuild;
pub mod refcount;
mod refcount_table;
mod refcounts;
mod references;
mod region;
pub mod repair;
mod resize;
mod slices;
pub mod snapshot_table;
mod snapshots;
mod space;
mod store_bitmaps;
mod survey;
mod tables;
mod visit;
mod write;
mod write_compressed;
mod writer;
mod zero;

pub use bitmaps::BitmapInfo;
pub use disks::Disks;
pub use image::{OpenOptions, Qcow2, State};
pub use map::{Extent, Location};
pub use qcow2_disk::Qcow2Disk;
