//! The write cache of the models in which whole requests are what a power cut keeps or loses:
//! ordered and atomic-write. The cache is the list of changes that are not folded into the
//! durable image, in completion order.

mod fingerprint;

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::atomic_write::{self, AtomicWriteSpace};
use super::bytes::{Change, Extent, Part, write_clipped};
use super::image::Image;
use super::ordered::OrderedSpace;
use super::request::RequestId;
use super::span::{self, Span, Spanned};
use super::start::{Beneath, Layer};

pub(crate) use fingerprint::{keys, order_key};

/// Durable image and the changes on their way to it.
#[derive(Debug, Clone)]
pub(crate) struct ChangeLog {
    rule: LogRule,
    sector_len: usize,
    tear: Option<usize>,
    durable: Durable,
    /// In completion order.
    completed: Vec<Arc<Logged>>,
    /// In submission order.
    in_flight: Vec<Arc<Logged>>,
    /// After an earlier power cut: the sectors that do not show any more what it may have left
    /// there.
    covered: Arc<BTreeSet<u64>>,
    /// Whether there was one.
    after_cut: bool,
    /// See [`ChangeLog::fingerprint`].
    completed_key: OnceCell<u128>,
}

/// Which of the two models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogRule {
    /// A crash is a prefix of the completion order; requests in flight have not reached the
    /// medium.
    Ordered,
    /// Each change is there or not, those in flight too.
    AtomicWrite,
}

/// Content and length. The image has room for the longest length so far, in whole sectors; what
/// lies past `len` is zero.
#[derive(Debug, Clone)]
pub(crate) struct Durable {
    /// The content.
    pub(crate) image: Image,
    /// The length.
    pub(crate) len: u64,
}

/// One write, discard or length change.
#[derive(Debug, Clone)]
pub(crate) struct Logged {
    /// The request.
    pub(crate) request: RequestId,
    /// Its life.
    pub(crate) span: Span,
    /// What it does.
    pub(crate) change: Change,
    /// Identifies that.
    pub(crate) change_key: u128,
    /// Its data follows a flush of its own, which covers what completed before it was submitted.
    pub(crate) preflush: bool,
}

impl Logged {
    /// Whether it lies outside the order: it failed, or a failed flush dropped it, so that any
    /// part of it may have reached the medium and nothing makes it durable.
    pub(crate) fn is_loose(&self) -> bool {
        self.span.failed || self.span.dropped
    }

    /// Whether it is in flight with a flush before its data.
    pub(crate) fn is_flushing(&self) -> bool {
        self.preflush && self.span.ended.is_none()
    }

    /// The pieces that reach the medium one by one; none for a length change.
    pub(crate) fn parts(&self, sector_len: usize) -> Vec<Part> {
        match &self.change {
            Change::Write(extents) => {
                extents.iter().flat_map(|extent| extent.parts(sector_len)).collect()
            }
            Change::Resize(_) => Vec::new(),
        }
    }
}

impl Spanned for Logged {
    fn span(&self) -> &Span {
        &self.span
    }

    fn span_mut(&mut self) -> &mut Span {
        &mut self.span
    }
}

impl Durable {
    /// Makes a change.
    pub(crate) fn apply(&mut self, change: &Change, sector_len: usize) {
        match change {
            Change::Write(_) => change.apply(&mut self.image, sector_len),
            Change::Resize(len) => self.set_len(*len),
        }
    }

    /// Sets the length; what a shrink cuts off is forgotten.
    pub(crate) fn set_len(&mut self, len: u64) {
        let room = self.image.len();
        if len < room {
            self.image.set_len(len);
            self.image.set_len(room);
        }
        self.len = len;
    }

    /// The image, as long as the disk.
    pub(crate) fn into_image(mut self) -> Image {
        self.image.set_len(self.len);
        self.image
    }
}

