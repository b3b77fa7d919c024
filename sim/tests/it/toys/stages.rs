//! An opening in steps, each of which is marked on the disk before the next. A step that was
//! interrupted is resumed, which is marked as well.
//!
//! The flaw: nobody has thought of an interrupted resumption. It takes two power cuts, one in the
//! second step and one in its resumption, and cannot be opened then.

use plugpull_engine::{ByteRange, Error};

use super::{Sectors, Store, Toy};

/// A store of nothing but zeros.
pub(crate) fn stages() -> Toy {
    Toy::new(1, 1, |disk, _, _| async move {
        let marks: &[u64] = match disk.number(0).await? {
            0 => &[1, 2, DONE],
            1 => &[2, DONE],
            2 => &[RESUMING, DONE],
            DONE => &[],
            other => return Err(Error::corrupt("mark", "is one of a step", other)),
        };
        for &reached in marks {
            mark(&disk, reached).await?;
        }
        Ok(Zeros)
    })
}

const DONE: u64 = 3;
const RESUMING: u64 = 4;

async fn mark(disk: &Sectors, step: u64) -> Result<(), Error> {
    disk.set_number(0, step).await?;
    disk.flush().await
}

struct Zeros;

impl Store for Zeros {
    async fn read(&self, range: ByteRange) -> Result<Vec<u8>, Error> {
        Ok(vec![0; usize::try_from(range.len).unwrap()])
    }

    async fn write(&self, _: u64, _: Vec<u8>) -> Result<(), Error> {
        Err(Error::ReadOnly)
    }

    async fn flush(&self) -> Result<(), Error> {
        Ok(())
    }
}
