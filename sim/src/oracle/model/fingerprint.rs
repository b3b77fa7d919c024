//! What a sector model is, whatever the moments: models that give the same answers from here on
//! have the same fingerprint.
//!
//! All that the rules ask of two moments is whether a write ended before another was submitted, and
//! of a moment which writes it supersedes. The first is told by the place of an end among the
//! submissions to the same sector, the second by a [`Reach`]. Moments of different sectors are
//! never compared, nor are two ends between which nothing was submitted.

use std::collections::BTreeSet;

use super::{End, Moment, SectorModel, SectorWrite, superseding};
use crate::fingerprint::{Parts, sum};

impl SectorModel {
    /// Identifies what the model answers from here on: with equal fingerprints, the same events
    /// are followed by the same answers and the same keys of what is
    /// [allowed](SectorModel::after_power_cut). Up to a hash collision (128 bits).
    #[must_use]
    pub fn fingerprint(&self) -> u128 {
        *self.fingerprint.get_or_init(|| {
            let reads = self.reads.iter().map(|(&at, &id)| self.read_key(at, id));
            let flushes = self.flushes.iter().map(|(&at, &id)| self.flush_key(at, id));
            let in_flight = sum(reads).wrapping_add(sum(flushes));
            Parts::of("model").key(self.sectors_key).key(in_flight).end()
        })
    }

    /// Brings the key of a sector up to date after a change of its writes or of what is flushed.
    pub(super) fn update_key(&mut self, sector: u64) {
        let writes = self.sectors.get_mut(&sector).expect("a sector that was written");
        let reach = Reach::of(&writes.list, self.flushed);
        let key = writes_key(sector, &writes.list, reach);
        let before = std::mem::replace(&mut writes.key, key);
        self.sectors_key = self.sectors_key.wrapping_sub(before).wrapping_add(key);
    }

    /// A read in flight: where it may see anything that one submitted now may not.
    fn read_key(&self, submitted: Moment, id: u64) -> u128 {
        let sectors = self.sectors.iter().map(|(&sector, writes)| {
            let reach = Reach::of(&writes.list, submitted);
            let now = Reach::of(&writes.list, Moment::MAX);
            if reach == now { 0 } else { reach.key("read", id, sector) }
        });
        Parts::of("reading").word(id).key(sum(sectors)).end()
    }

    /// A flush in flight: where its success would put anything out of sight.
    fn flush_key(&self, submitted: Moment, id: u64) -> u128 {
        let covered = self.uncovered.iter().take_while(|(end, _)| *end < submitted);
        let sectors: BTreeSet<u64> = covered.flat_map(|(_, sectors)| sectors.clone()).collect();
        let sectors = sectors.into_iter().map(|sector| {
            let writes = self.writes(sector);
            let reach = Reach::of(writes, submitted);
            let before = Reach::of(writes, self.flushed);
            if reach == before { 0 } else { reach.key("flush", id, sector) }
        });
        Parts::of("flushing").word(id).key(sum(sectors)).end()
    }
}

/// What of a sector is superseded before a moment: writes that ended first, and how many.
///
/// Of a moment in the past that never changes, but for writes that are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reach {
    /// The initial content is superseded.
    initial: bool,
    writes: usize,
}

impl Reach {
    fn of(writes: &[SectorWrite], before: Moment) -> Self {
        let superseding = superseding(writes, before);
        let superseded = writes.iter().filter(|write| write.ended_before(superseding));
        Self { initial: superseding > 0, writes: superseded.count() }
    }

    fn key(self, tag: &str, id: u64, sector: u64) -> u128 {
        self.add_to(Parts::of(tag).word(id).word(sector)).end()
    }

    fn add_to(self, parts: Parts) -> Parts {
        parts.word(u64::from(self.initial)).count(self.writes)
    }
}

/// The writes by submission, each with the number of those submitted before it ended; and what a
/// flush has put out of sight.
fn writes_key(sector: u64, writes: &[SectorWrite], reach: Reach) -> u128 {
    let start = reach.add_to(Parts::of("sector").word(sector)).end();
    writes.iter().fold(start, |key, write| {
        let parts = Parts::of("write").key(key).word(write.serial);
        let Some((ended, end)) = write.ended else { return parts.end() };
        let place = writes.partition_point(|other| other.submitted < ended);
        parts.count(place).word(u64::from(end == End::Success)).end()
    })
}

#[cfg(test)]
mod tests;
