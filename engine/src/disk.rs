//! The disk an engine stores on: six verbs, byte addressed, asynchronous.
//!
//! The contract, which simulated and real disks share:
//!
//! * A request is **submitted when the method is called**, not when its future is first polled.
//!   Dropping the future does not take the request back: it completes, unseen, at some later time.
//! * A completed write sits in the volatile cache: reads see it, a power cut may lose any of its
//!   sectors. Before completion, any of its sectors may already be on the medium.
//! * [`Disk::flush`] makes durable every write that completed before the flush was submitted, and
//!   no other.
//! * Two overlapping requests in flight at once are unordered.
//! * Length changes are volatile until flushed, like data.
//! * A failed write leaves any subset of its sectors changed; a failed flush promises nothing, and
//!   a later successful flush does not make up for it.

use std::future::Future;
use std::pin::Pin;

/// The completion of a submitted request.
pub type IoFuture<T> = Pin<Box<dyn Future<Output = Result<T, DiskError>> + Send + 'static>>;

/// A disk: bytes `0..len()`, written in atomic sectors.
pub trait Disk: Send + Sync {
    /// Reads `len` bytes from `offset`. Bytes at or past [`Disk::len`] read as zero.
    fn read(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>>;

    /// Writes `data` at `offset`. Offset and length are multiples of 512.
    ///
    /// # Errors
    /// [`DiskErrorKind::OutOfRange`] if the range does not end within [`Disk::len`]: grow the disk
    /// with [`Disk::resize`] first.
    fn write(&self, offset: u64, data: Vec<u8>, flags: WriteFlags) -> IoFuture<()>;

    /// Makes durable every write, discard and resize completed before this call.
    fn flush(&self) -> IoFuture<()>;

    /// Tells the disk that the content of the range is no longer needed; what it reads as
    /// afterwards is up to the disk. Offset and length are multiples of 512.
    fn discard(&self, offset: u64, len: u64) -> IoFuture<()>;

    /// Changes the length. Bytes added by growth read as zero.
    fn resize(&self, len: u64) -> IoFuture<()>;

    /// Current length in bytes, as requests see it.
    fn len(&self) -> u64;

    /// Whether the length is zero.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What an engine may rely on.
    fn properties(&self) -> DiskProperties;
}

/// Modifiers of one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteFlags {
    /// Flush first, then write. The flush does not cover this write's own data.
    pub preflush: bool,
    /// Durable when it completes. Says nothing about other writes.
    pub fua: bool,
}

impl WriteFlags {
    /// A plain cached write.
    pub const NONE: Self = Self { preflush: false, fua: false };
}

/// Fixed properties of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskProperties {
    /// Bytes that the medium writes atomically: 512 or 4096.
    pub sector_len: usize,
    /// Whether [`Disk::resize`] can succeed; a block device's length is fixed.
    pub resizable: bool,
    /// Whether bytes that were never written read as zero. Files promise it, block devices and
    /// files with old content do not.
    pub zero_init: bool,
    /// Whether writes can succeed.
    pub writable: bool,
}

/// What went wrong with a disk request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskErrorKind {
    /// EIO: the device failed the request.
    Io,
    /// ENOSPC: no room left.
    NoSpace,
    /// The range does not lie within the disk.
    OutOfRange,
    /// The disk was opened for reading only.
    ReadOnly,
}

/// A failed disk request: a stable kind to match on and a text to print.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{detail}")]
pub struct DiskError {
    /// What to match on.
    pub kind: DiskErrorKind,
    /// What to print, a lower-case fragment.
    pub detail: String,
}

impl DiskError {
    /// An error of `kind` with `detail` for people.
    pub fn new(kind: DiskErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}
