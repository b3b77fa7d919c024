//! What an event of a toy system has touched.

use plugpull_sim::orders::Footprint;
use serde::{Deserialize, Serialize};

/// Sets of objects, a bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Touched {
    /// Objects whose value was seen.
    pub(crate) reads: u64,
    /// Objects that were added to; the order of additions makes no difference.
    pub(crate) adds: u64,
    /// Objects seen and changed, or changed in an order that matters.
    pub(crate) writes: u64,
}

impl Touched {
    fn all(&self) -> u64 {
        self.reads | self.adds | self.writes
    }
}

impl Footprint for Touched {
    fn conflicts(&self, other: &Self) -> bool {
        let one_writes = self.writes & other.all() | other.writes & self.all();
        one_writes | self.reads & other.adds | self.adds & other.reads != 0
    }

    fn key(&self) -> u64 {
        let mix = |hash: u64, next: u64| {
            (hash ^ next).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
        };
        mix(mix(mix(0, self.reads), self.adds), self.writes)
    }
}
