//! What was seen already, so that equal states are visited once, in bounded memory.

use serde::{Deserialize, Serialize};

/// Most keys kept. Past it the set is emptied and filled anew: a state may then be visited twice,
/// which costs time and nothing else.
const KEYS_MAX: usize = 4_000_000;
/// Places of the first table.
const PLACES_MIN: usize = 1024;

/// A set of 128-bit keys.
///
/// Keys are hashes already, so their low bits say where they belong; one that finds its place taken
/// goes to the next free one. At least half of the places are free.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Vec<u128>", into = "Vec<u128>")]
pub(crate) struct Visited {
    /// A power of two of them; zero is a free place.
    places: Vec<u128>,
    len: usize,
}

impl Default for Visited {
    fn default() -> Self {
        Self { places: vec![0; PLACES_MIN], len: 0 }
    }
}

impl Visited {
    /// Whether `key` is new; it is not from now on.
    pub(crate) fn insert(&mut self, key: u128) -> bool {
        if self.len >= KEYS_MAX {
            *self = Self::default();
        }
        if 2 * self.len >= self.places.len() {
            self.grow();
        }
        // Zero stands for a free place. That it shares its place with one is a hash collision like
        // any other.
        let new = Self::put(&mut self.places, key.max(1));
        self.len += usize::from(new);
        new
    }

    fn grow(&mut self) {
        let mut places = vec![0; 2 * self.places.len()];
        for &key in self.places.iter().filter(|&&key| key != 0) {
            Self::put(&mut places, key);
        }
        self.places = places;
    }

    fn put(places: &mut [u128], key: u128) -> bool {
        let mask = places.len() as u128 - 1;
        let mut at = usize::try_from(key & mask).expect("a place");
        loop {
            if places[at] == key {
                return false;
            }
            if places[at] == 0 {
                places[at] = key;
                return true;
            }
            at = (at + 1) % places.len();
        }
    }
}

impl From<Visited> for Vec<u128> {
    fn from(visited: Visited) -> Self {
        visited.places.into_iter().filter(|&key| key != 0).collect()
    }
}

impl From<Vec<u128>> for Visited {
    fn from(keys: Vec<u128>) -> Self {
        let mut visited = Self::default();
        for key in keys {
            visited.insert(key);
        }
        visited
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_is_a_set() {
        let mut reference = BTreeSet::new();
        let mut visited = Visited::default();
        let mut key: u128 = 1;
        for round in 0..20_000_u128 {
            key = key.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).wrapping_add(round);
            // Many equal low bits, and many repetitions.
            let key = key >> 100 << (round % 3 * 50);
            assert_eq!(visited.insert(key.max(1)), reference.insert(key.max(1)), "key {key:#x}");
        }
        assert_eq!(visited.len, reference.len());
    }
}
