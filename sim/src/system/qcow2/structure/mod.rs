//! Structural invariants of the bytes that a power cut left, before any recovery; Q-EXACT of a closed
//! image, and Q-REPAIR of one that was repaired.
//!
//! | invariant | question |
//! |---|---|
//! | Q-REF | is the refcount of whatever a slice refers to high enough? Of tables, too. Not while the image is marked dirty |
//! | Q-CLEAN | the same, in an image whose refcounts may be left behind: then the mark is wrong |
//! | Q-COPIED | is it one, where the entry says so? Active tables only, and not while dirty |
//! | Q-ALIAS | is nothing of one slice anything of another, or a table? |
//! | Q-REFTAB | are tables and their entries aligned and inside the file, refcount blocks listed once and counted? |
//! | Q-SNAP | has every snapshot a size that the disk had, and an L1 table for all of it? Then it is there with all its sectors |
//! | B-SUPER | has a bitmap that is not marked as in use the bit of a sector set that is not what it was at the start? |
//! | Q-EXACT | after a clean close, are refcounts the numbers of references, and entries marked as copied exactly where that is one? |
//! | Q-REPAIR | the same after a repair; is the image not marked dirty? |
//!
//! A **slice** is the part of a tree that one sector of an L2 table describes; a question about one
//! reads that sector in every tree, what leads to it, and the refcounts of what it refers to. That
//! keeps apart what a power cut leaves undecided.

mod bitmaps;
mod exact;
mod layout;

use std::collections::BTreeMap;
use std::fmt;

use plugpull_engine::{ByteRange, SECTOR};

use crate::disk::Image;
use crate::oracle::Finding;
use crate::system::ReadDisks;
use crate::verdict::Invariant;

pub(super) use bitmaps::has_bitmaps;
pub(super) use exact::{exact, repaired};
use layout::{Bytes, Entry, Layout, Snapshot, Table};

/// Most entries of an L1 table, refcount blocks and clusters of tables that are looked at: damaged
/// headers must not take forever.
const TABLE_ENTRIES_MAX: u64 = 1 << 20;

/// One question about an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// Q-REFTAB and Q-REF of what the header names.
    Tables,
    /// Q-ALIAS among what the header names, and refcount blocks.
    TablesApart,
    /// Q-REFTAB of one sector of the refcount table.
    RefcountBlocks(u64),
    /// Q-REFTAB of what a slice refers to.
    Entries(u64),
    /// Q-REF of what a slice refers to.
    References(u64),
    /// Q-COPIED of a slice.
    Copied(u64),
    /// Q-ALIAS between two slices, or within one.
    Apart(u64, u64),
    /// Q-ALIAS between a slice and what the header names.
    ApartFromTables(u64),
    /// Q-SNAP: each snapshot is there with all its sectors.
    Snapshots,
    /// Q-REFTAB and Q-REF of bitmaps.
    Bitmaps,
    /// Q-ALIAS of bitmaps, among themselves and with what the header names.
    BitmapsApart,
    /// Q-ALIAS between a slice and bitmaps.
    ApartFromBitmaps(u64),
    /// B-SUPER of one guest sector.
    Noted(u64),
}

/// What is known of the moment when the exploration started.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// The disks.
    pub(super) start: Vec<Image>,
    /// What the guest reads, from the first byte of its disk.
    pub(super) content: Image,
    /// Bytes of its disk.
    pub(super) len: u64,
    /// The sizes of its disk and of the snapshots.
    pub(super) sizes: Vec<u64>,
}

/// All questions about these slices, and about so many sectors of the refcount table.
pub(super) fn questions(slices: &[u64], refcount_sectors: u64) -> Vec<Question> {
    let of_slice = |&slice: &u64| {
        [
            Question::Entries(slice),
            Question::References(slice),
            Question::Copied(slice),
            Question::ApartFromTables(slice),
        ]
    };
    let pairs = slices.iter().enumerate().flat_map(|(index, &first)| {
        slices[index..].iter().map(move |&second| Question::Apart(first, second))
    });
    [Question::Tables, Question::TablesApart, Question::Snapshots]
        .into_iter()
        .chain((0..refcount_sectors).map(Question::RefcountBlocks))
        .chain(slices.iter().flat_map(of_slice))
        .chain(pairs)
        .collect()
}

