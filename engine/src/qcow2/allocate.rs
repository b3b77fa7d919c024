//! Taking host clusters, and giving them back.
//!
//! A cluster is free if its refcount in memory is zero. Clusters that have lost their last reference
//! keep their refcount until that is durable ([`super::frees`]).

use std::sync::Arc;

use super::events;
use super::image::Image;
use super::owners::Owner;
use super::planted::Bug;
use super::slices::Kind;
use super::space::Taken;
use super::tables::Place;
use crate::disk::{DiskError, DiskErrorKind};
use crate::error::Error;
use crate::sync::MutexGuard;
use crate::units::ByteRange;

/// Bytes that a file may have: host offsets in table entries end here.
const FILE_LEN_MAX: u64 = 1 << 56;
/// Bytes that the refcount table may have, as for everybody who reads such images.
const REFCOUNT_TABLE_LEN_MAX: u64 = 8 << 20;
/// Bytes of an entry of the refcount table.
const ENTRY_LEN: u64 = 8;
/// Bytes of a refcount block that are looked through at once.
const SCAN_MAX: u64 = 1 << 16;

/// The turn to allocate.
pub(super) struct Allocating<'a> {
    image: &'a Image,
    _turn: MutexGuard<'a>,
}

impl Image {
    /// Waits for the turn to change refcounts.
    pub(super) async fn allocating(&self) -> Allocating<'_> {
        Allocating { image: self, _turn: self.allocation_turn.lock().await }
    }

    /// Takes up to `wanted` clusters that follow each other, at least one, for guest data.
    pub(super) async fn take_clusters(&self, wanted: u64) -> Result<Taken, Error> {
        let taken = self.allocating().await.take(wanted).await?;
        self.event(events::CLUSTER_ALLOCATED);
        Ok(taken)
    }

    /// Gives back clusters that nothing on the medium can refer to.
    pub(super) async fn give_back(&self, taken: Taken) {
        let allocating = self.allocating().await;
        for cluster in taken.first..taken.first + taken.count {
            // What cannot be given back is leaked.
            if allocating.lower(cluster, 1).await.is_err() {
                return;
            }
        }
    }

    /// Makes the file as long as this, if it is shorter.
    pub(super) async fn ensure_len(&self, len: u64) -> Result<(), Error> {
        let file = &self.barrier.disks.file;
        if file.len() >= len {
            return Ok(());
        }
        file.resize(len).await.map_err(|error| Error::disk("grow image file", error))
    }
}

