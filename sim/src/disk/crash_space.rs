//! The crash images that are possible at one moment, as a product of variables.

use std::sync::Arc;

use num_bigint::BigUint;

use super::atomic_write::AtomicWriteSpace;
use super::bytes::Slice;
use super::cell::CellContents;
use super::image::Image;
use super::ordered::OrderedSpace;
use super::remaining::{Question, Remaining};
use super::sector_space::{Clause, SectorSpace};
use super::undecided::Undecided;

/// All crash images at one crash point: each is one choice of an option for every variable.
///
/// Every choice gives a crash image and every crash image has a choice; where an earlier power cut
/// has left something undecided beneath, that is so for the choices of which an [`Undecided`] of
/// this space says that they remain. Two choices may give the same image: a sector past a lost
/// growth is gone whatever it held.
///
/// A clone shares everything.
#[derive(Debug, Clone)]
pub struct CrashSpace {
    shape: Arc<Shape>,
    key: u128,
    /// The sectors that variables decide about, in order.
    sectors: Arc<[u64]>,
}

/// What the device model makes of a power cut.
#[derive(Debug)]
pub(crate) enum Shape {
    /// Sectors are independent.
    Sectors(SectorSpace),
    /// A prefix of the completion order.
    Ordered(OrderedSpace),
    /// Each request whole or not at all.
    AtomicWrite(AtomicWriteSpace),
}

/// Calls the method of the shape at hand.
macro_rules! shaped {
    ($space:expr, $method:ident($($argument:expr),*)) => {
        match &*$space.shape {
            Shape::Sectors(shape) => shape.$method($($argument),*),
            Shape::Ordered(shape) => shape.$method($($argument),*),
            Shape::AtomicWrite(shape) => shape.$method($($argument),*),
        }
    };
}

impl CrashSpace {
    pub(crate) fn new(shape: Shape) -> Self {
        let mut space = Self { shape: Arc::new(shape), key: 0, sectors: Arc::default() };
        space.key = shaped!(space, key());
        space.sectors = shaped!(space, undecided_sectors());
        space
    }

    /// Number of variables.
    #[must_use]
    pub fn variables(&self) -> usize {
        shaped!(self, variables())
    }

    /// Number of options of a variable, at least one.
    ///
    /// # Panics
    /// If there is no such variable.
    #[must_use]
    pub fn options(&self, variable: usize) -> usize {
        shaped!(self, options(variable))
    }

    /// The option with which everything that the variable stands for survives. With every variable
    /// at this option the image is what reads see once all requests in flight have succeeded in
    /// submission order.
    #[must_use]
    pub fn kept(&self, variable: usize) -> usize {
        shaped!(self, kept(variable))
    }

    /// The option with which all of it is lost: with every variable at this option the image is the
    /// durable image.
    #[must_use]
    pub fn lost(&self, variable: usize) -> usize {
        assert!(variable < self.variables(), "no variable {variable}");
        0
    }

    /// The sector that a variable stands for, if it stands for just one.
    #[must_use]
    pub fn sector(&self, variable: usize) -> Option<u64> {
        match &*self.shape {
            Shape::Sectors(shape) => shape.sector(variable),
            Shape::Ordered(_) | Shape::AtomicWrite(_) => None,
        }
    }

    /// What the variable stands for: `sector 16`, `length`, `preflush of c0.3`, `cut`,
    /// `write c0.3`, `order of c0.3, c1.0`.
    #[must_use]
    pub fn label(&self, variable: usize) -> String {
        shaped!(self, label(variable))
    }

    /// What an option means, a lower-case fragment: `c0.3 kept, c1.0 lost`. Where the meaning
    /// depends on another variable (a length, a preflush), that one is taken as in a case where all
    /// options differ; [`CrashSpace::describe_choice`] is exact.
    #[must_use]
    pub fn describe(&self, variable: usize, option: usize) -> String {
        self.describe_in(variable, option, None)
    }

    /// One line per variable for a complete choice: `sector 16: c0.3 lost`.
    #[must_use]
    pub fn describe_choice(&self, choice: &[usize]) -> Vec<String> {
        self.check(choice);
        let lines = choice.iter().enumerate().map(|(variable, &option)| {
            format!(
                "{}: {}",
                self.label(variable),
                self.describe_in(variable, option, Some(choice))
            )
        });
        lines.collect()
    }

    /// The product of all option counts; where an earlier power cut has left something undecided
    /// beneath, of those that agree with what is known of it.
    #[must_use]
    pub fn raw_states(&self) -> BigUint {
        if self.is_plain() {
            return (0..self.variables())
                .map(|variable| BigUint::from(self.options(variable)))
                .product();
        }
        Undecided::new(self.clone()).states()
    }

