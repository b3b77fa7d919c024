//! What has to be asked of the space before the content of a sector is known, and the content then.
//!
//! The cut is narrowed down to those with the same content, not to one: a read tells as much about
//! the other sectors as it must, and no more.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Cut, Effect, OrderedSpace, StepKind};
use crate::disk::bytes::{Slice, in_memory};
use crate::disk::image::Image;
use crate::disk::remaining::{Question, Remaining};
use crate::disk::start::Layer;

impl OrderedSpace {
    /// The sectors that variables decide about, in order.
    pub(crate) fn undecided_sectors(&self) -> Arc<[u64]> {
        let beneath = self.layer.iter().flat_map(Layer::sectors);
        let all: BTreeSet<u64> = self.by_sector.keys().copied().chain(beneath).collect();
        all.into_iter().collect()
    }

    /// What has to be decided before a sector can be asked for: the length, and everything if
    /// content may have been cut off.
    pub(crate) fn hidden_question(&self, remaining: &[Remaining]) -> Option<Question> {
        if self.cuts_content {
            let mut own = 0..self.own_variables();
            return own.find_map(|variable| {
                Question::each(variable, &remaining[variable], self.options(variable))
            });
        }
        let resizes = self.steps.iter().any(|step| matches!(step.effect, Effect::Resize(_)));
        if !resizes || self.cut_variables() == 0 {
            return None;
        }
        Question::by(0, &remaining[0], |cut| self.len_at(&self.cuts[cut as usize], remaining))
    }

    /// What has to be decided next about a sector.
    pub(crate) fn sector_question(&self, remaining: &[Remaining], at: u64) -> Option<Question> {
        let steps = self.by_sector.get(&at).map_or(&[][..], Vec::as_slice);
        let is_loose = |&step: &usize| self.steps[step].kind == StepKind::Loose;
        if self.cut_variables() > 0 && remaining[0].count() > 1 {
            let beneath = self.layer.as_ref().is_some_and(|layer| layer.shows(at));
            let question = if beneath || steps.iter().any(is_loose) {
                Question::by(0, &remaining[0], |cut| {
                    let cut = &self.cuts[cut as usize];
                    let torn = steps.contains(&cut.step).then_some(cut.torn).flatten();
                    let before = steps.partition_point(|&step| step < cut.step);
                    (before, torn.map(|torn| (torn.boundary, torn.first_is_new)))
                })
            } else {
                Question::by(0, &remaining[0], |cut| {
                    self.bytes_at(&self.cuts[cut as usize], remaining, at)
                })
            };
            if question.is_some() {
                return question;
            }
        }
        // What shows, from the top: loose steps are there or not, until nothing beneath can show.
        let cut = self.decided_cut(remaining);
        let mut shows = vec![true; self.sector_len];
        for &index in steps.iter().rev() {
            let step = &self.steps[index];
            let there = match step.kind {
                StepKind::Durable => true,
                StepKind::InOrder => index < cut.step,
                StepKind::Loose if index < cut.step => {
                    let variable = self.loose_variable(index);
                    if let Some(question) = Question::each(variable, &remaining[variable], 2) {
                        return Some(question);
                    }
                    remaining[variable].first() == 1
                }
                StepKind::Loose => false,
            };
            if let (true, Effect::Sector(part)) = (there, &step.effect) {
                shows[part.start..part.start + part.bytes.len()].fill(false);
            }
            if !shows.contains(&true) {
                return None;
            }
        }
        self.layer.as_ref()?.question(self.own_variables(), remaining, at)
    }

    /// The content of a sector that no question is left about.
    pub(crate) fn sector_bytes(&self, remaining: &[Remaining], at: u64) -> Slice {
        Slice::new(self.bytes_at(self.decided_cut(remaining), remaining, at).into())
    }

    /// The length, once nothing hidden is left to ask.
    pub(crate) fn decided_len(&self, remaining: &[Remaining]) -> u64 {
        self.len_at(self.decided_cut(remaining), remaining)
    }

