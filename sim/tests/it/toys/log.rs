//! A log of guest writes. Recovery believes the records before the first hole.
//!
//! ```text
//! sector     content
//! 2 n        record n: n + 1, the guest sector, a sum over the content
//! 2 n + 1    its content
//! ```
//!
//! Records may reach the disk in any order: one counts only if all before it are whole.

use std::collections::BTreeMap;

use plugpull_engine::sync::Shared;
use plugpull_engine::{ByteRange, Error};

use super::{Sectors, Store, Toy};

/// A log with room for so many records, over as many guest sectors.
pub(crate) fn log(records: u64) -> Toy {
    Toy::new(records, 2 * records, move |disk, runtime, _| async move {
        let mut known = BTreeMap::new();
        let mut next = 0;
        while next < records {
            let Some((sector, content)) = record(&disk, next).await? else { break };
            known.insert(sector, content);
            next += 1;
        }
        Ok(Log { disk, state: Shared::new(&runtime.tracker(), (next, known)) })
    })
}

/// The record at a place of the log, if there is one and it is whole.
async fn record(disk: &Sectors, number: u64) -> Result<Option<(u64, Vec<u8>)>, Error> {
    let header = disk.read(2 * number, 1).await?;
    let word = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap());
    if word(0) != number + 1 {
        return Ok(None);
    }
    let content = disk.read(2 * number + 1, 1).await?;
    Ok((sum(&content) == word(16)).then(|| (word(8), content)))
}

fn sum(content: &[u8]) -> u64 {
    let words = content.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
    words.fold(1, |sum: u64, word| sum.wrapping_mul(31).wrapping_add(word))
}

struct Log {
    disk: Sectors,
    /// The next place, and what every guest sector that was written holds.
    state: Shared<(u64, BTreeMap<u64, Vec<u8>>)>,
}

impl Store for Log {
    async fn read(&self, range: ByteRange) -> Result<Vec<u8>, Error> {
        let content = |sector| {
            let known = self.state.read(|(_, known)| known.get(&sector).cloned());
            known.unwrap_or_else(|| vec![0; 512])
        };
        Ok(range.units(512).flat_map(content).collect())
    }

    async fn write(&self, offset: u64, data: Vec<u8>) -> Result<(), Error> {
        let sector = offset / 512;
        let number = self.state.write(|(next, _)| std::mem::replace(next, *next + 1));
        let mut header = vec![0; 512];
        for (at, word) in [(0, number + 1), (8, sector), (16, sum(&data))] {
            header[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        header.extend_from_slice(&data);
        self.disk.write(2 * number, header).await?;
        self.state.write(|(_, known)| _ = known.insert(sector, data));
        Ok(())
    }

    async fn flush(&self) -> Result<(), Error> {
        self.disk.flush().await
    }
}
