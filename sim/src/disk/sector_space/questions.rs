//! What has to be asked of the space before the content of a sector is known, and the content then.

use std::sync::Arc;

use super::{SectorSpace, Variable, clipped};
use crate::disk::bytes::Slice;
use crate::disk::cell::CellContents;
use crate::disk::contents::Content;
use crate::disk::image::Image;
use crate::disk::lengths::LengthOptions;
use crate::disk::remaining::{Question, Remaining, index};

impl SectorSpace {
    /// Whether no content of a sector depends on hidden variables: then each of its options is
    /// another content.
    pub(crate) fn has_simple_sectors(&self) -> bool {
        let unit = self.unit();
        let whole = |(options, _): &(LengthOptions, usize)| {
            options.list.iter().all(|option| option.len.is_multiple_of(unit))
        };
        self.lengths.iter().all(whole)
            && self.sectors.iter().all(|sector| sector.contexts.len() == 1)
    }

    /// What has to be decided before a sector can be asked for: flushes and length.
    pub(crate) fn hidden_question(&self, remaining: &[Remaining]) -> Option<Question> {
        (0..self.hidden_variables()).find_map(|variable| {
            let distinct = match self.variable(variable) {
                Variable::Length => self.lengths[self.mask(remaining)].0.list.len(),
                Variable::Gate(_) | Variable::Sector(_) => 2,
            };
            Question::each(variable, &remaining[variable], distinct)
        })
    }

    /// What has to be decided about a sector, once nothing hidden is left to ask.
    pub(crate) fn sector_question(&self, remaining: &[Remaining], at: u64) -> Option<Question> {
        self.question_at(remaining, self.find(at)?)
    }

    /// The same about the `index`-th undecided sector.
    pub(crate) fn question_at(&self, remaining: &[Remaining], index: usize) -> Option<Question> {
        let sector = &self.sectors[index];
        let variable = self.hidden_variables() + index;
        let (context, length) = self.context(remaining);
        let list = &sector.contents(context).contents.list;
        let content = |option: u32| &list[(option as usize).min(list.len() - 1)].bytes;
        match self.visible_len(sector.index, length.len) {
            0 => None,
            len if len < self.grain.sector_len => {
                let visible = |option| content(option)[..len].to_vec();
                Question::by(variable, &remaining[variable], visible)
            }
            _ => Question::each(variable, &remaining[variable], list.len()),
        }
    }

    /// The content of a sector that no question is left about; bytes past the length are zero.
    pub(crate) fn sector_bytes(&self, remaining: &[Remaining], at: u64) -> Slice {
        if let Some(index) = self.find(at) {
            return self.bytes_at(remaining, index);
        }
        let image = self.opened(remaining);
        let whole = Slice::new(image.bytes(at * self.unit(), self.grain.sector_len).into());
        clipped(whole, self.visible_len(at, self.decided_len(remaining)))
    }

    /// The same of the `index`-th undecided sector.
    pub(crate) fn bytes_at(&self, remaining: &[Remaining], index: usize) -> Slice {
        let sector = &self.sectors[index];
        let (context, length) = self.context(remaining);
        let list = &sector.contents(context).contents.list;
        let option = remaining[self.hidden_variables() + index].first();
        let whole = list[(option as usize).min(list.len() - 1)].bytes.clone();
        clipped(whole, self.visible_len(sector.index, length.len))
    }

    /// The length, once nothing hidden is left to ask.
    pub(crate) fn decided_len(&self, remaining: &[Remaining]) -> u64 {
        self.context(remaining).1.len
    }

    /// The durable content with what the decided length implies, as long as that length. Undecided
    /// sectors hold any of their contents.
    pub(crate) fn opened(&self, remaining: &[Remaining]) -> Image {
        let (_, length) = self.context(remaining);
        self.cut_image(length)
    }

    /// The contents that are left of the `index`-th undecided sector, once nothing hidden is left to
    /// ask.
    pub(crate) fn contents_left(&self, remaining: &[Remaining], index: usize) -> Arc<CellContents> {
        let sector = &self.sectors[index];
        let (context, length) = self.context(remaining);
        let remaining = &remaining[self.hidden_variables() + index];
        let len = self.visible_len(sector.index, length.len);
        let contents = sector.contents(context);
        if len == self.grain.sector_len && remaining.count() == sector.options {
            return Arc::clone(contents);
        }
        let last = contents.contents.list.len() - 1;
        let options = remaining.iter().map(|option| (option as usize).min(last));
        contents.restricted(options, |bytes| clipped(bytes.clone(), len))
    }