/// All questions about bitmaps, with these slices and guest sectors.
pub(super) fn bitmap_questions(
    slices: &[u64],
    sectors: impl IntoIterator<Item = u64>,
) -> Vec<Question> {
    [Question::Bitmaps, Question::BitmapsApart]
        .into_iter()
        .chain(slices.iter().copied().map(Question::ApartFromBitmaps))
        .chain(sectors.into_iter().map(Question::Noted))
        .collect()
}

/// The slices of an image in which anything is mapped, below `slices`.
pub(super) fn mapped_slices(disks: &mut dyn ReadDisks, slices: u64) -> Vec<u64> {
    let mut image = match Structure::read(disks) {
        Some(image) => image,
        None => return Vec::new(),
    };
    let per_table = image.layout.table_clusters() / image.layout.slice_clusters();
    let mut mapped = Vec::new();
    for first in (0..slices).step_by(usize::try_from(per_table).expect("slices of a cluster")) {
        let tables = image.l2_tables(first);
        if !tables.is_empty() {
            mapped.extend(first..slices.min(first + per_table));
        }
    }
    mapped.retain(|&slice| !image.entries(slice).is_empty());
    mapped
}

/// Guest bytes of a slice, and bytes of a cluster.
pub(super) fn slice_and_cluster_len(disks: &mut dyn ReadDisks) -> Option<(u64, u64)> {
    let Structure { layout, .. } = Structure::read(disks)?;
    Some((layout.slice_clusters() * layout.cluster_len(), layout.cluster_len()))
}

/// Whether the header says that refcounts may be too low.
pub(super) fn is_dirty(disks: &mut dyn ReadDisks) -> bool {
    Structure::read(disks).is_some_and(|image| image.layout.dirty)
}

/// Who has each host cluster of the image, and of the data file.
pub(super) fn owners(disks: &mut dyn ReadDisks) -> (BTreeMap<u64, String>, BTreeMap<u64, String>) {
    let Some(mut image) = Structure::read(disks) else { return Default::default() };
    let mut owners = image.table_owners();
    owners.extend(image.block_owners());
    owners.extend(image.bitmap_owners());
    let mut data = Vec::new();
    for slice in image.slices() {
        owners.extend(image.owners(slice));
        if image.layout.data_file {
            data.extend(image.data_owners(slice));
        }
    }
    let named = |owners: Vec<(u64, Owner)>| {
        owners.into_iter().rev().map(|(host, owner)| (host, owner.to_string())).collect()
    };
    (named(owners), named(data))
}

/// Asks; how the invariant is broken, if it is. Of an image that nobody could open, nothing.
pub(super) fn ask(disks: &mut dyn ReadDisks, question: Question, known: &Known) -> Option<Finding> {
    let mut image = Structure::read(disks)?;
    match question {
        Question::Tables => image.tables(),
        Question::TablesApart => image.tables_apart(),
        Question::RefcountBlocks(sector) => image.refcount_blocks(sector),
        Question::Entries(slice) => image.entries_are_sound(slice),
        Question::References(slice) => image.references(slice),
        Question::Copied(slice) => image.copied(slice),
        Question::Apart(first, second) => image.apart(first, second),
        Question::ApartFromTables(slice) => image.apart_from_tables(slice),
        Question::Snapshots => image.snapshots_are_whole(known),
        Question::Bitmaps => image.bitmaps_are_sound(),
        Question::BitmapsApart => image.bitmaps_apart(),
        Question::ApartFromBitmaps(slice) => image.apart_from_bitmaps(slice),
        Question::Noted(sector) => image.sector_is_noted(sector, known),
    }
}

fn finding(invariant: Invariant, message: String) -> Option<Finding> {
    Some(Finding { invariant, message })
}

/// Who refers to a host cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Header,
    L1,
    RefcountTable,
    RefcountBlock(u64),
    SnapshotTable,
    SnapshotL1(String),
    /// The L2 table with this index.
    L2(u64),
    BitmapDirectory,
    /// The table of the bitmap with this place in the directory.
    BitmapTable(u64),
    /// A cluster of its bits.
    Bitmap(u64, u64),
    /// The data of a guest cluster, and whether it is compressed.
    Data(u64, bool),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("the header"),
            Self::L1 => f.write_str("the L1 table"),
            Self::RefcountTable => f.write_str("the refcount table"),
            Self::RefcountBlock(index) => write!(f, "refcount block {index}"),
            Self::SnapshotTable => f.write_str("the snapshot table"),
            Self::SnapshotL1(name) => write!(f, "the L1 table of snapshot {name}"),
            Self::L2(index) => write!(f, "L2 table {index}"),
            Self::BitmapDirectory => f.write_str("the bitmap directory"),
            Self::BitmapTable(number) => write!(f, "the table of bitmap {number}"),
            Self::Bitmap(number, index) => write!(f, "cluster {index} of bitmap {number}"),
            Self::Data(guest, false) => write!(f, "guest cluster {guest}"),
            Self::Data(guest, true) => write!(f, "compressed guest cluster {guest}"),
        }
    }
}

