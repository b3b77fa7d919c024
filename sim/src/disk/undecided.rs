//! The crash images that are still possible on one disk while somebody looks at it.
//!
//! A power cut leaves one of the images of a [`CrashSpace`]. Nobody has to know which: whoever
//! reads a sector asks the *questions* that its content depends on, one after the other, and for
//! each answer the images that agree with it remain. What was never asked stays undecided, and
//! counts with all its possibilities ([`Undecided::states`]).
//!
//! Every answer narrows one variable down, so what remains is a product, but for *clauses*:
//! combinations of contents of which it is known that they are not all there. A reader that
//! verified several sectors at once and found that they do not match has learnt just that.

use num_bigint::BigUint;
use std::sync::Arc;

use super::bytes::Slice;
use super::cell::CellContents;
use super::crash_space::CrashSpace;
use super::image::Image;
use super::remaining::{Groups, Question, Remaining};
use super::sector_space::Clause;

/// See the module.
#[derive(Debug, Clone)]
pub struct Undecided {
    space: CrashSpace,
    /// One for each variable.
    remaining: Vec<Remaining>,
    /// Options, as (variable, option), that are not all taken. Each has at least two.
    forbidden: Vec<Arc<[(usize, u32)]>>,
}

/// Which of several images that make no difference is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefer {
    /// The one with as much lost as possible.
    Lost,
    /// The one with as much kept as possible.
    Kept,
}

impl Undecided {
    /// Everything that `space` allows.
    #[must_use]
    pub fn new(space: CrashSpace) -> Self {
        let remaining = space.initial();
        let mut undecided = Self { remaining, forbidden: Vec::new(), space };
        let clauses = undecided.space.clauses().to_vec();
        for clause in clauses {
            assert!(undecided.forbid_contents(&clause), "a power cut leaves something");
        }
        undecided
    }

    /// Where it started.
    #[must_use]
    pub fn space(&self) -> &CrashSpace {
        &self.space
    }

    /// What is left of each variable.
    #[must_use]
    pub fn remaining(&self) -> &[Remaining] {
        &self.remaining
    }

