//! What has to be asked of the space before the content of a sector is known, and the content then.
//!
//! The changes that touch a sector are asked about newest first, until one that is there hides the
//! rest: k changes have at most k + 1 answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::AtomicWriteSpace;
use crate::disk::bytes::{Change, Slice, in_memory};
use crate::disk::image::Image;
use crate::disk::remaining::{Question, Remaining};
use crate::disk::start::Layer;

impl AtomicWriteSpace {
    /// The sectors that variables decide about, in order.
    pub(crate) fn undecided_sectors(&self) -> Arc<[u64]> {
        let beneath = self.layer.iter().flat_map(Layer::sectors);
        let all: BTreeSet<u64> = self.by_sector.keys().copied().chain(beneath).collect();
        all.into_iter().collect()
    }

    /// What has to be decided before a sector can be asked for: changes of the length, and all
    /// changes if content may have been cut off.
    pub(crate) fn hidden_question(&self, remaining: &[Remaining]) -> Option<Question> {
        if self.cuts_content {
            return (0..self.own_variables()).find_map(|variable| {
                Question::each(variable, &remaining[variable], self.options(variable))
            });
        }
        let newest_first = self.in_order(remaining, &self.resizes);
        let order = self.order_question(remaining, &self.resizes);
        order.or_else(|| {
            for index in newest_first.into_iter().rev() {
                match self.is_kept(index, remaining) {
                    Err(question) => return Some(question),
                    Ok(true) => return None,
                    Ok(false) => {}
                }
            }
            None
        })
    }

    /// What has to be decided next about a sector.
    pub(crate) fn sector_question(&self, remaining: &[Remaining], at: u64) -> Option<Question> {
        let touching = self.by_sector.get(&at).map_or(&[][..], Vec::as_slice);
        if let Some(question) = self.order_question(remaining, touching) {
            return Some(question);
        }
        // What shows, from the top, until nothing beneath can show.
        let mut shows = vec![true; self.sector_len];
        for index in self.in_order(remaining, touching).into_iter().rev() {
            match self.is_kept(index, remaining) {
                Err(question) => return Some(question),
                Ok(false) => continue,
                Ok(true) => {}
            }
            for part in self.changes[index].parts(self.sector_len) {
                if part.sector == at {
                    shows[part.start..part.start + part.bytes.len()].fill(false);
                }
            }
            if !shows.contains(&true) {
                return None;
            }
        }
        self.layer.as_ref()?.question(self.own_variables(), remaining, at)
    }

    /// The content of a sector that no question is left about.
    pub(crate) fn sector_bytes(&self, remaining: &[Remaining], at: u64) -> Slice {
        let offset = at * self.sector_len as u64;
        let beneath = self.layer.as_ref();
        let beneath = beneath.and_then(|layer| layer.bytes(self.own_variables(), remaining, at));
        let mut bytes = beneath.map_or_else(
            || self.durable.image.bytes(offset, self.sector_len),
            |beneath| beneath.to_vec(),
        );
        let mut relevant = self.by_sector.get(&at).cloned().unwrap_or_default();
        if self.cuts_content {
            relevant.extend_from_slice(&self.resizes);
            relevant.sort_unstable();
        }
        let within = |len: u64| in_memory(len.saturating_sub(offset).min(self.sector_len as u64));
        for index in self.in_order(remaining, &relevant) {
            if self.is_kept(index, remaining) != Ok(true) {
                continue;
            }
            if let Change::Resize(len) = self.changes[index].change {
                bytes[within(len)..].fill(0);
            }
            for part in self.changes[index].parts(self.sector_len) {
                if part.sector == at {
                    bytes[part.start..part.start + part.bytes.len()].copy_from_slice(&part.bytes);
                }
            }
        }
        bytes[within(self.decided_len(remaining))..].fill(0);
        Slice::new(bytes.into())
    }

    /// The length, once nothing hidden is left to ask.
    pub(crate) fn decided_len(&self, remaining: &[Remaining]) -> u64 {
        let newest_first = self.in_order(remaining, &self.resizes).into_iter().rev();
        let mut kept = newest_first.filter(|&index| self.is_kept(index, remaining) == Ok(true));
        kept.find_map(|index| match self.changes[index].change {
            Change::Resize(len) => Some(len),
            Change::Write(_) => None,
        })
        .unwrap_or(self.durable.len)
    }

    /// An image of the decided length that is right but for undecided sectors.
    pub(crate) fn opened(&self, remaining: &[Remaining]) -> Image {
        let mut durable = self.durable.clone();
        for index in self.in_order(remaining, &self.resizes) {
            if self.is_kept(index, remaining) == Ok(true) {
                durable.apply(&self.changes[index].change, self.sector_len);
            }
        }
        durable.into_image()
    }

    /// A choice that may give this image: one of the extremes, the only ones that are looked at.
    pub(crate) fn choice_for(&self, image: &Image) -> Option<Vec<usize>> {
        let kept: Vec<usize> = (0..self.variables()).map(|variable| self.kept(variable)).collect();
        let lost = vec![0; self.variables()];
        [kept, lost].into_iter().find(|choice| self.realize(choice) == *image)
    }

    /// Whether a change is there, or what has to be asked first. A lost one is there all the same
    /// if a PREFLUSH write in flight is, whose flush part covers it.
    fn is_kept(&self, index: usize, remaining: &[Remaining]) -> Result<bool, Question> {
        let Ok(variable) = self.undecided.binary_search(&index) else { return Ok(true) };
        let ask = |variable: usize| match Question::each(variable, &remaining[variable], 2) {
            Some(question) => Err(question),
            None => Ok(remaining[variable].first() == 1),
        };
        if ask(variable)? {
            return Ok(true);
        }
        let span = &self.changes[index].span;
        for (place, &flushing) in self.undecided.iter().enumerate() {
            let logged = &self.changes[flushing];
            let flushes = logged.preflush && logged.span.ended.is_none();
            if flushes && span.covered_by(logged.span.submitted) && ask(place)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What has to be decided about the order of some changes in flight.
    fn order_question(&self, remaining: &[Remaining], some: &[usize]) -> Option<Question> {
        (self.undecided.len()..).zip(&self.groups).find_map(|(variable, group)| {
            let concerned = group.members.iter().filter(|member| some.contains(member)).count();
            if concerned < 2 {
                return None;
            }
            Question::by(variable, &remaining[variable], |order| {
                let order = group.orders[order as usize].iter().copied();
                order.filter(|member| some.contains(member)).collect::<Vec<usize>>()
            })
        })
    }

    /// Some changes in the order in which they reach the medium.
    fn in_order(&self, remaining: &[Remaining], some: &[usize]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.changes.len()).collect();
        for (variable, group) in (self.undecided.len()..).zip(&self.groups) {
            let chosen = &group.orders[remaining[variable].first() as usize];
            for (&place, &index) in group.members.iter().zip(chosen) {
                order[place] = index;
            }
        }
        order.retain(|index| some.contains(index));
        order
    }
}
