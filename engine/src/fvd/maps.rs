//! The maps in memory: what is true now, and what the medium guarantees.

use std::ops::Range;

use super::bitmap::Bitmap;
use super::table::Table;

/// Bitmap and table of an opened image.
///
/// * `fresh` says what is true now: the data of the block is in storage.
/// * `stale`, a subset, says what journal and bitmap region promise after a power cut. The bits
///   between the two come from copy-on-read and prefetching, which write no journal.
/// * An entry of the table is *journaled* in the same sense, or *dirty*.
///
/// All three only ever grow: a bit stays set, a chunk stays where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maps {
    /// Blocks whose data is local.
    pub fresh: Bitmap,
    /// Blocks that are known to be local after a power cut.
    pub stale: Bitmap,
    /// Where chunks live.
    pub table: Table,
}
