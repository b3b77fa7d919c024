//! Whether states with one fingerprint have one future.
//!
//! Of each state a note is kept of what happened next when it was seen first: who went, what that
//! touched and asked, and which state it led to. When a state is met again, an audit goes on from
//! there with the same processes, up to the end, and compares every step with its note.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::Process;

/// A note about a state; zero if nothing is known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note(pub(super) u64);

/// What happens at a state, and where that leads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Next {
    /// Who could go, in any order.
    enabled: u64,
    process: u64,
    footprint: u64,
    /// How many choices there were, of how many options each.
    choices: u64,
}

impl Next {
    /// `process` goes.
    pub(super) fn new<P: Process>(enabled: &[P], process: P) -> Self {
        let keys = enabled.iter().map(|process| xxh3_64(&process.key().to_le_bytes()));
        let enabled = keys.fold(0, u64::wrapping_add);
        Self { enabled, process: process.key(), footprint: 0, choices: 1 }
    }

    pub(super) fn choose(&mut self, count: usize) {
        self.choices = self.choices.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(count as u64);
    }

    pub(super) fn touch(&mut self, footprint: u64) {
        self.footprint = footprint;
    }

    /// What to note of the state, if this leads to the state `to`.
    pub(super) fn note(&self, to: u128) -> Note {
        let mut bytes = [0; 48];
        let words = [self.enabled, self.process, self.footprint, self.choices];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes[32..].copy_from_slice(&to.to_le_bytes());
        Note(u64::from(tag(self.process)) << 32 | xxh3_64(&bytes) >> 32)
    }
}

impl Note {
    /// Of a state about which nothing is known yet.
    pub(super) const NONE: Self = Self(0);
    /// Of a state where nothing is enabled. No other one has a tag of zero.
    pub(super) const LAST: Self = Self(1);

    /// The place of the process that went first from the state, if it is enabled.
    pub(super) fn place<P: Process>(self, enabled: &[P]) -> Option<usize> {
        enabled.iter().position(|process| u64::from(tag(process.key())) == self.0 >> 32)
    }
}

/// Tells processes apart, mostly: two enabled ones that are not told apart only make an audit fail
/// to follow, which is reported like any difference, once in four thousand million.
fn tag(process: u64) -> u32 {
    let [a, b, c, d, ..] = xxh3_64(&process.to_le_bytes()).to_le_bytes();
    u32::from_le_bytes([a, b, c, d]).max(1)
}
