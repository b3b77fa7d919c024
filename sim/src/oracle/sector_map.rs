//! A map from sectors of which every clone shares what neither side has changed since.
//!
//! A radix tree: four bits of the sector choose a slot on each level. Setting one entry copies the
//! shared nodes on the way to it and no others, a clone copies one pointer. (A `BTreeMap` behind an
//! `Arc` would be copied as a whole by the first change after every clone, and the obligations of
//! every moment are a clone.)
//!
//! Not here: removal. What was written once stays written.

use std::ops::Range;
use std::sync::Arc;

/// Bits of the sector that one level decides.
const BITS: u32 = 4;
const SLOTS: usize = 1 << BITS;

/// The map.
#[derive(Debug, Clone)]
pub(crate) struct SectorMap<T> {
    /// Levels above the leaves.
    height: u32,
    root: Arc<Node<T>>,
}

#[derive(Debug, Clone)]
enum Node<T> {
    Inner([Option<Arc<Self>>; SLOTS]),
    Leaf([Option<T>; SLOTS]),
}

impl<T: Clone> SectorMap<T> {
    /// Sets the entry of `sector`; what was there before, if anything.
    pub(crate) fn set(&mut self, sector: u64, value: T) -> Option<T> {
        while !self.has_room_for(sector) {
            let mut slots = [const { None }; SLOTS];
            slots[0] = Some(Arc::clone(&self.root));
            self.root = Arc::new(Node::Inner(slots));
            self.height += 1;
        }
        let mut node = &mut self.root;
        let mut height = self.height;
        loop {
            let slot = slot(sector, height);
            match Arc::make_mut(node) {
                Node::Leaf(values) => return values[slot].replace(value),
                Node::Inner(children) => {
                    height -= 1;
                    node = children[slot].get_or_insert_with(|| Arc::new(Node::empty(height)));
                }
            }
        }
    }
}

impl<T> SectorMap<T> {
    /// The entry of `sector`.
    pub(crate) fn get(&self, sector: u64) -> Option<&T> {
        self.range(sector..sector.checked_add(1)?).next().map(|(_, value)| value)
    }

    /// The entries of these sectors, in order.
    pub(crate) fn range(&self, sectors: Range<u64>) -> impl Iterator<Item = (u64, &T)> {
        let mut next = sectors.start;
        std::iter::from_fn(move || {
            let (sector, value) = self.first_from(next)?;
            if sector >= sectors.end {
                return None;
            }
            next = sector + 1;
            Some((sector, value))
        })
    }

    fn first_from(&self, sector: u64) -> Option<(u64, &T)> {
        if self.has_room_for(sector) { self.root.first_from(sector, self.height) } else { None }
    }

    fn has_room_for(&self, sector: u64) -> bool {
        sector.checked_shr(BITS * (self.height + 1)).is_none_or(|above| above == 0)
    }
}

impl<T> Node<T> {
    fn empty(height: u32) -> Self {
        if height == 0 {
            Self::Leaf([const { None }; SLOTS])
        } else {
            Self::Inner([const { None }; SLOTS])
        }
    }

    /// The first entry from `sector` on, of which only the bits below this node count.
    fn first_from(&self, sector: u64, height: u32) -> Option<(u64, &T)> {
        let start = slot(sector, height);
        let place = |slot: usize| (slot as u64) << (BITS * height);
        match self {
            Self::Leaf(values) => (start..SLOTS)
                .find_map(|slot| values[slot].as_ref().map(|value| (place(slot), value))),
            Self::Inner(children) => (start..SLOTS).find_map(|slot| {
                let from = if slot == start { sector } else { 0 };
                let (below, value) = children[slot].as_ref()?.first_from(from, height - 1)?;
                Some((place(slot) | below, value))
            }),
        }
    }
}

impl<T> Default for SectorMap<T> {
    fn default() -> Self {
        Self { height: 0, root: Arc::new(Node::empty(0)) }
    }
}

/// The slot of `sector` in a node that is `height` levels above the leaves.
fn slot(sector: u64, height: u32) -> usize {
    usize::try_from(sector >> (BITS * height) & (SLOTS as u64 - 1)).expect("a slot's index")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;

    /// Sectors near both ends of every size that a tree may have, often the same ones.
    fn draw(rng: &mut ChaCha8Rng) -> u64 {
        let top = 1_u64.checked_shl(rng.next_u32() % 65).unwrap_or(0);
        top.wrapping_add(rng.next_u64() % 5).wrapping_sub(3).min(u64::MAX - 1)
    }

    #[test]
    fn it_is_an_ordered_map_and_clones_stay_what_they_were() {
        let mut rng = ChaCha8Rng::seed_from_u64(16);
        for _ in 0..200 {
            let mut map = SectorMap::default();
            let mut expected = BTreeMap::new();
            let mut clones = Vec::new();
            for value in 0..rng.next_u32() % 60 {
                let sector = draw(&mut rng);
                clones.push((map.clone(), expected.clone()));
                assert_eq!(map.set(sector, value), expected.insert(sector, value));
            }
            clones.push((map, expected));
            for (map, expected) in clones {
                assert!(map.range(0..u64::MAX).eq(expected.iter().map(|(&s, value)| (s, value))));
                let (start, end) = (draw(&mut rng), draw(&mut rng));
                let range = start.min(end)..start.max(end);
                let within = expected.range(range.clone()).map(|(&s, value)| (s, value));
                assert!(map.range(range).eq(within));
                assert_eq!(map.get(start), expected.get(&start));
            }
        }
    }

    #[test]
    fn a_change_copies_one_path() {
        let mut map = SectorMap::default();
        for sector in 0..4096 {
            map.set(sector, sector);
        }
        let before = map.clone();
        map.set(77, 0);
        let (Node::Inner(old), Node::Inner(new)) = (&*before.root, &*map.root) else {
            panic!("4096 sectors have inner nodes");
        };
        let pairs = old.iter().flatten().zip(new.iter().flatten());
        assert_eq!(pairs.filter(|(old, new)| Arc::ptr_eq(old, new)).count(), SLOTS - 1);
    }
}