    /// Whether every combination of options is a crash image: nothing is known of it yet.
    pub(crate) fn is_plain(&self) -> bool {
        match &*self.shape {
            Shape::Sectors(shape) => shape.clauses().is_empty(),
            Shape::Ordered(shape) => shape.layer().is_none(),
            Shape::AtomicWrite(shape) => shape.layer().is_none(),
        }
    }

    /// What may be chosen of each variable.
    pub(crate) fn initial(&self) -> Vec<Remaining> {
        let layer = match &*self.shape {
            Shape::Sectors(_) => None,
            Shape::Ordered(shape) => shape.layer(),
            Shape::AtomicWrite(shape) => shape.layer(),
        };
        let beneath = layer.map_or(&[][..], |layer| layer.remaining());
        let own = self.variables() - beneath.len();
        let own = (0..own).map(|variable| Remaining::all(self.options(variable)));
        own.chain(beneath.iter().cloned()).collect()
    }

    /// The sectors whose content variables decide about, in order.
    pub(crate) fn undecided_sectors(&self) -> Arc<[u64]> {
        Arc::clone(&self.sectors)
    }

    /// Whether each sector is decided about for itself, but for its length and flushes under way,
    /// and each of its options is another content.
    pub(crate) fn has_independent_sectors(&self) -> bool {
        match &*self.shape {
            Shape::Sectors(shape) => shape.has_simple_sectors(),
            Shape::Ordered(_) | Shape::AtomicWrite(_) => false,
        }
    }

    /// What has to be decided before any sector can be asked for; `remaining` is what is left of
    /// each variable.
    pub(crate) fn hidden_question(&self, remaining: &[Remaining]) -> Option<Question> {
        shaped!(self, hidden_question(remaining))
    }

    /// What has to be decided next about a sector, once nothing hidden is left to ask.
    pub(crate) fn sector_question(&self, remaining: &[Remaining], at: u64) -> Option<Question> {
        shaped!(self, sector_question(remaining, at))
    }

    /// The same about the `index`-th undecided sector.
    pub(crate) fn question_at(&self, remaining: &[Remaining], index: usize) -> Option<Question> {
        match &*self.shape {
            Shape::Sectors(shape) => shape.question_at(remaining, index),
            Shape::Ordered(_) | Shape::AtomicWrite(_) => {
                self.sector_question(remaining, self.sectors[index])
            }
        }
    }

    /// The content of the `index`-th undecided sector, once nothing is left to ask about it.
    pub(crate) fn bytes_at(&self, remaining: &[Remaining], index: usize) -> Slice {
        match &*self.shape {
            Shape::Sectors(shape) => shape.bytes_at(remaining, index),
            Shape::Ordered(_) | Shape::AtomicWrite(_) => {
                self.sector_bytes(remaining, self.sectors[index])
            }
        }
    }

    /// The content of a sector of which nothing is left to ask; bytes past the length are zero.
    pub(crate) fn sector_bytes(&self, remaining: &[Remaining], at: u64) -> Slice {
        shaped!(self, sector_bytes(remaining, at))
    }

    /// The length, once nothing hidden is left to ask.
    pub(crate) fn decided_len(&self, remaining: &[Remaining]) -> u64 {
        shaped!(self, decided_len(remaining))
    }

    /// An image of the decided length that is right but for undecided sectors.
    pub(crate) fn opened(&self, remaining: &[Remaining]) -> Image {
        shaped!(self, opened(remaining))
    }

    /// The contents left of the `index`-th undecided sector, once nothing hidden is left to ask; none
    /// where sectors are not independent.
    pub(crate) fn contents_left(
        &self,
        remaining: &[Remaining],
        index: usize,
    ) -> Option<Arc<CellContents>> {
        match &*self.shape {
            Shape::Sectors(shape) => Some(shape.contents_left(remaining, index)),
            Shape::Ordered(_) | Shape::AtomicWrite(_) => None,
        }
    }

    /// The variable and option that give a sector this content, where sectors are independent.
    pub(crate) fn option_of(
        &self,
        remaining: &[Remaining],
        at: u64,
        content: &[u8],
    ) -> Option<(usize, u32)> {
        match &*self.shape {
            Shape::Sectors(shape) => shape.option_of(remaining, at, content),
            Shape::Ordered(_) | Shape::AtomicWrite(_) => None,
        }
    }

    /// As [`CrashSpace::option_of`], or else the option whose content is most like this one: a torn
    /// sector has a part of it.
    pub(crate) fn option_like(
        &self,
        remaining: &[Remaining],
        at: u64,
        content: &[u8],
    ) -> Option<(usize, u32)> {
        match &*self.shape {
            Shape::Sectors(shape) => shape
                .option_of(remaining, at, content)
                .or_else(|| shape.option_like(remaining, at, content)),
            Shape::Ordered(_) | Shape::AtomicWrite(_) => None,
        }
    }