/// Whether both may have the same host cluster: the same guest address in different trees, and parts
/// of compressed data.
fn may_share(one: &Owner, other: &Owner) -> bool {
    one == other || matches!((one, other), (Owner::Data(_, true), Owner::Data(_, true)))
}

/// An image and what its header says.
struct Structure<'a> {
    bytes: Bytes<'a>,
    layout: Layout,
}

impl<'a> Structure<'a> {
    fn read(disks: &'a mut dyn ReadDisks) -> Option<Self> {
        let mut bytes = Bytes::new(disks);
        let layout = Layout::read(&mut bytes)?;
        Some(Self { bytes, layout })
    }

    /// The L1 tables: of the active tree first, then of the snapshots.
    fn trees(&mut self) -> Vec<(Option<String>, Table)> {
        let (snapshots, _) = self.layout.snapshots(&mut self.bytes);
        let snapshots = snapshots.into_iter().map(|snapshot| (Some(snapshot.name), snapshot.l1));
        std::iter::once((None, self.layout.l1)).chain(snapshots).collect()
    }

    /// The L2 tables of a slice in all trees: index, offset, whether the active tree's is marked as
    /// copied.
    fn l2_tables(&mut self, slice: u64) -> Vec<(u64, u64, bool)> {
        let index = slice * self.layout.slice_clusters() / self.layout.table_clusters();
        let mut tables = Vec::new();
        for (snapshot, l1) in self.trees() {
            let (offset, copied) = self.layout.l1_entry(&mut self.bytes, l1, index);
            if offset != 0 {
                tables.push((index, offset, copied && snapshot.is_none()));
            }
        }
        tables
    }

    /// The entries of a slice that refer to anything, in all trees.
    fn entries(&mut self, slice: u64) -> Vec<(u64, Entry, bool)> {
        let mut entries = Vec::new();
        for (snapshot, l1) in self.trees() {
            let of_tree = self.layout.slice(&mut self.bytes, l1, slice);
            let is_active = snapshot.is_none();
            entries.extend(of_tree.into_iter().map(|(guest, entry)| (guest, entry, is_active)));
        }
        entries
    }

    /// The owners of the host clusters of a slice, one for each reference.
    fn owners(&mut self, slice: u64) -> Vec<(u64, Owner)> {
        let mut owners = Vec::new();
        for (index, offset, _) in self.l2_tables(slice) {
            owners.push((offset >> self.layout.cluster_bits, Owner::L2(index)));
        }
        if !self.layout.data_file {
            owners.extend(self.data_owners(slice));
        }
        owners
    }

    fn data_owners(&mut self, slice: u64) -> Vec<(u64, Owner)> {
        let entries = self.entries(slice).into_iter();
        let owners = entries.flat_map(|(guest, entry, _)| {
            let owner = Owner::Data(guest, entry.compressed);
            (entry.hosts.0..entry.hosts.1).map(move |host| (host, owner.clone()))
        });
        owners.collect()
    }

    /// The owners of what the header names.
    fn table_owners(&mut self) -> Vec<(u64, Owner)> {
        let layout = self.layout;
        let (snapshots, snapshot_table) = layout.snapshots(&mut self.bytes);
        let mut ranges = vec![
            (layout.l1.range(), Owner::L1),
            (layout.refcount_table.range(), Owner::RefcountTable),
            (snapshot_table, Owner::SnapshotTable),
        ];
        ranges.extend(
            snapshots.into_iter().map(|snap| (snap.l1.range(), Owner::SnapshotL1(snap.name))),
        );
        let mut owners = vec![(0, Owner::Header)];
        for (range, owner) in ranges {
            let clusters = layout.clusters(range).take(limit(TABLE_ENTRIES_MAX));
            if range.len > 0 {
                owners.extend(clusters.map(|cluster| (cluster, owner.clone())));
            }
        }
        owners
    }

