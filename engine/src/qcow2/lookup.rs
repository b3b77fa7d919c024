//! Looking up where guest clusters live.

use super::image::Image;
use super::l2::{Cluster, L2Entry};
use super::map::{Extent, Location};
use super::slices::Kind;
use super::tables::Place;
use crate::error::Error;
use crate::units::ByteRange;

impl Image {
    /// Guest clusters that one L2 table maps.
    pub(super) fn table_entries(&self) -> u64 {
        self.format.entries()
    }

    /// Where an L2 table of the active L1 table is, if there is one.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the L1 entry breaks a rule.
    pub(super) fn l2_table(&self, index: u64) -> Result<Option<u64>, Error> {
        let entry = self.l1.get(index);
        self.check_l1_entry(entry, index)
    }

    /// Where the table of an L1 entry is.
    pub(super) fn check_l1_entry(
        &self,
        entry: super::l2::L1Entry,
        index: u64,
    ) -> Result<Option<u64>, Error> {
        let corrupt = |rule, found| Err(Error::corrupt(format!("L1 entry {index}"), rule, found));
        if entry.reserved_bits() != 0 {
            return corrupt("reserved bits are zero", entry.reserved_bits());
        }
        match entry.table() {
            Some(table) if !table.is_multiple_of(self.cluster_len()) => {
                corrupt("the L2 table starts at a cluster", table)
            }
            Some(table) if table >= self.barrier.disks.file.len() => {
                corrupt("the L2 table is inside the file", table)
            }
            table => Ok(table),
        }
    }

    /// Where the entry of a guest cluster is in an L2 table.
    pub(super) fn entry_place(&self, table: u64, guest_cluster: u64) -> Place {
        let len = self.format.entry_len();
        let offset = table + guest_cluster % self.table_entries() * len;
        Place { kind: Kind::L2, offset, len }
    }

    /// The entries of a guest cluster and of some that follow, at least one and at most `most`.
    ///
    /// In a table that is not this image's own no cluster is: a power cut, or another program, can
    /// have left COPIED there.
    pub(super) async fn entries(
        &self,
        guest_cluster: u64,
        most: u64,
    ) -> Result<Vec<L2Entry>, Error> {
        let index = guest_cluster / self.table_entries();
        loop {
            let l1 = self.l1.get(index);
            let table = self.check_l1_entry(l1, index)?;
            let Some(table) = table else {
                return self.entries_in(None, guest_cluster, most).await;
            };
            // Whoever copies the table while this waits for a slice gives up the old one.
            let place = self.entries_place(table, guest_cluster, most);
            let Some(mut entries) = self.tables.try_read(place, self.parser()) else {
                self.tables.load_for(place).await?;
                continue;
            };
            if !l1.is_copied() && !self.has_data_file() {
                entries.iter_mut().for_each(|entry| *entry = entry.with_copied(false));
            }
            return Ok(entries);
        }
    }

    /// Where the entries of a guest cluster and of some that follow are, within one slice.
    fn entries_place(&self, table: u64, guest_cluster: u64, most: u64) -> Place {
        let in_table = self.table_entries() - guest_cluster % self.table_entries();
        let first = self.entry_place(table, guest_cluster);
        let in_slice = (self.tables.slice_end(first.offset) - first.offset) / first.len;
        Place { len: in_table.min(most).min(in_slice) * first.len, ..first }
    }

    /// What makes entries of the bytes of some.
    fn parser(&self) -> impl Fn(&[u8]) -> Vec<L2Entry> + use<> {
        let format = self.format;
        let len = if format.extended { 16 } else { 8 };
        move |bytes| bytes.chunks_exact(len).map(|bytes| format.parse(bytes)).collect()
    }

    /// The same of a table that does not go away meanwhile, such as a snapshot's, as it is.
    pub(super) async fn entries_in(
        &self,
        table: Option<u64>,
        guest_cluster: u64,
        most: u64,
    ) -> Result<Vec<L2Entry>, Error> {
        let in_table = self.table_entries() - guest_cluster % self.table_entries();
        let count = in_table.min(most);
        let Some(table) = table else {
            return Ok(vec![L2Entry::UNALLOCATED; usize::try_from(count).expect("one table")]);
        };
        let place = self.entries_place(table, guest_cluster, most);
        self.tables.read(place, self.parser()).await
    }

