//! The states seen, with a note about each, in bounded memory.

use serde::{Deserialize, Serialize};

/// Places of the first table.
const PLACES_MIN: usize = 1024;

/// A map from 128-bit keys to notes that forgets nothing: when it is full it says so.
///
/// Keys are hashes already, so their low bits say where they belong; one that finds its place taken
/// goes to the next free one. At least a quarter of the places are free.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Listed", into = "Listed")]
pub(super) struct Seen {
    /// A power of two of them; zero is a free place.
    keys: Vec<u128>,
    notes: Vec<u64>,
    len: usize,
    max: usize,
}

/// What is stored of it.
#[derive(Serialize, Deserialize)]
struct Listed {
    max: usize,
    entries: Vec<(u128, u64)>,
}

impl Seen {
    /// Of at most `max` keys.
    pub(super) fn new(max: usize) -> Self {
        Self { keys: vec![0; PLACES_MIN], notes: vec![0; PLACES_MIN], len: 0, max }
    }

    /// The note about `key`, if it was seen.
    pub(super) fn find(&self, key: u128) -> Option<u64> {
        let place = self.place(key);
        (self.keys[place] != 0).then(|| self.notes[place])
    }

    /// Notes this about `key` from now on. False if there is no room for it.
    pub(super) fn put(&mut self, key: u128, note: u64) -> bool {
        let mut place = self.place(key);
        if self.keys[place] == 0 {
            if self.len >= self.max {
                return false;
            }
            if 4 * self.len >= 3 * self.keys.len() {
                self.grow();
                place = self.place(key);
            }
            self.keys[place] = filed(key);
            self.len += 1;
        }
        self.notes[place] = note;
        true
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where `key` is, or else belongs.
    fn place(&self, key: u128) -> usize {
        let key = filed(key);
        let mask = self.keys.len() - 1;
        let mut place = usize::try_from(key & mask as u128).expect("a place");
        while self.keys[place] != key && self.keys[place] != 0 {
            place = (place + 1) & mask;
        }
        place
    }

    fn grow(&mut self) {
        let places = 2 * self.keys.len();
        let keys = std::mem::replace(&mut self.keys, vec![0; places]);
        let notes = std::mem::replace(&mut self.notes, vec![0; places]);
        for (key, note) in keys.into_iter().zip(notes).filter(|(key, _)| *key != 0) {
            let place = self.place(key);
            (self.keys[place], self.notes[place]) = (key, note);
        }
    }
}

/// Zero stands for a free place. That it shares its place with one is a hash collision like any
/// other.
fn filed(key: u128) -> u128 {
    key.max(1)
}

impl From<Listed> for Seen {
    fn from(listed: Listed) -> Self {
        let mut seen = Self::new(listed.max.max(listed.entries.len()));
        for (key, note) in listed.entries {
            seen.put(key, note);
        }
        seen.max = listed.max;
        seen
    }
}

impl From<Seen> for Listed {
    /// Sorted, so that equal sets are stored equally.
    fn from(seen: Seen) -> Self {
        let entries = seen.keys.into_iter().zip(seen.notes);
        let mut entries: Vec<_> = entries.filter(|(key, _)| *key != 0).collect();
        entries.sort_unstable();
        Self { max: seen.max, entries }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_is_a_map() {
        let mut reference = BTreeMap::new();
        let mut seen = Seen::new(usize::MAX);
        let mut key: u128 = 1;
        for round in 0..20_000_u64 {
            key = key.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).wrapping_add(1);
            // Many equal low bits, and many repetitions.
            let key = (key >> 100 << (round % 3 * 50)).max(1);
            assert_eq!(seen.find(key), reference.get(&key).copied(), "key {key:#x}");
            assert!(seen.put(key, round));
            reference.insert(key, round);
        }
        assert_eq!(seen.len(), reference.len());
        let stored = serde_json::to_string(&seen).unwrap();
        let restored: Seen = serde_json::from_str(&stored).unwrap();
        assert!(reference.iter().all(|(&key, &note)| restored.find(key) == Some(note)));
    }

    #[test]
    fn a_full_one_says_so() {
        let mut seen = Seen::new(2);
        assert!(seen.put(5, 0) && seen.put(6, 0) && !seen.put(7, 0));
        assert!(seen.put(5, 1), "what is known may be noted anew");
        assert_eq!((seen.find(5), seen.find(7)), (Some(1), None));
    }
}
