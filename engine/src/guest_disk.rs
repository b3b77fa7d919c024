//! What an open image shows its guest, as a disk: so that it can be the base of another image.

use std::future::Future;

use crate::disk::{Disk, DiskError, DiskErrorKind, DiskProperties, IoFuture, WriteFlags};
use crate::error::{Error, ErrorKind};
use crate::units::{ByteRange, SECTOR};

/// An open image of any format. Ranges are in whole sectors, except that they may end where the
/// virtual disk does.
pub trait GuestImage: Clone + Send + Sync + 'static {
    /// Whether [`GuestImage::resize`] can succeed.
    const RESIZABLE: bool;

    /// Bytes the guest sees now.
    fn len(&self) -> u64;

    /// Whether the guest sees no byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads a range.
    fn read(&self, range: ByteRange) -> impl Future<Output = Result<Vec<u8>, Error>> + Send;

    /// Writes `data` at `offset`.
    fn write(&self, offset: u64, data: Vec<u8>) -> impl Future<Output = Result<(), Error>> + Send;

    /// Makes everything that completed before this call survive a power cut.
    fn flush(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Gives up the content of a range, as far as the format can.
    fn discard(&self, range: ByteRange) -> impl Future<Output = Result<(), Error>> + Send;

    /// Changes the size of the virtual disk.
    fn resize(&self, len: u64) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The guest's view of an open image, as a disk.
///
/// Unlike with other disks a request begins when its future is first polled.
#[derive(Clone)]
pub struct GuestDisk<G> {
    guest: G,
    writable: bool,
}

impl<G: GuestImage> GuestDisk<G> {
    pub(crate) fn of(guest: G, writable: bool) -> Self {
        Self { guest, writable }
    }

    /// Runs a request on the image.
    fn request<T, F>(&self, request: impl FnOnce(G) -> F + Send + 'static) -> IoFuture<T>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        let guest = self.guest.clone();
        Box::pin(async move { request(guest).await.map_err(disk_error) })
    }
}

impl<G: GuestImage> Disk for GuestDisk<G> {
    fn read(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        self.request(move |guest| async move {
            // Whole sectors around what is asked for, without what lies past the end.
            let asked = ByteRange::new(offset, len as u64);
            let inside = asked.intersection(ByteRange::new(0, guest.len()));
            if inside.is_empty() {
                return Ok(vec![0; len]);
            }
            let sectors = inside.aligned_out(SECTOR);
            let mut bytes = guest.read(sectors).await?;
            let skip = usize::try_from(inside.offset - sectors.offset).expect("below a sector");
            bytes.drain(..skip.min(bytes.len()));
            bytes.resize(len, 0);
            let inside = usize::try_from(inside.len).expect("at most len");
            bytes[inside..].fill(0);
            Ok(bytes)
        })
    }

    fn write(&self, offset: u64, data: Vec<u8>, flags: WriteFlags) -> IoFuture<()> {
        self.request(move |guest| async move {
            if flags.preflush {
                guest.flush().await?;
            }
            guest.write(offset, data).await?;
            if flags.fua { guest.flush().await } else { Ok(()) }
        })
    }

    fn flush(&self) -> IoFuture<()> {
        self.request(|guest| async move { guest.flush().await })
    }

    fn discard(&self, offset: u64, len: u64) -> IoFuture<()> {
        self.request(move |guest| async move { guest.discard(ByteRange::new(offset, len)).await })
    }

    fn resize(&self, len: u64) -> IoFuture<()> {
        if !G::RESIZABLE {
            let error = DiskError::new(DiskErrorKind::NoSpace, "an open image has a fixed size");
            return Box::pin(std::future::ready(Err(error)));
        }
        self.request(move |guest| async move { guest.resize(len).await })
    }

    fn len(&self) -> u64 {
        self.guest.len()
    }

    fn properties(&self) -> DiskProperties {
        DiskProperties {
            sector_len: 512,
            resizable: G::RESIZABLE,
            zero_init: false,
            writable: self.writable,
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
