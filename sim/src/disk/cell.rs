//! One sector with cached writes: what lies beneath, the patches on top, and the contents that
//! follow, kept until something changes.

mod fingerprint;

use std::cell::OnceCell;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use super::bytes::Slice;
use super::contents::{Bases, Content, Contents, Grain, Patch, contents};
use super::request::RequestId;
use super::span::{self, Span};

/// A sector whose content after a power cut is not decided.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    bases: Bases,
    patches: Arc<Vec<Patch>>,
    contents: OnceCell<Arc<CellContents>>,
    /// See [`Cell::fingerprint`].
    fingerprint: OnceCell<u128>,
}

/// The contents of a sector with the patches that they come from.
#[derive(Debug)]
pub(crate) struct CellContents {
    /// The contents.
    pub(crate) contents: Contents,
    /// What [`super::contents::Content::survivors`] refers to.
    pub(crate) patches: Arc<Vec<Patch>>,
    /// Identifies the set of contents, whatever their order.
    pub(crate) key: u128,
}

impl CellContents {
    fn new(contents: Contents, patches: Arc<Vec<Patch>>) -> Arc<Self> {
        let keys = contents.list.iter().map(|content| xxh3_128(&content.bytes));
        let key = keys.fold(0, u128::wrapping_add);
        Arc::new(Self { contents, patches, key })
    }

    /// Only these of the contents, each as `seen`, without repetition.
    pub(crate) fn restricted(
        &self,
        options: impl Iterator<Item = usize>,
        seen: impl Fn(&Slice) -> Slice,
    ) -> Arc<Self> {
        let mut list: Vec<Content> = Vec::new();
        for option in options {
            let content = &self.contents.list[option];
            let bytes = seen(&content.bytes);
            if list.iter().all(|known| *known.bytes != *bytes) {
                list.push(Content { bytes, ..content.clone() });
            }
        }
        Self::new(Contents { list, kept: 0 }, Arc::clone(&self.patches))
    }
}

impl Cell {
    /// A sector that durably holds one of `bases`, of which there is at least one.
    pub(crate) fn new(bases: Vec<Slice>) -> Self {
        assert!(!bases.is_empty(), "a sector holds something");
        Self {
            bases: Bases { list: bases, kept: 0 },
            patches: Arc::default(),
            contents: OnceCell::new(),
            fingerprint: OnceCell::new(),
        }
    }

    /// It has become known what durably lies beneath.
    pub(crate) fn decide_base(&mut self, base: Slice) {
        self.bases = Bases { list: vec![base], kept: 0 };
        self.contents.take();
        self.fingerprint.take();
    }

    /// Adds a patch.
    pub(crate) fn push(&mut self, patch: Patch) {
        let durable = patch.span.required;
        let patches = self.change();
        patches.push(patch);
        if durable {
            span::require_predecessors(patches);
        }
    }

    /// Ends the patches of a request well. Returns whether that may change the contents.
    pub(crate) fn finish(&mut self, request: RequestId, moment: u64, durable: bool) -> bool {
        // The order among several patches is all that a plain completion can change.
        let changes = self.patches.len() > 1 || durable;
        if changes {
            self.contents.take();
        }
        self.fingerprint.take();
        let patches = Arc::make_mut(&mut self.patches);
        for patch in patches.iter_mut().filter(|patch| patch.request == request) {
            patch.span.ended = Some(moment);
            patch.span.required = durable;
        }
        if durable {
            span::require_predecessors(patches);
        }
        changes
    }

    /// Ends the patches of a request in an error.
    pub(crate) fn fail(&mut self, request: RequestId, moment: u64) {
        for patch in self.change().iter_mut().filter(|patch| patch.request == request) {
            patch.span.ended = Some(moment);
            patch.span.failed = true;
        }
    }

    /// Takes the patches of a request back, since they never were on their way here. Returns their
    /// span.
    pub(crate) fn withdraw(&mut self, request: RequestId) -> Option<Span> {
        let mine = self.patches.iter().find(|patch| patch.request == request);
        let span = mine.map(|patch| patch.span);
        self.change().retain(|patch| patch.request != request);
        span
    }

    /// A flush submitted at `moment` succeeded. Returns whether it covered anything.
    pub(crate) fn cover(&mut self, moment: u64) -> bool {
        let covers =
            self.patches.iter().any(|patch| !patch.span.required && patch.span.covered_by(moment));
        covers && span::cover(self.change(), moment)
    }

    /// A flush submitted at `moment` failed and dropped what it should have covered.
    pub(crate) fn drop_dirty(&mut self, moment: u64) {
        span::drop_dirty(self.change(), moment);
    }

    /// Folds what is settled into the bases; `cuts` are the shrinks that may still cut this
    /// sector. Returns the new content of the durable image, if it changed.
    pub(crate) fn settle(&mut self, cuts: &[Span], grain: Grain) -> Option<Slice> {
        let inside = span::foldable(&self.patches, cuts);
        if !inside.contains(&true) {
            return None;
        }
        let taken: Vec<Patch> = (0..inside.len())
            .filter(|&index| inside[index])
            .map(|index| self.patches[index].clone())
            .collect();
        self.bases = self.bases.folded(&taken, grain);
        let mut index = 0;
        self.change().retain(|_| {
            index += 1;
            !inside[index - 1]
        });
        Some(self.bases.list[0].clone())
    }

    /// Whether its content is decided and in the durable image.
    pub(crate) fn is_decided(&self) -> bool {
        self.patches.is_empty() && self.bases.list.len() == 1
    }

    /// What a power cut may leave.
    pub(crate) fn contents(&self, grain: Grain) -> Arc<CellContents> {
        let fill = || {
            let contents = contents(&self.bases, &self.patches, grain);
            CellContents::new(contents, Arc::clone(&self.patches))
        };
        Arc::clone(self.contents.get_or_init(fill))
    }

    /// What a power cut may leave if the flush parts of the requests in `undone` have not been
    /// carried out (nor those requests), flushes submitted at the moments in `flushed` have, and
    /// the shrinks in `cuts`, as patches, have taken place.
    pub(crate) fn contents_if(
        &self,
        undone: &[RequestId],
        flushed: &[u64],
        cuts: Vec<Patch>,
        grain: Grain,
    ) -> Arc<CellContents> {
        let mut patches: Vec<Patch> = (self.patches.iter())
            .filter(|patch| !undone.contains(&patch.request))
            .cloned()
            .chain(cuts)
            .collect();
        for &moment in flushed {
            span::cover(&mut patches, moment);
        }
        span::require_predecessors(&mut patches);
        let contents = contents(&self.bases, &patches, grain);
        CellContents::new(contents, Arc::new(patches))
    }

    fn change(&mut self) -> &mut Vec<Patch> {
        self.contents.take();
        self.fingerprint.take();
        Arc::make_mut(&mut self.patches)
    }
}
