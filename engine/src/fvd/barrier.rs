//! The disks of an image, and flushing them.
//!
//! A failed flush is final: what it should have made durable may be lost although reads still see
//! it, and a later flush that succeeds does not bring it back. So the first failure is latched, and
//! every later operation that relies on a flush fails with [`Error::BarrierLost`] until the image
//! is opened again. Opening rewrites what it found before it relies on it.
//!
//! A disk has at most one flush in flight. With two, the failure of one could take from the other
//! what that one then reports as durable, and whether the failure is seen in time would be luck.
//! Those who wait for their turn share the next flush: it was submitted after each of them asked.

use std::sync::Arc;

use super::events;
use super::flushes::Flushes;
use crate::disk::{Disk, IoFuture, WriteFlags};
use crate::error::Error;
use crate::requests::read;
use crate::runtime::Runtime;
use crate::sync::Shared;
use crate::units::ByteRange;

/// The disks that one image consists of.
#[derive(Clone)]
pub struct Disks {
    /// Header, maps and journal.
    pub metadata: Arc<dyn Disk>,
    /// The data: the same disk, or a file of its own.
    pub data: Arc<dyn Disk>,
    /// The base, while it is needed.
    pub base: Option<Arc<dyn Disk>>,
}

/// The disks with the latch of their barriers.
pub(super) struct Barrier {
    pub(super) disks: Disks,
    runtime: Arc<dyn Runtime>,
    lost: Shared<bool>,
    data: Flushes,
    metadata: Flushes,
}

impl Barrier {
    pub(super) fn new(disks: Disks, runtime: Arc<dyn Runtime>) -> Self {
        let tracker = &runtime.tracker();
        let lost = Shared::new(tracker, false);
        let (data, metadata) = (Flushes::new(tracker), Flushes::new(tracker));
        Self { disks, runtime, lost, data, metadata }
    }

    /// Whether one disk holds everything, so that one flush serves both.
    pub(super) fn is_one_disk(&self) -> bool {
        Arc::ptr_eq(&self.disks.metadata, &self.disks.data)
    }

    /// Fails if a flush has failed.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.lost.get() { Err(Error::BarrierLost) } else { Ok(()) }
    }

    /// Whether metadata was flushed since the image was opened, so that what was read from it is
    /// known to be durable.
    pub(super) fn metadata_was_flushed(&self) -> bool {
        self.metadata_flushes().any_succeeded()
    }

    /// Makes completed writes of data durable.
    pub(super) async fn flush_data(&self) -> Result<(), Error> {
        self.flush(&*self.disks.data, &self.data, "flush data").await
    }

    /// Makes completed writes of metadata durable.
    pub(super) async fn flush_metadata(&self) -> Result<(), Error> {
        self.flush(&*self.disks.metadata, self.metadata_flushes(), "flush metadata").await
    }

    /// Makes completed writes durable, data first.
    pub(super) async fn flush_all(&self) -> Result<(), Error> {
        self.flush_data().await?;
        if self.is_one_disk() { Ok(()) } else { self.flush_metadata().await }
    }

    fn metadata_flushes(&self) -> &Flushes {
        if self.is_one_disk() { &self.data } else { &self.metadata }
    }

    async fn flush(
        &self,
        disk: &dyn Disk,
        flushes: &Flushes,
        doing: &'static str,
    ) -> Result<(), Error> {
        let asked = flushes.ask();
        let _turn = flushes.turn().await;
        self.check()?;
        if asked.is_covered() {
            return Ok(());
        }
        flushes.submitted();
        if let Err(error) = disk.flush().await {
            if !self.lost.write(|lost| std::mem::replace(lost, true)) {
                self.runtime.event(events::BARRIER_LOST);
            }
            return Err(Error::disk(doing, error));
        }
        flushes.succeeded();
        Ok(())
    }

    /// Writes metadata.
    pub(super) async fn write_metadata(
        &self,
        doing: &'static str,
        offset: u64,
        bytes: Vec<u8>,
    ) -> Result<(), Error> {
        let written = self.start_metadata_write(offset, bytes).await;
        written.map_err(|error| Error::disk(doing, error))
    }

    /// Submits a write of metadata.
    pub(super) fn start_metadata_write(&self, offset: u64, bytes: Vec<u8>) -> IoFuture<()> {
        self.disks.metadata.write(offset, bytes, WriteFlags::NONE)
    }

    /// Reads metadata.
    pub(super) async fn read_metadata(
        &self,
        doing: &'static str,
        range: ByteRange,
    ) -> Result<Vec<u8>, Error> {
        read(&*self.disks.metadata, doing, range).await
    }
}
