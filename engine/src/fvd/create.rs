//! Making an image.
//!
//! Regions follow each other in the order header, bitmap, table, journal, data, each a whole number
//! of pages. Ordering: whatever was there is made unrecognizable first; then the maps, the header
//! without its first sector, and last the first sector with the magic, a flush after each. A crash
//! in between leaves no image, never one with missing maps.
//!
//! # Source
//! FVD version 1, create. Deliberate differences: the original wrote the header first and never
//! flushed; its scan for holes mixed up sectors and bytes and missed most of them; and an unused
//! journal size moved the data to an unaligned place.

use crate::disk::{Disk, WriteFlags};
use crate::error::Error;
use crate::fvd::bitmap::Bitmap;
use crate::fvd::create_options::{invalid, round_up, size};
use crate::fvd::geometry::Geometry;
use crate::fvd::header::{Header, SECTOR_LEN};
use crate::fvd::planted::PlantedBugs;
use crate::units::ByteRange;

pub use super::create_options::{
    BaseOptions, CompactOptions, CreateOptions, JournalSize, PrefetchOptions,
};

/// Bytes read or written by one request.
const PIECE_LEN: u64 = 64 * 1024;

/// Makes an image on `metadata`, replacing whatever is there, and returns its header. `base` is the
/// open base that the options name.
///
/// # Errors
/// [`Error::InvalidArgument`] for options that make no image, before anything is written;
/// otherwise those of the disks, after which there is no image.
pub async fn create(
    metadata: &dyn Disk,
    options: &CreateOptions,
    base: Option<&dyn Disk>,
) -> Result<Header, Error> {
    if base.is_some() != options.base.is_some() {
        return Err(invalid("base", "is open if and only if it is named", base.is_some()));
    }
    let header = options.header(base.map_or(0, Disk::len))?;
    let metadata_len = size(header.metadata_size);
    let geometry =
        Geometry::validate(&header, metadata_len, PlantedBugs::NONE).map_err(as_argument)?;
    let mut bitmap = geometry.base.as_ref().map(|it| Bitmap::new(it.blocks, it.bitmap.len));
    let window = options.base.as_ref().and_then(|base| base.detect_sparse_hole);
    if let (Some(base), Some(window), Some(bitmap)) = (base, window, &mut bitmap) {
        mark_holes(base, &geometry, window, bitmap).await?;
    }

    let is_zero = clear(metadata, metadata_len).await?;
    write_maps(metadata, &geometry, bitmap.as_ref(), is_zero).await?;
    flush(metadata).await?;
    let mut bytes = header.encode();
    let rest = bytes.split_off(SECTOR_LEN);
    write(metadata, SECTOR_LEN as u64, rest, "write header").await?;
    flush(metadata).await?;
    write(metadata, 0, bytes, "write header").await?;
    flush(metadata).await?;
    Ok(header)
}

/// Marks the blocks of every window of the base that holds only zeros.
async fn mark_holes(
    base: &dyn Disk,
    geometry: &Geometry,
    window: u64,
    bitmap: &mut Bitmap,
) -> Result<(), Error> {
    let Some(it) = &geometry.base else { return Ok(()) };
    let window = round_up(window.min(it.len.max(1)), it.block_len, "hole window")?;
    let mut start = 0;
    while start < it.len {
        let range = ByteRange::between(start, it.len.min(start + window));
        if is_zero(base, range).await? {
            bitmap.set_range(geometry.blocks(range));
        }
        start += window;
    }
    Ok(())
}

async fn is_zero(base: &dyn Disk, range: ByteRange) -> Result<bool, Error> {
    let mut at = range.offset;
    while at < range.end() {
        let len = PIECE_LEN.min(range.end() - at);
        let bytes = base
            .read(at, usize::try_from(len).expect("a piece is small"))
            .await
            .map_err(|error| Error::disk("scan the base for holes", error))?;
        if bytes.iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        at += len;
    }
    Ok(true)
}

/// Makes sure that no image can be seen on `metadata`, which has at least `len` bytes afterwards.
/// Returns whether they are known to be zero.
async fn clear(metadata: &dyn Disk, len: u64) -> Result<bool, Error> {
    let resize = |len| {
        let resized = metadata.resize(len);
        async move { resized.await.map_err(|error| Error::disk("resize the image", error)) }
    };
    let properties = metadata.properties();
    if properties.resizable {
        if !metadata.is_empty() {
            resize(0).await?;
            flush(metadata).await?;
        }
        resize(len).await?;
        return Ok(true);
    }
    if metadata.len() < len {
        return Err(invalid("disk", "is large enough for header and maps", metadata.len()));
    }
    write(metadata, 0, vec![0; SECTOR_LEN], "clear the old header").await?;
    flush(metadata).await?;
    Ok(false)
}

async fn write_maps(
    metadata: &dyn Disk,
    geometry: &Geometry,
    bitmap: Option<&Bitmap>,
    is_zero: bool,
) -> Result<(), Error> {
    let bitmap = bitmap.filter(|bitmap| !is_zero || bitmap.count_set() > 0);
    if let (Some(base), Some(bitmap)) = (&geometry.base, bitmap) {
        let mut at = base.bitmap.offset;
        for piece in bitmap.as_bytes().chunks(usize::try_from(PIECE_LEN).expect("small")) {
            write(metadata, at, piece.to_vec(), "write bitmap").await?;
            at += piece.len() as u64;
        }
    }
    if let Some(compact) = &geometry.compact {
        fill(metadata, compact.table, 0xFF).await?;
    }
    if let Some(journal) = geometry.journal.as_ref().filter(|_| !is_zero) {
        fill(metadata, journal.range, 0).await?;
    }
    Ok(())
}

async fn fill(metadata: &dyn Disk, range: ByteRange, byte: u8) -> Result<(), Error> {
    let mut at = range.offset;
    while at < range.end() {
        let len = PIECE_LEN.min(range.end() - at);
        let bytes = vec![byte; usize::try_from(len).expect("a piece is small")];
        write(metadata, at, bytes, "write maps").await?;
        at += len;
    }
    Ok(())
}

async fn write(
    disk: &dyn Disk,
    offset: u64,
    bytes: Vec<u8>,
    doing: &'static str,
) -> Result<(), Error> {
    disk.write(offset, bytes, WriteFlags::NONE).await.map_err(|error| Error::disk(doing, error))
}

async fn flush(disk: &dyn Disk) -> Result<(), Error> {
    disk.flush().await.map_err(|error| Error::disk("flush the image", error))
}

/// Options that give a header which the geometry refuses.
fn as_argument(error: Error) -> Error {
    match error {
        Error::Corrupt { rule, found, .. } => {
            Error::InvalidArgument { what: "options", rule, found }
        }
        other => other,
    }
}