impl ChangeLog {
    /// A disk that holds `durable` and nothing else.
    pub(crate) fn new(
        rule: LogRule,
        durable: Image,
        sector_len: usize,
        tear: Option<usize>,
        after_cut: bool,
    ) -> Self {
        let len = durable.len();
        let mut log = Self {
            rule,
            sector_len,
            tear,
            durable: Durable { image: durable, len },
            completed: Vec::new(),
            in_flight: Vec::new(),
            covered: Arc::default(),
            after_cut,
            completed_key: OnceCell::new(),
        };
        log.make_room(len);
        log
    }

    /// Takes a change in flight.
    pub(crate) fn begin(&mut self, id: RequestId, moment: u64, change: Change, preflush: bool) {
        if let Change::Resize(len) = change {
            self.make_room(len);
        }
        let span = Span::new(moment);
        let change_key = change.key();
        let logged = Logged { request: id, span, change, change_key, preflush };
        self.in_flight.push(Arc::new(logged));
    }

    /// Replaces what a write in flight does.
    pub(crate) fn replace(&mut self, id: RequestId, extents: Vec<Extent>) {
        let index = self.position(id);
        let logged = Arc::make_mut(&mut self.in_flight[index]);
        logged.change = Change::Write(extents);
        logged.change_key = logged.change.key();
    }

    /// Ends a change well. Returns whether a power cut may leave anything else than before: the
    /// order of completions is part of it, so always.
    pub(crate) fn finish(&mut self, id: RequestId, moment: u64, durable: bool) -> bool {
        let mut logged = self.in_flight.remove(self.position(id));
        Arc::make_mut(&mut logged).span.ended = Some(moment);
        self.completed_key.take();
        self.completed.push(logged);
        if durable {
            let last = self.completed.len() - 1;
            match self.rule {
                // What reaches the medium last has everything before it there.
                LogRule::Ordered => self.require_prefix(last + 1),
                LogRule::AtomicWrite => {
                    Arc::make_mut(&mut self.completed[last]).span.required = true;
                }
            }
            self.fold();
        }
        true
    }

    /// Whether a plain end of a change may make something impossible for a power cut: with
    /// atomic writes, that it reached the medium after another one in flight.
    pub(crate) fn may_settle(&self, id: RequestId) -> bool {
        let ending = &self.in_flight[self.position(id)];
        self.rule == LogRule::AtomicWrite
            && self.in_flight.iter().any(|other| {
                other.request != id && atomic_write::overlap(&other.change, &ending.change)
            })
    }

    /// Ends a change in an error.
    pub(crate) fn fail(&mut self, id: RequestId, moment: u64) {
        let mut logged = self.in_flight.remove(self.position(id));
        let shrink = matches!(logged.change, Change::Resize(len) if len < self.durable.image.len());
        if !shrink {
            let span = &mut Arc::make_mut(&mut logged).span;
            span.ended = Some(moment);
            span.failed = true;
            self.completed_key.take();
            self.completed.push(logged);
        }
    }

    /// A flush submitted at `moment` succeeded.
    pub(crate) fn cover(&mut self, moment: u64) {
        self.completed_key.take();
        for logged in &mut self.completed {
            if logged.span.covered_by(moment) && !logged.span.required {
                Arc::make_mut(logged).span.required = true;
            }
        }
        self.fold();
    }

    /// A flush submitted at `moment` failed and dropped what it should have covered.
    pub(crate) fn drop_dirty(&mut self, moment: u64) {
        self.completed_key.take();
        for logged in &mut self.completed {
            span::drop_dirty(std::slice::from_mut(Arc::make_mut(logged)), moment);
        }
    }

    /// It has become known what durably lies in a sector.
    pub(crate) fn decide(&mut self, sector: u64, content: &[u8]) {
        write_clipped(&mut self.durable.image, sector * self.sector_len as u64, content);
        Arc::make_mut(&mut self.covered).insert(sector);
    }

