//! Blocks of which the first writer does more than the others: it marks the disk.
//!
//! Who is first is up to the order in which tasks run, and to nothing else.

use plugpull_engine::sync::{Shared, Tracker};
use plugpull_engine::{ByteRange, Error};

use super::{Sectors, Store, Toy};

/// Guest sectors in place, and the mark behind them. Who was first is told, or is not.
pub(crate) fn marked(sectors: u64, told: bool) -> Toy {
    Toy::new(sectors, sectors + 1, move |disk, runtime, _| async move {
        let tracker = if told { runtime.tracker() } else { Tracker::none() };
        Ok(First { disk, mark: sectors, written: Shared::new(&tracker, false) })
    })
}

struct First {
    disk: Sectors,
    mark: u64,
    written: Shared<bool>,
}

impl Store for First {
    async fn read(&self, range: ByteRange) -> Result<Vec<u8>, Error> {
        self.disk.read(range.offset / 512, range.len / 512).await
    }

    async fn write(&self, offset: u64, data: Vec<u8>) -> Result<(), Error> {
        let is_first = self.written.write(|written| !std::mem::replace(written, true));
        if is_first {
            self.disk.set_number(self.mark, offset + 1).await?;
        }
        self.disk.write(offset / 512, data).await
    }

    async fn flush(&self) -> Result<(), Error> {
        self.disk.flush().await
    }
}