    /// Whether one image is left.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.remaining.iter().all(|remaining| remaining.count() == 1)
    }

    /// How many choices are left.
    #[must_use]
    pub fn states(&self) -> BigUint {
        count(&self.remaining, &self.forbidden)
    }

    /// What has to be decided before anything else: flushes that may have been under way, and the
    /// length. None if that is settled.
    pub fn hidden_question(&mut self) -> Option<Question> {
        let question = self.space.hidden_question(&self.remaining)?;
        Some(question)
    }

    /// What has to be decided next before the content of the `index`-th undecided sector is known,
    /// hidden variables being settled; none if it is.
    pub(crate) fn question_at(&mut self, index: usize) -> Option<Question> {
        loop {
            let question = self.space.question_at(&self.remaining, index)?;
            let question = self.possible(question);
            if question.groups.len() > 1 {
                return Some(question);
            }
            self.remaining[question.variable] = question.groups.nth(0);
        }
    }

    /// The group of a question that agrees with an extreme, as far as one does.
    #[must_use]
    pub fn group_of(&self, question: &Question, extreme: Prefer) -> usize {
        let option = match extreme {
            Prefer::Lost => self.space.lost(question.variable),
            Prefer::Kept => self.space.kept(question.variable),
        };
        let option = super::remaining::index(option);
        question.groups.iter().position(|group| group.contains(option)).unwrap_or(0)
    }

    /// Only what agrees with the `group`-th answer to a question remains.
    ///
    /// # Panics
    /// If there is no such group.
    pub fn answer(&mut self, question: &Question, group: usize) {
        self.remaining[question.variable] = question.groups.nth(group);
        self.forget_settled_clauses();
    }

    /// The content of the `index`-th undecided sector, once nothing is left to ask about it.
    #[must_use]
    pub(crate) fn bytes_at(&self, index: usize) -> Slice {
        self.space.bytes_at(&self.remaining, index)
    }

    /// The content of a sector of which nothing is left to ask.
    #[must_use]
    pub(crate) fn bytes(&self, sector: u64) -> Slice {
        self.space.sector_bytes(&self.remaining, sector)
    }

    /// The length, hidden variables being settled.
    #[must_use]
    pub fn decided_len(&self) -> u64 {
        self.space.decided_len(&self.remaining)
    }

    /// An image of the decided length that is right but for undecided sectors.
    #[must_use]
    pub(crate) fn opened(&self) -> Image {
        self.space.opened(&self.remaining)
    }

    /// A whole choice among those that remain.
    #[must_use]
    pub fn choice(&self, prefer: Prefer) -> Vec<usize> {
        let mut left = self.clone();
        for variable in 0..left.remaining.len() {
            let preferred = match prefer {
                Prefer::Lost => left.space.lost(variable),
                Prefer::Kept => left.space.kept(variable),
            };
            let preferred = super::remaining::index(preferred);
            let now = left.remaining[variable].clone();
            let first = now.contains(preferred).then_some(preferred);
            let options = first.into_iter().chain(now.iter().filter(|&o| Some(o) != first));
            let possible = options.map(Remaining::one).find(|one| {
                left.remaining[variable] = one.clone();
                left.is_possible()
            });
            left.remaining[variable] = possible.expect("something remains");
        }
        left.remaining.iter().map(|one| one.first() as usize).collect()
    }

    /// Narrows down what was there before another power cut hit the disk, from which that one could
    /// leave what it left: `image`, by `choice` from `space`.
    pub(crate) fn agree_with(&mut self, space: &CrashSpace, choice: &[usize], image: &Image) {
        if let Some((own, _)) = space.beneath() {
            for (variable, &option) in choice[own..].iter().enumerate() {
                self.take(variable, super::remaining::index(option));
            }
            return;
        }
        if space.key() == self.space.key() {
            // Nobody has touched the disk in between.
            for (variable, &option) in choice.iter().enumerate() {
                self.take(variable, super::remaining::index(option));
            }
            return;
        }
        let sectors = self.space.undecided_sectors();
        for &sector in &*sectors {
            let content =
                image.bytes(sector * self.space.sector_len() as u64, self.space.sector_len());
            if let Some((variable, option)) =
                self.space.option_like(&self.remaining, sector, &content)
            {
                self.take(variable, option);
            }
        }
    }

    /// Narrows one variable down to one option, if that is possible.
    fn take(&mut self, variable: usize, option: u32) {
        if !self.remaining[variable].contains(option) {
            return;
        }
        let before = std::mem::replace(&mut self.remaining[variable], Remaining::one(option));
        if self.is_possible() {
            self.forget_settled_clauses();
        } else {
            self.remaining[variable] = before;
        }
    }

    /// See [`super::sector_space::SectorSpace::contents_left`].
    pub(crate) fn contents_left(&self, index: usize) -> Option<Arc<CellContents>> {
        self.space.contents_left(&self.remaining, index)
    }

    /// The sectors that a clause speaks of: what is written there has to be looked at first.
    pub(crate) fn is_in_clause(&self, sector: u64) -> bool {
        !self.forbidden.is_empty() && {
            let variable = self.space.variable_of(sector);
            self.forbidden
                .iter()
                .any(|clause| clause.iter().any(|&(there, _)| Some(there) == variable))
        }
    }

    /// Whether each sector is decided about for itself.
    pub(crate) fn has_independent_sectors(&self) -> bool {
        self.space.has_independent_sectors()
    }

    /// These contents are in these sectors. Whether that is possible; if not, this is of no use any
    /// more.
    pub(crate) fn assume(&mut self, contents: &[(u64, Slice)]) -> bool {
        for (sector, content) in contents {
            match self.space.option_of(&self.remaining, *sector, content) {
                // All options that show this content: its group.
                Some((variable, option)) => {
                    let question = self.space.sector_question(&self.remaining, *sector);
                    let group = question.and_then(|question| {
                        question.groups.iter().find(|group| group.contains(option))
                    });
                    if let Some(group) = group {
                        self.remaining[variable] = group;
                    }
                }
                None if self.bytes(*sector)[..] != content[..] => return false,
                None => {}
            }
        }
        let possible = self.is_possible();
        if possible {
            self.forget_settled_clauses();
        }
        possible
    }

    /// These contents of these sectors are not all there. Whether anything is left then; if not,
    /// this is of no use any more.
    pub(crate) fn forbid_contents(&mut self, contents: &[(u64, Slice)]) -> bool {
        let mut literals = Vec::with_capacity(contents.len());
        for (sector, content) in contents {
            match self.space.literal(*sector, content) {
                Some((variable, option)) => literals.push((variable, option)),
                // It is something else: the clause says nothing.
                None if self.bytes(*sector)[..] != content[..] => return true,
                None => {}
            }
        }
        self.forbidden.push(literals.into());
        let possible = self.is_possible();
        if possible {
            self.forget_settled_clauses();
        }
        possible
    }

    /// The clauses that still say something, by sector and content.
    pub(crate) fn clauses(&self) -> Vec<Clause> {
        let spelled = self.forbidden.iter().map(|clause| {
            let literal = |&(variable, option): &(usize, u32)| {
                let sector = self.space.sector(variable).expect("clauses speak of sectors");
                let mut decided = self.clone();
                decided.remaining[variable] = Remaining::one(option);
                (sector, decided.bytes(sector))
            };
            clause.iter().map(literal).collect()
        });
        spelled.collect()
    }

    fn is_possible(&self) -> bool {
        self.forbidden.is_empty() || self.states() > BigUint::ZERO
    }

    /// Without the groups that clauses rule out.
    fn possible(&self, mut question: Question) -> Question {
        let concerned = |clause: &Arc<[(usize, u32)]>| {
            clause.iter().any(|&(variable, _)| variable == question.variable)
        };
        if self.forbidden.iter().any(concerned) {
            let mut trial = self.clone();
            let possible = question.groups.iter().filter(|group| {
                trial.remaining[question.variable] = group.clone();
                trial.is_possible()
            });
            question.groups = Groups::Listed(possible.collect());
            assert!(!question.groups.is_empty(), "something remains");
        }
        question
    }

    /// Drops clauses that are true whatever else is decided, and from the others the contents that
    /// are there for certain.
    fn forget_settled_clauses(&mut self) {
        if self.forbidden.is_empty() {
            return;
        }
        let remaining = &mut self.remaining;
        let mut kept: Vec<Arc<[(usize, u32)]>> = Vec::new();
        let mut clauses = std::mem::take(&mut self.forbidden);
        // A clause with one content left decides that content, which may settle others.
        while let Some(at) = clauses
            .iter()
            .position(|clause| open(remaining, clause).is_some_and(|left| left.len() == 1))
        {
            let (variable, option) = open(remaining, &clauses[at]).expect("found")[0];
            let others: Vec<u32> =
                remaining[variable].iter().filter(|&other| other != option).collect();
            remaining[variable] = Remaining::Listed(others.into());
            clauses.remove(at);
        }
        for clause in clauses {
            if let Some(left) = open(remaining, &clause) {
                kept.push(left.into());
            }
        }
        self.forbidden = kept;
    }
}

