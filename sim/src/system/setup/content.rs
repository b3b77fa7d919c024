//! What disks hold before anything happens, and what the guest has to read after a set-up.

use std::collections::BTreeMap;

use plugpull_engine::SECTOR;

use crate::disk::Image;
use crate::oracle::stamp::{self, Origin};
use crate::scenario::PatternSpec;
use crate::workload::{GuestOp, SnapshotName};

/// What the guest reads: now, and in every snapshot.
#[derive(Debug, Clone)]
pub(in crate::system) struct GuestContent {
    pub(in crate::system) active: Image,
    pub(in crate::system) snapshots: BTreeMap<SnapshotName, Image>,
}

impl GuestContent {
    /// What the guest reads of a fresh image of `size` bytes.
    pub(in crate::system) fn fresh(size: u64, below: Option<&PatternSpec>) -> Self {
        let mut active = below.map_or_else(|| Image::zeroed(0), pattern_content);
        active.set_len(size);
        Self { active, snapshots: BTreeMap::new() }
    }

    /// What a request makes of it.
    pub(in crate::system) fn follow(&mut self, op: GuestOp, serial: u64) {
        match op {
            GuestOp::Write { offset, len } => {
                let data = stamp::write_content(offset / SECTOR, len / SECTOR, serial);
                self.active.write(offset, &data);
            }
            GuestOp::WriteCompressed { offset, len } => {
                let data = stamp::packed_content(offset / SECTOR, len / SECTOR, serial);
                self.active.write(offset, &data);
            }
            GuestOp::Discard { offset, len } | GuestOp::WriteZeroes { offset, len, .. } => {
                let zeros = vec![0; usize::try_from(len).expect("a range that fits in memory")];
                self.active.write(offset, &zeros);
            }
            GuestOp::Snapshot(name) => _ = self.snapshots.insert(name, self.active.clone()),
            GuestOp::Apply(name) => self.active = self.snapshots[&name].clone(),
            GuestOp::DeleteSnapshot(name) => _ = self.snapshots.remove(&name),
            GuestOp::Resize(len) => self.active.set_len(len),
            GuestOp::Read { .. }
            | GuestOp::Flush
            | GuestOp::Close
            | GuestOp::WaitForJobs
            | GuestOp::Sleep(_) => {}
        }
    }

    /// Whether `bytes` are what the guest has to read at `offset`.
    pub(in crate::system) fn holds(&self, offset: u64, bytes: &[u8]) -> bool {
        let mut expected = vec![0; bytes.len()];
        self.active.read(offset, &mut expected);
        bytes == expected
    }
}

/// Sectors with the stamps of their origins.
pub(in crate::system) fn stamped(len: u64, origin: impl Fn(u64) -> Origin) -> Image {
    let mut image = Image::zeroed(len);
    for sector in 0..len / SECTOR {
        image.write(sector * SECTOR, &origin(sector).content());
    }
    image
}

/// Stamped sectors and holes; a hole costs nothing, however large.
pub(in crate::system) fn pattern_content(pattern: &PatternSpec) -> Image {
    let mut image = Image::zeroed(pattern.len);
    let mut sector = 0;
    while sector < pattern.len / SECTOR {
        let at = sector * SECTOR;
        match pattern.holes.iter().find(|hole| hole.offset <= at && at < hole.end()) {
            Some(hole) => sector = hole.end() / SECTOR,
            None => {
                image.write(at, &Origin::Base { sector }.content());
                sector += 1;
            }
        }
    }
    image
}
