//! What a sector with cached writes is, whatever the moments: the rules ask for the order of ends,
//! and which of them lie before a submission, and for nothing else.

use xxhash_rust::xxh3::xxh3_128;

use super::Cell;
use crate::disk::contents::{Bases, Patch};
use crate::disk::span::Span;
use crate::fingerprint::{Parts, sum};

impl Cell {
    /// Identifies what the sector may hold from here on, but for what flushes in flight
    /// [cover](Cell::covered_by).
    ///
    /// In which order patches in flight were submitted is left out: it decides which content
    /// counts as the one with everything kept, and no more.
    pub(crate) fn fingerprint(&self, sector: u64) -> u128 {
        *self.fingerprint.get_or_init(|| self.fingerprint_beside(sector, &[]))
    }

    /// The same with changes of the length that may cut the sector: their order among its patches
    /// counts.
    pub(crate) fn fingerprint_beside(&self, sector: u64, cuts: &[Span]) -> u128 {
        let spans = self.patches.iter().map(|patch| &patch.span).chain(cuts);
        let ends = Ends::of(spans);
        let mut place = 0;
        let patches = (0..self.patches.len()).map(|index| {
            // Two patches of one request: it went astray and wrapped round the end.
            let again = index > 0 && self.patches[index].request == self.patches[index - 1].request;
            place = if again { place + 1 } else { 0 };
            patch_key(&self.patches[index], place, &ends)
        });
        let patches = sum(patches);
        let cuts = cuts
            .iter()
            .enumerate()
            .map(|(index, span)| ends.add_to(Parts::of("cut").count(index), span).end());
        Parts::of("cell").word(sector).key(self.bases.key()).key(patches).key(sum(cuts)).end()
    }

    /// How many patches a flush submitted at `moment` makes durable if it succeeds. They are those
    /// that ended first.
    pub(crate) fn covered_by(&self, moment: u64) -> usize {
        let covered = |patch: &&Patch| !patch.span.required && patch.span.covered_by(moment);
        self.patches.iter().filter(covered).count()
    }
}

impl Bases {
    /// The durable content, the one that reads see, and the set of all.
    fn key(&self) -> u128 {
        if let [only] = &self.list[..] {
            return xxh3_128(only);
        }
        let all = sum(self.list.iter().map(|base| xxh3_128(base)));
        Parts::of("bases").content(&self.list[0]).content(&self.list[self.kept]).key(all).end()
    }
}

/// One patch; who wrote it counts only while that request can end.
fn patch_key(patch: &Patch, place: u64, ends: &Ends) -> u128 {
    let parts = Parts::of("patch").count(patch.start).content(&patch.bytes).word(place);
    let parts = ends.add_to(parts, &patch.span);
    match patch.span.ended {
        Some(_) => parts.end(),
        None => parts.key(patch.request.fingerprint()).end(),
    }
}

/// The moments at which something ended, in order: what moments are measured against.
pub(crate) struct Ends(Vec<u64>);

impl Ends {
    /// Those of some spans.
    pub(crate) fn of<'a>(spans: impl Iterator<Item = &'a Span>) -> Self {
        let mut ends: Vec<u64> = spans.filter_map(|span| span.ended).collect();
        ends.sort_unstable();
        ends.dedup();
        Self(ends)
    }

    /// Adds a span: what is known of it, and how many ends lie before its submission and before
    /// its end.
    pub(crate) fn add_to(&self, parts: Parts, span: &Span) -> Parts {
        let before = |moment: u64| self.0.partition_point(|&end| end < moment) as u64;
        // What is durable already cannot be lost sight of.
        let dropped = span.dropped && !span.required;
        let flags = [span.failed, span.required, dropped, span.ended.is_some()];
        let flags = flags.iter().fold(0, |word, &flag| word << 1 | u64::from(flag));
        parts.word(flags).word(before(span.submitted)).word(span.ended.map_or(u64::MAX, before))
    }
}