    /// What an entry says, if it breaks no rule.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub(super) fn cluster(&self, entry: L2Entry, guest_cluster: u64) -> Result<Cluster, Error> {
        let cluster = self.format.cluster(entry);
        let corrupt = |rule, found: u64| {
            Err(Error::corrupt(format!("L2 entry of guest cluster {guest_cluster}"), rule, found))
        };
        let host = match cluster {
            Cluster::Unallocated | Cluster::Zero { host: None } => None,
            Cluster::Zero { host } | Cluster::Subclusters { host } => host,
            Cluster::Data { host } => Some(host),
            Cluster::Compressed(data) => {
                if self.has_data_file() {
                    return corrupt(
                        "nothing is compressed with an external data file",
                        data.offset,
                    );
                }
                if data.offset < self.cluster_len() {
                    return corrupt("compressed data is not in the header", data.offset);
                }
                let end = data.offset.saturating_add(data.len);
                let file = self.barrier.disks.file.len();
                // The last sector need not be there as a whole.
                if end.saturating_sub(511) > file {
                    return corrupt("compressed data is inside the file", end);
                }
                None
            }
        };
        let both = entry.bitmap & entry.bitmap >> 32 & u64::from(u32::MAX);
        if both != 0 {
            return corrupt("a subcluster is not both allocated and zero", both);
        }
        if matches!(cluster, Cluster::Subclusters { host: None })
            && entry.bitmap & u64::from(u32::MAX) != 0
        {
            return corrupt("allocated subclusters have a host cluster", entry.bitmap);
        }
        match host {
            Some(host) if !host.is_multiple_of(self.cluster_len()) => {
                corrupt("the host cluster starts at a multiple of the cluster size", host)
            }
            Some(host) if self.has_data_file() && host != guest_cluster * self.cluster_len() => {
                corrupt("guest data in a file of its own is at its guest offset", host)
            }
            Some(host) if !self.has_data_file() && host >= self.barrier.disks.file.len() => {
                corrupt("the host cluster is inside the file", host)
            }
            _ => Ok(cluster),
        }
    }

    /// Where the parts of a guest range live; the caller has it locked.
    pub(super) async fn extents(&self, range: ByteRange) -> Result<Vec<Extent>, Error> {
        let mut extents = Vec::new();
        let clusters = range.units(self.cluster_len());
        let mut next = clusters.start;
        while next < clusters.end {
            let entries = self.entries(next, clusters.end - next).await?;
            self.add_extents(&mut extents, range, next, &entries)?;
            next += entries.len() as u64;
        }
        Ok(extents)
    }

    /// Adds where the parts of `range` live that entries from `guest_cluster` on tell.
    pub(super) fn add_extents(
        &self,
        extents: &mut Vec<Extent>,
        range: ByteRange,
        guest_cluster: u64,
        entries: &[L2Entry],
    ) -> Result<(), Error> {
        let len = self.cluster_len();
        for (guest_cluster, &entry) in (guest_cluster..).zip(entries) {
            let start = guest_cluster * len;
            let here = ByteRange::new(start, len).intersection(range);
            match self.cluster(entry, guest_cluster)? {
                Cluster::Unallocated => push(extents, here, Location::Backing),
                Cluster::Zero { .. } => push(extents, here, Location::Zero),
                Cluster::Data { host } => {
                    push(extents, here, Location::Data { offset: host + (here.offset - start) });
                }
                Cluster::Compressed(data) => {
                    let skip = here.offset - start;
                    push(
                        extents,
                        here,
                        Location::Compressed { offset: data.offset, len: data.len, skip },
                    );
                }
                Cluster::Subclusters { host } => {
                    let len = len / super::l2::SUBCLUSTERS;
                    for index in ByteRange::new(here.offset - start, here.len).units(len) {
                        let part = ByteRange::new(start + index * len, len).intersection(here);
                        let location = match host {
                            Some(host) if entry.subcluster_is_allocated(index) => {
                                Location::Data { offset: host + (part.offset - start) }
                            }
                            _ if entry.subcluster_is_zero(index) => Location::Zero,
                            _ => Location::Backing,
                        };
                        push(extents, part, location);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Adds an extent, as part of the last one if it goes on there.
fn push(extents: &mut Vec<Extent>, range: ByteRange, location: Location) {
    if range.is_empty() {
        return;
    }
    if let Some(last) = extents.last_mut()
        && last.range.end() == range.offset
    {
        let goes_on = match (last.location, location) {
            (Location::Backing, Location::Backing) | (Location::Zero, Location::Zero) => true,
            (Location::Data { offset: before }, Location::Data { offset }) => {
                before + last.range.len == offset
            }
            _ => false,
        };
        if goes_on {
            last.range.len += range.len;
            return;
        }
    }
    extents.push(Extent { range, location });
}
