//! FVD images.
//!
//! | part | files |
//! |---|---|
//! | what is on disk | [`header`], [`geometry`], [`bitmap`], [`table`], [`journal`] |
//! | offline | [`create`], [`check`], [`grow`], [`probe`](probe::probe) |
//! | opening and closing | `open`, `recover`, `close` |
//! | where things live | [`map`], [`maps`], `shared_maps`, `chunk_space` |
//! | deciding | `plan`, `runs`, `journal_plan` |
//! | doing | `read`, `write`, `store`, `record`, `copy_on_read`, `prefetch`, `flush` |
//! | what must be durable before what | `barrier`, `flushes`, `dirty`, `journal_space`, `write_maps` |
//!
//! The crate's README draws the layouts and argues why no power cut loses anything.

mod barrier;
pub mod bitmap;
pub mod changed;
pub mod check;
mod chunk_space;
mod close;
mod copy_on_read;
pub mod create;
mod create_options;
mod dirty;
pub mod events;
mod flush;
mod flushes;
mod fvd_disk;
pub mod geometry;
pub mod grow;
pub mod header;
mod image;
pub mod journal;
mod journal_plan;
mod journal_space;
pub mod map;
pub mod maps;
mod open;
mod physical_set;
mod plan;
pub mod planted;
mod prefetch;
pub mod probe;
mod read;
mod record;
mod recover;
mod runs;
mod shared_maps;
mod store;
mod store_long;
pub mod table;
mod throughput;
mod validate;
mod write;
mod write_maps;

pub use barrier::Disks;
pub use fvd_disk::FvdDisk;
pub use image::{Fvd, OpenOptions, PrefetchState, State};
pub use map::{Extent, Location};
