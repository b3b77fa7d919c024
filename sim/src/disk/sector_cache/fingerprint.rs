//! What a cache of independent sectors is, whatever the moments.

use super::SectorCache;
use crate::disk::cache::Flushing;
use crate::disk::cell::Cell;
use crate::fingerprint::{Parts, sum};

impl SectorCache {
    /// Identifies what the cache does from here on, with these flushes in flight. The requests in
    /// flight, with what they change and which of them have a flush first, are known besides.
    pub(crate) fn fingerprint(&self, flushing: &[Flushing]) -> u128 {
        let cells = sum(self.cells.iter().map(|(&sector, cell)| self.cell_key(sector, cell)));
        let flushes = sum(flushing.iter().map(|flush| self.covered_key(flush)));
        Parts::of("sectors")
            .key(self.durable.key())
            .key(self.lengths.fingerprint())
            .key(cells)
            .key(flushes)
            .end()
    }

    fn cell_key(&self, sector: u64, cell: &Cell) -> u128 {
        if self.lengths.is_settled() {
            return cell.fingerprint(sector);
        }
        let end = (sector + 1) * self.grain.sector_len as u64;
        cell.fingerprint_beside(sector, &self.lengths.cuts_before(end))
    }

    /// What a flush in flight makes durable if it succeeds, and loses sight of if it fails.
    fn covered_key(&self, flush: &Flushing) -> u128 {
        let covers = |place: u64, count: usize| match count {
            0 => 0,
            _ => Parts::of("covers").key(flush.key).word(place).count(count).end(),
        };
        let cells = self.cells.iter();
        let cells = cells.map(|(&sector, cell)| covers(sector, cell.covered_by(flush.submitted)));
        let length = covers(u64::MAX, self.lengths.covered_by(flush.submitted));
        sum(cells).wrapping_add(length)
    }
}