    /// What a power cut may leave, for the ordered model.
    pub(crate) fn ordered_space(&self, beneath: Beneath<'_>) -> OrderedSpace {
        let (durable, layer) = self.beneath(beneath);
        OrderedSpace::new(durable, &self.completed, self.sector_len, self.tear, layer)
    }

    /// What a power cut may leave, for the atomic-write model.
    pub(crate) fn atomic_write_space(&self, beneath: Beneath<'_>) -> AtomicWriteSpace {
        let (durable, layer) = self.beneath(beneath);
        AtomicWriteSpace::new(durable, &self.completed, &self.in_flight, self.sector_len, layer)
    }

    /// The durable image, and what an earlier power cut has left undecided in it. Once that is all
    /// decided it becomes part of the image: sectors that nobody has read, too.
    fn beneath(&self, start: Beneath<'_>) -> (Durable, Option<Layer>) {
        let mut durable = self.durable.clone();
        let layer = Layer::of(start, &self.covered);
        if let Some((layer, decided)) =
            layer.as_ref().and_then(|layer| Some((layer, layer.decided()?)))
        {
            layer.show(&decided, self.sector_len, &mut durable.image);
            return (durable, None);
        }
        (durable, layer)
    }

    /// Which model.
    pub(crate) fn rule(&self) -> LogRule {
        self.rule
    }

    fn position(&self, id: RequestId) -> usize {
        let position = self.in_flight.iter().position(|logged| logged.request == id);
        position.expect("the request is in flight")
    }

    /// Makes the first `count` completed changes durable, except loose ones.
    fn require_prefix(&mut self, count: usize) {
        for logged in &mut self.completed[..count] {
            if !logged.is_loose() && !logged.span.required {
                Arc::make_mut(logged).span.required = true;
            }
        }
    }

    /// Applies durable changes to the durable image as long as nothing undecided lies before
    /// them whose order matters, and forgets loose changes that durable ones have overwritten
    /// completely.
    fn fold(&mut self) {
        let mut index = 0;
        while index < self.completed.len() {
            if self.completed[index].is_loose() && self.is_overwritten(index) {
                self.completed.remove(index);
            } else {
                index += 1;
            }
        }
        let mut waiting: Vec<Arc<Logged>> = Vec::new();
        for logged in std::mem::take(&mut self.completed) {
            let first = match self.rule {
                LogRule::Ordered => waiting.is_empty(),
                LogRule::AtomicWrite => {
                    let apart =
                        |other: &Arc<Logged>| !atomic_write::overlap(&other.change, &logged.change);
                    waiting.iter().all(apart)
                }
            };
            if logged.span.required && first {
                self.make_durable(&logged.change);
            } else {
                waiting.push(logged);
            }
        }
        self.completed = waiting;
    }

    /// Makes a change to the durable image.
    fn make_durable(&mut self, change: &Change) {
        self.durable.apply(change, self.sector_len);
        if let (true, Change::Write(extents)) = (self.after_cut, change) {
            let covered = Arc::make_mut(&mut self.covered);
            let unit = self.sector_len as u64;
            covered.extend(extents.iter().flat_map(|extent| extent.range().units(unit)));
        }
    }

    /// Whether every byte of a loose write is overwritten by one later durable write.
    fn is_overwritten(&self, index: usize) -> bool {
        let Change::Write(extents) = &self.completed[index].change else { return false };
        let mut extents = extents.iter().filter(|extent| !extent.range().is_empty());
        extents.all(|extent| {
            self.completed[index + 1..].iter().filter(|later| later.span.required).any(|later| {
                let Change::Write(covers) = &later.change else { return false };
                covers.iter().any(|cover| cover.range().contains(extent.range()))
            })
        })
    }

    fn make_room(&mut self, len: u64) {
        let unit = self.sector_len as u64;
        let room = len.div_ceil(unit) * unit;
        if room > self.durable.image.len() {
            self.durable.image.set_len(room);
        }
    }
}
