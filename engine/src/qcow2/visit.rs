//! Going over the entries of all L1 and L2 tables, to judge them or to change them.

use super::geometry::TABLE_ENTRY_LEN;
use super::l2::{EntryFormat, L1Entry, L2Entry};
use super::number::u64_at;
use super::problem::{Structure, Tree};
use super::references::References;
use super::region::read_region;
use super::writer::Writer;
use crate::error::Error;
use crate::units::{ByteRange, SECTOR};

/// Bytes that are read as one.
const PIECE_LEN: u64 = 64 * 1024;

/// Where an entry is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) structure: Structure,
    /// Whether the active tree reaches it: only then COPIED means anything.
    pub(super) active: bool,
}

/// An entry of either kind of table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    L1(L1Entry),
    L2(L2Entry),
}

/// Shows each entry of the tables that were walked over to `change`, and writes what that returns if
/// it is another one. Returns how many there were.
///
/// Any subset of the writes may survive a crash: each entry is judged for itself.
pub(super) async fn visit(
    writer: &mut Writer<'_>,
    format: EntryFormat,
    references: &References,
    mut change: impl FnMut(Place, Entry) -> Entry,
) -> Result<u64, Error> {
    let mut changed = 0;
    for &(tree, range) in &references.l1_tables {
        let table = Table { range, entry_len: TABLE_ENTRY_LEN };
        let on_bytes = |index, bytes: &mut [u8]| {
            let structure = Structure::L1Entry(tree, index);
            let place = Place { structure, active: tree == Tree::Active };
            if let Entry::L1(entry) = change(place, Entry::L1(L1Entry(u64_at(bytes, 0)))) {
                bytes.copy_from_slice(&entry.0.to_be_bytes());
            }
        };
        changed += table.visit(writer, on_bytes).await?;
    }
    for (&offset, uses) in &references.l2_tables {
        let range = ByteRange::new(offset, 1 << format.cluster_bits);
        let table = Table { range, entry_len: format.entry_len() };
        let on_bytes = |index, bytes: &mut [u8]| {
            let structure = Structure::L2Entry { table: offset, index };
            let place = Place { structure, active: uses.active > 0 };
            if let Entry::L2(entry) = change(place, Entry::L2(format.parse(bytes))) {
                bytes.copy_from_slice(&format.bytes(entry));
            }
        };
        changed += table.visit(writer, on_bytes).await?;
    }
    Ok(changed)
}

struct Table {
    range: ByteRange,
    entry_len: u64,
}

impl Table {
    /// Shows the bytes of each entry that is not 0, and writes the sectors that are changed.
    async fn visit(
        &self,
        writer: &mut Writer<'_>,
        mut change: impl FnMut(u64, &mut [u8]),
    ) -> Result<u64, Error> {
        let entry_len = usize::try_from(self.entry_len).expect("8 or 16");
        let (mut changed, mut at) = (0, 0);
        while at < self.range.len {
            let len = PIECE_LEN.min(self.range.len - at);
            // Whole sectors, of which the table has the first `len` bytes.
            let sectors = ByteRange::new(self.range.offset + at, len.next_multiple_of(SECTOR));
            let before = read_region(writer.file, sectors, "read a table").await?;
            let mut after = before.clone();
            let table_len = usize::try_from(len).expect("a piece is small");
            let entries = after[..table_len].chunks_exact_mut(entry_len);
            for (index, entry) in (at / self.entry_len..).zip(entries) {
                if entry.iter().any(|&byte| byte != 0) {
                    let old = entry.to_vec();
                    change(index, entry);
                    changed += u64::from(old != entry);
                }
            }
            writer.write_changes(sectors.offset, &before, &after).await?;
            at += len;
        }
        Ok(changed)
    }
}
