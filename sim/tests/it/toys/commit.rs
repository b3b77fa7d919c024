//! A commit record: a write is pending in a place of its own until recovery, or the next write, has
//! applied it.
//!
//! ```text
//! sector  content
//! 0       the record: 0, or 1 + the guest sector that is pending
//! 1       the pending content
//! 2 + n   guest sector n
//! ```
//!
//! The pending content is durable before the record says so; the guest sector is in place and durable
//! before the record is cleared.

use plugpull_engine::sync::{Shared, Tracker};
use plugpull_engine::{ByteRange, Error};

use super::{Sectors, Store, Toy};

const RECORD: u64 = 0;
const PENDING: u64 = 1;
const HOME: u64 = 2;

/// What recovery does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// It clears the record before the content is in place.
    ClearsFirst,
    /// It keeps the content in memory and clears the record.
    AppliesInMemory,
}

/// A store of two guest sectors that are written one at a time.
pub(crate) fn commit(flaw: Flaw) -> Toy {
    Toy::new(2, HOME + 2, move |disk, runtime, _| Commit::open(disk, runtime.tracker(), flaw))
}

struct Commit {
    disk: Sectors,
    /// A guest sector that is not in place, and its content.
    pending: Shared<Option<(u64, Vec<u8>)>>,
}

impl Commit {
    async fn open(disk: Sectors, tracker: Tracker, flaw: Flaw) -> Result<Self, Error> {
        let store = Self { disk, pending: Shared::new(&tracker, None) };
        let Some(sector) = store.disk.number(RECORD).await?.checked_sub(1) else {
            return Ok(store);
        };
        let content = store.disk.read(PENDING, 1).await?;
        match flaw {
            Flaw::None => store.apply(sector, content).await?,
            Flaw::ClearsFirst => {
                store.clear().await?;
                store.disk.write(HOME + sector, content).await?;
                store.disk.flush().await?;
            }
            Flaw::AppliesInMemory => {
                store.clear().await?;
                store.pending.write(|pending| *pending = Some((sector, content)));
            }
        }
        Ok(store)
    }

    async fn apply(&self, sector: u64, content: Vec<u8>) -> Result<(), Error> {
        self.disk.write(HOME + sector, content).await?;
        self.disk.flush().await?;
        self.clear().await
    }

    async fn clear(&self) -> Result<(), Error> {
        self.disk.set_number(RECORD, 0).await?;
        self.disk.flush().await
    }
}

impl Store for Commit {
    async fn read(&self, range: ByteRange) -> Result<Vec<u8>, Error> {
        let sectors = range.units(512);
        let mut bytes = self.disk.read(HOME + sectors.start, range.len / 512).await?;
        for (sector, content) in sectors.zip(bytes.chunks_mut(512)) {
            let pending = self.pending.read(|pending| match pending {
                Some((at, pending)) if *at == sector => Some(pending.clone()),
                _ => None,
            });
            if let Some(pending) = pending {
                content.copy_from_slice(&pending);
            }
        }
        Ok(bytes)
    }

    async fn write(&self, offset: u64, data: Vec<u8>) -> Result<(), Error> {
        if let Some((sector, content)) = self.pending.read(Option::clone) {
            self.apply(sector, content).await?;
        }
        self.disk.write(PENDING, data.clone()).await?;
        self.disk.flush().await?;
        self.disk.set_number(RECORD, offset / 512 + 1).await?;
        self.pending.write(|pending| *pending = Some((offset / 512, data)));
        Ok(())
    }

    async fn flush(&self) -> Result<(), Error> {
        self.disk.flush().await
    }
}
