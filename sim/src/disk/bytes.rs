//! Bytes on their way to the medium: shared slices, and extents that say where they go.

use std::ops::Deref;
use std::sync::Arc;

use plugpull_engine::ByteRange;

use super::image::Image;

/// A byte count or offset that is known to fit in memory.
///
/// # Panics
/// If it does not.
pub(crate) fn in_memory(len: u64) -> usize {
    usize::try_from(len).expect("a length that fits in memory")
}

/// Part of a shared buffer; a clone copies no bytes.
#[derive(Debug, Clone)]
pub(crate) struct Slice {
    data: Arc<[u8]>,
    start: usize,
    len: usize,
}

impl Slice {
    /// All of a buffer.
    pub(crate) fn new(data: Arc<[u8]>) -> Self {
        let len = data.len();
        Self { data, start: 0, len }
    }

    /// `len` bytes of it from `start` on.
    pub(crate) fn part(&self, start: usize, len: usize) -> Self {
        assert!(start + len <= self.len, "part {start}+{len} of a slice of {}", self.len);
        Self { data: Arc::clone(&self.data), start: self.start + start, len }
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.data[self.start..self.start + self.len]
    }
}

/// A range of the disk and the bytes that go there.
#[derive(Debug, Clone)]
pub(crate) struct Extent {
    range: ByteRange,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    /// As many bytes as the range has.
    Data(Slice),
    /// One sector of equal bytes, repeated.
    Fill(Slice),
}

impl Extent {
    /// `data` at `offset`.
    pub(crate) fn data(offset: u64, data: Slice) -> Self {
        Self { range: ByteRange::new(offset, data.len() as u64), source: Source::Data(data) }
    }

    /// `range` filled with the byte that `sector`, a whole sector, consists of.
    pub(crate) fn fill(range: ByteRange, sector: Slice) -> Self {
        Self { range, source: Source::Fill(sector) }
    }

    /// Where it goes.
    pub(crate) fn range(&self) -> ByteRange {
        self.range
    }

    /// The bytes that go there; of equal ones, one sector.
    pub(crate) fn source_bytes(&self) -> &[u8] {
        match &self.source {
            Source::Data(bytes) | Source::Fill(bytes) => bytes,
        }
    }

    /// Writes it to an image, without what lies past the end.
    fn write_to(&self, image: &mut Image, sector_len: usize) {
        match &self.source {
            Source::Data(data) => write_clipped(image, self.range.offset, data),
            Source::Fill(_) => {
                for part in self.parts(sector_len) {
                    part.write_to(image, sector_len);
                }
            }
        }
    }

    /// The pieces that fall into one medium sector each, in ascending order.
    pub(crate) fn parts(&self, sector_len: usize) -> impl Iterator<Item = Part> + '_ {
        let unit = sector_len as u64;
        self.range.units(unit).map(move |sector| {
            let range = ByteRange::new(sector * unit, unit).intersection(self.range);
            let len = in_memory(range.len);
            let bytes = match &self.source {
                Source::Data(data) => data.part(in_memory(range.offset - self.range.offset), len),
                Source::Fill(fill) => fill.part(0, len),
            };
            Part { sector, start: in_memory(range.offset - sector * unit), bytes }
        })
    }
}

/// The piece of an extent in one medium sector.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Index of the sector.
    pub(crate) sector: u64,
    /// First byte within the sector.
    pub(crate) start: usize,
    /// The bytes.
    pub(crate) bytes: Slice,
}

impl Part {
    /// Where on the disk it starts.
    pub(crate) fn offset(&self, sector_len: usize) -> u64 {
        self.sector * sector_len as u64 + self.start as u64
    }

    /// Writes it to an image, without what lies past the end.
    pub(crate) fn write_to(&self, image: &mut Image, sector_len: usize) {
        write_clipped(image, self.offset(sector_len), &self.bytes);
    }
}

/// Writes bytes to an image, without those past its end.
pub(crate) fn write_clipped(image: &mut Image, offset: u64, bytes: &[u8]) {
    let room = image.len().saturating_sub(offset).min(bytes.len() as u64);
    if room > 0 {
        image.write(offset, &bytes[..in_memory(room)]);
    }
}

/// What a request does to the disk once it takes effect.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Puts bytes in place. More than one extent only if it wrapped round the end of the disk.
    Write(Vec<Extent>),
    /// Sets the length.
    Resize(u64),
}

impl Change {
    /// Makes the change to an image whose length is the disk's length.
    pub(crate) fn apply(&self, image: &mut Image, sector_len: usize) {
        match self {
            Self::Write(extents) => {
                for extent in extents {
                    extent.write_to(image, sector_len);
                }
            }
            Self::Resize(len) => image.set_len(*len),
        }
    }
}
