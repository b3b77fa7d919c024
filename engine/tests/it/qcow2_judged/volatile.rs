//! A file whose flushes do nothing.

use plugpull_engine::disk::IoFuture;
use plugpull_engine::{Disk, DiskProperties, FileDisk, WriteFlags};

/// A file that no power cut threatens: what is judged is what it holds, and with thousands of flushes
/// the tests would wait for little else.
pub(super) struct Volatile(pub(super) FileDisk);

impl Disk for Volatile {
    fn read(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        self.0.read(offset, len)
    }

    fn write(&self, offset: u64, data: Vec<u8>, _: WriteFlags) -> IoFuture<()> {
        self.0.write(offset, data, WriteFlags::NONE)
    }

    fn flush(&self) -> IoFuture<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn discard(&self, offset: u64, len: u64) -> IoFuture<()> {
        self.0.discard(offset, len)
    }

    fn resize(&self, len: u64) -> IoFuture<()> {
        self.0.resize(len)
    }

    fn len(&self) -> u64 {
        self.0.len()
    }

    fn properties(&self) -> DiskProperties {
        self.0.properties()
    }
}
