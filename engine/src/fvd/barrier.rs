//! The disks of an image, and flushing them.
//!
//! A failed flush is final: what it should have made durable may be lost although reads still see
//! it, and a later flush that succeeds does not bring it back. So the first failure is latched, and
//! every later operation that relies on a flush fails with [`Error::BarrierLost`] until the image
//! is opened again. Opening rewrites what it found before it relies on it.

use std::sync::Arc;

use super::events;
use crate::disk::{Disk, IoFuture, WriteFlags};
use crate::error::Error;
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
    state: Shared<State>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    lost: bool,
    metadata_flushed: bool,
}

impl Barrier {
    pub(super) fn new(disks: Disks, runtime: Arc<dyn Runtime>) -> Self {
        Self { disks, runtime, state: Shared::default() }
    }

    /// Whether one disk holds everything, so that one flush serves both.
    pub(super) fn is_one_disk(&self) -> bool {
        Arc::ptr_eq(&self.disks.metadata, &self.disks.data)
    }

    /// Fails if a flush has failed.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.state.get().lost { Err(Error::BarrierLost) } else { Ok(()) }
    }

    /// Whether metadata was flushed since the image was opened, so that what was read from it is
    /// known to be durable.
    pub(super) fn metadata_was_flushed(&self) -> bool {
        self.state.get().metadata_flushed
    }

    /// Makes completed writes of data durable.
    pub(super) async fn flush_data(&self) -> Result<(), Error> {
        self.flush(&*self.disks.data, "flush data", self.is_one_disk()).await
    }

    /// Makes completed writes of metadata durable.
    pub(super) async fn flush_metadata(&self) -> Result<(), Error> {
        self.flush(&*self.disks.metadata, "flush metadata", true).await
    }

    /// Makes completed writes durable, data first.
    pub(super) async fn flush_all(&self) -> Result<(), Error> {
        self.flush_data().await?;
        if self.is_one_disk() { Ok(()) } else { self.flush_metadata().await }
    }

    async fn flush(
        &self,
        disk: &dyn Disk,
        doing: &'static str,
        metadata: bool,
    ) -> Result<(), Error> {
        self.check()?;
        let flushed = disk.flush().await;
        if let Err(error) = flushed {
            let first = self.state.write(|state| !std::mem::replace(&mut state.lost, true));
            if first {
                self.runtime.event(events::BARRIER_LOST);
            }
            return Err(Error::disk(doing, error));
        }
        // Another flush may have failed while this one ran, and may have taken from it what this
        // one was to make durable.
        self.check()?;
        self.state.write(|state| state.metadata_flushed |= metadata);
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

/// Reads a range of a disk.
pub(super) async fn read(
    disk: &dyn Disk,
    doing: &'static str,
    range: ByteRange,
) -> Result<Vec<u8>, Error> {
    let len = usize::try_from(range.len).map_err(|_| Error::InvalidArgument {
        what: "length",
        rule: "fits in memory",
        found: range.len.to_string(),
    })?;
    let bytes = disk.read(range.offset, len).await.map_err(|error| Error::disk(doing, error))?;
    assert_eq!(bytes.len(), len, "a disk returns what was asked for");
    Ok(bytes)
}

/// Waits for submitted requests, **all** of them also after an error: whoever goes on afterwards
/// may rely on none being in flight. Returns the first error.
pub(super) async fn all(doing: &'static str, requests: Vec<IoFuture<()>>) -> Result<(), Error> {
    let mut result = Ok(());
    for request in requests {
        let ended = request.await.map_err(|error| Error::disk(doing, error));
        result = result.and(ended);
    }
    result
}
