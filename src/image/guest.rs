//! The guest's disk in a file of any format.

use std::path::PathBuf;
use std::sync::Arc;

use plugpull_engine::file_disk::FileDisk;
use plugpull_engine::fvd::{Fvd, FvdDisk};
use plugpull_engine::qcow2::{Qcow2, Qcow2Disk, header::Header};
use plugpull_engine::{ByteRange, Disk, Error, SECTOR, WriteFlags};

use super::error::{disk_error, image_error};
use super::extent::{self, Extent, Place};
use super::format::Format;
use super::resolver::Files;
use super::size::{PIECE, in_memory};
use crate::failure::Failure;

/// An open image: what the guest sees of it.
pub(super) struct Guest {
    pub(super) file: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) image: Image,
}

/// What the guest's disk is stored in.
pub(super) enum Image {
    Raw(Arc<FileDisk>),
    Fvd(Fvd),
    Qcow2 { qcow2: Qcow2, has_base: bool },
}

impl Image {
    /// Opens what is in `file`; `files` opens what it names.
    pub(super) async fn open(
        file: FileDisk,
        format: Format,
        files: Files,
    ) -> Result<(Self, Arc<dyn Disk>), Error> {
        let file = Arc::new(file);
        match format {
            Format::Raw => Ok((Self::Raw(Arc::clone(&file)), file)),
            Format::Fvd => {
                let fvd = Fvd::open(file, files.into_fvd_options()).await?;
                Ok((Self::Fvd(fvd.clone()), Arc::new(FvdDisk::new(fvd))))
            }
            Format::Qcow2 => {
                let has_base = Header::read(&*file).await?.backing_file.is_some();
                let access = files.access;
                let qcow2 = Qcow2::open(file, files.into_qcow2_options()).await?;
                let disk = Arc::new(Qcow2Disk::new(qcow2.clone(), access));
                Ok((Self::Qcow2 { qcow2, has_base }, disk))
            }
        }
    }
}

impl Guest {
    pub(super) fn len(&self) -> u64 {
        self.disk.len()
    }

    pub(super) fn range(&self) -> ByteRange {
        ByteRange::new(0, self.len())
    }

    /// Fails unless the range lies inside the disk.
    pub(super) fn must_contain(&self, range: ByteRange) -> Result<(), Failure> {
        if self.range().contains(range) {
            return Ok(());
        }
        let message = format!("bytes {range} are not inside the disk of {} bytes", self.len());
        Err(super::error::file_error(&self.file, message))
    }

    /// Reads a range that fits in memory.
    pub(super) async fn read(&self, range: ByteRange) -> Result<Vec<u8>, Failure> {
        let read = self.disk.read(range.offset, in_memory(range)).await;
        read.map_err(|error| disk_error(&self.file, &error))
    }

    /// Writes bytes anywhere inside the disk.
    pub(super) async fn write(&self, offset: u64, data: Vec<u8>) -> Result<(), Failure> {
        let range = ByteRange::new(offset, data.len() as u64);
        let sectors = self.sectors(range);
        let data = if sectors == range {
            data
        } else {
            let mut bytes = self.read(sectors).await?;
            let skip = in_memory(ByteRange::between(sectors.offset, range.offset));
            bytes[skip..skip + data.len()].copy_from_slice(&data);
            bytes
        };
        let write = self.disk.write(sectors.offset, data, WriteFlags::NONE).await;
        write.map_err(|error| disk_error(&self.file, &error))
    }

    /// What has to be written to write `range`: images take whole sectors only.
    fn sectors(&self, range: ByteRange) -> ByteRange {
        match self.image {
            Image::Raw(_) => range,
            Image::Fvd(_) | Image::Qcow2 { .. } => range.aligned_out(SECTOR),
        }
    }

    /// Writes whole clusters of a qcow2 image, compressed where that makes them smaller.
    pub(super) async fn write_compressed(&self, offset: u64, data: Vec<u8>) -> Result<(), Failure> {
        let Image::Qcow2 { qcow2, .. } = &self.image else {
            return self.write(offset, data).await;
        };
        let mut data = data;
        // Only the end of the disk is no whole sector.
        data.resize(data.len().next_multiple_of(in_memory(ByteRange::new(0, SECTOR))), 0);
        let written = qcow2.write_compressed(offset, data).await;
        written.map_err(|error| image_error(&self.file, &error))
    }

