//! What each sector may hold at one moment, shared with the moments before and after.

use std::ops::Range;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use crate::oracle::model::Value;
use crate::oracle::sector_map::SectorMap;

/// The values that each sector may hold: of a sector that was never written, only the initial one.
///
/// A clone costs nothing, and a change costs what it changes, in time and in memory.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    written: SectorMap<Arc<[Value]>>,
    /// The sum of the keys of all sectors that were written.
    key: u128,
}

impl Allowed {
    /// The values of `sector`, in the order that they were set in.
    #[must_use]
    pub fn of(&self, sector: u64) -> &[Value] {
        self.written_to(sector).unwrap_or(&[Value::Initial])
    }

    /// The same, or none if it was never written.
    #[must_use]
    pub fn written_to(&self, sector: u64) -> Option<&[Value]> {
        self.written.get(sector).map(|values| &**values)
    }

    /// Those of `sectors` that were written, in order, with their values.
    pub fn written(&self, sectors: Range<u64>) -> impl Iterator<Item = (u64, &[Value])> {
        self.written.range(sectors).map(|(sector, values)| (sector, &**values))
    }

    /// Identifies what is allowed where, up to a hash collision (128 bits).
    #[must_use]
    pub fn key(&self) -> u128 {
        self.key
    }

    /// Sets what `sector` may hold, now that it was written.
    pub(crate) fn set(&mut self, sector: u64, values: Vec<Value>) {
        assert!(!values.is_empty(), "sector {sector} holds something");
        assert_ne!(values, [Value::Initial], "sector {sector} was written");
        self.key = self.key.wrapping_add(sector_key(sector, &values));
        if let Some(replaced) = self.written.set(sector, values.into()) {
            self.key = self.key.wrapping_sub(sector_key(sector, &replaced));
        }
    }
}

/// What one sector adds to the key.
fn sector_key(sector: u64, values: &[Value]) -> u128 {
    let words = std::iter::once(sector).chain(values.iter().flat_map(|value| value.words()));
    let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    xxh3_128(&bytes)
}
