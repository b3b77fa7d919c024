//! What was seen already, so that equal states are visited once, in bounded memory.

use std::collections::BTreeSet;

/// Most keys kept. Past it the set is emptied and filled anew: a state may then be visited twice,
/// which costs time and nothing else.
const KEYS_MAX: usize = 4_000_000;

/// A set of 128-bit keys.
#[derive(Debug, Default)]
pub(crate) struct Visited {
    keys: BTreeSet<u128>,
}

impl Visited {
    /// Whether `key` is new; it is not from now on.
    pub(crate) fn insert(&mut self, key: u128) -> bool {
        if self.keys.len() >= KEYS_MAX {
            self.keys.clear();
        }
        self.keys.insert(key)
    }
}
