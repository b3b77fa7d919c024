//! The disks of an image, and flushing them.
//!
//! A failed flush is final: what it should have made durable may be lost although reads still see
//! it, and a later flush that succeeds does not bring it back. So the first failure is latched, and
//! every later operation that relies on a flush fails with [`Error::BarrierLost`] until the image
//! is opened again.
//!
//! Only the commit ([`super::commit`]) flushes, one at a time; what it covers is known here.

use std::sync::Arc;

use super::events;
use crate::disk::{Disk, IoFuture, WriteFlags};
use crate::error::Error;
use crate::runtime::Runtime;
use crate::sync::Shared;

/// The disks that one image consists of.
#[derive(Clone)]
pub struct Disks {
    /// Metadata, and the guest's data unless that has a file of its own.
    pub file: Arc<dyn Disk>,
    /// The external data file.
    pub data: Option<Arc<dyn Disk>>,
    /// The backing file.
    pub backing: Option<Arc<dyn Disk>>,
}

/// What is known of the caches of the disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cache {
    /// Whether a flush has failed.
    lost: bool,
    /// Whether something was written that no flush has covered and that is not metadata.
    unflushed: bool,
}

/// The disks with what is known of their caches.
pub(super) struct Barrier {
    pub(super) disks: Disks,
    runtime: Arc<dyn Runtime>,
    /// See [`Cache::lost`].
    lost: Shared<bool>,
    /// See [`Cache::unflushed`].
    unflushed: Shared<bool>,
}

impl Barrier {
    pub(super) fn new(disks: Disks, runtime: Arc<dyn Runtime>, cache: Cache) -> Self {
        let tracker = &runtime.tracker();
        let lost = Shared::new(tracker, cache.lost);
        let unflushed = Shared::new(tracker, cache.unflushed);
        Self { disks, runtime, lost, unflushed }
    }

    /// What is known now.
    pub(super) fn cache(&self) -> Cache {
        Cache { lost: self.lost.get(), unflushed: self.unflushed.get() }
    }

    /// Where guest data is.
    pub(super) fn data(&self) -> &Arc<dyn Disk> {
        self.disks.data.as_ref().unwrap_or(&self.disks.file)
    }

    /// Fails if a flush has failed.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.lost.get() { Err(Error::BarrierLost) } else { Ok(()) }
    }

    /// Something was written that the next guest flush has to cover.
    pub(super) fn wrote(&self) {
        self.unflushed.add(0..1, |unflushed| *unflushed = true);
    }

    /// Whether there is something to cover, from now on to be noted anew.
    pub(super) fn take_unflushed(&self) -> bool {
        self.unflushed.write(|unflushed| std::mem::replace(unflushed, false))
    }

    /// Makes completed writes durable, those of guest data first.
    pub(super) async fn flush_all(&self) -> Result<(), Error> {
        if let Some(data) = &self.disks.data {
            self.flush(&**data, "flush data file").await?;
        }
        self.flush_file().await
    }

    /// Makes completed writes of metadata durable.
    pub(super) async fn flush_file(&self) -> Result<(), Error> {
        self.flush(&*self.disks.file, "flush image file").await
    }

    async fn flush(&self, disk: &dyn Disk, doing: &'static str) -> Result<(), Error> {
        self.check()?;
        if let Err(error) = disk.flush().await {
            if !self.lost.write(|lost| std::mem::replace(lost, true)) {
                self.runtime.event(events::BARRIER_LOST);
            }
            return Err(Error::disk(doing, error));
        }
        Ok(())
    }

    /// Submits a write of metadata.
    pub(super) fn start_write(&self, offset: u64, bytes: Vec<u8>) -> IoFuture<()> {
        self.disks.file.write(offset, bytes, WriteFlags::NONE)
    }
}
