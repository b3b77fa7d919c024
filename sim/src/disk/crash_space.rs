//! The crash images that are possible at one moment, as a product of variables.

use std::sync::Arc;

use num_bigint::BigUint;

use super::atomic_write::AtomicWriteSpace;
use super::image::Image;
use super::ordered::OrderedSpace;
use super::sector_space::SectorSpace;

/// All crash images at one crash point: each is one choice of an option for every variable.
///
/// Every choice gives a crash image and every crash image has a choice. Two choices may give the
/// same image: a sector past a lost growth is gone whatever it held.
///
/// A clone shares everything.
#[derive(Debug, Clone)]
pub struct CrashSpace {
    shape: Arc<Shape>,
    key: u128,
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
        let mut space = Self { shape: Arc::new(shape), key: 0 };
        space.key = shaped!(space, key());
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

    /// The product of all option counts.
    #[must_use]
    pub fn raw_states(&self) -> BigUint {
        (0..self.variables()).map(|variable| BigUint::from(self.options(variable))).product()
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
