//! A disk over shared bytes that keeps what is written beside them, and counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use plugpull_engine::{Disk, DiskError, DiskErrorKind, DiskProperties, IoFuture, WriteFlags};

use crate::cell::Cell;

const SECTOR: usize = 512;

/// What was asked of a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) requests: u64,
    pub(super) read: u64,
    pub(super) written: u64,
    /// Writes, resizes and discards.
    pub(super) changes: u64,
}

/// The disk. Clones are handles to one.
#[derive(Clone)]
pub(super) struct Counted(Arc<Cell<State>>);

struct State {
    bytes: Arc<Vec<u8>>,
    /// How many of `bytes` are still there.
    kept: usize,
    written: BTreeMap<usize, [u8; SECTOR]>,
    len: u64,
    traffic: Traffic,
}

impl Counted {
    pub(super) fn new(bytes: Arc<Vec<u8>>) -> Self {
        let (kept, len) = (bytes.len(), bytes.len() as u64);
        let traffic = Traffic::default();
        Self(Arc::new(Cell::new(State { bytes, kept, written: BTreeMap::new(), len, traffic })))
    }

    pub(super) fn traffic(&self) -> Traffic {
        self.0.with(|state| state.traffic)
    }

    /// Reads without being counted.
    pub(super) fn peek(&self, offset: u64, len: usize) -> Vec<u8> {
        self.0.with(|state| state.get(offset, len))
    }

    /// Where sectors are that were written and have this content.
    pub(super) fn sectors_of(&self, content: &[u8]) -> Vec<u64> {
        self.0.with(|state| {
            let same = state.written.iter().filter(|(_, sector)| sector[..] == *content);
            same.map(|(&index, _)| (index * SECTOR) as u64).collect()
        })
    }
}

impl State {
    fn get(&self, offset: u64, len: usize) -> Vec<u8> {
        let offset = usize::try_from(offset).expect("an offset in memory");
        let mut bytes = vec![0; len];
        let here = self.kept.saturating_sub(offset).min(len);
        bytes[..here].copy_from_slice(&self.bytes[offset.min(self.kept)..][..here]);
        let end = offset.saturating_add(len);
        let sectors = self.written.range(offset / SECTOR..end.div_ceil(SECTOR));
        for (&index, sector) in sectors {
            let (from, to) = ((index * SECTOR).max(offset), ((index + 1) * SECTOR).min(end));
            bytes[from - offset..to - offset]
                .copy_from_slice(&sector[from - index * SECTOR..to - index * SECTOR]);
        }
        bytes
    }

    fn put(&mut self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        let end = offset.checked_add(data.len() as u64);
        assert!(offset.is_multiple_of(512) && data.len().is_multiple_of(SECTOR), "whole sectors");
        if end.is_none_or(|end| end > self.len) {
            return Err(DiskError::new(DiskErrorKind::OutOfRange, "past the end"));
        }
        let first = usize::try_from(offset).expect("inside the disk") / SECTOR;
        for (index, sector) in (first..).zip(data.as_chunks::<SECTOR>().0) {
            self.written.insert(index, *sector);
        }
        Ok(())
    }

    fn resize(&mut self, len: u64) {
        let end = usize::try_from(len).expect("a length in memory");
        self.kept = self.kept.min(end);
        self.written.split_off(&end.div_ceil(SECTOR));
        self.len = len;
    }
}

fn ready<T: Send + 'static>(result: Result<T, DiskError>) -> IoFuture<T> {
    Box::pin(std::future::ready(result))
}

impl Disk for Counted {
    fn read(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        ready(Ok(self.0.with(|state| {
            state.traffic.requests += 1;
            state.traffic.read += len as u64;
            state.get(offset, len)
        })))
    }

    fn write(&self, offset: u64, data: Vec<u8>, _flags: WriteFlags) -> IoFuture<()> {
        ready(self.0.with(|state| {
            state.traffic.requests += 1;
            state.traffic.changes += 1;
            state.traffic.written += data.len() as u64;
            state.put(offset, &data)
        }))
    }

    fn flush(&self) -> IoFuture<()> {
        self.0.with(|state| state.traffic.requests += 1);
        ready(Ok(()))
    }

    fn discard(&self, _offset: u64, _len: u64) -> IoFuture<()> {
        self.0.with(|state| {
            state.traffic.requests += 1;
            state.traffic.changes += 1;
        });
        ready(Ok(()))
    }

    fn resize(&self, len: u64) -> IoFuture<()> {
        self.0.with(|state| {
            state.traffic.requests += 1;
            state.traffic.changes += 1;
            state.resize(len);
        });
        ready(Ok(()))
    }

    fn len(&self) -> u64 {
        self.0.with(|state| state.len)
    }

    fn properties(&self) -> DiskProperties {
        DiskProperties { sector_len: 512, resizable: true, zero_init: true, writable: true }
    }
}