    fn block_owners(&mut self) -> Vec<(u64, Owner)> {
        let layout = self.layout;
        let mut owners = Vec::new();
        for index in 0..layout.refcount_table.entries.min(TABLE_ENTRIES_MAX) {
            let offset = layout.block(&mut self.bytes, index);
            if offset != 0 {
                owners.push((offset >> layout.cluster_bits, Owner::RefcountBlock(index)));
            }
        }
        owners
    }

    fn tables(&mut self) -> Option<Finding> {
        let layout = self.layout;
        let (snapshots, table) = layout.snapshots(&mut self.bytes);
        let mut ranges = vec![
            (layout.l1.range(), Owner::L1),
            (layout.refcount_table.range(), Owner::RefcountTable),
            (table, Owner::SnapshotTable),
        ];
        ranges.extend(
            snapshots.into_iter().map(|snap| (snap.l1.range(), Owner::SnapshotL1(snap.name))),
        );
        let misplaced = ranges.into_iter().find_map(|(range, owner)| self.misplaced(range, &owner));
        if misplaced.is_some() {
            return misplaced;
        }
        let owners = self.table_owners();
        self.too_low(owners)
    }

    /// Q-REFTAB: how a table is not where one can be, if it is not.
    fn misplaced(&mut self, range: ByteRange, owner: &Owner) -> Option<Finding> {
        let len = self.bytes.file_len();
        let aligned = range.offset.is_multiple_of(self.layout.cluster_len());
        let inside = range.offset != 0 && range.offset.saturating_add(range.len) <= len;
        if range.len == 0 || (aligned && inside) {
            return None;
        }
        let message =
            format!("{owner} is {} bytes at {}, in a file of {len} bytes", range.len, range.offset);
        finding(Invariant::QReftab, message)
    }

    /// Q-SNAP: the first snapshot that lacks a part of the disk that it was taken of.
    fn snapshots_are_whole(&mut self, known: &Known) -> Option<Finding> {
        let layout = self.layout;
        let (snapshots, _) = layout.snapshots(&mut self.bytes);
        snapshots.into_iter().find_map(|Snapshot { name, l1, size }| {
            let coverage = l1.entries << layout.cluster_bits;
            let covered = coverage.saturating_mul(layout.table_clusters());
            if covered >= size && (size == layout.size || known.sizes.contains(&size)) {
                return None;
            }
            let message = format!(
                "snapshot {name} is of {size} bytes, with an L1 table for {covered}; the disk has {}",
                layout.size
            );
            finding(Invariant::QSnap, message)
        })
    }

    /// Q-REF: the first host cluster with more of these references than its refcount says. Where
    /// refcounts may be left behind, the mark that says so is missing: Q-CLEAN.
    fn too_low(&mut self, owners: Vec<(u64, Owner)>) -> Option<Finding> {
        if self.layout.dirty {
            return None;
        }
        let mut references: BTreeMap<u64, Vec<Owner>> = BTreeMap::new();
        for (host, owner) in owners {
            references.entry(host).or_default().push(owner);
        }
        references.into_iter().find_map(|(host, owners)| {
            let refcount = self.layout.refcount(&mut self.bytes, host);
            if refcount >= owners.len() as u64 {
                return None;
            }
            let message = format!(
                "host cluster {host} has refcount {refcount} and at least {} references: {}",
                owners.len(),
                list(owners)
            );
            let invariant = if self.layout.lazy { Invariant::QClean } else { Invariant::QRef };
            finding(invariant, message)
        })
    }

    fn references(&mut self, slice: u64) -> Option<Finding> {
        let owners = self.owners(slice);
        self.too_low(owners)
    }

