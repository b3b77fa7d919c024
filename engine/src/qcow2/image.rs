//! The running image: its handle, and the state that its tasks share.

use std::future::Future;
use std::sync::Arc;

use super::map::Extent;
use super::planted::PlantedBugs;
use super::snapshot_table::Snapshot;
use crate::access::Access;
use crate::disk::Disk;
use crate::error::Error;
use crate::resolver::Resolver;
use crate::runtime::Runtime;
use crate::units::ByteRange;

/// How to open an image.
#[derive(Clone)]
pub struct OpenOptions {
    /// Whether it can be written.
    pub access: Access,
    /// Opens the backing file and the data file.
    pub resolver: Arc<dyn Resolver>,
    /// The world around the image.
    pub runtime: Arc<dyn Runtime>,
    /// Faults to build in.
    pub planted: PlantedBugs,
    /// Whether freed clusters are discarded in the file.
    pub discards: bool,
    /// Bytes of metadata tables that are read and kept as one: a power of two, at least 512; no
    /// more than a cluster is used.
    pub slice_len: u64,
    /// How many slices are kept in memory; at least one. Beyond it clean ones are dropped, and a
    /// write that has made too many dirty ones makes them durable before it ends.
    pub slices_max: usize,
}

impl OpenOptions {
    /// Slices of 4 KiB, at most 4096 of them, no host discards, no planted bugs.
    #[must_use]
    pub fn new(access: Access, resolver: Arc<dyn Resolver>, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            access,
            resolver,
            runtime,
            planted: PlantedBugs::NONE,
            discards: false,
            slice_len: 4096,
            slices_max: 4096,
        }
    }
}

/// An open qcow2 image. Clones are handles to the same image.
#[derive(Clone)]
pub struct Qcow2 {}

type Answer<T> = Result<T, Error>;

fn unbuilt<T: Send + 'static>() -> impl Future<Output = Answer<T>> + Send + 'static {
    std::future::ready(Err(Error::Unsupported("not built yet".into())))
}

impl Qcow2 {
    /// Opens the image in `file`. A dirty image that is opened for writing is repaired first.
    pub async fn open(file: Arc<dyn Disk>, options: OpenOptions) -> Answer<Self> {
        let _ = (file, options);
        unbuilt().await
    }

    /// Reads a guest range. Offset and length are multiples of 512.
    pub async fn read(&self, range: ByteRange) -> Answer<Vec<u8>> {
        let _ = range;
        unbuilt().await
    }

    /// Writes `data` at `offset`, both multiples of 512.
    pub fn write(
        &self,
        offset: u64,
        data: Vec<u8>,
    ) -> impl Future<Output = Answer<()>> + Send + 'static {
        let _ = (offset, data);
        unbuilt()
    }

    /// Writes whole clusters, compressed where that makes them smaller. Only the last one of the
    /// disk may be shorter.
    pub fn write_compressed(
        &self,
        offset: u64,
        data: Vec<u8>,
    ) -> impl Future<Output = Answer<()>> + Send + 'static {
        let _ = (offset, data);
        unbuilt()
    }

    /// Makes a range read as zeros. With `unmap`, host clusters are given up where possible.
    pub fn write_zeroes(
        &self,
        range: ByteRange,
        unmap: bool,
    ) -> impl Future<Output = Answer<()>> + Send + 'static {
        let _ = (range, unmap);
        unbuilt()
    }

    /// Gives up the whole clusters of a range: they read as zeros afterwards. Parts of clusters, and
    /// in a version 2 image with a backing file everything, stay as they are.
    pub fn discard(&self, range: ByteRange) -> impl Future<Output = Answer<()>> + Send + 'static {
        let _ = range;
        unbuilt()
    }

    /// Makes everything that completed before this call survive a power cut.
    pub fn flush(&self) -> impl Future<Output = Answer<()>> + Send + 'static {
        unbuilt()
    }

    /// Changes the size of the virtual disk; durable when it completes. What is added reads as zeros.
    pub fn resize(&self, len: u64) -> impl Future<Output = Answer<()>> + Send + 'static {
        let _ = len;
        unbuilt()
    }

    /// Creates a snapshot; durable when it completes. Returns its id.
    pub fn create_snapshot(
        &self,
        name: &str,
    ) -> impl Future<Output = Answer<String>> + Send + 'static {
        let _ = name;
        unbuilt()
    }

    /// Sets the guest's disk back to a snapshot, named by its id or else its name; durable when it
    /// completes. The snapshot stays. The virtual size becomes the snapshot's.
    pub fn apply_snapshot(&self, which: &str) -> impl Future<Output = Answer<()>> + Send + 'static {
        let _ = which;
        unbuilt()
    }

    /// Deletes a snapshot, named by its id or else its name; durable when it completes.
    pub fn delete_snapshot(
        &self,
        which: &str,
    ) -> impl Future<Output = Answer<()>> + Send + 'static {
        let _ = which;
        unbuilt()
    }

    /// The snapshots, oldest first.
    #[must_use]
    pub fn snapshots(&self) -> Vec<Snapshot> {
        Vec::new()
    }

    /// Reads what a snapshot holds.
    pub async fn read_snapshot(&self, which: &str, range: ByteRange) -> Answer<Vec<u8>> {
        let _ = (which, range);
        unbuilt().await
    }

    /// Where the guest range lives now, without what lies past the virtual disk. Reads tables.
    pub async fn map(&self, range: ByteRange) -> Answer<Vec<Extent>> {
        let _ = range;
        unbuilt().await
    }

    /// Closes the image: waits for everything that is in flight and makes it durable. Later requests
    /// fail with [`Error::Closed`], also when closing fails.
    pub fn close(&self) -> impl Future<Output = Answer<()>> + Send + 'static {
        unbuilt()
    }

    /// Bytes the guest sees now.
    #[must_use]
    pub fn virtual_size(&self) -> u64 {
        0
    }

    /// Bytes per cluster.
    #[must_use]
    pub fn cluster_len(&self) -> u64 {
        0
    }
}
