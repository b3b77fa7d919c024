//! Guest addresses of a device that has snapshots: the guest's disk and every snapshot have a range
//! of their own, of which the low bits are the place in it.
//!
//! To the oracle a snapshot is nothing but more sectors. What only views can do, not to be there, is
//! a content like any other: [`Origin::Nothing`](super::stamp::Origin::Nothing).

use std::fmt;

use plugpull_engine::SECTOR;

use crate::workload::SnapshotName;

/// Bits of a byte's address inside its view.
const OFFSET_BITS: u32 = 48;
/// Sectors of a view.
const SECTORS: u64 = (1 << OFFSET_BITS) / SECTOR;

/// The guest's disk, or a snapshot of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum View {
    /// What the guest reads and writes.
    Active,
    /// A snapshot.
    Snapshot(SnapshotName),
}

impl View {
    /// Splits a byte's address into its view and the place there.
    ///
    /// # Panics
    /// If it is no address of a view.
    #[must_use]
    pub fn of(address: u64) -> (Self, u64) {
        let number = u8::try_from(address >> OFFSET_BITS).expect("an address of a view");
        let view = SnapshotName::new(number).map_or(Self::Active, Self::Snapshot);
        (view, address & ((1 << OFFSET_BITS) - 1))
    }

    /// The same for the number of a sector.
    #[must_use]
    pub fn of_sector(sector: u64) -> (Self, u64) {
        let number = u8::try_from(sector / SECTORS).expect("a sector of a view");
        let view = SnapshotName::new(number).map_or(Self::Active, Self::Snapshot);
        (view, sector % SECTORS)
    }

    /// The address of the byte at `offset`.
    ///
    /// # Panics
    /// If no view is so large.
    #[must_use]
    pub fn address(self, offset: u64) -> u64 {
        assert!(offset < 1 << OFFSET_BITS, "a view has no byte {offset}");
        self.number() << OFFSET_BITS | offset
    }

    /// The address of a sector.
    ///
    /// # Panics
    /// If no view is so large.
    #[must_use]
    pub fn sector(self, sector: u64) -> u64 {
        assert!(sector < SECTORS, "a view has no sector {sector}");
        self.number() * SECTORS + sector
    }

    fn number(self) -> u64 {
        match self {
            Self::Active => 0,
            Self::Snapshot(name) => name.number().into(),
        }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active => f.write_str("the guest's disk"),
            Self::Snapshot(name) => write!(f, "snapshot {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_apart_again() {
        let names = [1, 2, 255].into_iter().map(|number| SnapshotName::new(number).unwrap());
        for view in std::iter::once(View::Active).chain(names.map(View::Snapshot)) {
            for sector in [0, 1, SECTORS - 1] {
                assert_eq!(View::of_sector(view.sector(sector)), (view, sector));
                assert_eq!(View::of(view.address(sector * SECTOR)), (view, sector * SECTOR));
                assert_eq!(view.sector(sector) * SECTOR, view.address(sector * SECTOR));
            }
        }
    }
}
