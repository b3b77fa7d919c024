//! A disk that stands for a file which an image names and nobody may open.

use plugpull_engine::disk::IoFuture;
use plugpull_engine::{Disk, DiskError, DiskErrorKind, DiskProperties, WriteFlags};

/// Stands for a file that is not opened: looking up places reads none of it.
#[derive(Clone, Copy)]
pub(super) struct Unopened;

fn refused<T: Send + 'static>() -> IoFuture<T> {
    let error = DiskError::new(DiskErrorKind::Io, "the file was not opened");
    Box::pin(std::future::ready(Err(error)))
}

impl Disk for Unopened {
    fn read(&self, _offset: u64, _len: usize) -> IoFuture<Vec<u8>> {
        refused()
    }

    fn write(&self, _offset: u64, _data: Vec<u8>, _flags: WriteFlags) -> IoFuture<()> {
        refused()
    }

    fn flush(&self) -> IoFuture<()> {
        refused()
    }

    fn discard(&self, _offset: u64, _len: u64) -> IoFuture<()> {
        refused()
    }

    fn resize(&self, _len: u64) -> IoFuture<()> {
        refused()
    }

    /// Long enough for everything: nobody knows.
    fn len(&self) -> u64 {
        i64::MAX as u64
    }

    fn properties(&self) -> DiskProperties {
        DiskProperties { sector_len: 512, resizable: false, zero_init: true, writable: false }
    }
}
