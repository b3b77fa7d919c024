//! The crash images that are possible at one moment, as a product of independent variables.

use num_bigint::BigUint;

use super::image::Image;

/// All crash images at one crash point: each is one choice of an option for every variable.
///
/// Two choices may give the same image (a sector past a lost growth is gone whatever it held).
#[derive(Debug, Clone)]
pub struct CrashSpace {}

impl CrashSpace {
    /// Number of variables.
    #[must_use]
    pub fn variables(&self) -> usize {
        todo!()
    }

    /// Number of options of a variable, at least one.
    #[must_use]
    pub fn options(&self, variable: usize) -> usize {
        todo!()
    }

    /// The option with which everything that the variable stands for survives.
    #[must_use]
    pub fn kept(&self, variable: usize) -> usize {
        todo!()
    }

    /// The option with which all of it is lost.
    #[must_use]
    pub fn lost(&self, variable: usize) -> usize {
        todo!()
    }

    /// The sector that a variable stands for, if it stands for just one.
    #[must_use]
    pub fn sector(&self, variable: usize) -> Option<u64> {
        todo!()
    }

    /// What the variable stands for: `sector 16`, `length`, `cut`, `write c0.3`.
    #[must_use]
    pub fn label(&self, variable: usize) -> String {
        todo!()
    }

    /// Which requests survived and which were lost under an option, a lower-case fragment.
    #[must_use]
    pub fn describe(&self, variable: usize, option: usize) -> String {
        todo!()
    }

    /// The product of all option counts.
    #[must_use]
    pub fn raw_states(&self) -> BigUint {
        todo!()
    }

    /// The crash image for one option per variable.
    ///
    /// # Panics
    /// If `choice` does not have one option in range for each variable.
    #[must_use]
    pub fn realize(&self, choice: &[usize]) -> Image {
        todo!()
    }

    /// Identifies the set of images: equal keys mean the same variables with the same contents.
    #[must_use]
    pub fn key(&self) -> u128 {
        todo!()
    }
}