    /// The variable and option that stand for this content of a sector, whatever the length turns
    /// out to be, where [sectors are independent](CrashSpace::has_independent_sectors).
    pub(crate) fn literal(&self, at: u64, content: &[u8]) -> Option<(usize, u32)> {
        match &*self.shape {
            Shape::Sectors(shape) => shape.literal(at, content),
            Shape::Ordered(_) | Shape::AtomicWrite(_) => None,
        }
    }

    /// The variable that stands for a sector, if one does.
    pub(crate) fn variable_of(&self, sector: u64) -> Option<usize> {
        (0..self.variables()).find(|&variable| self.sector(variable) == Some(sector))
    }

    /// What is known not to be the case.
    pub(crate) fn clauses(&self) -> &[Clause] {
        match &*self.shape {
            Shape::Sectors(shape) => shape.clauses(),
            Shape::Ordered(_) | Shape::AtomicWrite(_) => &[],
        }
    }

    /// What lies beneath the changes of this disk, undecided by an earlier power cut: how many
    /// variables are the disk's own, and the earlier space.
    pub(crate) fn beneath(&self) -> Option<(usize, &CrashSpace)> {
        let layer = match &*self.shape {
            Shape::Sectors(_) => None,
            Shape::Ordered(shape) => shape.layer(),
            Shape::AtomicWrite(shape) => shape.layer(),
        }?;
        Some((self.variables() - layer.remaining().len(), layer.space()))
    }

    /// The crash image for one option per variable.
    ///
    /// # Panics
    /// If `choice` does not have one option in range for each variable.
    #[must_use]
    pub fn realize(&self, choice: &[usize]) -> Image {
        self.check(choice);
        shaped!(self, realize(choice))
    }

    /// Makes the image of one choice into that of another.
    pub(crate) fn move_to(&self, image: &mut Image, from: &[usize], to: &[usize]) {
        let moved = match &*self.shape {
            Shape::Sectors(shape) => shape.move_to(image, from, to),
            Shape::Ordered(_) | Shape::AtomicWrite(_) => false,
        };
        if !moved {
            *image = self.realize(to);
        }
    }

    /// A choice that gives this image, if there is one; `hint` is a choice of the same space or of
    /// one that differs from it only in what lies beneath.
    #[must_use]
    pub fn choice_for(&self, image: &Image, hint: &[usize]) -> Option<Vec<usize>> {
        let fits = |choice: &[usize]| {
            choice.len() == self.variables()
                && (0..choice.len()).all(|variable| choice[variable] < self.options(variable))
                && self.realize(choice) == *image
        };
        let hinted = &hint[..hint.len().min(self.variables())];
        if fits(hinted) {
            return Some(hinted.to_vec());
        }
        let choice = shaped!(self, choice_for(image))?;
        fits(&choice).then_some(choice)
    }

    /// A choice whose image is this one, or much like it; `hint` as above. What does not show, such as
    /// a sector past the length, is kept.
    #[must_use]
    pub(crate) fn choice_like(&self, image: &Image, hint: &[usize]) -> Vec<usize> {
        let like = match &*self.shape {
            Shape::Sectors(shape) => shape.choice_like(image),
            Shape::Ordered(_) | Shape::AtomicWrite(_) => {
                let hinted = |variable| hint.get(variable).copied().unwrap_or(self.kept(variable));
                let variables = 0..self.variables();
                variables.map(|variable| hinted(variable).min(self.options(variable) - 1)).collect()
            }
        };
        if self.realize(&like) == *image {
            return like;
        }
        self.choice_for(image, hint).unwrap_or(like)
    }

    /// Bytes in a sector.
    pub(crate) fn sector_len(&self) -> usize {
        shaped!(self, sector_len())
    }

    /// The choice with everything kept.
    #[must_use]
    pub fn all_kept(&self) -> Vec<usize> {
        (0..self.variables()).map(|variable| self.kept(variable)).collect()
    }

    /// The choice with everything lost.
    #[must_use]
    pub fn all_lost(&self) -> Vec<usize> {
        vec![0; self.variables()]
    }

    /// Identifies the set of images: equal keys mean equal sets, up to a hash collision.
    #[must_use]
    pub fn key(&self) -> u128 {
        self.key
    }

    fn describe_in(&self, variable: usize, option: usize, choice: Option<&[usize]>) -> String {
        match &*self.shape {
            Shape::Sectors(shape) => shape.describe(variable, option, choice),
            Shape::Ordered(shape) => shape.describe(variable, option),
            Shape::AtomicWrite(shape) => shape.describe(variable, option),
        }
    }

    fn check(&self, choice: &[usize]) {
        assert_eq!(choice.len(), self.variables(), "one option per variable");
        for (variable, &option) in choice.iter().enumerate() {
            let options = self.options(variable);
            assert!(option < options, "option {option} of {options} for variable {variable}");
        }
    }
}