impl Allocating<'_> {
    /// Takes up to `wanted` free clusters that follow each other, at least one.
    pub(super) async fn take(&self, wanted: u64) -> Result<Taken, Error> {
        let image = self.image;
        loop {
            let next = image.space.read(|space| space.next);
            let (first, count) = self.find_free(next, wanted).await?;
            self.check_room(first + count)?;
            if image.refcount_block(first)?.is_none() {
                self.add_refcount_block(first / image.block_entries()).await?;
                if image.planted().has(Bug::RetryNotHandled) {
                    return Err(no_room("a refcount block had to be added first"));
                }
                if !image.planted().has(Bug::RefblockOverlapsData) {
                    continue;
                }
            }
            return self.claim(first, count).await;
        }
    }

    /// Takes exactly `count` clusters that follow each other, for metadata.
    pub(super) async fn take_exactly(&self, count: u64, owner: Owner) -> Result<Taken, Error> {
        let image = self.image;
        let mut from = image.space.read(|space| space.next);
        let (mut first, mut found) = (from, 0);
        while found < count {
            let (at, free) = self.find_free(from, count - found).await?;
            self.check_room(at + free)?;
            if image.refcount_block(at)?.is_none() {
                self.add_refcount_block(at / image.block_entries()).await?;
                (first, found) = (from, 0);
                continue;
            }
            (first, found) = if at == first + found { (first, found + free) } else { (at, free) };
            from = at + free;
        }
        let next = image.space.read(|space| space.next);
        let taken = self.claim(first, count).await?;
        if first > next {
            // Free clusters that were too few are still there.
            image.space.write(|space| space.next = next);
        }
        self.own(first..first + count, owner).await?;
        Ok(taken)
    }

    /// Notes who owns clusters that were just taken.
    async fn own(&self, clusters: std::ops::Range<u64>, owner: Owner) -> Result<(), Error> {
        let image = self.image;
        let part = clusters.clone();
        match image.owners.write_part(part, |owners| owners.add(clusters, owner)) {
            Ok(()) => Ok(()),
            Err((cluster, other)) => {
                let rule = "a free cluster holds no metadata";
                Err(image.mark_corrupt(format!("host cluster {cluster}"), rule, other))
            }
        }
    }

    /// The first free clusters from `from` on, at most `wanted`, within one refcount block.
    async fn find_free(&self, from: u64, wanted: u64) -> Result<(u64, u64), Error> {
        let (image, width) = (self.image, self.image.width());
        let mut from = from;
        loop {
            self.check_room(from)?;
            let block_end = (from / image.block_entries() + 1) * image.block_entries();
            let Some(block) = image.refcount_block(from)? else {
                return Ok((from, wanted.min(block_end - from)));
            };
            let first = image.refcount_place(block, from);
            let end = image.tables.slice_end(first.offset).min(first.offset + SCAN_MAX);
            let place =
                Place { kind: Kind::Refcounts, offset: first.offset, len: end - first.offset };
            let here = width.entries(place.len);
            let skip = if width.bits() < 8 { from % (8 / width.bits()) } else { 0 };
            let found = image.tables.read(place, |bytes| {
                let is_free = |&index: &u64| width.get(bytes, index) == 0;
                let start = (skip..here).find(is_free)?;
                let most = here.min(start.saturating_add(wanted));
                Some((start, (start..most).take_while(is_free).count() as u64))
            });
            if let Some((start, count)) = found.await? {
                return Ok((from + start - skip, count));
            }
            from += here - skip;
        }
    }

    /// Refuses to take clusters of metadata, whatever their refcounts say.
    fn check_unowned(&self, clusters: std::ops::Range<u64>) -> Result<(), Error> {
        let image = self.image;
        if image.planted().has(Bug::HostAllocationAtZero)
            || image.planted().has(Bug::RefblockOverlapsData)
        {
            return Ok(());
        }
        let part = clusters.clone();
        match image.owners.read_part(part, |owners| owners.first_in(clusters.clone())) {
            None => Ok(()),
            Some((cluster, owner)) => {
                let rule = "a cluster of metadata has a refcount above zero";
                Err(image.mark_corrupt(format!("host cluster {cluster}"), rule, owner))
            }
        }
    }

    /// Counts free clusters as used, and makes the file long enough for them.
    async fn claim(&self, first: u64, count: u64) -> Result<Taken, Error> {
        let image = self.image;
        self.check_unowned(first..first + count)?;
        image.ensure_len((first + count) * image.cluster_len()).await?;
        for cluster in first..first + count {
            if let Err(error) = image.set_refcount(cluster, 1).await {
                for cluster in first..cluster {
                    // What cannot be read again is leaked.
                    drop(image.set_refcount(cluster, 0).await);
                }
                return Err(error);
            }
        }
        let fresh = image.space.write(|space| {
            let fresh = first >= space.fresh_from;
            space.fresh_from = space.fresh_from.max(first + count);
            space.next = first + count;
            fresh
        });
        if !fresh {
            image.event(events::CLUSTER_REUSED);
        }
        Ok(Taken { first, count, fresh })
    }

    /// Takes references away from a cluster whose removal is durable, or that never had one on the
    /// medium. Without any left it is free, after it was discarded on the host.
    pub(super) async fn lower(&self, cluster: u64, by: u64) -> Result<(), Error> {
        let image = self.image;
        let Some(value) = image.refcount(cluster).await?.checked_sub(by) else {
            let rule = "a refcount is at least the number of references";
            let structure = format!("refcount of cluster {cluster}");
            return Err(image.mark_corrupt(structure, rule, "less"));
        };
        let len = image.cluster_len();
        let discards = value == 0 && image.options.discards;
        if discards && image.planted().has(Bug::StalePunchAfterReuse) {
            image.set_refcount(cluster, 0).await?;
            // Submitted at some later time, and nobody waits for it.
            let (file, at) = (Arc::clone(&image.barrier.disks.file), cluster * len);
            let punch = Box::pin(async move { drop(file.discard(at, len).await) });
            image.options.runtime.spawn("punch", punch);
        } else if discards && !image.planted().has(Bug::QueuedDiscardAfterRealloc) {
            image.event(events::HOST_DISCARD);
            // A failed discard changes nothing that anybody relies on.
            drop(image.barrier.disks.file.discard(cluster * len, len).await);
        }
        image.set_refcount(cluster, value).await?;
        if value == 0 {
            image.tables.forget(cluster * len, len);
            image.owners.write_part(cluster..cluster + 1, |owners| owners.remove(cluster));
            image.space.write(|space| {
                space.next = space.next.min(cluster);
                space.compressed = space.compressed.filter(|&next| next / len != cluster);
            });
        }
        Ok(())
    }

    /// Adds the refcount block with this index: at the first of the clusters that it counts, none of
    /// which is in use, and counting itself.
    async fn add_refcount_block(&self, index: u64) -> Result<(), Error> {
        let image = self.image;
        if !image.refcount_table.read(|table| table.has_room_for(index)) {
            return self.grow_refcount_table(index).await;
        }
        self.new_refcount_block(index).await?;
        Ok(())
    }

    /// A refcount block in the first of its clusters, linked in memory.
    async fn new_refcount_block(&self, index: u64) -> Result<(), Error> {
        let image = self.image;
        let cluster = index * image.block_entries();
        if cluster == 0 {
            let rule = "the cluster of the header has a refcount above zero";
            return Err(image.mark_corrupt("refcount table entry 0", rule, "no block"));
        }
        let offset = cluster * image.cluster_len();
        self.check_unowned(cluster..cluster + 1)?;
        self.write_refcount_blocks(cluster, 1, 1).await?;
        self.own(cluster..cluster + 1, Owner::RefcountBlock).await?;
        image.refcount_table.write(|table| table.set(index, offset));
        if image.planted().has(Bug::RefblockRefcountLast) {
            image.set_refcount(cluster, 1).await?;
        }
        image.space.write(|space| space.fresh_from = space.fresh_from.max(cluster + 1));
        image.event(events::REFBLOCK_ALLOCATED);
        Ok(())
    }

    /// A larger refcount table, behind the refcount blocks that count it, all of them in clusters
    /// that no block has counted so far.
    async fn grow_refcount_table(&self, index: u64) -> Result<(), Error> {
        let image = self.image;
        let (len, per_block) = (image.cluster_len(), image.block_entries());
        let (old_offset, old_len) = image.refcount_table.read(|table| (table.offset, table.len()));
        let (blocks, clusters) = table_with_room(index, old_len / 8, per_block, len / ENTRY_LEN);
        if clusters * len > REFCOUNT_TABLE_LEN_MAX.max(len) {
            return Err(no_room("the refcount table has reached its largest size"));
        }
        let first = index * per_block;
        let area = first..first + blocks + clusters;
        self.check_unowned(area.clone())?;
        image.ensure_len(area.end * len).await?;
        self.write_refcount_blocks(first, blocks, blocks + clusters).await?;
        self.own(first..first + blocks, Owner::RefcountBlock).await?;
        self.own(first + blocks..area.end, Owner::RefcountTable).await?;
        let offset = (first + blocks) * len;
        image.refcount_table.write(|table| {
            table.move_to(offset, clusters * len / ENTRY_LEN);
            (0..blocks).for_each(|block| table.set_moved(index + block, (first + block) * len));
        });
        let refcount_table = (offset, u32::try_from(clusters).expect("at most 8 MiB"));
        image.header.write(|header| header.fields.refcount_table = refcount_table);
        image.space.write(|space| space.fresh_from = space.fresh_from.max(area.end));
        let old = clusters_of(ByteRange::new(old_offset, old_len), len);
        image.frees.add(0..1, |frees| old.for_each(|cluster| frees.push(cluster)));
        image.event(events::REFCOUNT_TABLE_GROWN);
        Ok(())
    }

    /// Writes new refcount blocks that follow each other, the first of which counts their clusters,
    /// and of these `used` from the first on as used. Nobody can see them yet: they are complete
    /// before they are linked.
    async fn write_refcount_blocks(&self, first: u64, blocks: u64, used: u64) -> Result<(), Error> {
        let (image, width) = (self.image, self.image.width());
        let len = image.cluster_len();
        image.ensure_len((first + blocks) * len).await?;
        let mut bytes = vec![0; usize::try_from(blocks * len).expect("a few clusters")];
        let used = if image.planted().has(Bug::RefblockRefcountLast) { 0 } else { used };
        (0..used).for_each(|index| width.set(&mut bytes, index, 1));
        let write = image.barrier.start_write(first * len, bytes);
        write.await.map_err(|error| Error::disk("write new refcount block", error))?;
        // Nothing of what the clusters held before may be in memory, or come there late.
        image.tables.forget(first * len, blocks * len);
        Ok(())
    }

    fn check_room(&self, cluster: u64) -> Result<(), Error> {
        if cluster <= FILE_LEN_MAX / self.image.cluster_len() {
            return Ok(());
        }
        Err(no_room("the image file has reached its largest size"))
    }
}

pub(super) fn no_room(what: &str) -> Error {
    Error::disk("allocate a cluster", DiskError::new(DiskErrorKind::NoSpace, what))
}

/// How many refcount blocks and how many clusters of a new refcount table it takes so that the table
/// has room for block `index` and those that count the new ones.
fn table_with_room(index: u64, entries: u64, per_block: u64, per_cluster: u64) -> (u64, u64) {
    let (mut blocks, mut clusters) = (1, 1);
    // Each may need more of the other; both settle because a block counts many clusters.
    loop {
        let needed = (index + blocks).max(entries * 3 / 2).div_ceil(per_cluster);
        let counted = (blocks + needed).div_ceil(per_block);
        if needed <= clusters && counted <= blocks {
            return (blocks, clusters);
        }
        (blocks, clusters) = (counted.max(blocks), needed.max(clusters));
    }
}

/// The clusters that some bytes of the file lie in.
pub(super) fn clusters_of(range: ByteRange, cluster_len: u64) -> std::ops::Range<u64> {
    range.units(cluster_len)
}
