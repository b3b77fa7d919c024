//! Making the virtual disk of a closed image larger.
//!
//! Only the header changes: the table has entries to spare up to the end of its last page, which
//! were empty from the start, and a flat image needs no map for what lies past its base. So the
//! change is one sector. What the guest will see there must be zero before the header says so.
//!
//! # Source
//! FVD version 1, `update size=`, which did not check that the table has room, so that the table
//! ran into the journal.

use crate::disk::{Disk, WriteFlags};
use crate::error::Error;
use crate::fvd::geometry::Geometry;
use crate::fvd::header::{Header, offset};
use crate::fvd::planted::{Bug, PlantedBugs};
use crate::fvd::table::{DIRTY, EMPTY};
use crate::units::{ByteRange, SECTOR};

/// Bytes zeroed by one write.
const PIECE_LEN: u64 = 64 * 1024;
/// Sector of the header that holds the size.
const SIZE_SECTOR: usize = offset::virtual_disk_size / 512;

const _: () = assert!((offset::virtual_disk_size + 8).div_ceil(512) == SIZE_SECTOR + 1);

/// Enlarges the virtual disk of the image on `metadata` to `virtual_size`, rounded up to 512, and
/// returns the new header. `data` is the image's data file, if it has one. Nobody else may have
/// the image open.
///
/// # Errors
/// Nothing is written if the size would shrink, the image was not closed cleanly, the table's
/// region has no room for the new chunks, or old content of the storage could show up and cannot
/// be cleared. Errors of the disks are passed on; the size is then the old or the new one.
pub async fn grow(
    metadata: &dyn Disk,
    data: Option<&dyn Disk>,
    virtual_size: u64,
    planted: PlantedBugs,
) -> Result<Header, Error> {
    let mut header = Header::read(metadata).await?;
    let old = Geometry::validate(&header, metadata.len(), PlantedBugs::NONE)?;
    if !header.is_clean() {
        return Err(Error::Unsupported(
            "growing an image that was not closed cleanly; open and close it first".into(),
        ));
    }
    let invalid = |rule, found| Error::InvalidArgument { what: "new size", rule, found };
    let new_size = virtual_size.checked_next_multiple_of(SECTOR).unwrap_or(u64::MAX);
    header.virtual_disk_size =
        i64::try_from(new_size).map_err(|_| invalid("is below 2^63", virtual_size.to_string()))?;
    if new_size < old.virtual_size {
        return Err(invalid("is not below the old size", format!("{new_size}")));
    }
    if new_size == old.virtual_size {
        return Ok(header);
    }
    if data.is_some() != old.separate_data {
        return Err(Error::InvalidArgument {
            what: "data file",
            rule: "is open if and only if the image has one",
            found: data.is_some().to_string(),
        });
    }
    if !planted.has(Bug::GrowKeepsSmallTable) {
        match Geometry::validate(&header, metadata.len(), PlantedBugs::NONE) {
            Ok(new) => check_spare_entries(metadata, &old, &new).await?,
            Err(Error::Corrupt { rule, found, .. }) => return Err(invalid(rule, found)),
            Err(error) => return Err(error),
        }
    }
    clear_past_end(metadata, data.unwrap_or(metadata), &old).await?;
    let sector = header.sector_with(SIZE_SECTOR).to_vec();
    write(metadata, (SIZE_SECTOR * 512) as u64, sector, "write header").await?;
    flush(metadata).await?;
    Ok(header)
}

/// The entries that the new size brings into use are empty: creation filled the whole region.
async fn check_spare_entries(
    metadata: &dyn Disk,
    old: &Geometry,
    new: &Geometry,
) -> Result<(), Error> {
    let (Some(old), Some(new)) = (&old.compact, &new.compact) else { return Ok(()) };
    // What follows the region is not known to be empty, even where nothing else claims it.
    if new.table != old.table {
        return Err(Error::InvalidArgument {
            what: "new size",
            rule: "the table's region has room for all entries",
            found: format!("{} entries in {} bytes", new.entries, old.table.len),
        });
    }
    let spare = ByteRange::between(
        old.table.offset + u64::from(old.entries) * 4,
        old.table.end().min(new.table.offset + u64::from(new.entries) * 4),
    );
    // Less than a page, because the region is as short as its entries allow.
    let len = usize::try_from(spare.len).expect("the padding is less than a page");
    let bytes = metadata.read(spare.offset, len).await;
    let bytes = bytes.map_err(|error| Error::disk("read table", error))?;
    let is_empty = bytes.iter().all(|&byte| byte == 0xFF);
    if is_empty { Ok(()) } else { Err(Error::corrupt("table", "padding is FF", "something else")) }
}

/// Makes the storage read as zero from the old end of the virtual disk on.
async fn clear_past_end(
    metadata: &dyn Disk,
    storage: &dyn Disk,
    old: &Geometry,
) -> Result<(), Error> {
    if old.compact.is_some() {
        return clear_last_chunk(metadata, storage, old).await;
    }
    let end = old.data_offset + old.virtual_size;
    if storage.len() <= end {
        return Ok(());
    }
    if !storage.properties().resizable {
        return Err(Error::Unsupported(
            "growing a flat image on a device: what is past its end may be anything".into(),
        ));
    }
    let shortened = storage.resize(end).await;
    shortened.map_err(|error| Error::disk("shorten the data storage", error))?;
    flush(storage).await
}

/// Zeroes the part of the last chunk that the guest could not see so far.
async fn clear_last_chunk(
    metadata: &dyn Disk,
    storage: &dyn Disk,
    old: &Geometry,
) -> Result<(), Error> {
    let Some(compact) = &old.compact else { return Ok(()) };
    let used = old.virtual_size % compact.chunk_len;
    if used == 0 {
        return Ok(());
    }
    let at = compact.table.offset + u64::from(compact.entries - 1) * 4;
    let bytes = metadata.read(at, 4).await.map_err(|error| Error::disk("read table", error))?;
    let entry = u32::from_le_bytes(bytes.as_slice().try_into().expect("read what was asked for"));
    if entry == EMPTY {
        return Ok(());
    }
    let physical_limit = old.physical_limit(storage.len());
    if entry & DIRTY != 0 || entry >= physical_limit {
        let found = format!("entry {}: {entry:#x} of {physical_limit}", compact.entries - 1);
        return Err(Error::corrupt("table", "an entry lies within the data", found));
    }
    if !old.is_aligned() {
        return Err(Error::Unsupported("writing to data that starts inside a sector".into()));
    }
    let chunk = old.chunk_offset(entry);
    let mut at = chunk + used;
    while at < chunk + compact.chunk_len {
        let len = PIECE_LEN.min(chunk + compact.chunk_len - at);
        let zeros = vec![0; usize::try_from(len).expect("a piece is small")];
        write(storage, at, zeros, "clear the end of the last chunk").await?;
        at += len;
    }
    flush(storage).await
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
