//! The running image.

use std::sync::Arc;

use super::geometry::Geometry;
use super::header::Header;
use super::map::Extent;
use super::planted::PlantedBugs;
use super::resolver::Resolver;
use crate::disk::Disk;
use crate::error::Error;
use crate::runtime::Runtime;
use crate::units::ByteRange;

/// What the image is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading: no disk is written, the journal is replayed in memory only.
    ReadOnly,
    /// Reading and writing.
    ReadWrite,
}

/// How to open an image.
#[derive(Clone)]
pub struct OpenOptions {
    /// Whether it can be written.
    pub access: Access,
    /// Whether a virtual machine runs on it: copy-on-read and prefetching do what the header says.
    /// Tools leave both off.
    pub background: bool,
    /// Opens the base and the data file.
    pub resolver: Arc<dyn Resolver>,
    /// The world around the image.
    pub runtime: Arc<dyn Runtime>,
    /// Faults to build in.
    pub planted: PlantedBugs,
}

/// Whether the rest of the base is being copied in the background.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrefetchState {
    /// Not asked for, or not for this kind of open.
    Off,
    /// Waiting for its start, pausing or copying.
    Running,
    /// An error ended it; the base is still needed.
    Disabled,
    /// Everything is local: the base is not needed any more.
    Finished,
}

/// An open FVD image. Clones are handles to the same image.
#[derive(Clone)]
pub struct Fvd {
    inner: Arc<Inner>,
}

struct Inner {
    header: Header,
    geometry: Geometry,
}

impl Fvd {
    /// Opens the image in `metadata`.
    ///
    /// # Errors
    /// Skeleton.
    pub async fn open(metadata: Arc<dyn Disk>, options: OpenOptions) -> Result<Self, Error> {
        let _ = (metadata, options);
        Err(Error::Closed)
    }

    /// Reads a guest range. Offset and length are multiples of 512.
    ///
    /// # Errors
    /// Skeleton.
    pub async fn read(&self, range: ByteRange) -> Result<Vec<u8>, Error> {
        let _ = range;
        Err(Error::Closed)
    }

    /// Writes `data` at `offset`. A caller that drops the future unfinished cannot know whether the
    /// write takes effect; if it does, it is before any later write to the same bytes.
    ///
    /// # Errors
    /// Skeleton.
    pub async fn write(&self, offset: u64, data: Vec<u8>) -> Result<(), Error> {
        let _ = (offset, data);
        Err(Error::Closed)
    }

    /// Makes every write completed before this call survive a power cut.
    ///
    /// # Errors
    /// Skeleton.
    pub async fn flush(&self) -> Result<(), Error> {
        Err(Error::Closed)
    }

    /// Closes the image: later requests fail with [`Error::Closed`].
    ///
    /// # Errors
    /// Skeleton.
    pub async fn close(&self) -> Result<(), Error> {
        Err(Error::Closed)
    }

    /// Where the guest range lives now.
    #[must_use]
    pub fn map(&self, range: ByteRange) -> Vec<Extent> {
        let _ = range;
        Vec::new()
    }

    /// The header, with the flags as they are now.
    #[must_use]
    pub fn header(&self) -> Header {
        self.inner.header.clone()
    }

    /// Where everything is.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.inner.geometry
    }

    /// Whether the rest of the base is being copied.
    #[must_use]
    pub fn prefetch_state(&self) -> PrefetchState {
        PrefetchState::Off
    }

    /// Bytes the guest sees.
    #[must_use]
    pub fn virtual_size(&self) -> u64 {
        self.inner.geometry.virtual_size
    }
}
