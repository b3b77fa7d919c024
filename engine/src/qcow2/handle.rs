//! The handle of an open image: what its users can ask for.

use std::future::Future;
use std::sync::Arc;

use super::bitmaps::{BitmapInfo, Bitmaps};
use super::disks::Disks;
use super::frees::Frees;
use super::image::{HeaderState, Image, State};
use super::map::Extent;
use super::owners::Owners;
use super::refcount_table::RefcountTable;
use super::snapshot_table::{Snapshot, SnapshotTable};
use super::space::Space;
use crate::error::Error;
use crate::sync::{LockKey, LockMode, finish_when_dropped};
use crate::units::ByteRange;

/// An open qcow2 image. Clones are handles to the same image.
///
/// Requests may run at the same time. A request that is dropped after it was first polled goes on
/// in the background, holding its locks, so that it takes effect, if at all, before any later
/// request that touches the same bytes; only reads are simply forgotten.
#[derive(Clone)]
pub struct Qcow2 {
    pub(super) image: Arc<Image>,
}

impl Qcow2 {
    /// Reads a guest range. Offset and length are multiples of 512.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::InvalidArgument`], [`Error::Corrupt`] if a table entry on the way
    /// breaks a rule, or what a disk says.
    pub async fn read(&self, range: ByteRange) -> Result<Vec<u8>, Error> {
        self.image.read(range).await
    }

    /// Writes `data` at `offset`, both multiples of 512.
    ///
    /// When it fails, each sector of the range holds the old or the new content.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::ReadOnly`], [`Error::InvalidArgument`], [`Error::Corrupt`],
    /// [`Error::BarrierLost`] if it had to make metadata durable, or what a disk says.
    pub fn write(
        &self,
        offset: u64,
        data: Vec<u8>,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        self.run(move |image, key| image.write(key, offset, data))
    }

    /// Writes whole clusters, compressed where that makes them smaller. Only the last one of the
    /// disk may be shorter.
    ///
    /// # Errors
    /// As for [`Qcow2::write`]; [`Error::Unsupported`] with an external data file.
    pub fn write_compressed(
        &self,
        offset: u64,
        data: Vec<u8>,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        self.run(move |image, key| image.write_compressed(key, offset, data))
    }

    /// Makes a range read as zeros. With `unmap`, host clusters are given up where possible.
    ///
    /// # Errors
    /// As for [`Qcow2::write`].
    pub fn write_zeroes(
        &self,
        range: ByteRange,
        unmap: bool,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        self.run(move |image, key| image.write_zeroes(key, range, unmap))
    }

    /// Gives up the whole clusters of a range: they read as zeros afterwards. Parts of clusters stay
    /// as they are, and so does everything in a version 2 image with a backing file, which has no
    /// way to say that a cluster is zero.
    ///
    /// # Errors
    /// As for [`Qcow2::write`].
    pub fn discard(
        &self,
        range: ByteRange,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        self.run(move |image, key| image.discard(key, range))
    }

