//! What a list of changes is, whatever the moments.
//!
//! With ordered writes the order of completions is the list, and all of it counts. With atomic
//! writes the order counts where changes overlap: then each is identified by what it is, with a
//! number among those that are the same, and each pair by which is first.

use std::sync::Arc;

use super::{ChangeLog, LogRule, Logged};
use crate::disk::atomic_write::overlap;
use crate::disk::bytes::{Change, Extent};
use crate::disk::cache::Flushing;
use crate::fingerprint::{Parts, sum};

impl ChangeLog {
    /// Identifies what the cache does from here on, with these flushes in flight. The requests in
    /// flight, with what they change and which of them have a flush first, are known besides.
    pub(crate) fn fingerprint(&self, flushing: &[Flushing]) -> u128 {
        let completed = *self.completed_key.get_or_init(|| match self.rule {
            LogRule::Ordered => self
                .completed
                .iter()
                .fold(0, |key, logged| Parts::of("then").key(key).key(logged.key()).end()),
            LogRule::AtomicWrite => order_key(&self.completed, &keys(&self.completed)),
        });
        Parts::of("changes")
            .key(self.durable.image.key())
            .word(self.durable.len)
            .key(completed)
            .key(sum(flushing.iter().map(|flush| self.covered_key(flush))))
            .end()
    }

    /// What a flush in flight makes durable if it succeeds, and loses sight of if it fails.
    fn covered_key(&self, flush: &Flushing) -> u128 {
        let covered =
            |logged: &Logged| !logged.span.required && logged.span.covered_by(flush.submitted);
        match self.rule {
            LogRule::Ordered => {
                let count = self.completed.iter().filter(|logged| covered(logged)).count();
                Parts::of("covers").key(flush.key).count(count).end()
            }
            LogRule::AtomicWrite => {
                let all = self.completed.iter().zip(keys(&self.completed));
                let covered = all.filter(|(logged, _)| covered(logged));
                sum(covered.map(|(_, key)| Parts::of("covers").key(flush.key).key(key).end()))
            }
        }
    }
}

impl Logged {
    /// What it does and what is known of it, but for moments and who asked for it.
    pub(crate) fn key(&self) -> u128 {
        let span = &self.span;
        let preflush = self.preflush && span.ended.is_none();
        let flags = [span.failed, span.required, span.dropped, span.ended.is_some(), preflush];
        let flags = flags.iter().fold(0, |word, &flag| word << 1 | u64::from(flag));
        Parts::of("change").key(self.change_key).word(flags).end()
    }
}

/// Identifies each change of a list among all of them, whatever the order of those that do not
/// overlap: equal ones overlap.
pub(crate) fn keys(changes: &[Arc<Logged>]) -> Vec<u128> {
    let mut plain: Vec<u128> = Vec::with_capacity(changes.len());
    let mut keys = Vec::with_capacity(changes.len());
    for logged in changes {
        let key = logged.key();
        let same = plain.iter().filter(|&&other| other == key).count();
        plain.push(key);
        keys.push(Parts::of("change").key(key).count(same).end());
    }
    keys
}

/// Identifies a list up to the order of changes that do not overlap.
pub(crate) fn order_key(changes: &[Arc<Logged>], keys: &[u128]) -> u128 {
    let pairs = (0..changes.len()).flat_map(|second| (0..second).map(move |first| (first, second)));
    let ordered = pairs
        .filter(|&(first, second)| overlap(&changes[first].change, &changes[second].change))
        .map(|(first, second)| Parts::of("before").key(keys[first]).key(keys[second]).end());
    sum(keys.iter().copied()).wrapping_add(sum(ordered))
}

impl Change {
    /// Identifies what it does.
    pub(crate) fn key(&self) -> u128 {
        match self {
            Self::Write(extents) => extents
                .iter()
                .fold(0, |key, extent| Parts::of("write").key(key).key(extent.key()).end()),
            Self::Resize(len) => Parts::of("resize").word(*len).end(),
        }
    }
}

impl Extent {
    fn key(&self) -> u128 {
        let range = self.range();
        Parts::of("extent").word(range.offset).word(range.len).content(self.source_bytes()).end()
    }
}
