//! The length of a disk as a volatile variable: the last durable length or any later one.
//!
//! A shrink also cuts content. Which sectors it has cut after a power cut depends on the length
//! that survived, so each possible length comes with the shrinks that it implies. Once a shrink
//! is durable, the sectors themselves record the cut and only the length value remains here.
//!
//! A failed growth past the longest length so far may or may not have taken place; any other failed
//! change of the length has not.

mod fingerprint;

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::request::RequestId;
use super::span::{self, Span, Spanned, kept_order};

/// The durable length and the changes that are not folded into it yet.
#[derive(Debug, Clone)]
pub(crate) struct Lengths {
    base: u64,
    /// The longest length so far, in whole sectors: a resize to less may cut content.
    room: u64,
    resizes: Vec<Resize>,
}

/// One change of the length.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resize {
    /// The request.
    pub(crate) request: RequestId,
    /// Its life.
    pub(crate) span: Span,
    /// The new length.
    pub(crate) len: u64,
}

impl Spanned for Resize {
    fn span(&self) -> &Span {
        &self.span
    }

    fn span_mut(&mut self) -> &mut Span {
        &mut self.span
    }
}

/// A length that a power cut may leave.
#[derive(Debug, Clone)]
pub(crate) struct LengthOption {
    /// The length.
    pub(crate) len: u64,
    /// The resize that set it, none for the durable length.
    pub(crate) request: Option<RequestId>,
    /// The shrinks, not durable on their own, that have taken place if this length survives.
    pub(crate) cuts: Vec<Resize>,
}

/// The distinct lengths, the one with everything lost first.
#[derive(Debug, Clone)]
pub(crate) struct LengthOptions {
    /// Never empty.
    pub(crate) list: Vec<LengthOption>,
    /// Index of the length with everything kept.
    pub(crate) kept: usize,
}

impl Lengths {
    /// A disk of this durable length, with room for `room` bytes.
    pub(crate) fn new(base: u64, room: u64) -> Self {
        Self { base, room, resizes: Vec::new() }
    }

    /// Takes a resize in flight; `room` is the longest length so far, in whole sectors.
    pub(crate) fn begin(&mut self, resize: Resize, room: u64) {
        self.resizes.push(resize);
        self.room = room;
    }

    /// Ends a resize well. Returns the shrinks that are durable as of now.
    pub(crate) fn finish(&mut self, request: RequestId, moment: u64, durable: bool) -> Vec<Resize> {
        let resize = self.resizes.iter_mut().find(|resize| resize.request == request);
        let span = &mut resize.expect("the resize is in flight").span;
        span.ended = Some(moment);
        let before = self.unsettled_cuts();
        if durable {
            let span = self.resizes.iter_mut().find(|resize| resize.request == request);
            span.expect("found before").span.required = true;
            span::require_predecessors(&mut self.resizes);
        }
        self.settle(before)
    }

    /// Ends a resize in an error.
    pub(crate) fn fail(&mut self, request: RequestId, moment: u64) {
        let index = self.resizes.iter().position(|resize| resize.request == request);
        let index = index.expect("the resize is in flight");
        if self.resizes[index].len < self.room {
            self.resizes.remove(index);
        } else {
            self.resizes[index].span.ended = Some(moment);
            self.resizes[index].span.failed = true;
        }
    }

    /// A flush submitted at `moment` succeeded. Returns the shrinks that are durable as of now.
    pub(crate) fn cover(&mut self, moment: u64) -> Vec<Resize> {
        let before = self.unsettled_cuts();
        span::cover(&mut self.resizes, moment);
        self.settle(before)
    }

    /// A flush submitted at `moment` failed and dropped what it should have covered.
    pub(crate) fn drop_dirty(&mut self, moment: u64) {
        span::drop_dirty(&mut self.resizes, moment);
    }

    /// The shrinks that are not durable.
    pub(crate) fn unsettled_cuts(&self) -> Vec<Resize> {
        let cuts = |resize: &&Resize| resize.len < self.room && !resize.span.required;
        self.resizes.iter().filter(cuts).copied().collect()
    }

