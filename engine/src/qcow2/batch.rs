//! What one commit writes, in the order of the phases that make it safe.
//!
//! | phase | what is written | why it may be written |
//! |---|---|---|
//! | new | refcounts; slices of L2 tables, refcount and L1 tables that nothing points to; the dirty bit | refcounts only rise for what is not linked, and fall for what is durably unlinked |
//! | counted | entries of the refcount table, its place in the header | refcount blocks and new tables are durable |
//! | linked | slices of L2 tables, L1 entries, L1 table and snapshot table in the header | data, refcounts and new tables are durable |
//!
//! A flush follows each phase that has something to write; that after the first covers guest data too.

use super::fields::{Fields, HeaderSector};
use super::frees::Frees;
use super::header::incompatible;
use super::image::{HeaderState, Image};
use super::l1_table::L1Changes;
use super::planted::Bug;
use super::refcount_table::{RefcountTable, RefcountTableChanges};
use super::slices::{DirtySlice, Kind};

/// How much a commit makes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// What a guest flush promises. Refcounts that nothing relies on may wait.
    Promised,
    /// Everything.
    All,
}

/// Bytes for a place of the file.
pub(super) type Piece = (u64, Vec<u8>);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Whether guest data waits for a flush.
    pub(super) data: bool,
    /// First phase.
    pub(super) new: Vec<Piece>,
    /// Second phase.
    pub(super) counted: Vec<Piece>,
    /// Third phase.
    pub(super) linked: Vec<Piece>,
    /// What the L1 table gave.
    pub(super) l1: L1Changes,
    /// What the refcount table gave.
    pub(super) refcount_table: RefcountTableChanges,
    /// References that are durably gone after the third phase.
    pub(super) frees: Frees,
    /// The header's fields after the first, second and third phase.
    pub(super) fields: Vec<Fields>,
    /// Whether the dirty bit is set by it.
    pub(super) marks_dirty: bool,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        !self.data && self.new.is_empty() && self.counted.is_empty() && self.linked.is_empty()
    }
}

impl Image {
    /// Takes everything that has to become durable now; none of it is dirty any more. In one step,
    /// so that refcounts, tables and links fit together.
    pub(super) fn take_batch(&self, extent: Extent) -> Batch {
        let data = self.barrier.take_unflushed();
        let header = self.header.read(HeaderState::clone);
        let promised = data
            || header.is_unknown
            || self.tables.has_dirty(Kind::L2)
            || self.l1.is_dirty()
            || header.fields != header.written;
        if extent == Extent::Promised && !promised {
            return Batch::default();
        }
        // Blocks and tables that moved are written in any case: what they replace will be free.
        let table_moved = self.refcount_table.read(RefcountTable::is_dirty);
        let lazy = self.is_lazy() && extent == Extent::Promised && !table_moved;
        let slices = self.tables.take_dirty(|kind| kind == Kind::L2 || !lazy);
        let l1 = self.l1.take_changes();
        let refcount_table = self.refcount_table.write(RefcountTable::take_changes);
        let frees = self.frees.write(std::mem::take);
        let mut batch = Batch { data, l1, refcount_table, frees, ..Batch::default() };
        self.sort_slices(&mut batch, slices);
        batch.new.extend(batch.refcount_table.new.clone());
        batch.new.extend(batch.l1.new.clone());
        batch.counted.extend(batch.refcount_table.sectors.clone());
        let is_early = self.planted().has(Bug::L1PointsToUninitialisedL2);
        let phase = if is_early { &mut batch.new } else { &mut batch.linked };
        phase.extend(batch.l1.sectors.clone());
        self.add_header(&mut batch, &header);
        batch
    }

    /// Slices of tables that nothing on the medium points to are written first.
    fn sort_slices(&self, batch: &mut Batch, slices: Vec<DirtySlice>) {
        let len = self.cluster_len();
        let first = self.planted().has(Bug::LinkBeforeData);
        for DirtySlice { offset, kind, bytes } in slices {
            let is_unlinked = batch.l1.unlinked.contains(&(offset / len * len));
            let late = self.planted().has(Bug::CompressedL2BeforeRefcount);
            let is_first = kind == Kind::Refcounts && !late || is_unlinked || first;
            let phase = if is_first { &mut batch.new } else { &mut batch.linked };
            phase.push((offset, bytes));
        }
    }

    fn add_header(&self, batch: &mut Batch, header: &HeaderState) {
        let (now, before) = (&header.fields, &header.written);
        let links = !batch.linked.is_empty() || batch.l1.new.is_some();
        let dirty_bit = if self.is_lazy() && links { incompatible::DIRTY } else { 0 };
        let mut fields = *before;
        // Bits are set before what relies on them, and cleared after it.
        fields.incompatible = before.incompatible | now.incompatible | dirty_bit;
        fields.autoclear = before.autoclear & now.autoclear;
        if self.planted().has(Bug::SnapshotTableBeforeRefcounts) {
            fields.snapshots = now.snapshots;
        }
        batch.marks_dirty = before.incompatible & dirty_bit != dirty_bit;
        if batch.marks_dirty {
            self.header.write(|header| header.fields.incompatible |= incompatible::DIRTY);
        }
        if header.is_unknown {
            batch.new.push((0, header.sector.with(&fields)));
        } else {
            add_if_changed(&mut batch.new, &header.sector, before, &fields);
        }
        batch.fields.push(fields);
        let counted = Fields { refcount_table: now.refcount_table, ..fields };
        add_if_changed(&mut batch.counted, &header.sector, &fields, &counted);
        batch.fields.push(counted);
        let linked = Fields { incompatible: now.incompatible | dirty_bit, ..*now };
        add_if_changed(&mut batch.linked, &header.sector, &counted, &linked);
        batch.fields.push(linked);
    }
}

fn add_if_changed(pieces: &mut Vec<Piece>, sector: &HeaderSector, old: &Fields, new: &Fields) {
    if old != new {
        pieces.push((0, sector.with(new)));
    }
}
