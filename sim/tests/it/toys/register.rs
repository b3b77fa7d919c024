//! A register of one guest sector in two slots: the one with the larger number counts.
//!
//! ```text
//! sector  content
//! 0, 1    the numbers of the slots
//! 2, 3    their contents
//! ```
//!
//! A write goes to the slot that does not count. Its content is durable before its number is
//! written; the number is durable before the other slot is written again.

use plugpull_engine::sync::Shared;
use plugpull_engine::{ByteRange, Error};
use plugpull_sim::system::Purpose;

use super::{Sectors, Store, Toy};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// After recovery both slots are erased before one is written.
    ErasesAfterRecovery,
    /// The old slot is discarded when the number of the new one is written, not when it is durable.
    DiscardsEarly,
}

/// A register.
pub(crate) fn register(flaw: Flaw) -> Toy {
    Toy::new(1, 4, move |disk, runtime, purpose| async move {
        let numbers = [disk.number(0).await?, disk.number(1).await?];
        let recovered = purpose == Purpose::Recovery;
        let numbers = Shared::new(&runtime.tracker(), numbers);
        Ok(Register { disk, flaw, recovered, numbers })
    })
}

struct Register {
    disk: Sectors,
    flaw: Flaw,
    recovered: bool,
    numbers: Shared<[u64; 2]>,
}

impl Register {
    /// The slot that counts.
    fn active(&self) -> usize {
        let [first, second] = self.numbers.get();
        usize::from(second > first)
    }

    async fn erase(&self) -> Result<(), Error> {
        for slot in 0..2 {
            self.disk.write(slot, vec![0; 512]).await?;
            self.disk.write(2 + slot, vec![0; 512]).await?;
        }
        self.disk.flush().await
    }
}

impl Store for Register {
    async fn read(&self, _: ByteRange) -> Result<Vec<u8>, Error> {
        self.disk.read(2 + self.active() as u64, 1).await
    }

    async fn write(&self, _: u64, data: Vec<u8>) -> Result<(), Error> {
        if self.flaw == Flaw::ErasesAfterRecovery && self.recovered {
            self.erase().await?;
        }
        let old = self.active();
        let new = 1 - old;
        let number = self.numbers.get()[old] + 1;
        // The number of the old slot is durable before the new one is lost.
        self.disk.flush().await?;
        self.disk.write(2 + new as u64, data).await?;
        self.disk.flush().await?;
        self.disk.set_number(new as u64, number).await?;
        self.numbers.write(|numbers| numbers[new] = number);
        if self.flaw == Flaw::DiscardsEarly {
            self.disk.discard(2 + old as u64).await?;
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), Error> {
        self.disk.flush().await
    }
}
