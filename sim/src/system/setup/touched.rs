//! What a workload touches, and what is read back because of it.

use std::collections::BTreeSet;

use plugpull_engine::{ByteRange, SECTOR};

use crate::workload::{GuestOp, SnapshotName};

/// Virtual disks up to this size are read back completely after recovery; of larger ones, the
/// surroundings of what the workload touches.
const READ_ALL_MAX: u64 = 1 << 20;
/// The surroundings: a touched range is rounded out to this.
const SURROUNDINGS: u64 = 64 << 10;

/// What the requests of a workload touch.
#[derive(Debug, Clone, Default)]
pub struct Touched {
    pub(in crate::system) ranges: Vec<ByteRange>,
    pub(in crate::system) snapshots: BTreeSet<SnapshotName>,
    /// The largest size that a request gives the disk.
    pub(in crate::system) len_max: u64,
}

impl<'a> FromIterator<&'a GuestOp> for Touched {
    fn from_iter<T: IntoIterator<Item = &'a GuestOp>>(ops: T) -> Self {
        let mut touched = Self::default();
        for op in ops {
            touched.ranges.push(op.range());
            touched.snapshots.extend(op.snapshot());
            if let GuestOp::Resize(len) = *op {
                touched.len_max = touched.len_max.max(len);
                // Where tables that are too short, or in the wrong place, show.
                touched.ranges.push(ByteRange::new(0, SECTOR));
                touched.ranges.push(ByteRange::new(len - SECTOR, SECTOR));
            }
        }
        touched
    }
}

impl Touched {
    /// What is read back of a disk of `size` bytes.
    pub(in crate::system) fn queries(&self, size: u64) -> Vec<ByteRange> {
        if size <= READ_ALL_MAX {
            return vec![ByteRange::new(0, size)];
        }
        let mut ranges: Vec<ByteRange> = self
            .ranges
            .iter()
            .map(|range| range.aligned_out(SURROUNDINGS).intersection(ByteRange::new(0, size)))
            .filter(|range| !range.is_empty())
            .collect();
        ranges.sort();
        let mut merged: Vec<ByteRange> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.offset <= last.end() => {
                    *last = ByteRange::between(last.offset, last.end().max(range.end()));
                }
                _ => merged.push(range),
            }
        }
        merged
    }
}
