//! What the length of a disk may be, whatever the moments.

use super::{Lengths, Resize};
use crate::disk::span::Span;
use crate::fingerprint::Parts;

impl Lengths {
    /// Whether no change of the length is undecided.
    pub(crate) fn is_settled(&self) -> bool {
        self.resizes.is_empty()
    }

    /// The changes that are not durable and may cut a sector that ends at this offset, now or once
    /// the disk has been longer.
    pub(crate) fn cuts_before(&self, end: u64) -> Vec<Span> {
        let cuts = |resize: &&Resize| resize.len < end && !resize.span.required;
        self.resizes.iter().filter(cuts).map(|resize| resize.span).collect()
    }

    /// Identifies what the length may be from here on, but for what flushes in flight
    /// [cover](Lengths::covered_by). Changes of the length are rare: the order of all moments
    /// counts.
    pub(crate) fn fingerprint(&self) -> u128 {
        let mut moments: Vec<u64> = (self.resizes.iter())
            .flat_map(|resize| [Some(resize.span.submitted), resize.span.ended])
            .flatten()
            .collect();
        moments.sort_unstable();
        let rank = |moment: u64| moments.partition_point(|&other| other < moment) as u64;
        let start = Parts::of("lengths").word(self.base).word(self.room).end();
        self.resizes.iter().fold(start, |key, resize| {
            let span = &resize.span;
            let flags = [span.failed, span.required, span.dropped && !span.required];
            let flags = flags.iter().fold(0, |word, &flag| word << 1 | u64::from(flag));
            let parts = Parts::of("resize").key(key).word(resize.len).word(flags);
            let parts = parts.word(rank(span.submitted));
            match span.ended {
                Some(ended) => parts.word(rank(ended)).end(),
                None => parts.key(resize.request.fingerprint()).end(),
            }
        })
    }

    /// How many changes a flush submitted at `moment` makes durable if it succeeds. They are those
    /// that ended first.
    pub(crate) fn covered_by(&self, moment: u64) -> usize {
        let covered = |resize: &&Resize| !resize.span.required && resize.span.covered_by(moment);
        self.resizes.iter().filter(covered).count()
    }
}
