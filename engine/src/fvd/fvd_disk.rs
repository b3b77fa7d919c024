//! An FVD image as a disk, so that it can be the base of another one.

use super::image::Fvd;
use crate::disk::{Disk, DiskError, DiskErrorKind, DiskProperties, IoFuture, WriteFlags};
use crate::error::{Error, ErrorKind};
use crate::units::{ByteRange, SECTOR};

/// The guest's view of an open image, as a disk of fixed length.
///
/// Unlike with other disks a request begins when its future is first polled.
#[derive(Clone)]
pub struct FvdDisk {
    fvd: Fvd,
}

impl FvdDisk {
    /// The disk that `fvd` shows its guest.
    #[must_use]
    pub fn new(fvd: Fvd) -> Self {
        Self { fvd }
    }
}

impl Disk for FvdDisk {
    fn read(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        let fvd = self.fvd.clone();
        Box::pin(async move {
            // Whole sectors around what is asked for, without what lies past the end.
            let asked = ByteRange::new(offset, len as u64);
            let inside = asked.intersection(ByteRange::new(0, fvd.virtual_size()));
            if inside.is_empty() {
                return Ok(vec![0; len]);
            }
            let sectors = inside.aligned_out(SECTOR);
            let mut bytes = fvd.read(sectors).await.map_err(disk_error)?;
            let skip = usize::try_from(inside.offset - sectors.offset).expect("below a sector");
            bytes.drain(..skip.min(bytes.len()));
            bytes.resize(len, 0);
            let inside = usize::try_from(inside.len).expect("at most len");
            bytes[inside..].fill(0);
            Ok(bytes)
        })
    }

    fn write(&self, offset: u64, data: Vec<u8>, flags: WriteFlags) -> IoFuture<()> {
        let fvd = self.fvd.clone();
        Box::pin(async move {
            if flags.preflush {
                fvd.flush().await.map_err(disk_error)?;
            }
            fvd.write(offset, data).await.map_err(disk_error)?;
            if flags.fua {
                fvd.flush().await.map_err(disk_error)?;
            }
            Ok(())
        })
    }

    fn flush(&self) -> IoFuture<()> {
        let fvd = self.fvd.clone();
        Box::pin(async move { fvd.flush().await.map_err(disk_error) })
    }

    fn discard(&self, _offset: u64, _len: u64) -> IoFuture<()> {
        // Chunks are never freed: the content stays, which a discard allows.
        Box::pin(std::future::ready(Ok(())))
    }

    fn resize(&self, _len: u64) -> IoFuture<()> {
        let error = DiskError::new(DiskErrorKind::NoSpace, "an open image has a fixed size");
        Box::pin(std::future::ready(Err(error)))
    }

    fn len(&self) -> u64 {
        self.fvd.virtual_size()
    }

    fn properties(&self) -> DiskProperties {
        DiskProperties {
            sector_len: 512,
            resizable: false,
            zero_init: false,
            writable: self.fvd.image.is_writable(),
        }
    }
}

fn disk_error(error: Error) -> DiskError {
    let kind = match error.kind() {
        ErrorKind::NoSpace => DiskErrorKind::NoSpace,
        ErrorKind::ReadOnly => DiskErrorKind::ReadOnly,
        ErrorKind::InvalidArgument => DiskErrorKind::OutOfRange,
        _ => DiskErrorKind::Io,
    };
    DiskError::new(kind, error.to_string())
}
