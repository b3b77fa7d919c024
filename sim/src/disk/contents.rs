//! The contents that a power cut may leave in one sector.
//!
//! The rule: take any set of the sector's patches that contains all durable ones and is downward
//! closed under *precedes* (failed patches may always be left out), apply them in any order that
//! extends *precedes* to any of the contents beneath. With patches that fill the sector this is
//! "the last durable content or any later one"; with smaller ones it is a sector that the device
//! reads, modifies and writes atomically.
//!
//! Torn sectors: if the last patch applied is not durable yet, the power cut may have interrupted
//! the medium between an earlier allowed content and this one. Then the sector holds a prefix of
//! one and the rest of the other, changing at a multiple of the tear granularity. A failed patch
//! has ended, so it is there or not but never torn.

use std::collections::{BTreeMap, BTreeSet};

use super::bytes::Slice;
use super::request::RequestId;
use super::span::{Span, Spanned, kept_order};

/// A write to part or all of one sector.
#[derive(Debug, Clone)]
pub(crate) struct Patch {
    /// The request that it belongs to.
    pub(crate) request: RequestId,
    /// Its life.
    pub(crate) span: Span,
    /// First byte within the sector.
    pub(crate) start: usize,
    /// The bytes.
    pub(crate) bytes: Slice,
}

impl Spanned for Patch {
    fn span(&self) -> &Span {
        &self.span
    }

    fn span_mut(&mut self) -> &mut Span {
        &mut self.span
    }
}

/// The distinct contents of a sector, the one with everything lost first.
#[derive(Debug, Clone)]
pub(crate) struct Contents {
    /// Never empty.
    pub(crate) list: Vec<Content>,
    /// Index of the content with everything kept.
    pub(crate) kept: usize,
}

/// One content of a sector and where it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    /// As many bytes as a sector has.
    pub(crate) bytes: Slice,
    /// Indices of the patches with visible bytes in it.
    pub(crate) survivors: Vec<usize>,
    /// Whether the sector is torn inside.
    pub(crate) torn: bool,
}

/// How finely sectors are divided on this disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grain {
    /// Bytes in a sector.
    pub(crate) sector_len: usize,
    /// Granularity of tears, if there are any.
    pub(crate) tear: Option<usize>,
}

/// What lies beneath the patches: usually one content, more while it is undecided which of
/// several unordered patches is the durable one.
#[derive(Debug, Clone)]
pub(crate) struct Bases {
    /// Distinct, never empty; the first is the one in the durable image.
    pub(crate) list: Vec<Slice>,
    /// Index of the one that reads see.
    pub(crate) kept: usize,
}

impl Bases {
    /// What beneath becomes when `patches`, each durable or failed, are folded in.
    pub(crate) fn folded(&self, patches: &[Patch], grain: Grain) -> Self {
        if let [only] = patches
            && only.span.required
            && only.bytes.len() == grain.sector_len
        {
            return Self { list: vec![only.bytes.clone()], kept: 0 };
        }
        let contents = contents(self, patches, Grain { tear: None, ..grain });
        let list = contents.list.into_iter().map(|content| content.bytes).collect();
        Self { list, kept: contents.kept }
    }
}

/// All contents that a power cut may leave.
pub(crate) fn contents(bases: &Bases, patches: &[Patch], grain: Grain) -> Contents {
    let whole = patches.iter().all(|patch| patch.bytes.len() == grain.sector_len);
    if whole && grain.tear.is_none() {
        whole_contents(bases, patches)
    } else {
        Walk::new(bases, patches, grain).contents()
    }
}

/// The rule for patches that fill the sector: everything that no durable patch follows.
fn whole_contents(bases: &Bases, patches: &[Patch]) -> Contents {
    let overwritten = |patch: &Patch| {
        patches.iter().any(|later| later.span.required && patch.span.precedes(&later.span))
    };
    let order = kept_order(patches);
    let mut found = Distinct::default();
    let mut kept = 0;
    if patches.iter().any(|patch| patch.span.required) {
        // With everything lost, the last durable patch is what is left.
        let last = order.iter().rev().find(|&&index| patches[index].span.required);
        let last = *last.expect("a durable patch has not failed");
        found.add(patches[last].bytes.clone(), || (vec![last], false));
    } else {
        for base in &bases.list {
            found.add(base.clone(), || (Vec::new(), false));
        }
        kept = bases.kept;
    }
    let failed = (0..patches.len()).filter(|&index| patches[index].span.failed);
    for index in failed.chain(order.iter().copied()) {
        if !overwritten(&patches[index]) {
            let content = found.add(patches[index].bytes.clone(), || (vec![index], false));
            if !patches[index].span.failed {
                kept = content;
            }
        }
    }
    Contents { list: found.list, kept }
}

/// Contents found so far, without repetition.
#[derive(Debug, Default)]
struct Distinct {
    list: Vec<Content>,
}

impl Distinct {
    /// The index of the content, which is added if it is new.
    fn add(&mut self, bytes: Slice, origin: impl FnOnce() -> (Vec<usize>, bool)) -> usize {
        if let Some(index) = self.list.iter().position(|known| *known.bytes == *bytes) {
            return index;
        }
        let (survivors, torn) = origin();
        self.list.push(Content { bytes, survivors, torn });
        self.list.len() - 1
    }
}

/// For each grain of a sector, who wrote it: a base (`0..bases`) or a patch (`bases..`).
type Owners = Vec<usize>;

/// A set of patches, one bit each.
type PatchSet = Vec<u64>;

/// Enumeration of the allowed sets and orders, level by level of set size, with equal states
/// merged.
struct Walk<'a> {
    bases: &'a Bases,
    patches: &'a [Patch],
    grain_len: usize,
    sector_len: usize,
    tear: Option<usize>,
}

