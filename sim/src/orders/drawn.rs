//! Which classes of executions were drawn, and how many there may be that were not.

use serde::{Deserialize, Serialize};

use super::seen::Seen;

/// The classes of executions drawn at random, counted exactly as long as there is room.
///
/// The share of executions that are of classes never drawn is about that of the draws that are the only
/// ones of their class (Good and Turing). Once there is no room for one more class nothing is counted
/// any more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Drawn {
    /// By signature, whether it was drawn more than once.
    classes: Seen,
    once: u64,
    draws: u64,
    is_full: bool,
}

impl Drawn {
    /// Most classes that are remembered: with their notes less than 100 MB.
    pub const CLASSES_MAX: usize = 1 << 20;

    /// None yet, and room for `classes_max`.
    pub(super) fn new(classes_max: usize) -> Self {
        Self { classes: Seen::new(classes_max), once: 0, draws: 0, is_full: false }
    }

    /// One more execution was drawn, of this class.
    pub(super) fn add(&mut self, signature: u128) {
        if self.is_full {
            return;
        }
        let before = self.classes.find(signature);
        let again = u64::from(before.is_some());
        if before != Some(again) && !self.classes.put(signature, again) {
            self.is_full = true;
            return;
        }
        self.draws += 1;
        match before {
            None => self.once += 1,
            Some(0) => self.once -= 1,
            Some(_) => {}
        }
    }

    /// How many classes were drawn; at least, if [`Self::is_full`].
    #[must_use]
    pub fn classes(&self) -> u64 {
        self.classes.len() as u64
    }

    /// How many of them were drawn only once.
    #[must_use]
    pub fn once(&self) -> u64 {
        self.once
    }

    /// How many executions were counted.
    #[must_use]
    pub fn draws(&self) -> u64 {
        self.draws
    }

    /// Whether some executions were not counted because there was no room for their classes.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_counted_until_there_is_no_room() {
        let mut drawn = Drawn::new(3);
        let mut check = |signature, expected| {
            drawn.add(signature);
            assert_eq!((drawn.classes(), drawn.once(), drawn.draws()), expected, "{signature}");
        };
        check(5, (1, 1, 1));
        check(6, (2, 2, 2));
        check(5, (2, 1, 3));
        check(5, (2, 1, 4));
        check(7, (3, 2, 5));
        check(6, (3, 1, 6));
        check(8, (3, 1, 6));
        check(7, (3, 1, 6));
        assert!(drawn.is_full());
    }
}