/// What of a clause is undecided; none if it is true already.
fn open(remaining: &[Remaining], clause: &[(usize, u32)]) -> Option<Vec<(usize, u32)>> {
    let mut left = Vec::with_capacity(clause.len());
    for &(variable, option) in clause {
        if !remaining[variable].contains(option) {
            return None;
        }
        if remaining[variable].count() > 1 {
            left.push((variable, option));
        }
    }
    Some(left)
}

/// The number of choices that no clause forbids.
fn count(remaining: &[Remaining], forbidden: &[Arc<[(usize, u32)]>]) -> BigUint {
    if forbidden.is_empty() {
        let mut product = BigUint::from(1_u32);
        // Small factors are multiplied in words first.
        let mut word: u64 = 1;
        for count in remaining.iter().map(Remaining::count).filter(|&count| count > 1) {
            match word.checked_mul(count as u64) {
                Some(more) => word = more,
                None => {
                    product *= std::mem::replace(&mut word, count as u64);
                }
            }
        }
        return product * word;
    }
    let mut remaining = remaining.to_vec();
    count_beside(&mut remaining, forbidden)
}

/// Splits on the first undecided content of the first clause: it is there, or it is not.
fn count_beside(remaining: &mut Vec<Remaining>, forbidden: &[Arc<[(usize, u32)]>]) -> BigUint {
    let mut left = Vec::with_capacity(forbidden.len());
    for clause in forbidden {
        match open(remaining, clause) {
            None => {}
            Some(open) if open.is_empty() => return BigUint::ZERO,
            Some(open) => left.push(Arc::from(open)),
        }
    }
    let Some((variable, option)) = left.first().map(|clause: &Arc<[(usize, u32)]>| clause[0])
    else {
        return count(remaining, &[]);
    };
    let before = remaining[variable].clone();
    remaining[variable] = Remaining::one(option);
    let there = count_beside(remaining, &left);
    let others: Vec<u32> = before.iter().filter(|&other| other != option).collect();
    remaining[variable] = Remaining::Listed(others.into());
    let elsewhere = count_beside(remaining, &left);
    remaining[variable] = before;
    there + elsewhere
}
