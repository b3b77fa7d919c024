//! The bitmap: which blocks of the base are already local.
//!
//! One bit per block, block 0 in the least significant bit of byte 0. Bits only ever go from 0
//! (read the base) to 1 (read the image's own storage).
//!
//! Ordering: a bit is written to the bitmap region only after the data of its block is durable and,
//! in a compact image, after the table entries of all its chunks are.
//!
//! # Source
//! FVD version 1, bitmap.

use std::ops::Range;

use super::changed::{Changed, ChangedSector};
use crate::units::SECTOR;

/// The bitmap region in memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Bitmap {
    bytes: Vec<u8>,
    blocks: u64,
    changed: Changed,
}

impl Bitmap {
    /// A bitmap of `blocks` clear bits in a region of `region_len` bytes.
    ///
    /// # Panics
    /// If the region is no whole number of sectors, or too small.
    #[must_use]
    pub fn new(blocks: u64, region_len: u64) -> Self {
        let region_len = usize::try_from(region_len).expect("regions fit in memory");
        Self::load(vec![0; region_len], blocks)
    }

    /// The bitmap stored as `bytes`, the whole region, for `blocks` blocks.
    ///
    /// # Panics
    /// If the region is no whole number of sectors. A region too small for `blocks` (which
    /// [`super::geometry`] refuses) panics at the first access past it.
    #[must_use]
    pub fn load(bytes: Vec<u8>, blocks: u64) -> Self {
        assert!(
            (bytes.len() as u64).is_multiple_of(SECTOR),
            "a bitmap of {} bytes is not made of sectors",
            bytes.len()
        );
        Self { bytes, blocks, changed: Changed::default() }
    }

    /// Number of blocks.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Whether `block` is local.
    ///
    /// # Panics
    /// If there is no such block.
    #[must_use]
    pub fn is_set(&self, block: u64) -> bool {
        assert!(block < self.blocks, "block {block} of {}", self.blocks);
        let (byte, mask) = position(block);
        self.bytes[byte] & mask != 0
    }

    /// Whether all of `blocks` are local. True for none.
    #[must_use]
    pub fn all_set(&self, blocks: Range<u64>) -> bool {
        self.first_clear(blocks).is_none()
    }

    /// The first of `blocks` that is not local.
    #[must_use]
    pub fn first_clear(&self, blocks: Range<u64>) -> Option<u64> {
        let mut block = blocks.start;
        while block < blocks.end {
            let (byte, _) = position(block);
            if block.is_multiple_of(8) && blocks.end - block >= 8 && self.bytes[byte] == 0xFF {
                block += 8;
            } else if self.is_set(block) {
                block += 1;
            } else {
                return Some(block);
            }
        }
        None
    }

    /// Number of local blocks.
    #[must_use]
    pub fn count_set(&self) -> u64 {
        let whole = usize::try_from(self.blocks / 8).expect("regions fit in memory");
        let bytes =
            self.bytes[..whole].iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>();
        let rest = (self.blocks / 8 * 8..self.blocks).filter(|&block| self.is_set(block));
        bytes + rest.count() as u64
    }

    /// Makes `blocks` local. Returns whether any of them was not.
    ///
    /// # Panics
    /// If there are not that many blocks.
    pub fn set_range(&mut self, blocks: Range<u64>) -> bool {
        assert!(
            blocks.is_empty() || blocks.end <= self.blocks,
            "blocks {blocks:?} of {}",
            self.blocks
        );
        let mut any = false;
        for block in blocks {
            let (byte, mask) = position(block);
            if self.bytes[byte] & mask == 0 {
                self.bytes[byte] |= mask;
                self.changed.mark(byte as u64 / SECTOR);
                any = true;
            }
        }
        any
    }

    /// Sets every bit of the region, padding included, as the end of prefetching does.
    pub fn fill(&mut self) {
        for (index, byte) in self.bytes.iter_mut().enumerate() {
            if *byte != 0xFF {
                *byte = 0xFF;
                self.changed.mark(index as u64 / SECTOR);
            }
        }
    }

    /// The whole region.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// One sector of the region.
    #[must_use]
    pub fn sector(&self, index: u64) -> &[u8] {
        let start = usize::try_from(index * SECTOR).expect("regions fit in memory");
        &self.bytes[start..start + 512]
    }

    /// Whether something has to be written.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The sectors that differ from what was last taken, as they are now, in order.
    ///
    /// Whoever takes them writes them; what could not be written has to be given back.
    pub fn take_changed(&mut self) -> Vec<ChangedSector> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.take(|index| self.sector(index).to_vec())
    }

    /// Marks sectors as changed again, after they could not be written.
    pub fn give_back(&mut self, sectors: impl IntoIterator<Item = u64>) {
        sectors.into_iter().for_each(|sector| self.changed.mark(sector));
    }
}

fn position(block: u64) -> (usize, u8) {
    (usize::try_from(block / 8).expect("regions fit in memory"), 1 << (block % 8))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bits_count_from_the_least_significant() {
        let mut bitmap = Bitmap::new(100, 512);
        assert!(bitmap.set_range(1..2));
        assert!(bitmap.set_range(10..11));
        assert!(!bitmap.set_range(10..11), "nothing new");
        assert_eq!(bitmap.as_bytes()[..3], [2, 4, 0]);
    }

    #[test]
    fn a_sector_is_taken_once_and_can_be_given_back() {
        let mut bitmap = Bitmap::new(3 * 4096, 2048);
        bitmap.set_range(4090..4100);
        let taken = bitmap.take_changed();
        assert_eq!(taken.iter().map(|sector| sector.index).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(taken[0].bytes[510..], [0, 0xFC]);
        assert!(!bitmap.has_changed());
        bitmap.set_range(4090..4100);
        assert!(!bitmap.has_changed(), "bits that were set change nothing");
        bitmap.give_back([1]);
        bitmap.set_range(4100..4101);
        let taken = bitmap.take_changed();
        assert_eq!(taken.len(), 1);
        assert_eq!((taken[0].index, taken[0].bytes[0]), (1, 0x1F), "as it is now");
        bitmap.fill();
        assert_eq!(bitmap.take_changed().len(), 4);
        assert!(bitmap.as_bytes().iter().all(|&byte| byte == 0xFF));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn agrees_with_a_set(
            blocks in 1_u64..200,
            ranges in prop::collection::vec((0_u64..200, 0_u64..40), 0..8),
            asked in (0_u64..200, 0_u64..200),
        ) {
            let mut bitmap = Bitmap::new(blocks, 512);
            let mut set = BTreeSet::new();
            for (start, len) in ranges {
                let range = start.min(blocks)..(start + len).min(blocks);
                let new = range.clone().any(|block| !set.contains(&block));
                prop_assert_eq!(bitmap.set_range(range.clone()), new);
                set.extend(range);
            }
            let bitmap = Bitmap::load(bitmap.as_bytes().to_vec(), blocks);
            prop_assert!((0..blocks).all(|block| bitmap.is_set(block) == set.contains(&block)));
            prop_assert_eq!(bitmap.count_set(), set.len() as u64);
            let asked = asked.0.min(blocks)..asked.1.min(blocks);
            let clear = asked.clone().find(|block| !set.contains(block));
            prop_assert_eq!(bitmap.first_clear(asked.clone()), clear);
            prop_assert_eq!(bitmap.all_set(asked), clear.is_none());
        }
    }
}
