//! A disk in memory that answers at once and counts what was asked of it.

#[expect(clippy::disallowed_types, reason = "a test disk, used by one thread")]
use std::sync::{Arc, Mutex};

use plugpull_engine::{Disk, DiskError, DiskErrorKind, DiskProperties, IoFuture, WriteFlags};

/// One change that a disk was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Write { offset: u64, len: u64 },
    Flush,
    Discard,
    Resize(u64),
}

/// The disk. Clones are handles to one.
#[derive(Clone)]
#[expect(clippy::disallowed_types, reason = "a test disk, used by one thread")]
pub(crate) struct MemDisk {
    state: Arc<Mutex<State>>,
    resizable: bool,
    /// Writes at or past this are counted and forgotten.
    keep: u64,
}

struct State {
    bytes: Vec<u8>,
    /// Bytes that read as zero behind `bytes`.
    len: u64,
    changes: Vec<Change>,
    largest_read: usize,
    read_bytes: u64,
}

#[expect(clippy::disallowed_types, reason = "a test disk, used by one thread")]
impl MemDisk {
    /// A file with these bytes.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let len = bytes.len() as u64;
        Self::sparse(bytes, len)
    }

    /// A file of `len` bytes that starts with `bytes`; the rest is a hole.
    pub(crate) fn sparse(bytes: Vec<u8>, len: u64) -> Self {
        let state = State { bytes, len, changes: Vec::new(), largest_read: 0, read_bytes: 0 };
        Self { state: Arc::new(Mutex::new(state)), resizable: true, keep: u64::MAX }
    }

    /// The same disk, which forgets what is written at or past `keep`: for writes without end.
    pub(crate) fn forgetting(self, keep: u64) -> Self {
        Self { keep, ..self }
    }

    /// A block device with these bytes.
    pub(crate) fn device(bytes: Vec<u8>) -> Self {
        Self { resizable: false, ..Self::new(bytes) }
    }

    /// The whole content.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.with(|state| {
            let mut bytes = state.bytes.clone();
            bytes.resize(usize::try_from(state.len).unwrap(), 0);
            bytes
        })
    }

    /// The first bytes, `len` of them or all there are.
    pub(crate) fn bytes_up_to(&self, len: u64) -> Vec<u8> {
        self.with(|state| {
            let mut bytes = state.bytes.clone();
            bytes.resize(usize::try_from(state.len.min(len)).unwrap(), 0);
            bytes
        })
    }

    pub(crate) fn changes(&self) -> Vec<Change> {
        self.with(|state| state.changes.clone())
    }

    /// Bytes of the largest single read.
    pub(crate) fn largest_read(&self) -> usize {
        self.with(|state| state.largest_read)
    }

    /// Bytes of the largest single write.
    pub(crate) fn largest_write(&self) -> u64 {
        self.writes().max().unwrap_or(0)
    }

    /// Bytes of all writes.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.writes().sum()
    }

    fn writes(&self) -> impl Iterator<Item = u64> {
        self.changes().into_iter().filter_map(|change| match change {
            Change::Write { len, .. } => Some(len),
            _ => None,
        })
    }

    /// Bytes of all reads.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.with(|state| state.read_bytes)
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap())
    }
}

fn ready<T: Send + 'static>(result: Result<T, DiskError>) -> IoFuture<T> {
    Box::pin(std::future::ready(result))
}

impl Disk for MemDisk {
    fn read(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        ready(Ok(self.with(|state| {
            state.largest_read = state.largest_read.max(len);
            state.read_bytes += len as u64;
            let start = usize::try_from(offset).unwrap().min(state.bytes.len());
            let end = start.saturating_add(len).min(state.bytes.len());
            let mut bytes = state.bytes[start..end].to_vec();
            bytes.resize(len, 0);
            bytes
        })))
    }

    fn write(&self, offset: u64, data: Vec<u8>, _flags: WriteFlags) -> IoFuture<()> {
        ready(self.with(|state| {
            let len = data.len() as u64;
            state.changes.push(Change::Write { offset, len });
            assert!(offset.is_multiple_of(512) && len.is_multiple_of(512), "{offset}+{len}");
            if offset + len > state.len {
                return Err(DiskError::new(DiskErrorKind::OutOfRange, "past the end"));
            }
            if offset >= self.keep {
                return Ok(());
            }
            let (start, end) =
                (usize::try_from(offset).unwrap(), usize::try_from(offset + len).unwrap());
            if state.bytes.len() < end {
                state.bytes.resize(end, 0);
            }
            state.bytes[start..end].copy_from_slice(&data);
            Ok(())
        }))
    }

    fn flush(&self) -> IoFuture<()> {
        self.with(|state| state.changes.push(Change::Flush));
        ready(Ok(()))
    }

    fn discard(&self, _offset: u64, _len: u64) -> IoFuture<()> {
        self.with(|state| state.changes.push(Change::Discard));
        ready(Ok(()))
    }

    fn resize(&self, len: u64) -> IoFuture<()> {
        ready(self.with(|state| {
            state.changes.push(Change::Resize(len));
            if !self.resizable {
                return Err(DiskError::new(DiskErrorKind::Io, "a device has a fixed length"));
            }
            state.bytes.truncate(usize::try_from(len).unwrap());
            state.len = len;
            Ok(())
        }))
    }

    fn len(&self) -> u64 {
        self.with(|state| state.len)
    }

    fn properties(&self) -> DiskProperties {
        DiskProperties {
            sector_len: 512,
            resizable: self.resizable,
            zero_init: self.resizable,
            writable: true,
        }
    }
}