    /// The option of a sector's variable that gives this content, if one of `remaining` does.
    pub(crate) fn option_of(
        &self,
        remaining: &[Remaining],
        at: u64,
        content: &[u8],
    ) -> Option<(usize, u32)> {
        let sector = self.find(at)?;
        let variable = self.hidden_variables() + sector;
        let (context, length) = self.context(remaining);
        let list = &self.sectors[sector].contents(context).contents.list;
        let len = self.visible_len(at, length.len);
        let is = |option: &u32| {
            let bytes = &list[(*option as usize).min(list.len() - 1)].bytes;
            bytes[..len] == content[..len]
        };
        remaining[variable].iter().find(is).map(|option| (variable, option))
    }

    /// A choice that may give this image: the first of the hidden variables with which every sector
    /// has its content.
    pub(crate) fn choice_for(&self, image: &Image) -> Option<Vec<usize>> {
        let hidden = self.hidden_variables();
        let options: Vec<usize> = (0..hidden).map(|variable| self.options(variable)).collect();
        let combinations = options.iter().product::<usize>();
        (0..combinations).find_map(|mut number| {
            let mut choice = Vec::with_capacity(self.variables());
            for &options in &options {
                choice.push(number % options);
                number /= options;
            }
            let (context, length) = self.context(&choice);
            if length.len != image.len() {
                return None;
            }
            for sector in &self.sectors {
                let offset = sector.index * self.unit();
                let len = self.visible_len(sector.index, length.len);
                let list = &sector.contents(context).contents.list;
                let wanted = image.bytes(offset, len);
                choice.push(list.iter().position(|content| content.bytes[..len] == wanted[..])?);
            }
            (self.realize(&choice) == *image).then_some(choice)
        })
    }

    /// The option that shares the longest beginning or end with this content.
    pub(crate) fn option_like(
        &self,
        remaining: &[Remaining],
        at: u64,
        content: &[u8],
    ) -> Option<(usize, u32)> {
        let sector = self.find(at)?;
        let variable = self.hidden_variables() + sector;
        let (context, _) = self.context(remaining);
        let list = &self.sectors[sector].contents(context).contents.list;
        let likeness = |option: &u32| {
            let bytes = &list[(*option as usize).min(list.len() - 1)].bytes;
            let same = |(one, other): &(&u8, &u8)| one == other;
            let beginning = bytes.iter().zip(content).take_while(same).count();
            let end = bytes.iter().rev().zip(content.iter().rev()).take_while(same).count();
            beginning.max(end)
        };
        let best = remaining[variable].iter().max_by_key(likeness)?;
        Some((variable, best))
    }

    /// The option of a sector whose contents depend on nothing hidden.
    pub(crate) fn literal(&self, at: u64, content: &[u8]) -> Option<(usize, u32)> {
        let sector = self.find(at)?;
        let list = &self.sectors[sector].contexts[0].contents.list;
        let option = list.iter().position(|one| one.bytes[..] == content[..])?;
        Some((self.hidden_variables() + sector, index(option)))
    }

    /// A choice that gives this image's length and content where one does, and keeps the most
    /// elsewhere.
    pub(crate) fn choice_like(&self, image: &Image) -> Vec<usize> {
        let mut choice: Vec<usize> =
            (0..self.variables()).map(|variable| self.kept(variable)).collect();
        if self.length_variables() > 0 {
            let list = &self.lengths[self.mask(&choice)].0.list;
            let same = list.iter().position(|option| option.len == image.len());
            choice[self.gates.len()] = same.unwrap_or(choice[self.gates.len()]);
        }
        let (context, length) = self.context(&choice);
        let hidden = self.hidden_variables();
        for (sector, option) in self.sectors.iter().zip(&mut choice[hidden..]) {
            let len = self.visible_len(sector.index, length.len);
            let wanted = image.bytes(sector.index * self.unit(), len);
            let list = &sector.contents(context).contents.list;
            let is_same = |content: &Content| content.bytes[..len] == wanted[..];
            if !list.get(*option).is_some_and(is_same) {
                *option = list.iter().position(is_same).unwrap_or(*option);
            }
        }
        choice
    }

    fn find(&self, sector: u64) -> Option<usize> {
        self.sectors.binary_search_by_key(&sector, |sector| sector.index).ok()
    }
}
