//! Which physical chunks are free, and which of them are known to hold zeros.
//!
//! A chunk leaks when a power cut loses its mapping but not its data, or when a write fails after
//! it was allocated. Leaked chunks are found when the image is opened and used again first. They
//! are never taken for zero: what they hold may be another guest address's data.

use std::collections::BTreeMap;
use std::ops::Range;

use super::table::{PHYSICAL_MAX, Table};

/// The free chunks of a compact image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub(super) struct ChunkSpace {
    /// Free ids below `end`, as start and end of ranges that neither overlap nor touch: what is free
    /// looks the same however it became so.
    free: BTreeMap<u32, u32>,
    /// No id at or past it was ever used.
    end: u32,
}

/// A physical chunk taken from the space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Taken {
    pub(super) physical: u32,
    /// Whether it may have been written before, by this session or an earlier one.
    pub(super) reused: bool,
}

impl ChunkSpace {
    /// What `table` leaves free.
    pub(super) fn of(table: &Table) -> Self {
        let end = table.physical_end();
        let free = table.leaked(end).into_iter().map(|Range { start, end }| (start, end)).collect();
        Self { free, end }
    }

    /// Takes the free chunk with the lowest id; none if every id is in use.
    pub(super) fn take(&mut self) -> Option<Taken> {
        if let Some((start, end)) = self.free.pop_first() {
            if start + 1 < end {
                self.free.insert(start + 1, end);
            }
            return Some(Taken { physical: start, reused: true });
        }
        if self.end > PHYSICAL_MAX {
            return None;
        }
        self.end += 1;
        Some(Taken { physical: self.end - 1, reused: false })
    }

    /// Gives a chunk back that no virtual chunk uses. In which order several are does not matter.
    ///
    /// # Panics
    /// If it is free already.
    pub(super) fn give_back(&mut self, physical: u32) {
        assert!(!self.is_free(physical), "physical chunk {physical} is free already");
        let (mut start, mut end) = (physical, physical + 1);
        if let Some((&before, _)) =
            self.free.range(..physical).next_back().filter(|it| *it.1 == start)
        {
            self.free.remove(&before);
            start = before;
        }
        if let Some(after) = self.free.remove(&end) {
            end = after;
        }
        self.free.insert(start, end);
    }

    fn is_free(&self, physical: u32) -> bool {
        let before = self.free.range(..=physical).next_back();
        physical >= self.end || before.is_some_and(|(_, &end)| physical < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(physical: u32, reused: bool) -> Option<Taken> {
        Some(Taken { physical, reused })
    }

    #[test]
    fn lowest_first_leaks_before_new_ones() {
        let mut table = Table::new(8);
        table.insert(3, 1);
        table.insert(0, 4);
        let mut space = ChunkSpace::of(&table);
        assert_eq!(space.take(), taken(0, true));
        assert_eq!(space.take(), taken(2, true));
        assert_eq!(space.take(), taken(3, true));
        assert_eq!(space.take(), taken(5, false));
        space.give_back(5);
        space.give_back(2);
        assert_eq!(space.take(), taken(2, true));
        assert_eq!(space.take(), taken(5, true));
        assert_eq!(space.take(), taken(6, false));
    }

    #[test]
    fn what_is_given_back_is_free_in_whatever_order() {
        let given_back = |order: [u32; 4]| {
            let mut space = ChunkSpace::of(&Table::new(8));
            while space.take() != taken(6, false) {}
            order.into_iter().for_each(|physical| space.give_back(physical));
            space
        };
        let expected = given_back([1, 2, 3, 5]);
        assert_eq!(expected.free, BTreeMap::from([(1, 4), (5, 6)]));
        for order in [[3, 2, 1, 5], [1, 3, 2, 5], [5, 3, 1, 2], [2, 5, 3, 1]] {
            assert_eq!(given_back(order), expected, "{order:?}");
        }
    }

    #[test]
    fn ids_end_below_the_empty_entry() {
        let mut table = Table::new(1);
        table.insert(0, PHYSICAL_MAX - 1);
        let mut space = ChunkSpace::of(&table);
        space.free.clear();
        assert_eq!(space.take(), taken(PHYSICAL_MAX, false));
        assert_eq!(space.take(), None);
    }
}
