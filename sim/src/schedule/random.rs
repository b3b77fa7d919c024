//! Seeded random choices, one independent stream per execution.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::{Divergence, Strategy};
use crate::exec::ChoicePoint;
use crate::verdict::Share;

/// Takes a random option everywhere.
///
/// Execution `i` of campaign `seed` draws from ChaCha8 stream `i` of that seed, so that any
/// execution can be run alone, and shards can take disjoint ranges.
///
/// Among the options of a choice, mishaps (faults and cancelled requests) together are taken once
/// in [`Random::MISHAP_ONE_IN`], if there is anything else; otherwise a budget of one fault would
/// nearly always be spent on the first requests.
#[derive(Debug, Clone)]
pub struct Random {
    seed: u64,
    first: u64,
    end: u64,
    next: u64,
    /// Distance between two iterations.
    step: u64,
    rng: ChaCha8Rng,
}

impl Random {
    /// How rare mishaps are.
    pub const MISHAP_ONE_IN: usize = 16;

    /// Executions `iterations` of the campaign `seed`.
    #[must_use]
    pub fn new(seed: u64, iterations: std::ops::Range<u64>) -> Self {
        Self::one_in(1, seed, iterations)
    }

    /// Of these executions the first, and from there one in `step`.
    #[must_use]
    pub fn one_in(step: u64, seed: u64, iterations: std::ops::Range<u64>) -> Self {
        assert!(step > 0, "iterations go on");
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let (first, end) = (iterations.start, iterations.end);
        Self { seed, first, end, next: first, step, rng }
    }

    /// The iteration that runs now or ran last; none before the first.
    #[must_use]
    pub fn iteration(&self) -> Option<u64> {
        (self.next > self.first).then(|| self.next - self.step)
    }

    /// A number less than `count`, every one as likely as any other up to 2^-64.
    fn below(&mut self, count: usize) -> usize {
        let scaled = u128::from(self.rng.next_u64()) * count as u128;
        usize::try_from(scaled >> 64).expect("less than count")
    }
}

impl Strategy for Random {
    fn begin(&mut self) -> bool {
        if self.next >= self.end {
            return false;
        }
        self.rng = ChaCha8Rng::seed_from_u64(self.seed);
        self.rng.set_stream(self.next);
        self.next = self.next.saturating_add(self.step);
        true
    }

    fn choose(&mut self, point: &ChoicePoint<'_>) -> Result<usize, Box<Divergence>> {
        let mishaps = point.options.iter().filter(|label| label.is_mishap()).count();
        let others = point.options.len() - mishaps;
        if mishaps == 0 || others == 0 {
            return Ok(self.below(point.options.len()));
        }
        let wanted = self.below(Self::MISHAP_ONE_IN) == 0;
        let nth = self.below(if wanted { mishaps } else { others });
        let mut matching =
            (0..point.options.len()).filter(|&index| point.options[index].is_mishap() == wanted);
        Ok(matching.nth(nth).expect("counted above"))
    }

    fn end(&mut self) -> Result<(), Box<Divergence>> {
        Ok(())
    }

    fn save(&self) -> Option<Vec<u8>> {
        Some(self.next.to_le_bytes().to_vec())
    }

    fn restore(&mut self, saved: &[u8]) -> Result<(), String> {
        let next = saved.try_into().map_err(|_| "not the number of an iteration")?;
        self.next = u64::from_le_bytes(next);
        Ok(())
    }

    fn progress(&self) -> Option<Share> {
        let part = self.next.min(self.end).saturating_sub(self.first);
        Some(Share { part, whole: self.end.saturating_sub(self.first) })
    }
}