    /// Makes everything that completed before this call survive a power cut.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::BarrierLost`] if an earlier flush failed, or what a disk says.
    pub fn flush(&self) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        self.run(|image, _| image.flush())
    }

    /// Changes the size of the virtual disk; durable when it completes. What is added reads as zeros.
    ///
    /// # Errors
    /// As for [`Qcow2::write`]; [`Error::Unsupported`] for a version 2 image with snapshots, which
    /// do not say how large the disk was.
    pub fn resize(&self, len: u64) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        self.run(move |image, key| image.resize(key, len))
    }

    /// Creates a snapshot; durable when it completes. Returns its id.
    ///
    /// # Errors
    /// As for [`Qcow2::write`]; [`Error::Unsupported`] where refcounts are too narrow, or with an
    /// external data file.
    pub fn create_snapshot(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<String, Error>> + Send + 'static {
        let name = name.to_owned();
        self.run(move |image, key| image.create_snapshot(key, name))
    }

    /// Sets the guest's disk back to a snapshot, named by its id or else its name; durable when it
    /// completes. The snapshot stays. The virtual size becomes the snapshot's.
    ///
    /// # Errors
    /// As for [`Qcow2::write`]; [`Error::InvalidArgument`] if there is no such snapshot.
    pub fn apply_snapshot(
        &self,
        which: &str,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let which = which.to_owned();
        self.run(move |image, key| image.apply_snapshot(key, which))
    }

    /// Deletes a snapshot, named by its id or else its name; durable when it completes.
    ///
    /// # Errors
    /// As for [`Qcow2::write`]; [`Error::InvalidArgument`] if there is no such snapshot.
    pub fn delete_snapshot(
        &self,
        which: &str,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let which = which.to_owned();
        self.run(move |image, key| image.delete_snapshot(key, which))
    }

    /// The snapshots, oldest first.
    #[must_use]
    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.image.snapshots.read(|table| table.snapshots.clone())
    }

    /// Reads what a snapshot holds, named by its id or else its name. Offset and length are
    /// multiples of 512 within the snapshot's disk.
    ///
    /// # Errors
    /// As for [`Qcow2::read`]; [`Error::InvalidArgument`] if there is no such snapshot.
    pub async fn read_snapshot(&self, which: &str, range: ByteRange) -> Result<Vec<u8>, Error> {
        self.image.read_snapshot(which, range).await
    }

    /// Where the guest range lives now, without what lies past the virtual disk. Reads tables.
    ///
    /// # Errors
    /// As for [`Qcow2::read`].
    pub async fn map(&self, range: ByteRange) -> Result<Vec<Extent>, Error> {
        let _pass = self.image.requests.enter().ok_or(Error::Closed)?;
        let range = range.intersection(ByteRange::new(0, self.virtual_size()));
        let _lock = self.image.lock(self.image.locks.new_key(), range, LockMode::Shared).await;
        self.image.extents(range).await
    }

    /// The persistent bitmaps.
    #[must_use]
    pub fn bitmaps(&self) -> Vec<BitmapInfo> {
        self.image.bitmaps.read(Bitmaps::infos)
    }

    /// The parts of the disk that a tracked bitmap says have changed; none without such a bitmap.
    #[must_use]
    pub fn changed_since(&self, bitmap: &str) -> Option<Vec<ByteRange>> {
        let (len, cluster_len) = (self.virtual_size(), self.cluster_len());
        self.image.bitmaps.read(|bitmaps| bitmaps.changed(bitmap, len, cluster_len))
    }

    /// Closes the image: waits for everything that is in flight and makes it durable. Later requests
    /// fail with [`Error::Closed`], also when closing fails.
    ///
    /// # Errors
    /// [`Error::Closed`] if it was closed before; otherwise what kept something from being durable.
    pub fn close(&self) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        self.run(|image, _| image.close())
    }

    /// Bytes the guest sees now.
    #[must_use]
    pub fn virtual_size(&self) -> u64 {
        self.image.virtual_size()
    }

    /// Bytes per cluster.
    #[must_use]
    pub fn cluster_len(&self) -> u64 {
        self.image.cluster_len()
    }

    /// The disks the image consists of.
    #[must_use]
    pub fn disks(&self) -> &Disks {
        &self.image.barrier.disks
    }

    /// Whether it can be written.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.image.is_writable()
    }

    /// A copy of everything the image knows.
    #[must_use]
    pub fn state(&self) -> State {
        let image = &self.image;
        State {
            l1: image.l1.copy(),
            refcount_table: image.refcount_table.read(RefcountTable::clone),
            slices: image.tables.copy(),
            header: image.header.read(HeaderState::clone),
            owners: image.owners.read(Owners::clone),
            space: image.space.read(Space::clone),
            frees: image.frees.read(Frees::clone),
            snapshots: image.snapshots.read(SnapshotTable::clone),
            bitmaps: image.bitmaps.read(Bitmaps::clone),
            is_prepared: image.is_prepared.get(),
            is_corrupt: image.is_corrupt.get(),
            cache: image.barrier.cache(),
        }
    }

    /// A second image in the same state, on disks that hold the same bytes. Nothing is read or
    /// written.
    ///
    /// # Panics
    /// If a request is in flight: the copy would wait for it forever.
    #[must_use]
    pub fn fork(&self, disks: Disks) -> Self {
        let image = &self.image;
        assert!(image.requests.is_idle(), "requests are in flight");
        let (geometry, options) = (image.geometry.clone(), image.options.clone());
        let settings = image.settings.clone();
        Self { image: Arc::new(Image::new(geometry, settings, options, disks, self.state())) }
    }

    /// Runs a request that is not torn apart when its caller drops it.
    fn run<T, F>(
        &self,
        work: impl FnOnce(Arc<Image>, LockKey) -> F + Send + 'static,
    ) -> impl Future<Output = Result<T, Error>> + Send + 'static
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
        T: Send + 'static,
    {
        let image = Arc::clone(&self.image);
        async move {
            let key = image.locks.new_key();
            let work = work(Arc::clone(&image), key);
            let image = Arc::clone(&image);
            let to_its_end = {
                let image = Arc::clone(&image);
                async move {
                    let result = work.await;
                    if matches!(result, Err(Error::Corrupt { .. })) {
                        image.report_corruption().await;
                    }
                    result
                }
            };
            finish_when_dropped(to_its_end, |rest| image.detach(key, rest)).await
        }
    }
}
