//! The random numbers of one execution.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of random numbers: execution `i` of a campaign draws from ChaCha8 stream `i` of its seed,
/// so that any execution can be run alone.
#[derive(Debug, Clone)]
pub struct Draws {
    rng: ChaCha8Rng,
}

impl Draws {
    /// How rare mishaps are. Were they as likely as anything else, a budget of one fault would nearly
    /// always be spent on the first requests.
    pub const MISHAP_ONE_IN: usize = 16;

    /// The stream of an execution of a campaign, from its beginning.
    #[must_use]
    pub fn new(campaign: u64, execution: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(campaign);
        rng.set_stream(execution);
        Self { rng }
    }

    /// Those of an execution that has not begun: it begins with its own.
    pub(super) fn unused() -> Self {
        Self::new(0, 0)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// A number less than `count`, every one as likely as any other up to 2^-64.
    pub fn below(&mut self, count: usize) -> usize {
        let scaled = u128::from(self.number()) * count as u128;
        usize::try_from(scaled >> 64).expect("less than count")
    }

    /// Whether it is time for a mishap, where something else is possible too.
    pub fn is_mishap(&mut self) -> bool {
        self.below(Self::MISHAP_ONE_IN) == 0
    }

    /// Which of `count` options may be taken, if the last `mishaps` of them are mishaps: those or the
    /// others.
    pub fn options(&mut self, count: usize, mishaps: usize) -> std::ops::Range<usize> {
        let others = count - mishaps;
        if mishaps == 0 || others == 0 {
            0..count
        } else if self.is_mishap() {
            others..count
        } else {
            0..others
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mishaps_are_rare_unless_nothing_else_is_possible() {
        let mut draws = Draws::new(1, 2);
        let mut taken = [0; 2];
        for _ in 0..16_000 {
            let options = draws.options(5, 2);
            taken[usize::from(options.start > 0)] += 1;
            assert!(options == (0..3) || options == (3..5));
        }
        assert!((900..1100).contains(&taken[1]), "{taken:?}");
        assert_eq!(draws.options(3, 0), 0..3);
        assert_eq!(draws.options(3, 3), 0..3);
    }

    #[test]
    fn every_number_is_as_likely_as_any_other() {
        let mut draws = Draws::new(7, 0);
        let mut drawn = [0; 5];
        (0..50_000).for_each(|_| drawn[draws.below(5)] += 1);
        assert!(drawn.iter().all(|count| (9_500..10_500).contains(count)), "{drawn:?}");
    }
}
