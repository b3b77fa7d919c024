//! A disk that a power cut has left and of which not everything was looked at yet.
//!
//! A [`Start`] stands beside the cache of such a disk. It knows which sectors reads cannot tell
//! yet; once somebody asks for one, its [`Undecided`] is narrowed down until the content is known.
//! What lies beneath the changes made since stays undecided for as long as nobody reads it, and so
//! does what the *next* power cut leaves of it: where sectors are independent their caches take
//! over the contents that are left, elsewhere a [`Layer`] lies beneath the changes.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::bytes::Slice;
use super::cell::CellContents;
use super::crash_space::CrashSpace;
use super::image::Image;
use super::remaining::{Question, Remaining};
use super::sector_space::Clause;
use super::undecided::Undecided;

/// What an earlier power cut has left undecided, if there was one.
pub(crate) type Beneath<'a> = Option<&'a Start>;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub(crate) undecided: Undecided,
    /// The sectors that variables decide about, in order.
    sectors: Arc<[u64]>,
    /// For each of them, whether reads cannot tell its content yet.
    unknown: Vec<bool>,
    unknown_count: usize,
}

impl Start {
    /// What lies beneath a disk of which nobody knows anything.
    pub(crate) fn new(undecided: Undecided) -> Self {
        let sectors = undecided.space().undecided_sectors();
        let count = sectors.len();
        Self { undecided, sectors, unknown: vec![true; count], unknown_count: count }
    }

    /// Whether reads cannot tell some sector.
    pub(crate) fn has_unknown(&self) -> bool {
        self.unknown_count > 0
    }

    /// The index of the first sector from one on that may be undecided.
    pub(crate) fn first_from(&self, sector: u64) -> usize {
        self.sectors.partition_point(|&other| other < sector)
    }

    /// The sector of this index, if it lies before `end`; and whether reads cannot tell it.
    pub(crate) fn at(&self, index: usize, end: u64) -> Option<(u64, bool)> {
        let &sector = self.sectors.get(index)?;
        (sector < end).then(|| (sector, self.unknown[index]))
    }

    /// Whether reads cannot tell some sector of a range.
    pub(crate) fn has_unknown_in(&self, sectors: Range<u64>) -> bool {
        let first = self.first_from(sectors.start);
        (first..).map_while(|index| self.at(index, sectors.end)).any(|(_, unknown)| unknown)
    }

    /// Those of some contents whose sectors reads cannot tell.
    pub(crate) fn open_among(&self, contents: &[(u64, Slice)]) -> Vec<(u64, Slice)> {
        let unknown = |(sector, _): &&(u64, Slice)| self.has_unknown_in(*sector..*sector + 1);
        contents.iter().filter(unknown).cloned().collect()
    }

    /// From now on reads can tell a sector, because it was decided or overwritten.
    pub(crate) fn know_at(&mut self, index: usize) {
        self.unknown_count -= usize::from(self.unknown[index]);
        self.unknown[index] = false;
    }

    /// From now on reads can tell all sectors of a range.
    pub(crate) fn know(&mut self, sectors: Range<u64>) {
        let mut index = self.first_from(sectors.start);
        while self.at(index, sectors.end).is_some() {
            self.know_at(index);
            index += 1;
        }
    }

    /// The contents that are left of each sector that reads cannot tell, where sectors are
    /// independent. That may be just one, which follows from what was asked about others.
    pub(crate) fn unknown_contents(&self) -> impl Iterator<Item = (u64, Arc<CellContents>)> + '_ {
        let unknown = (0..self.sectors.len()).filter(|&index| self.unknown[index]);
        unknown
            .filter_map(|index| Some((self.sectors[index], self.undecided.contents_left(index)?)))
    }

    /// The contents that are left of one sector, if reads cannot tell which it has.
    pub(crate) fn unknown_sector(&self, sector: u64) -> Option<Vec<Slice>> {
        let index = self.sectors.binary_search(&sector).ok()?;
        let contents = self.unknown[index].then(|| self.undecided.contents_left(index))??;
        Some(contents.contents.list.iter().map(|content| content.bytes.clone()).collect())
    }

    /// What is known not to be the case.
    pub(crate) fn clauses(&self) -> Vec<Clause> {
        self.undecided.clauses()
    }
}

/// What an earlier power cut has left beneath a list of changes. Its variables are the last ones of
/// the space that it lies in.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    space: CrashSpace,
    remaining: Vec<Remaining>,
    /// Sectors that do not show any more.
    covered: Arc<BTreeSet<u64>>,
}

impl Layer {
    /// What lies beneath when durable changes have covered some sectors.
    pub(crate) fn of(start: Beneath<'_>, covered: &Arc<BTreeSet<u64>>) -> Option<Self> {
        let undecided = &start?.undecided;
        Some(Self {
            space: undecided.space().clone(),
            remaining: undecided.remaining().to_vec(),
            covered: Arc::clone(covered),
        })
    }

    /// The only choice that is left, if there is just one.
    pub(crate) fn decided(&self) -> Option<Vec<usize>> {
        let only =
            |remaining: &Remaining| (remaining.count() == 1).then_some(remaining.first() as usize);
        self.remaining.iter().map(only).collect()
    }

    pub(crate) fn space(&self) -> &CrashSpace {
        &self.space
    }

    pub(crate) fn remaining(&self) -> &[Remaining] {
        &self.remaining
    }

    /// Whether a sector of the earlier disk shows through.
    pub(crate) fn shows(&self, sector: u64) -> bool {
        self.space.undecided_sectors().binary_search(&sector).is_ok()
            && !self.covered.contains(&sector)
    }

    /// The sectors that show through.
    pub(crate) fn sectors(&self) -> impl Iterator<Item = u64> + '_ {
        let all = self.space.undecided_sectors();
        (0..all.len()).map(move |at| all[at]).filter(|sector| !self.covered.contains(sector))
    }

    /// What has to be decided about a sector; `own` variables lie before the layer's.
    pub(crate) fn question(
        &self,
        own: usize,
        remaining: &[Remaining],
        sector: u64,
    ) -> Option<Question> {
        if !self.shows(sector) {
            return None;
        }
        let question = self.space.sector_question(&remaining[own..], sector)?;
        Some(Question { variable: question.variable + own, ..question })
    }

    /// The content of a sector that shows through, once it is decided.
    pub(crate) fn bytes(&self, own: usize, remaining: &[Remaining], sector: u64) -> Option<Slice> {
        self.shows(sector).then(|| self.space.sector_bytes(&remaining[own..], sector))
    }

    /// Puts what shows through in place.
    pub(crate) fn show(&self, choice: &[usize], sector_len: usize, image: &mut Image) {
        let beneath = self.space.realize(choice);
        for sector in self.sectors() {
            let offset = sector * sector_len as u64;
            let bytes = beneath.bytes(offset, sector_len);
            super::bytes::write_clipped(image, offset, &bytes);
        }
    }

    /// Identifies what may show through.
    pub(crate) fn add_to_key(&self, key: &mut Vec<u8>) {
        key.extend_from_slice(&self.space.key().to_le_bytes());
        for remaining in &self.remaining {
            for option in remaining.iter() {
                key.extend_from_slice(&option.to_le_bytes());
            }
            key.extend_from_slice(b"variable");
        }
        for sector in &*self.covered {
            key.extend_from_slice(&sector.to_le_bytes());
        }
    }
}
