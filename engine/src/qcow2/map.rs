//! Where guest bytes live.

use crate::units::ByteRange;

/// Where a guest range lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Location {
    /// In the backing file, at the same offset; past its end, or without one, nowhere: zeros.
    Backing,
    /// Nowhere: zeros.
    Zero,
    /// In the image file, or in the external data file.
    Data {
        /// First byte there.
        offset: u64,
    },
    /// Compressed, in the image file.
    Compressed {
        /// First byte of the compressed data.
        offset: u64,
        /// Bytes up to the end of its last sector.
        len: u64,
        /// Where in the cluster that is compressed the guest range starts.
        skip: u64,
    },
}

/// A guest range that lives in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extent {
    /// The guest range.
    pub range: ByteRange,
    /// Where it is.
    pub location: Location,
}