    /// The lengths that a power cut may leave, if also what flushes submitted at these moments
    /// cover is durable.
    pub(crate) fn options(&self, flushed: &[u64]) -> LengthOptions {
        let mut resizes = self.resizes.clone();
        for &moment in flushed {
            span::cover(&mut resizes, moment);
        }
        let durable = (0..resizes.len()).filter(|&index| resizes[index].span.required);
        let mut sets: Vec<BTreeSet<usize>> = vec![durable.collect()];
        let all: BTreeSet<usize> = kept_order(&resizes).into_iter().collect();
        let mut list: Vec<LengthOption> = Vec::new();
        let mut kept = 0;
        // Larger and larger sets of resizes that have taken place.
        let mut next = 0;
        while let Some(set) = sets.get(next).cloned() {
            next += 1;
            for (rank, option) in self.lasts(&resizes, &set).into_iter().enumerate() {
                let index = list.iter().position(|known| known.same_as(&option));
                let index = index.unwrap_or_else(|| {
                    list.push(option);
                    list.len() - 1
                });
                if rank == 0 && set == all {
                    kept = index;
                }
            }
            for index in (0..resizes.len()).filter(|&index| may_follow(&resizes, &set, index)) {
                let larger = set.iter().copied().chain([index]).collect();
                if !sets.contains(&larger) {
                    sets.push(larger);
                }
            }
        }
        LengthOptions { list, kept }
    }

    /// The lengths that a set of resizes may end with, the one that was completed last first.
    fn lasts(&self, resizes: &[Resize], set: &BTreeSet<usize>) -> Vec<LengthOption> {
        let cuts: Vec<Resize> = (set.iter())
            .filter(|&&index| resizes[index].len < self.room && !self.resizes[index].span.required)
            .map(|&index| resizes[index])
            .collect();
        if set.is_empty() {
            return vec![LengthOption { len: self.base, request: None, cuts }];
        }
        let followed = |index: usize| {
            set.iter().any(|&later| resizes[index].span.precedes(&resizes[later].span))
        };
        let mut lasts: Vec<usize> = set.iter().copied().filter(|&index| !followed(index)).collect();
        lasts.sort_by_key(|&index| {
            let span = &resizes[index].span;
            Reverse((!span.failed, span.ended.unwrap_or(u64::MAX), span.submitted))
        });
        let options = lasts.into_iter().map(|index| {
            let resize = &resizes[index];
            LengthOption { len: resize.len, request: Some(resize.request), cuts: cuts.clone() }
        });
        options.collect()
    }

    /// Forgets what a durable resize supersedes and folds a durable resize that everything else
    /// follows. Returns those of `before` that are durable.
    fn settle(&mut self, before: Vec<Resize>) -> Vec<Resize> {
        let now_durable = before
            .into_iter()
            .filter_map(|cut| self.resizes.iter().find(|resize| resize.request == cut.request))
            .filter(|resize| resize.span.required)
            .copied()
            .collect();
        let all = self.resizes.clone();
        let mut index = 0;
        self.resizes.retain(|_| {
            index += 1;
            !superseded(&all, index - 1)
        });
        if let Some(first) = self.resizes.iter().position(|resize| {
            resize.span.required
                && self.resizes.iter().all(|other| {
                    other.request == resize.request || resize.span.precedes(&other.span)
                })
        }) {
            self.base = self.resizes.remove(first).len;
        }
        now_durable
    }
}

impl LengthOption {
    fn same_as(&self, other: &Self) -> bool {
        self.len == other.len
            && self.cuts.len() == other.cuts.len()
            && self.cuts.iter().zip(&other.cuts).all(|(a, b)| a.request == b.request)
    }
}

/// Whether a resize may be the next after a set: what precedes it is there unless it failed, and
/// nothing that it precedes is.
fn may_follow(resizes: &[Resize], set: &BTreeSet<usize>, index: usize) -> bool {
    let span = &resizes[index].span;
    !set.contains(&index)
        && (0..resizes.len()).all(|other| {
            let theirs = &resizes[other].span;
            if set.contains(&other) {
                !span.precedes(theirs)
            } else {
                theirs.failed || !theirs.precedes(span)
            }
        })
}

/// Whether a durable resize follows this one.
fn superseded(resizes: &[Resize], index: usize) -> bool {
    let span = &resizes[index].span;
    resizes.iter().any(|later| later.span.required && span.precedes(&later.span))
}