    /// Makes a range inside the disk read as zeros; with `unmap` its storage may be given up.
    pub(super) async fn write_zeroes(&self, range: ByteRange, unmap: bool) -> Result<(), Failure> {
        let whole = ByteRange::between(
            range.offset.next_multiple_of(SECTOR),
            range.end() / SECTOR * SECTOR,
        );
        match &self.image {
            Image::Qcow2 { qcow2, .. } if !whole.is_empty() => {
                self.zero_by_writing(ByteRange::between(range.offset, whole.offset)).await?;
                let zeroed = qcow2.write_zeroes(whole, unmap).await;
                zeroed.map_err(|error| image_error(&self.file, &error))?;
                self.zero_by_writing(ByteRange::between(whole.end(), range.end())).await
            }
            // A hole in a file reads as zeros.
            Image::Raw(file) if unmap && !file.is_device() => {
                let discarded = file.discard(range.offset, range.len).await;
                discarded.map_err(|error| disk_error(&self.file, &error))
            }
            _ => self.zero_by_writing(range).await,
        }
    }

    async fn zero_by_writing(&self, range: ByteRange) -> Result<(), Failure> {
        for piece in super::size::pieces(range) {
            self.write(piece.offset, vec![0; in_memory(piece)]).await?;
        }
        Ok(())
    }

    /// Tells the image that a range of whole sectors is no longer needed.
    pub(super) async fn discard(&self, range: ByteRange) -> Result<(), Failure> {
        let discarded = self.disk.discard(range.offset, range.len).await;
        discarded.map_err(|error| disk_error(&self.file, &error))
    }

    /// Changes what the guest sees to `len` bytes.
    pub(super) async fn resize(&self, len: u64) -> Result<(), Failure> {
        let resized = match &self.image {
            Image::Fvd(_) => Err(Error::Unsupported(
                "an FVD image has a fixed size; convert it to qcow2 or raw, or make a new one"
                    .to_owned(),
            )),
            Image::Qcow2 { qcow2, .. } => qcow2.resize(len).await,
            Image::Raw(file) => {
                let resized = file.resize(len).await;
                return resized.map_err(|error| disk_error(&self.file, &error));
            }
        };
        resized.map_err(|error| image_error(&self.file, &error))
    }

    /// Where a range lives, in order and without gaps.
    pub(super) async fn map(&self, range: ByteRange) -> Result<Vec<Extent>, Failure> {
        match &self.image {
            Image::Raw(file) => {
                extent::of_raw(file, range).map_err(|error| disk_error(&self.file, &error))
            }
            Image::Fvd(fvd) => Ok(fvd.map(range).into_iter().map(Extent::from).collect()),
            Image::Qcow2 { qcow2, has_base } => {
                let mapped = qcow2.map(range).await;
                let extents = mapped.map_err(|error| image_error(&self.file, &error))?;
                let extents = extents.into_iter();
                Ok(extents.map(|extent| extent::of_qcow2(extent, *has_base)).collect())
            }
        }
    }

    /// The parts of a range that may hold anything but zeros, in order.
    pub(super) async fn data(&self, range: ByteRange) -> Result<Vec<ByteRange>, Failure> {
        let extents = self.map(range).await?;
        let data = extents.into_iter().filter(|extent| extent.place != Place::Zero);
        Ok(data.map(|extent| extent.range).collect())
    }

    /// Bytes that take storage as one: what is written in parts of them costs as much as a whole.
    pub(super) fn grain(&self) -> u64 {
        match &self.image {
            Image::Raw(_) | Image::Fvd(_) => 4096,
            Image::Qcow2 { qcow2, .. } => qcow2.cluster_len().clamp(4096, PIECE),
        }
    }

    /// Makes everything durable and closes the image.
    pub(super) async fn close(self) -> Result<(), Failure> {
        let closed = match &self.image {
            Image::Fvd(fvd) => fvd.close().await,
            Image::Qcow2 { qcow2, .. } => qcow2.close().await,
            Image::Raw(_) => {
                let flushed = self.disk.flush().await;
                return flushed.map_err(|error| disk_error(&self.file, &error));
            }
        };
        closed.map_err(|error| image_error(&self.file, &error))
    }
}
