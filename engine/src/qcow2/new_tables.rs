//! Tables at new places: written before anything points to them.

use super::image::Image;
use super::l2::L1Entry;
use super::owners::Owner;
use super::space::Taken;
use crate::error::Error;
use crate::units::ByteRange;

impl Image {
    /// Takes clusters for so many bytes of metadata; none for nothing.
    pub(super) async fn take_metadata(
        &self,
        len: u64,
        owner: Owner,
    ) -> Result<Option<Taken>, Error> {
        let count = len.div_ceil(self.cluster_len());
        if count == 0 {
            return Ok(None);
        }
        self.allocating().await.take_exactly(count, owner).await.map(Some)
    }

    /// Writes metadata that nothing points to yet, with zeros to the end of its last cluster. Gives
    /// the clusters back if that fails.
    pub(super) async fn write_metadata(&self, taken: Taken, bytes: Vec<u8>) -> Result<(), Error> {
        let mut bytes = bytes;
        let len = taken.count * self.cluster_len();
        bytes.resize(usize::try_from(len).expect("a table in memory"), 0);
        let written = self.barrier.start_write(taken.first * self.cluster_len(), bytes).await;
        if let Err(error) = written {
            self.give_back_metadata(taken).await;
            return Err(Error::disk("write new table", error));
        }
        Ok(())
    }

    /// Puts the active L1 table, with these entries, at a new place.
    pub(super) async fn move_l1(&self, entries: Vec<L1Entry>) -> Result<(), Error> {
        let old = self.l1.copy();
        let count = u32::try_from(entries.len()).expect("at most 32 MiB");
        let taken = self.take_metadata(u64::from(count) * 8, Owner::L1Table).await?;
        let offset = taken.map_or(0, |taken| taken.first * self.cluster_len());
        self.l1.move_to(offset, entries);
        self.header.write(|header| header.fields.l1 = (count, offset));
        self.free_range(ByteRange::new(old.offset, old.len()));
        Ok(())
    }

    /// Notes the active L2 tables as metadata.
    pub(super) fn note_tables(&self) {
        let len = self.cluster_len();
        let entries = self.l1.copy().entries;
        let tables: Vec<u64> =
            entries.iter().filter_map(|entry| entry.table()).map(|table| table / len).collect();
        self.owners.write(|owners| {
            tables.iter().for_each(|&cluster| owners.ensure(cluster, Owner::L2Table));
        });
    }
}