    fn copied(&mut self, slice: u64) -> Option<Finding> {
        if self.layout.dirty {
            return None;
        }
        let tables = self.l2_tables(slice).into_iter().filter(|(_, _, copied)| *copied);
        let tables = tables
            .map(|(index, offset, _)| (offset >> self.layout.cluster_bits, Owner::L2(index)))
            .collect::<Vec<_>>();
        let entries = self.entries(slice).into_iter();
        let mut marked = tables;
        for (guest, entry, _) in entries.filter(|(_, entry, active)| *active && entry.copied) {
            if entry.compressed {
                let message = format!("guest cluster {guest} is compressed and marked as copied");
                return finding(Invariant::QCopied, message);
            }
            if !self.layout.data_file {
                marked.push((entry.hosts.0, Owner::Data(guest, false)));
            }
        }
        marked.into_iter().find_map(|(host, owner)| {
            let refcount = self.layout.refcount(&mut self.bytes, host);
            if refcount == 1 {
                return None;
            }
            let message = format!(
                "the entry of {owner} says that host cluster {host} has refcount 1, it has {refcount}"
            );
            finding(Invariant::QCopied, message)
        })
    }

    fn entries_are_sound(&mut self, slice: u64) -> Option<Finding> {
        for (index, offset, _) in self.l2_tables(slice) {
            let len = self.bytes.file_len();
            if !offset.is_multiple_of(self.layout.cluster_len()) || offset >= len {
                let message = format!("L2 table {index} is at {offset}, in a file of {len} bytes");
                return finding(Invariant::QReftab, message);
            }
        }
        let entries = self.entries(slice);
        let (guest, ..) = entries.into_iter().find(|(_, entry, _)| !entry.aligned)?;
        finding(Invariant::QReftab, format!("the entry of guest cluster {guest} is none"))
    }

    fn apart(&mut self, first: u64, second: u64) -> Option<Finding> {
        let mut owners = self.owners(first);
        let mut data = if self.layout.data_file { self.data_owners(first) } else { Vec::new() };
        if first != second {
            owners.extend(self.owners(second));
            if self.layout.data_file {
                data.extend(self.data_owners(second));
            }
        }
        shared(owners).or_else(|| shared(data))
    }

    fn apart_from_tables(&mut self, slice: u64) -> Option<Finding> {
        let mut owners = self.owners(slice);
        owners.extend(self.table_owners());
        owners.extend(self.block_owners());
        shared(owners)
    }

    fn apart_from_bitmaps(&mut self, slice: u64) -> Option<Finding> {
        let mut owners = self.owners(slice);
        owners.extend(self.bitmap_owners());
        shared(owners)
    }

    fn bitmaps_apart(&mut self) -> Option<Finding> {
        let mut owners = self.table_owners();
        owners.extend(self.block_owners());
        owners.extend(self.bitmap_owners());
        shared(owners)
    }

    fn tables_apart(&mut self) -> Option<Finding> {
        let mut owners = self.table_owners();
        owners.extend(self.block_owners());
        shared(owners)
    }

    fn refcount_blocks(&mut self, sector: u64) -> Option<Finding> {
        let (layout, per_sector) = (self.layout, SECTOR / 8);
        let last = (per_sector * (sector + 1)).min(layout.refcount_table.entries);
        let mut listed = BTreeMap::new();
        for index in per_sector * sector..last {
            let offset = layout.block(&mut self.bytes, index);
            if offset == 0 {
                continue;
            }
            let len = self.bytes.file_len();
            if !offset.is_multiple_of(layout.cluster_len()) || offset >= len {
                let message =
                    format!("refcount block {index} is at {offset}, in a file of {len} bytes");
                return finding(Invariant::QReftab, message);
            }
            if let Some(other) = listed.insert(offset, index) {
                let message = format!("refcount blocks {other} and {index} are both at {offset}");
                return finding(Invariant::QReftab, message);
            }
            let host = offset >> layout.cluster_bits;
            if !layout.dirty && layout.refcount(&mut self.bytes, host) == 0 {
                let message =
                    format!("refcount block {index}, host cluster {host}, has refcount 0");
                return finding(Invariant::QReftab, message);
            }
        }
        None
    }
}

/// Q-ALIAS: the first host cluster with two owners that may not share it.
fn shared(owners: Vec<(u64, Owner)>) -> Option<Finding> {
    let mut first: BTreeMap<u64, Owner> = BTreeMap::new();
    for (host, owner) in owners {
        match first.get(&host) {
            None => _ = first.insert(host, owner),
            Some(other) if may_share(other, &owner) => {}
            Some(other) => {
                let message = format!("host cluster {host} belongs to {other} and to {owner}");
                return finding(Invariant::QAlias, message);
            }
        }
    }
    None
}

fn list(owners: Vec<Owner>) -> String {
    owners.iter().map(Owner::to_string).collect::<Vec<_>>().join(", ")
}

fn limit(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
