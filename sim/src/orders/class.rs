//! Which classes of equivalent executions there were, without keeping them.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::choices::Choice;

/// A multiset of signatures of classes, as sums that do not depend on the order.
///
/// Equal executions up to the order of events that do not depend on each other have equal
/// signatures, others have different ones, up to a hash collision. So two searches that agree here
/// have explored the same classes, each equally often; the sums of the shards of a search are those
/// of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Classes {
    /// How many.
    pub count: u64,
    /// Their sum, modulo 2^128.
    pub sum: u128,
    /// Their exclusive or.
    pub xor: u128,
    /// The smallest.
    pub min: u128,
    /// The greatest.
    pub max: u128,
}

impl Default for Classes {
    fn default() -> Self {
        Self { count: 0, sum: 0, xor: 0, min: u128::MAX, max: 0 }
    }
}

impl Classes {
    /// One more.
    pub(super) fn add(&mut self, signature: u128) {
        self.merge(&Self {
            count: 1,
            sum: signature,
            xor: signature,
            min: signature,
            max: signature,
        });
    }

    /// All of another search as well.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum = self.sum.wrapping_add(other.sum);
        self.xor ^= other.xor;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }
}

/// Identifies an event by who did it, its choices and all that comes before it, up to the order of
/// what does not depend on each other. `past` is the sum of the hashes of what comes before.
pub(super) fn event(process: u64, choices: &[Choice], past: u128) -> u128 {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&process.to_le_bytes());
    bytes[8..].copy_from_slice(&past.to_le_bytes());
    choices.iter().fold(xxh3_128(&bytes), |hash, choice| chain(hash, choice.index as u64))
}

/// The hash of a sequence that goes on with `next`.
pub(super) fn chain(hash: u128, next: u64) -> u128 {
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(&hash.to_le_bytes());
    bytes[16..].copy_from_slice(&next.to_le_bytes());
    xxh3_128(&bytes)
}
