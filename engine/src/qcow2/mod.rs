//! qcow2 images, versions 2 and 3.
//!
//! | part | files |
//! |---|---|
//! | what is on disk | [`header`], [`extension`], [`features`], [`geometry`], [`l2`], [`refcount`], [`snapshot_table`], [`bitmap_directory`], [`compress`] |
//! | offline | [`create`], [`check`], [`repair`], [`probe`](probe::probe); `survey`, `references`, `visit`, `judge`, `claims`, `problem`, `rebuild`, `writer` |
//! | opening and closing | `open`, `close`, `first_write`, `bitmaps`, `store_bitmaps` |
//! | what is in memory | `handle`, `image`, `tables`, `slices`, `l1_table`, `refcount_table`, `fields`, [`owners`] |
//! | where things live | `lookup`, `refcounts`, `allocate`, `space`, `frees` |
//! | deciding | `plan` |
//! | doing | `read`, `write`, `fill`, `write_data`, `zero`, `write_compressed`, `link`, `give_up`, `resize` |
//! | snapshots | `snapshots`, `snapshot_tree`, `copied`, `read_snapshot`, `new_tables` |
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
mod copied;
pub mod create;
mod create_options;
mod disks;
pub mod events;
pub mod extension;
pub mod features;
mod fields;
mod fill;
mod first_write;
mod flush;
mod frees;
pub mod geometry;
mod give_up;
mod handle;
pub mod header;
mod header_bytes;
mod image;
mod judge;
mod l1_table;
pub mod l2;
mod link;
mod lookup;
mod map;
mod new_tables;
mod number;
mod open;
pub mod owners;
mod plan;
pub mod planted;
pub mod probe;
mod problem;
mod qcow2_disk;
mod read;
mod read_snapshot;
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
mod snapshot_tree;
mod snapshots;
mod space;
mod store_bitmaps;
mod survey;
mod tables;
mod visit;
mod write;
mod write_compressed;
mod write_data;
mod writer;
mod zero;

pub use bitmaps::BitmapInfo;
pub use disks::Disks;
pub use handle::Qcow2;
pub use image::{OpenOptions, State};
pub use map::{Extent, Location};
pub use qcow2_disk::Qcow2Disk;
