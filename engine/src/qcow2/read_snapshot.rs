//! Reading what a snapshot holds.

use std::sync::Arc;

use super::image::Image;
use crate::error::Error;
use crate::sync::LockMode;
use crate::units::ByteRange;

impl Image {
    pub(super) async fn read_snapshot(
        self: &Arc<Self>,
        which: &str,
        range: ByteRange,
    ) -> Result<Vec<u8>, Error> {
        let _pass = self.requests.enter().ok_or(Error::Closed)?;
        let _lock = self.lock(self.locks.new_key(), range, LockMode::Shared).await;
        let snapshot = self.find_snapshot(which)?.1;
        let size = snapshot.virtual_size.unwrap_or_else(|| self.virtual_size());
        let range = self.guest_range(range.offset, range.len, size)?;
        let l1 = self.snapshot_l1(&snapshot).await?;
        let mut extents = Vec::new();
        let clusters = range.units(self.cluster_len());
        let mut next = clusters.start;
        while next < clusters.end {
            let index = next / self.table_entries();
            let entry = l1.get(usize::try_from(index).expect("in memory")).copied();
            let table = self.check_l1_entry(entry.unwrap_or_default(), index)?;
            let entries = self.entries_in(table, next, clusters.end - next).await?;
            self.add_extents(&mut extents, range, next, &entries)?;
            next += entries.len() as u64;
        }
        self.transfer(range, &extents).await
    }
}
