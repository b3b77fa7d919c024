//! A disk after a power cut: what has to be decided before it can be used, and what is known of it.

use std::ops::Range;

use plugpull_engine::ByteRange;

use super::DiskState;
use crate::disk::bytes::{Slice, write_clipped};
use crate::disk::cache::Cache;
use crate::disk::crash_space::CrashSpace;
use crate::disk::image::Image;
use crate::disk::remaining::Question;
use crate::disk::request::Op;
use crate::disk::spec::DiskSpec;
use crate::disk::start::Start;
use crate::disk::undecided::Undecided;

impl DiskState {
    /// A disk that holds one of the images that a power cut left. Before a request is submitted or
    /// completed, and before the length is asked for, every [question](DiskState::question) about
    /// it has to be [answered](DiskState::answer).
    ///
    /// # Panics
    /// As [`DiskState::new`].
    #[must_use]
    pub fn after_power_cut(spec: DiskSpec, left: CrashSpace) -> Self {
        let start = Some(Box::new(Start::new(Undecided::new(left))));
        Self { start, untouched: true, ..Self::new(spec, Image::zeroed(0)) }
    }

    /// What has to be decided next about what a power cut left, before `op` can be submitted (a
    /// read: before it can complete) or, without one, before the length is known; none if
    /// everything is.
    pub fn question(&mut self, op: Option<&Op>) -> Option<Question> {
        if self.untouched {
            let start = self.start.as_mut().expect("an untouched disk has a start");
            if let Some(question) = start.undecided.hidden_question() {
                return Some(question);
            }
            self.touch();
        }
        if !self.has_unknown() {
            return None;
        }
        match op? {
            &Op::Read { offset, len } => {
                let range = ByteRange::new(offset, len as u64);
                self.question_about(range.units(self.spec.sector_len as u64))
            }
            op => self.looked_at(op).into_iter().find_map(|sectors| self.question_about(sectors)),
        }
    }

    /// What has to be decided next about some sectors, once the length is known.
    fn question_about(&mut self, sectors: Range<u64>) -> Option<Question> {
        let start = self.start.as_mut().expect("something is unknown");
        let first = start.first_from(sectors.start);
        for index in first.. {
            let (sector, unknown) = start.at(index, sectors.end)?;
            if !unknown {
                continue;
            }
            if let Some(question) = start.undecided.question_at(index) {
                return Some(question);
            }
            let content = start.undecided.bytes_at(index);
            start.know_at(index);
            let offset = sector * self.spec.sector_len as u64;
            write_clipped(&mut self.visible, offset, &content);
            self.cache.decide(sector, &content);
            self.space.take();
        }
        None
    }

    /// Decides a question that was asked last: only what is in its `group`-th group remains.
    ///
    /// # Panics
    /// If there is no such group, or nothing is undecided.
    pub fn answer(&mut self, question: &Question, group: usize) {
        let start = self.start.as_mut().expect("something is undecided");
        start.undecided.answer(question, group);
        self.space.take();
    }

    /// The contents that a sector may have, nothing hidden being left to ask; more than one only
    /// where sectors are independent and reads cannot tell. None if this cannot be said without
    /// deciding something first.
    #[must_use]
    pub(crate) fn candidates(&self, sector: u64) -> Option<Vec<Slice>> {
        let unit = self.spec.sector_len;
        match &self.start {
            Some(start) if start.has_unknown_in(sector..sector + 1) => {
                let independent = start.undecided.has_independent_sectors();
                independent.then(|| start.unknown_sector(sector))?
            }
            _ => {
                let bytes = self.visible.bytes(sector * unit as u64, unit);
                Some(vec![Slice::new(bytes.into())])
            }
        }
    }

    /// Whether these contents can be in these sectors together.
    #[must_use]
    pub(crate) fn allows(&self, contents: &[(u64, Slice)]) -> bool {
        match &self.start {
            Some(start) => start.undecided.clone().assume(&start.open_among(contents)),
            None => true,
        }
    }

    /// From now on these contents are in these sectors, where reads could not tell.
    ///
    /// # Panics
    /// If they cannot be.
    pub(crate) fn assume(&mut self, contents: &[(u64, Slice)]) {
        let Some(start) = &mut self.start else { return };
        let open = start.open_among(contents);
        assert!(start.undecided.assume(&open), "contents that are not allowed");
        self.space.take();
    }

    /// From now on none of these combinations of contents is there as a whole; whether anything is
    /// left then. If not, nothing is changed.
    pub(crate) fn rule_out(&mut self, combinations: &[Vec<(u64, Slice)>]) -> bool {
        let Some(start) = &mut self.start else { return false };
        let mut left = start.undecided.clone();
        for combination in combinations {
            if !left.forbid_contents(&start.open_among(combination)) {
                return false;
            }
        }
        start.undecided = left;
        self.space.take();
        true
    }

    /// What is still undecided of what a power cut left; none on a disk that began with an image.
    #[must_use]
    pub fn undecided(&self) -> Option<&Undecided> {
        self.start.as_ref().map(|start| &start.undecided)
    }

    /// Whether reads of any range, and the length, are decided.
    #[must_use]
    pub fn is_all_known(&self) -> bool {
        !self.untouched && !self.has_unknown()
    }

    /// Whether reads of the range see what is decided.
    #[must_use]
    pub fn is_known(&self, range: ByteRange) -> bool {
        !self.untouched
            && self
                .start
                .as_ref()
                .is_none_or(|start| !start.has_unknown_in(range.units(self.spec.sector_len as u64)))
    }

    /// The length is decided: from here on this is a disk like others, but for some sectors.
    fn touch(&mut self) {
        self.untouched = false;
        let start = self.start.as_deref().expect("an untouched disk has a start");
        let opened = start.undecided.opened();
        if self.watched {
            self.cache = Cache::new(&self.spec, opened.clone(), true);
        }
        self.visible = opened.without_key();
        let len = self.visible.len();
        let start = self.start.as_mut().expect("just seen");
        // Nothing is beyond the end.
        start.know(len.div_ceil(self.spec.sector_len as u64)..u64::MAX);
        self.space.take();
    }

    pub(super) fn has_unknown(&self) -> bool {
        self.start.as_ref().is_some_and(|start| start.has_unknown())
    }

    /// The sectors whose content has to be known before a change: those that it overwrites or cuts
    /// off only in part.
    fn looked_at(&self, op: &Op) -> Vec<Range<u64>> {
        let unit = self.spec.sector_len as u64;
        let edges = |range: ByteRange| {
            let sectors = range.units(unit);
            let first =
                sectors.start..sectors.start + u64::from(!range.offset.is_multiple_of(unit));
            let last = sectors.end - u64::from(!range.end().is_multiple_of(unit))..sectors.end;
            let start = self.start.as_ref();
            let in_clause = sectors
                .filter(|&sector| start.is_some_and(|start| start.undecided.is_in_clause(sector)));
            let in_clause = in_clause.map(|sector| sector..sector + 1);
            [first, last].into_iter().chain(in_clause).filter(|range| !range.is_empty()).collect()
        };
        match *op {
            Op::Write { offset, ref data, .. } => edges(ByteRange::new(offset, data.len() as u64)),
            Op::Discard { offset, len } => edges(ByteRange::new(offset, len)),
            Op::Resize { len } if len < self.len() => {
                std::iter::once(len / unit..u64::MAX).collect()
            }
            Op::Read { .. } | Op::Resize { .. } | Op::Flush => Vec::new(),
        }
    }
}