impl<'a> Walk<'a> {
    fn new(bases: &'a Bases, patches: &'a [Patch], grain: Grain) -> Self {
        let edges = patches.iter().flat_map(|patch| [patch.start, patch.bytes.len()]);
        let grain_len = edges.fold(grain.tear.unwrap_or(grain.sector_len), common_divisor);
        Self { bases, patches, grain_len, sector_len: grain.sector_len, tear: grain.tear }
    }

    fn contents(&self) -> Contents {
        let order = kept_order(self.patches);
        let durable: Vec<usize> =
            order.iter().copied().filter(|&index| self.patches[index].span.required).collect();
        let lost = self.applied(0, &durable);
        let kept = self.applied(self.bases.kept, &order);
        let (whole, torn) = self.reachable();
        assert!(whole.contains(&lost), "the durable patches alone are a crash state");
        assert!(whole.contains(&kept), "all patches together are a crash state");
        let mut found = Distinct::default();
        self.add(&mut found, &lost, false);
        for owners in &whole {
            self.add(&mut found, owners, false);
        }
        let kept = self.add(&mut found, &kept, false);
        for owners in &torn {
            self.add(&mut found, owners, true);
        }
        Contents { list: found.list, kept }
    }

    /// The contents that are reached whole, and those that are torn.
    fn reachable(&self) -> (BTreeSet<Owners>, BTreeSet<Owners>) {
        let grains = self.sector_len / self.grain_len;
        let empty: PatchSet = vec![0; self.patches.len().div_ceil(64)];
        let mut whole = BTreeSet::new();
        let mut torn = BTreeSet::new();
        // Per state, the allowed contents that the medium may have held on the way to it.
        let mut level: BTreeMap<(PatchSet, Owners), BTreeSet<Owners>> = (0..self.bases.list.len())
            .map(|base| ((empty.clone(), vec![base; grains]), BTreeSet::new()))
            .collect();
        while !level.is_empty() {
            let mut next: BTreeMap<(PatchSet, Owners), BTreeSet<Owners>> = BTreeMap::new();
            for ((set, owners), mut before) in level {
                if self.allowed(&set) {
                    whole.insert(owners.clone());
                    if self.tear.is_some() {
                        before.insert(owners.clone());
                    }
                }
                for index in (0..self.patches.len()).filter(|&index| self.addable(&set, index)) {
                    let mut with = set.clone();
                    with[index / 64] |= 1 << (index % 64);
                    let mut after = owners.clone();
                    self.apply(index, &mut after);
                    let span = &self.patches[index].span;
                    let before_this = if span.failed { &BTreeSet::new() } else { &before };
                    if !span.required {
                        for old in before_this {
                            self.tears(old, &after, &mut torn);
                        }
                    }
                    next.entry((with, after)).or_default().extend(before_this.iter().cloned());
                }
            }
            level = next;
        }
        (whole, torn)
    }

    /// Whether every durable patch is in the set.
    fn allowed(&self, set: &PatchSet) -> bool {
        (0..self.patches.len())
            .all(|index| contains(set, index) || !self.patches[index].span.required)
    }

    /// Whether a patch may be the next one: what precedes it is there unless it failed, and
    /// nothing that it precedes is.
    fn addable(&self, set: &PatchSet, index: usize) -> bool {
        let span = &self.patches[index].span;
        !contains(set, index)
            && (0..self.patches.len()).all(|other| {
                let theirs = &self.patches[other].span;
                if contains(set, other) {
                    !span.precedes(theirs)
                } else {
                    theirs.failed || !theirs.precedes(span)
                }
            })
    }

    fn apply(&self, index: usize, owners: &mut Owners) {
        let patch = &self.patches[index];
        let first = patch.start / self.grain_len;
        let count = patch.bytes.len() / self.grain_len;
        owners[first..first + count].fill(self.bases.list.len() + index);
    }

    /// A base with these patches applied in this order.
    fn applied(&self, base: usize, order: &[usize]) -> Owners {
        let mut owners = vec![base; self.sector_len / self.grain_len];
        for &index in order {
            self.apply(index, &mut owners);
        }
        owners
    }

    /// Adds every proper mix of two contents that changes sides once at a tear boundary.
    fn tears(&self, old: &Owners, new: &Owners, torn: &mut BTreeSet<Owners>) {
        let tear = self.tear.expect("only called with tears") / self.grain_len;
        for boundary in (tear..old.len()).step_by(tear) {
            torn.insert([&new[..boundary], &old[boundary..]].concat());
            torn.insert([&old[..boundary], &new[boundary..]].concat());
        }
    }

    fn add(&self, found: &mut Distinct, owners: &Owners, torn: bool) -> usize {
        let bytes = self.bytes(owners);
        found.add(bytes, || {
            let patches: BTreeSet<usize> = owners
                .iter()
                .filter_map(|owner| owner.checked_sub(self.bases.list.len()))
                .collect();
            (patches.into_iter().collect(), torn)
        })
    }

    fn bytes(&self, owners: &Owners) -> Slice {
        let mut bytes = Vec::with_capacity(self.sector_len);
        for (grain, &owner) in owners.iter().enumerate() {
            let start = grain * self.grain_len;
            let part = match owner.checked_sub(self.bases.list.len()) {
                None => &self.bases.list[owner][start..],
                Some(index) => &self.patches[index].bytes[start - self.patches[index].start..],
            };
            bytes.extend_from_slice(&part[..self.grain_len]);
        }
        Slice::new(bytes.into())
    }
}

fn contains(set: &PatchSet, index: usize) -> bool {
    set[index / 64] >> (index % 64) & 1 == 1
}

fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_divisor(b, a % b) }
}
