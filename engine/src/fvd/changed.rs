//! Which sectors of a map differ from what was last written.

use std::collections::BTreeSet;

/// One sector of a map region that has to be written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChangedSector {
    /// Index of the sector within the region.
    pub index: u64,
    /// Its 512 bytes.
    pub bytes: Vec<u8>,
}

/// The set of changed sectors of one map.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub(super) struct Changed {
    sectors: BTreeSet<u64>,
}

impl Changed {
    /// Marks `sector`.
    pub(super) fn mark(&mut self, sector: u64) {
        self.sectors.insert(sector);
    }

    /// Whether nothing has to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.sectors.is_empty()
    }

    /// The marked sectors with their content, in order; nothing is marked afterwards.
    pub(super) fn take(&mut self, content: impl Fn(u64) -> Vec<u8>) -> Vec<ChangedSector> {
        let sectors = std::mem::take(&mut self.sectors);
        sectors.into_iter().map(|index| ChangedSector { index, bytes: content(index) }).collect()
    }
}