    /// An image of the decided length that is right but for undecided sectors.
    pub(crate) fn opened(&self, remaining: &[Remaining]) -> Image {
        let cut = self.decided_cut(remaining);
        let there = |&step: &usize| self.is_there(step, cut, remaining);
        let loose: Vec<usize> = self.loose.iter().copied().filter(there).collect();
        self.image(self.durable.clone(), *cut, &loose)
    }

    /// A choice that may give this image, if no loose step is needed for it.
    pub(crate) fn choice_for(&self, image: &Image) -> Option<Vec<usize>> {
        let mut choice = vec![0; self.variables()];
        if self.cut_variables() == 0 {
            return Some(choice);
        }
        (0..self.cuts.len()).find_map(|cut| {
            choice[0] = cut;
            (self.realize(&choice) == *image).then(|| choice.clone())
        })
    }

    fn loose_variable(&self, step: usize) -> usize {
        let place = self.loose.binary_search(&step).expect("a loose step");
        self.cut_variables() + place
    }

    fn decided_cut(&self, remaining: &[Remaining]) -> &Cut {
        match self.cut_variables() {
            0 => &self.cuts[0],
            _ => &self.cuts[remaining[0].first() as usize],
        }
    }

    /// Whether a step has taken place, loose ones as far as they are decided.
    fn is_there(&self, index: usize, cut: &Cut, remaining: &[Remaining]) -> bool {
        match self.steps[index].kind {
            StepKind::Durable => true,
            StepKind::InOrder => index < cut.step,
            StepKind::Loose => {
                index < cut.step && remaining[self.loose_variable(index)].first() == 1
            }
        }
    }

    fn len_at(&self, cut: &Cut, remaining: &[Remaining]) -> u64 {
        let resizes = self.steps.iter().enumerate().rev();
        let mut there = resizes.filter(|(index, _)| self.is_there(*index, cut, remaining));
        let last = there.find_map(|(_, step)| match step.effect {
            Effect::Resize(len) => Some(len),
            Effect::Sector(_) => None,
        });
        last.unwrap_or(self.durable.len)
    }

    /// The content of a sector at a cut, with what is decided of everything else.
    fn bytes_at(&self, cut: &Cut, remaining: &[Remaining], at: u64) -> Vec<u8> {
        let offset = at * self.sector_len as u64;
        let beneath = self.layer.as_ref();
        let beneath = beneath.and_then(|layer| layer.bytes(self.own_variables(), remaining, at));
        let mut bytes = beneath.map_or_else(
            || self.durable.image.bytes(offset, self.sector_len),
            |beneath| beneath.to_vec(),
        );
        let relevant: Box<dyn Iterator<Item = usize>> = if self.cuts_content {
            Box::new(0..self.steps.len())
        } else {
            Box::new(self.by_sector.get(&at).into_iter().flatten().copied())
        };
        for index in relevant {
            match &self.steps[index].effect {
                Effect::Sector(part) if part.sector == at => {
                    let range = part.start..part.start + part.bytes.len();
                    if self.is_there(index, cut, remaining) {
                        bytes[range].copy_from_slice(&part.bytes);
                    } else if let (true, Some(tear)) = (index == cut.step, cut.torn) {
                        let middle = tear.boundary - part.start;
                        let side =
                            if tear.first_is_new { 0..middle } else { middle..part.bytes.len() };
                        let start = part.start + side.start;
                        bytes[start..start + side.len()].copy_from_slice(&part.bytes[side]);
                    }
                }
                Effect::Resize(len) if self.is_there(index, cut, remaining) => {
                    let kept = len.saturating_sub(offset).min(self.sector_len as u64);
                    bytes[in_memory(kept)..].fill(0);
                }
                Effect::Sector(_) | Effect::Resize(_) => {}
            }
        }
        let len = self.len_at(cut, remaining).saturating_sub(offset).min(self.sector_len as u64);
        bytes[in_memory(len)..].fill(0);
        bytes
    }
}
