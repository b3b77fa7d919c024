//! FVD images.
//!
//! | part | files |
//! |---|---|
//! | what is on disk | [`header`], [`geometry`], [`bitmap`], [`table`], [`journal`] |
//! | opening and closing | `open`, `recover`, `close` |
//! | where things live | [`map`], [`maps`], `chunk_space` |
//! | deciding | `plan`, `runs`, `journal_plan` |
//! | doing | `read`, `write`, `store`, `record`, `copy_on_read`, `prefetch`, `flush` |
//! | what must be durable before what | `barrier`, `dirty`, `journal_space`, `write_maps` |
//!
//! The crate's README draws the layouts and argues why no power cut loses anything.

mod barrier;
pub mod bitmap;
pub mod changed;
