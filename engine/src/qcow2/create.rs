//! Making an image.
//!
//! Ordering: whatever was there is made unrecognizable first; then the tables and all of the header
//! but its first sector, and last the first sector with the magic, a flush after each. A crash in
//! between leaves no image, never one with missing tables.

use super::create_options::{Layout, rule};
use super::header::Header;
use super::refcount::RefcountWidth;
use crate::disk::{Disk, WriteFlags};
use crate::error::Error;
use crate::units::SECTOR;

pub use super::create_options::{BackingOptions, BitmapOptions, CreateOptions, DataFileOptions};

/// Bytes written by one request.
const PIECE_LEN: usize = 64 * 1024;

/// Makes an image on `file`, replacing whatever is there, and returns its header. A backing file or
/// data file is named, not looked at.
///
/// # Errors
/// [`Error::InvalidArgument`] for options that make no image, before anything is written; otherwise
/// those of the disk, after which there is no image.
pub async fn create(file: &dyn Disk, options: &CreateOptions) -> Result<Header, Error> {
    let (header, layout, directory) = options.header()?;
    let len = layout.clusters() * header.cluster_len();
    let is_zero = clear(file, len).await?;
    let writer = Writer { file, is_zero };
    writer.write_refcounts(&header, layout).await?;
    // An L1 table and bitmap tables without entries.
    let l1 = layout.l1_at() * header.cluster_len();
    writer.zero(l1, len - l1).await?;
    writer.write_directory(layout.directory_at() * header.cluster_len(), directory).await?;
    let mut first = header.to_bytes()?;
    let rest = first.split_off(512);
    writer.write(SECTOR, &rest).await?;
    flush(file).await?;
    write(file, 0, first).await?;
    flush(file).await?;
    Ok(header)
}

/// Makes sure that no image can be seen on `file`, which has at least `len` bytes afterwards.
/// Returns whether they are known to be zero.
async fn clear(file: &dyn Disk, len: u64) -> Result<bool, Error> {
    if !file.properties().resizable {
        rule(file.len() >= len, "disk", "is large enough for the metadata", file.len())?;
        write(file, 0, vec![0; 512]).await?;
        flush(file).await?;
        return Ok(false);
    }
    if !file.is_empty() {
        resize(file, 0).await?;
        flush(file).await?;
    }
    resize(file, len).await?;
    Ok(true)
}

struct Writer<'a> {
    file: &'a dyn Disk,
    /// Whether the file is zero where nothing was written.
    is_zero: bool,
}

impl Writer<'_> {
    /// The refcount table and the refcount blocks: one reference to each cluster of metadata.
    async fn write_refcounts(&self, header: &Header, layout: Layout) -> Result<(), Error> {
        let cluster_len = header.cluster_len();
        let block_offset = |block| (1 + layout.refcount_table + block) * cluster_len;
        let mut table: Vec<u8> = (0..layout.refcount_blocks)
            .flat_map(|block| block_offset(block).to_be_bytes())
            .collect();
        table.resize(memory_len(layout.refcount_table * cluster_len), 0);
        self.write(header.refcount_table_offset, &table).await?;
        let width =
            RefcountWidth::from_order(header.refcount_order).expect("an option that was checked");
        let entries = width.entries(cluster_len);
        for block in 0..layout.refcount_blocks {
            let mut bytes = vec![0; memory_len(cluster_len)];
            let used = (layout.clusters() - block * entries).min(entries);
            (0..used).for_each(|index| width.set(&mut bytes, index, 1));
            self.write(block_offset(block), &bytes).await?;
        }
        Ok(())
    }

    /// The bitmap directory, with zeros to the end of its last sector.
    async fn write_directory(&self, offset: u64, mut directory: Vec<u8>) -> Result<(), Error> {
        directory.resize(directory.len().next_multiple_of(512), 0);
        self.write(offset, &directory).await
    }

    async fn zero(&self, offset: u64, len: u64) -> Result<(), Error> {
        let mut at = 0;
        while at < len && !self.is_zero {
            let piece = vec![0; memory_len(len - at).min(PIECE_LEN)];
            self.write(offset + at, &piece).await?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    async fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut at = offset;
        for piece in bytes.chunks(PIECE_LEN) {
            if !self.is_zero || piece.iter().any(|&byte| byte != 0) {
                write(self.file, at, piece.to_vec()).await?;
            }
            at += piece.len() as u64;
        }
        Ok(())
    }
}

fn memory_len(len: u64) -> usize {
    usize::try_from(len).expect("metadata of a new image fits into memory")
}

async fn write(file: &dyn Disk, offset: u64, bytes: Vec<u8>) -> Result<(), Error> {
    let written = file.write(offset, bytes, WriteFlags::NONE).await;
    written.map_err(|error| Error::disk("write metadata", error))
}

async fn flush(file: &dyn Disk) -> Result<(), Error> {
    file.flush().await.map_err(|error| Error::disk("flush the image", error))
}

async fn resize(file: &dyn Disk, len: u64) -> Result<(), Error> {
    file.resize(len).await.map_err(|error| Error::disk("resize the image", error))
}
