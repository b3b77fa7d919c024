//! What a sector model is, whatever the moments: models that give the same answers from here on
//! have the same fingerprint.
//!
//! All that the rules ask of two moments is whether a write ended before another was submitted, and
//! of a moment which writes it supersedes. The first is told by the place of an end among the
//! submissions to the same sector, the second by a [`Reach`]. Moments of different sectors are
//! never compared, nor are two ends between which nothing was submitted.

use std::collections::BTreeSet;

use super::{
    End, InFlight, Moment, Puts, SectorModel, SectorWrite, superseding, superseding_for_good,
};
use crate::fingerprint::{Parts, sum};

impl SectorModel {
    /// Identifies what the model answers from here on: with equal fingerprints, the same events
    /// are followed by the same answers and the same keys of what is
    /// [allowed](SectorModel::after_power_cut). Up to a hash collision (128 bits).
    #[must_use]
    pub fn fingerprint(&self) -> u128 {
        *self.fingerprint.get_or_init(|| {
            let reads = self.reads.iter().map(|(&at, read)| self.read_key(at, read));
            let flushes = self.flushes.iter().map(|(&at, flush)| self.flush_key(at, flush));
            let in_flight = sum(reads).wrapping_add(sum(flushes));
            Parts::of("model").key(self.sectors_key).key(in_flight).end()
        })
    }

    /// Brings the key of a sector up to date after a change of its writes or of what is flushed.
    pub(super) fn update_key(&mut self, sector: u64) {
        let writes = self.sectors.get_mut(&sector).expect("a sector that was written");
        let reach = Reach::of(&writes.list, self.flushed);
        let mut key = writes_key(sector, &writes.list, reach);
        let lasting = superseding_for_good(&writes.list, self.flushed);
        if lasting > superseding(&writes.list, self.flushed) {
            key = Reach::since(&writes.list, lasting).add_to(Parts::of("lasting").key(key)).end();
        }
        let before = std::mem::replace(&mut writes.key, key);
        self.sectors_key = self.sectors_key.wrapping_sub(before).wrapping_add(key);
    }

    /// What a request in flight adds is not known any more: something was flushed or forgotten.
    pub(super) fn forget_keys(&mut self) {
        for request in self.reads.values_mut().chain(self.flushes.values_mut()) {
            request.key.take();
        }
    }

    /// A read in flight: where it may see more or less than what a power cut may leave of it.
    fn read_key(&self, submitted: Moment, read: &InFlight) -> u128 {
        *read.key.get_or_init(|| {
            let mut sectors = self.uncovered_before(submitted);
            // Where it may see more than that.
            sectors.extend(&self.held);
            sectors.retain(|sector| read.sectors.contains(sector));
            self.reach_key("read", submitted, read.id, &sectors)
        })
    }

    /// A flush in flight: where its success would put anything out of sight.
    fn flush_key(&self, submitted: Moment, flush: &InFlight) -> u128 {
        *flush.key.get_or_init(|| {
            let sectors = self.uncovered_before(submitted);
            self.reach_key("flush", submitted, flush.id, &sectors)
        })
    }

    /// The sectors with successful writes that ended before a moment and are not flushed.
    fn uncovered_before(&self, moment: Moment) -> BTreeSet<u64> {
        let before = self.uncovered.iter().take_while(|(end, _)| *end < moment);
        before.flat_map(|(_, sectors)| sectors.clone()).collect()
    }

    /// A request in flight with what its submission supersedes and what is flushed does not, or the
    /// other way round. Other moments than these have no part in it, so it does not change until
    /// something is flushed or forgotten.
    fn reach_key(&self, tag: &str, submitted: Moment, id: u64, sectors: &BTreeSet<u64>) -> u128 {
        let differences = sectors.iter().map(|&sector| {
            let writes = self.writes(sector);
            let reach = Reach::of(writes, submitted);
            if reach == Reach::of(writes, self.flushed) {
                return 0;
            }
            reach.add_to(Parts::of("reach").word(sector)).end()
        });
        Parts::of(tag).word(id).key(sum(differences)).end()
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
        Self::since(writes, superseding(writes, before))
    }

    fn since(writes: &[SectorWrite], superseding: Moment) -> Self {
        let superseded = writes.iter().filter(|write| write.ended_before(superseding));
        Self { initial: superseding > 0, writes: superseded.count() }
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
        let mut parts = Parts::of("write").key(key).word(write.serial);
        if let Puts::OneOf(values) = &write.puts {
            parts = values.iter().flat_map(|value| value.words()).fold(parts, Parts::word);
            parts = parts.word(u64::from(write.durable));
        }
        let Some((ended, end)) = write.ended else { return parts.end() };
        let place = writes.partition_point(|other| other.submitted < ended);
        parts.count(place).word(u64::from(end == End::Success)).end()
    })
}

#[cfg(test)]
mod tests;
