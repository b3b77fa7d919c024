//! Guest sectors in place: guest sector n is disk sector n.
//!
//! Nothing can go wrong with that. Tests give it a flaw, or a recovery that reads what it likes and
//! may take a sector for damaged, which then reads as something else.

use std::collections::BTreeMap;
use std::future::Future;

use plugpull_engine::sync::{Shared, Tracker};
use plugpull_engine::{ByteRange, Error};
use plugpull_sim::system::Purpose;

use super::{Sectors, Store, Toy};

/// What a store does wrong once it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// Flush does nothing.
    ForgetsFlush,
    /// A write is read only once it is flushed; until then there is what was there before it.
    ReadsLate,
    /// After one failed write all fail.
    FailureLasts,
    /// When a write fails, those that are under way beside it fail as well.
    FailureSpreads,
    /// Every write is in flight beside zeros for the same place that were submitted before it.
    ErasesWhileWriting,
}

/// A sector that recovery takes for damaged.
pub(crate) type Damage = Option<u64>;

/// Blocks with a flaw.
pub(crate) fn flawed(sectors: u64, flaw: Flaw) -> Toy {
    Toy::new(sectors, sectors, move |disk, runtime, _| async move {
        Ok(Blocks::new(&runtime.tracker(), disk, flaw, None))
    })
}

/// Blocks that have a flaw once power was cut.
pub(crate) fn flawed_after_recovery(sectors: u64, flaw: Flaw) -> Toy {
    Toy::new(sectors, sectors, move |disk, runtime, purpose| async move {
        let flaw = if purpose == Purpose::Recovery { flaw } else { Flaw::None };
        Ok(Blocks::new(&runtime.tracker(), disk, flaw, None))
    })
}

/// Blocks of which recovery, but not the first opening, does what a test says.
pub(crate) fn recovering<F>(
    sectors: u64,
    recovery: impl Fn(Sectors) -> F + Send + Sync + 'static,
) -> Toy
where
    F: Future<Output = Result<Damage, Error>> + Send + 'static,
{
    Toy::new(sectors, sectors, move |disk, runtime, purpose| {
        let recovery = (purpose == Purpose::Recovery).then(|| recovery(disk.clone()));
        async move {
            let damage = match recovery {
                Some(recovery) => recovery.await?,
                None => None,
            };
            Ok(Blocks::new(&runtime.tracker(), disk, Flaw::None, damage))
        }
    })
}

pub(crate) struct Blocks {
    disk: Sectors,
    flaw: Flaw,
    damage: Damage,
    /// What was there before writes that no flush has followed, by offset.
    before: Shared<BTreeMap<u64, Vec<u8>>>,
    /// Writes that have failed.
    failures: Shared<Vec<Error>>,
}

impl Blocks {
    pub(crate) fn new(tracker: &Tracker, disk: Sectors, flaw: Flaw, damage: Damage) -> Self {
        let before = Shared::new(tracker, BTreeMap::new());
        let failures = Shared::new(tracker, Vec::new());
        Self { disk, flaw, damage, before, failures }
    }

    fn failures_since(&self, count: usize) -> Result<(), Error> {
        self.failures.read(|all| all.get(count).map_or(Ok(()), |error| Err(error.clone())))
    }
}

impl Store for Blocks {
    async fn read(&self, range: ByteRange) -> Result<Vec<u8>, Error> {
        if let Some(before) = self.before.read(|before| before.get(&range.offset).cloned()) {
            return Ok(before);
        }
        let sectors = range.units(512);
        let mut bytes = self.disk.read(sectors.start, range.len / 512).await?;
        for (sector, content) in sectors.zip(bytes.chunks_mut(512)) {
            if self.damage == Some(sector) {
                content.fill(0xDA);
            }
        }
        Ok(bytes)
    }

    async fn write(&self, offset: u64, data: Vec<u8>) -> Result<(), Error> {
        let (sector, count) = (offset / 512, data.len() as u64 / 512);
        if self.flaw == Flaw::FailureLasts {
            self.failures_since(0)?;
        }
        let failures = self.failures.read(Vec::len);
        if self.flaw == Flaw::ReadsLate {
            let before = self.disk.read(sector, count).await?;
            self.before.write(|all| _ = all.insert(offset, before));
        }
        let erase = (self.flaw == Flaw::ErasesWhileWriting)
            .then(|| self.disk.write(sector, vec![0; data.len()]));
        let written = self.disk.write(sector, data).await;
        if let Some(erase) = erase {
            erase.await?;
        }
        if let Err(error) = &written {
            self.failures.write(|all| all.push(error.clone()));
        }
        if self.flaw == Flaw::FailureSpreads {
            self.failures_since(failures)?;
        }
        written
    }

    async fn flush(&self) -> Result<(), Error> {
        self.before.write(BTreeMap::clear);
        match self.flaw {
            Flaw::ForgetsFlush => Ok(()),
            _ => self.disk.flush().await,
        }
    }
}
